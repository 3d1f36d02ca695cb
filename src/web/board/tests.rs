use actix_web::test::TestRequest;
use serde_json::{Value, json};

use super::*;
use crate::web::harness::{Answer, House};

const HOST: (&str, &str) = ("host", "board.example");
const ORIGIN: (&str, &str) = ("origin", "https://board.example");

fn cookie_of(answer: &Answer, name: &str) -> Option<String> {
    let set = answer.headers.get_all("set-cookie").filter_map(|value| value.to_str().ok());
    set.filter_map(|cookie| cookie.split(';').next()?.strip_prefix(&format!("{name}="))).next().map(str::to_owned)
}

/// Signs in with a key, as a browser would; what came back.
async fn enter(house: &House, key: &str) -> Answer {
    let asked = house.send(TestRequest::get().uri("/board").insert_header(HOST), "").await;
    let door = cookie_of(&asked, "lungo_door").expect("a new browser is given one");
    let form = [("csrf", access::form_token(&door)), ("key", key.to_owned())];
    let request = TestRequest::post().uri("/board/enter").insert_header(HOST).insert_header(ORIGIN);
    house.send(request.insert_header(("cookie", format!("lungo_door={door}"))).set_form(form), "").await
}

fn with(tablet: &str, request: TestRequest) -> TestRequest {
    request.insert_header(HOST).insert_header(("cookie", format!("{COOKIE}={tablet}")))
}

#[actix_web::test]
async fn a_tablet_signs_in_once_and_says_the_words_of_its_shop() {
    let house = House::open().await;
    let entered = enter(&house, &house.shop).await;
    assert_eq!((entered.status, entered.headers.get("location").unwrap().to_str().unwrap()), (303, "/board"));
    let set = entered.headers.get_all("set-cookie").map(|value| value.to_str().unwrap()).collect::<String>();
    assert!(set.contains("HttpOnly") && set.contains("Path=/board") && set.contains("SameSite=Lax"), "{set}");
    let tablet = cookie_of(&entered, COOKIE).unwrap();
    assert_ne!(tablet, house.shop);

    let id = house.awaiting().await;
    let board = house.send(with(&tablet, TestRequest::get().uri("/board/shop/orders")), "").await;
    assert_eq!((board.status, &board.body["orders"][0]["order_id"]), (200, &json!(id)));
    let step = |action: &str| TestRequest::post().uri(&format!("/board/shop/orders/{id}/{action}"));
    let accepted = house.send(with(&tablet, step("accept")).insert_header(ORIGIN), "").await;
    assert_eq!((accepted.status, &accepted.body["status"]), (200, &json!("accepted")), "{accepted:?}");
    let early = house.send(with(&tablet, step("collected")).insert_header(ORIGIN), "").await;
    assert_eq!((early.status, early.code()), (409, "not_possible"), "a problem, not a page: {early:?}");
}

#[actix_web::test]
async fn another_site_cannot_use_a_tablets_cookie() {
    let house = House::open().await;
    let tablet = cookie_of(&enter(&house, &house.shop).await, COOKIE).unwrap();
    let id = house.awaiting().await;
    let uri = format!("/board/shop/orders/{id}/accept");
    for origin in [Some("https://evil.example"), Some("null"), None] {
        let request = with(&tablet, TestRequest::post().uri(&uri));
        let request = origin.into_iter().fold(request, |request, origin| request.insert_header(("origin", origin)));
        let answer = house.send(request, "").await;
        assert_eq!((answer.status, answer.code()), (403, "forbidden"), "{origin:?}");
    }
    // Nor does it open the API: that takes the key.
    assert_eq!(house.send(with(&tablet, TestRequest::get().uri("/v1/shop/orders")), "").await.status, 401);
    let board = house.send(with(&tablet, TestRequest::get().uri("/board/shop/orders")), "").await;
    assert_eq!(board.body["orders"][0]["status"], "awaiting_shop");
}

#[actix_web::test]
async fn only_a_shops_key_opens_a_board_and_revoking_it_closes_it() {
    let house = House::open().await;
    for wrong in ["", "x", house.partner.as_str(), house.admin.as_str(), &KeyKind::Shop.generate()] {
        let answer = enter(&house, wrong).await;
        assert_eq!((answer.status, cookie_of(&answer, COOKIE)), (422, None), "{wrong}");
    }
    let tablet = cookie_of(&enter(&house, &house.shop).await, COOKIE).unwrap();
    let ask = || with(&tablet, TestRequest::get().uri("/board/shop"));
    assert_eq!(house.send(ask(), "").await.body["name"], "Lungo Central");
    let keys = house.app.store.keys().await.unwrap();
    let hash = crate::keys::hash(&house.shop);
    let key = keys.iter().find(|key| key.hash == hash).unwrap();
    house.app.store.revoke_key(key.key_id, now()).await.unwrap();
    let answer = house.send(ask(), "").await;
    assert_eq!((answer.status, answer.code()), (401, "unauthenticated"));
    house.app.take_effect().await;
    assert_eq!(enter(&house, &house.shop).await.status, 422);
    assert_eq!(house.send(TestRequest::get().uri("/board/shop"), "").await.status, 401);
}

#[actix_web::test]
async fn whoever_signs_out_is_out_and_a_tablet_is_forgotten_in_time() {
    let house = House::open().await;
    let tablet = cookie_of(&enter(&house, &house.shop).await, COOKIE).unwrap();
    let leave = |token: String| {
        let request = TestRequest::post().uri("/board/leave").insert_header(ORIGIN);
        with(&tablet, request).set_form([("csrf", token)])
    };
    assert_eq!(house.send(leave("x".into()), "").await.status, 403);
    let is_watched = async || {
        let change = |shop: &mut crate::catalogue::Shop| shop.simulated = false;
        let shop = house.app.store.change_shop(crate::catalogue::demo::LUNGO_CENTRAL, change).await.unwrap().unwrap();
        shop.presence(now() + chrono::Duration::hours(1)) == crate::catalogue::Presence::Offline
    };
    house.send(with(&tablet, TestRequest::post().uri("/board/shop/heartbeat").insert_header(ORIGIN)), "").await;
    assert!(is_watched().await);
    assert_eq!(house.send(leave(access::form_token(&tablet)), "").await.status, 303);
    assert!(!is_watched().await, "no heartbeat is expected from a board that was left");
    assert_eq!(house.send(with(&tablet, TestRequest::get().uri("/board/shop")), "").await.status, 401);

    let (secret, long_ago) = (access::secret(), now() - lifetime(&house.app) - chrono::Duration::seconds(1));
    let key_id =
        house.app.store.keys().await.unwrap().iter().find(|key| key.owner.kind() == KeyKind::Shop).unwrap().key_id;
    let tablet = Tablet { key_id, address: String::new(), agent: String::new(), created_at: long_ago };
    assert!(house.app.store.sign_in(access::hash(&secret), tablet, long_ago).await.unwrap());
    assert_eq!(house.send(with(&secret, TestRequest::get().uri("/board/shop")), "").await.status, 401);
}

#[test]
fn the_page_knows_each_step_from_the_one_table() {
    let steps = steps();
    assert_eq!(steps["accepted"]["start"], "preparing");
    assert_eq!(
        steps["ready"],
        json!({"recall": "preparing", "collected": "completed", "not_collected": "not_collected", "cancel": "cancelled"})
    );
    assert_eq!(steps["completed"], json!({}));
    for status in Status::VARIANTS {
        let shown: Vec<Value> = ShopAction::allowed(*status).iter().map(|action| json!(action)).collect();
        let known: Vec<Value> = steps[status.word()].as_object().unwrap().keys().map(|key| json!(key)).collect();
        assert_eq!(shown.len(), known.len());
        assert!(known.iter().all(|action| shown.contains(action)), "{status}");
    }
}
