//! What operators look at: pages made on the server, which work without a script and are kept up to date by one.
//!
//! Every URL of the console stands in the table below, each with the [`Action`] that it is; who may do it stands in
//! `actions`. Nothing here knows a status by itself: columns, buttons and diagrams come from `lifecycle`.
//!
//! To add a page: a line here, a line in [`SECTIONS`] if it is to be found in the navigation, an action, a template
//! that extends `console/frame.html`, and a handler that takes [`Visitor`] and answers [`crate::web::pages::page`]. To add a
//! deed: a handler that takes [`Posted`], and writes through `store.recording(posted.entry(…)?)`. To add a deed to an
//! order: a variant of [`crate::command::Command`], and a handler as those of `deeds`.

pub mod actions;
pub mod assets;
pub mod bulk;
pub mod deeds;
mod diagram;
pub mod drills;
pub mod failed;
pub mod filter;
pub mod frame;
pub mod guard;
pub mod live;
pub mod login;
pub mod money;
mod moved;
pub mod order;
pub mod orders;
pub mod partners;
pub mod people;
pub mod posted;
pub mod shops;
pub mod show;
pub mod stages;
mod timeline;
pub mod told;

use actix_web::web::{ServiceConfig, get, post, resource};

pub use actions::Action;
pub use guard::Visitor;
pub use posted::Posted;

use guard::{act, see};

/// The sections of the navigation: path, name, and what must be allowed to see it.
pub const SECTIONS: &[(&str, &str, Action)] = &[
    ("/console", "Live", Action::SeeOrders),
    ("/console/orders", "Orders", Action::SeeOrders),
    ("/console/money", "Money", Action::SeeMoney),
    ("/console/shops", "Shops", Action::SeeShops),
    ("/console/stages", "Stages", Action::SeeStages),
    ("/console/bulk", "Bulk", Action::SeeBulk),
    ("/console/partners", "Partners", Action::SeePartners),
    ("/console/requests", "Requests", Action::SeeRequests),
    ("/console/audit", "Audit log", Action::SeeAudit),
    ("/console/users", "Users", Action::SeeUsers),
];

/// Every URL of the console.
pub fn configure(app: &mut ServiceConfig) {
    app.service(resource("/assets/{version}/{file:.*}").route(get().to(assets::get_asset)))
        .service(resource("/console/login").route(get().to(login::show_login)).route(post().to(login::log_in)))
        .service(
            resource("/console/enter/{secret}").route(get().to(login::show_link)).route(post().to(login::follow_link)),
        )
        .service(resource("/console/logout").route(act(Action::LogOut, login::log_out)))
        .service(resource("/console").route(see(Action::SeeOrders, live::show)))
        .service(resource("/console/live").route(see(Action::SeeOrders, live::show_tiles)))
        .service(resource("/console/live/stream").route(see(Action::SeeOrders, live::stream_tiles)))
        .service(resource("/console/orders").route(see(Action::SeeOrders, orders::show_orders)))
        .service(resource("/console/orders/list").route(see(Action::SeeOrders, orders::show_list)))
        .service(resource("/console/orders/suggestions").route(see(Action::SeeOrders, orders::suggest)))
        .service(resource("/console/orders/views").route(act(Action::KeepView, orders::save_view)))
        .service(resource("/console/orders/views/drop").route(act(Action::KeepView, orders::drop_view)))
        .service(resource("/console/orders/{order_id}").route(see(Action::SeeOrders, order::show_order)))
        .service(resource("/console/orders/{order_id}/state").route(see(Action::SeeOrders, order::show_state)))
        .service(resource("/console/orders/{order_id}/deeds").route(see(Action::SeeOrders, order::show_deeds)))
        .service(resource("/console/orders/{order_id}/json").route(see(Action::SeeOrders, order::show_json)))
        .service(resource("/console/orders/{order_id}/person").route(act(Action::SeePersonalData, order::reveal)))
        .service(resource("/console/orders/{order_id}/retry").route(act(Action::RetryOrder, deeds::retry)))
        .service(resource("/console/orders/{order_id}/cancel").route(act(Action::CancelOrder, deeds::cancel)))
        .service(resource("/console/orders/{order_id}/complete").route(act(Action::ForceComplete, deeds::complete)))
        .service(resource("/console/orders/{order_id}/refund").route(act(Action::RefundOrder, deeds::refund)))
        .service(
            resource("/console/orders/{order_id}/reduce-refund").route(act(Action::ReduceRefund, deeds::reduce_refund)),
        )
        .service(resource("/console/orders/{order_id}/extend").route(act(Action::ExtendDeadline, deeds::extend)))
        .service(resource("/console/orders/{order_id}/offer").route(act(Action::RepeatOffer, deeds::repeat_offer)))
        .service(resource("/console/orders/{order_id}/note").route(act(Action::NoteOrder, deeds::note)))
        .service(
            resource("/console/bulk")
                .route(see(Action::SeeBulk, bulk::show_jobs))
                .route(act(Action::CountBulk, bulk::propose)),
        )
        .service(resource("/console/bulk/{id}").route(see(Action::SeeBulk, bulk::show_job)))
        .service(resource("/console/bulk/{id}/state").route(see(Action::SeeBulk, bulk::show_state)))
        .service(resource("/console/bulk/{id}/start").route(act(Action::RunBulk, bulk::start)))
        .service(resource("/console/bulk/{id}/stop").route(act(Action::StopBulk, bulk::stop)))
        .service(resource("/console/money").route(see(Action::SeeMoney, money::show_money)))
        .service(resource("/console/money/state").route(see(Action::SeeMoney, money::show_state)))
        .service(resource("/console/money/compared").route(see(Action::LookUpPayment, money::compare)))
        .service(resource("/console/money/settlements/{id}/agree").route(act(Action::AgreeSettlement, money::agree)))
        .service(
            resource("/console/money/settlements/{id}/withdraw")
                .route(act(Action::WithdrawSettlement, money::withdraw)),
        )
        .service(resource("/console/money/{order_id}").route(see(Action::SeeMoney, money::show_order)))
        .service(resource("/console/money/{order_id}/look-up").route(act(Action::LookUpPayment, money::look_up)))
        .service(resource("/console/money/{order_id}/void").route(act(Action::VoidPayment, money::void)))
        .service(resource("/console/money/{order_id}/settle").route(act(Action::SettlePayment, money::settle)))
        .service(resource("/console/shops").route(see(Action::SeeShops, shops::show_shops)))
        .service(resource("/console/shops/{shop_id}").route(see(Action::SeeShops, shops::show_shop)))
        .service(resource("/console/shops/{shop_id}/mode").route(act(Action::SetShopMode, shops::set_mode)))
        .service(resource("/console/shops/{shop_id}/unwatch").route(act(Action::EndShopWatch, shops::end_watch)))
        .service(resource("/console/shops/{shop_id}/items/{item_id}").route(act(Action::SetShopItem, shops::set_item)))
        .service(
            resource("/console/shops/{shop_id}/options/{option_id}").route(act(Action::SetShopItem, shops::set_option)),
        )
        .service(resource("/console/menus/{partner_id}").route(see(Action::SeeShops, shops::show_menu)))
        .service(resource("/console/menus/{partner_id}/items/{item_id}").route(act(Action::EditItem, shops::edit_item)))
        .service(resource("/console/partners").route(see(Action::SeePartners, partners::show_partners)))
        .service(resource("/console/partners/{partner_id}").route(see(Action::SeePartners, partners::show_partner)))
        .service(resource("/console/partners/{partner_id}/keys").route(act(Action::MakeKey, partners::make_key)))
        .service(resource("/console/keys/{key_id}/revoke").route(act(Action::RevokeKey, partners::revoke_key)))
        .service(resource("/console/webhooks/{webhook_id}").route(see(Action::SeePartners, partners::show_webhook)))
        .service(resource("/console/webhooks/{webhook_id}/switch").route(act(Action::SwitchWebhook, partners::switch)))
        .service(
            resource("/console/webhooks/{webhook_id}/deliveries/{delivery_id}/resend")
                .route(act(Action::ResendDelivery, partners::resend)),
        )
        .service(resource("/console/requests").route(see(Action::SeeRequests, partners::show_requests)))
        .service(
            resource("/console/drills")
                .route(see(Action::SeeDrills, drills::show_drills))
                .route(act(Action::RunDrill, drills::begin)),
        )
        .service(resource("/console/drills/end").route(act(Action::EndDrill, drills::end)))
        .service(resource("/console/drills/lag").route(act(Action::RunDrill, drills::raise_lag)))
        .service(resource("/console/drills/kill").route(act(Action::RunDrill, drills::kill)))
        .service(resource("/console/stages").route(see(Action::SeeStages, stages::show_stages)))
        .service(resource("/console/stages/state").route(see(Action::SeeStages, stages::show_state)))
        .service(resource("/console/stages/hold").route(act(Action::HoldWork, stages::hold)))
        .service(resource("/console/stages/lift").route(act(Action::LiftHold, stages::lift)))
        .service(resource("/console/stages/close").route(act(Action::CloseBreaker, stages::close)))
        .service(resource("/console/me").route(see(Action::SeeOwnSessions, people::show_me)))
        .service(resource("/console/me/password").route(act(Action::ChangePassword, people::change_password)))
        .service(resource("/console/me/sessions/{id}/end").route(act(Action::EndOwnSession, people::end_own_session)))
        .service(
            resource("/console/users")
                .route(see(Action::SeeUsers, people::list_users))
                .route(act(Action::InviteUser, people::invite)),
        )
        .service(resource("/console/users/{id}").route(act(Action::ChangeUser, people::change_user)))
        .service(resource("/console/users/{id}/link").route(act(Action::InviteUser, people::new_link)))
        .service(resource("/console/sessions/{id}/end").route(act(Action::EndSession, people::end_session)))
        .service(resource("/console/audit").route(see(Action::SeeAudit, people::list_audit)))
        // Whoever is logged in and goes astray keeps the navigation.
        .service(resource("/console/{elsewhere:.*}").route(see(Action::SeeOwnSessions, failed::nowhere)));
}

#[cfg(test)]
mod tests;
