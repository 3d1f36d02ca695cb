//! The partner's catalogue: its shops and menus, with what each shop promises now.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::clock::now;
use crate::error::{Code, Failure};
use crate::order::{Hash, ShopId};
use crate::web::auth::AsPartner;
use crate::web::headers::if_none_match;
use crate::web::heard::path_id;
use crate::web::problem::Problem;
use crate::web::views::offer::{MenuItemView, ShopView};

/// The partner's shops.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShopList {
    /// By name.
    shops: Vec<ShopView>,
}

/// What a shop sells, and what it promises now.
#[derive(Debug, Serialize, ToSchema)]
pub struct MenuView {
    shop: ShopView,
    /// In the menu's order.
    items: Vec<MenuItemView>,
}

/// The partner's shops, and what each would say now to an order.
#[utoipa::path(
    get, path = "/v1/shops", operation_id = "listShops", tag = "catalogue", security(("partnerKey" = [])),
    params(("If-None-Match" = Option<String>, Header, description = "The ETag of an answer the client still has.")),
    responses(
        (status = 200, description = "The shops by name.", body = ShopList,
         headers(("ETag" = String, description = "Changes with anything in the body."))),
        (status = 304, description = "Nothing has changed since that ETag."),
    )
)]
pub async fn list_shops(AsPartner(partner): AsPartner, app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let (catalogue, now) = (app.catalogue(), now());
    let shops = catalogue.shops(partner).map(|shop| ShopView::new(&catalogue, shop, now)).collect();
    unless_held(&request, &ShopList { shops })
}

/// What a shop sells, with present prices, availability and the shop's promise.
#[utoipa::path(
    get, path = "/v1/shops/{shop_id}/menu", operation_id = "getMenu", tag = "catalogue",
    security(("partnerKey" = [])),
    params(
        ("shop_id" = Uuid, Path),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of an answer the client still has."),
    ),
    responses(
        (status = 200, description = "The menu.", body = MenuView,
         headers(("ETag" = String, description = "Changes with anything in the body."))),
        (status = 304, description = "Nothing has changed since that ETag."),
    )
)]
pub async fn get_menu(
    AsPartner(partner): AsPartner,
    app: web::Data<App>,
    shop_id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (catalogue, now, id) = (app.catalogue(), now(), ShopId(path_id(&shop_id)?));
    let menu = catalogue.shop(partner, id).zip(catalogue.menu(partner, id, now));
    let (shop, items) = menu.ok_or_else(unknown_shop)?;
    let shop = ShopView::new(&catalogue, shop, now);
    Ok(unless_held(&request, &MenuView { shop, items: items.iter().map(MenuItemView::new).collect() }))
}

pub fn unknown_shop() -> Failure {
    Failure::new(Code::NotFound, "There is no such shop.")
}

/// The body with an ETag made of its bytes, or a 304 for a client that has them already.
fn unless_held(request: &HttpRequest, body: &impl Serialize) -> HttpResponse {
    let bytes = serde_json::to_vec(body).expect("plain data serialises");
    let tag = Hash::of_bytes(&bytes).tag();
    let quoted = (header::ETAG, format!("\"{tag}\""));
    if if_none_match(request.headers()).has(&tag) {
        return HttpResponse::NotModified().insert_header(quoted).finish();
    }
    HttpResponse::Ok().insert_header(quoted).content_type("application/json").body(bytes)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use serde_json::json;

    use crate::catalogue::demo;
    use crate::web::harness::House;

    #[actix_web::test]
    async fn shops_are_listed_with_their_promise() {
        let house = House::open().await;
        let answer = house.get(&house.partner, "/v1/shops").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let names: Vec<_> = answer.body["shops"].as_array().unwrap().iter().map(|shop| &shop["name"]).collect();
        assert_eq!(names, ["Corner by hand", "Lungo Central", "Lungo Station"]);
        let shop = &answer.body["shops"][1];
        for (member, expected) in [
            ("shop_id", json!(demo::LUNGO_CENTRAL)),
            ("timezone", json!("Europe/Berlin")),
            ("hours", json!("always")),
            ("mode", json!({"mode": "open", "minutes": null, "until": null})),
            ("presence", json!("unknown")),
            ("accepting", json!(true)),
            ("why", json!(null)),
            ("resume_at", json!(null)),
            ("tracks_steps", json!(true)),
        ] {
            assert_eq!(shop[member], expected, "{member}");
        }
        let tag = answer.headers.get("etag").unwrap().to_str().unwrap().to_owned();
        let again = TestRequest::get().uri("/v1/shops").insert_header(("if-none-match", tag));
        assert_eq!(house.send(again, &house.partner).await.status, 304);
    }

    #[actix_web::test]
    async fn a_menu_is_seen_by_its_partner_only() {
        let house = House::open().await;
        let url = format!("/v1/shops/{}/menu", demo::LUNGO_CENTRAL);
        let answer = house.get(&house.partner, &url).await;
        assert_eq!((answer.status, &answer.body["shop"]["accepting"]), (200, &json!(true)));
        let lungo = &answer.body["items"].as_array().unwrap().iter().find(|item| item["item_id"] == "lungo").unwrap();
        assert_eq!(lungo["price"], json!({"amount": 350, "currency": "EUR"}));
        assert_eq!(
            lungo["option_groups"][0]["options"][1],
            json!({
                "option_id": "milk_oat", "name": "Oat milk", "price": {"amount": 60, "currency": "EUR"},
                "available": true, "sold_out_until": null,
            })
        );
        assert_eq!(house.get(&house.other_partner, &url).await.status, 404);
        assert_eq!(house.get(&house.partner, "/v1/shops/no-id/menu").await.status, 404);
        assert_eq!(house.get(&house.shop, &url).await.status, 403);
        assert_eq!(house.get("", &url).await.status, 401);
        assert_eq!(house.get(&house.other_partner, "/v1/shops").await.body, json!({"shops": []}));
        assert_eq!(house.send(TestRequest::delete().uri(&url), &house.partner).await.status, 405);
    }
}
