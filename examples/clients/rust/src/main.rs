//! An app crashes and orders again, with a client that OpenAPI Generator makes from `/openapi.json`.
//!
//! `.ci/clients` generates the crate `lungo_api`, compiles this program, and runs it against a server.

use std::env::var;

use lungo_api::apis::configuration::Configuration;
use lungo_api::apis::orders_api::{CreateOrderError, create_order, get_ongoing_orders};
use lungo_api::apis::{Error, ResponseContent};
use lungo_api::models::{CreateOrder, CreateOrder409Response, LineRequest, Money, OrderView, PaymentRequest};

const CUSTOMER: &str = "crash-story-rust";
/// No one works in this shop of the demo, so an order stays ongoing for as long as the story needs it.
const SHOP: &str = "01970000-0000-7000-8000-000000000013";

fn order() -> CreateOrder {
    let lungo = LineRequest { options: Some(Some(vec!["milk_oat".into()])), ..LineRequest::new("lungo".into(), 1) };
    let total = Money::new(410, "EUR".into());
    let payment = PaymentRequest::new("pm_card_visa".into());
    CreateOrder::new(CUSTOMER.into(), vec![lungo], payment, SHOP.parse().expect("a UUID"), total)
}

/// An app that remembers nothing: neither an idempotency key nor a revision nor a position.
fn freshly_started_app() -> Configuration {
    Configuration {
        base_path: var("LUNGO_URL").expect("LUNGO_URL"),
        bearer_access_token: Some(var("LUNGO_PARTNER_KEY").expect("LUNGO_PARTNER_KEY")),
        ..Configuration::new()
    }
}

async fn ongoing(app: &Configuration) -> Vec<OrderView> {
    get_ongoing_orders(app, CUSTOMER, None, None).await.expect("a list").orders
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let app = freshly_started_app();
    assert!(ongoing(&app).await.is_empty());
    let first = create_order(&app, order(), None, None).await.expect("an order");

    // The app crashes before it stores anything, and the customer orders once more.
    let app = freshly_started_app();
    let refused = create_order(&app, order(), None, None).await.expect_err("a second coffee was ordered");
    let Error::ResponseError(ResponseContent { entity: Some(refusal), .. }) = refused else { panic!("{refused}") };
    let similar = match refusal {
        CreateOrderError::Status409(CreateOrder409Response::SimilarOrderOngoingProblem(similar)) => similar,
        other => panic!("another refusal: {other:?}"),
    };
    println!("You already have order {}.", similar.order.order_id);
    assert_eq!(similar.order.order_id, first.order_id);
    let [only] = &ongoing(&app).await[..] else { panic!("not exactly one order") };
    assert_eq!(only.order_id, first.order_id);

    // The app has shown the order, and the customer wants a second coffee on purpose.
    let if_match = format!("\"{}\"", similar.revision);
    let second = create_order(&app, order(), None, Some(&if_match)).await.expect("a second coffee");
    assert_ne!(second.order_id, first.order_id);
    assert_eq!(ongoing(&app).await.len(), 2);
}
