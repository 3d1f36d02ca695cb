//! What operators look at: pages made on the server, which work without a script and are kept up to date by one.
//!
//! Every URL of the console stands in the table below, each with the [`Action`] that it is; who may do it stands in
//! `actions`. Nothing here knows a status by itself: columns, buttons and diagrams come from `lifecycle`.
//!
//! To add a page: a line here, a line in [`SECTIONS`] if it is to be found in the navigation, an action, a template
//! that extends `console/frame.html`, and a handler that takes [`Visitor`] and answers [`frame::page`]. To add a
//! deed: a handler that takes [`Posted`], and writes through `store.recording(posted.entry(…)?)`.

pub mod actions;
pub mod assets;
pub mod failed;
pub mod frame;
pub mod guard;
pub mod live;
pub mod login;
pub mod people;
pub mod posted;
pub mod show;

use actix_web::web::{ServiceConfig, get, post, resource};

pub use actions::Action;
pub use guard::Visitor;
pub use posted::Posted;

use guard::{act, see};

/// The sections of the navigation: path, name, and what must be allowed to see it.
pub const SECTIONS: &[(&str, &str, Action)] = &[
    ("/console", "Live", Action::SeeOrders),
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
        .service(resource("/console/audit").route(see(Action::SeeAudit, people::list_audit)));
}
