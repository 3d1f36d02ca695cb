//! The whole HTTP service over a temporary store, without workers: an order moves only as a test says.

use actix_web::body::MessageBody;
use actix_web::http::header::{self, HeaderMap};
use actix_web::middleware::from_fn;
use actix_web::test::{self, TestRequest};
use actix_web::web::Data;
use chrono::Duration;
use clap::{Args, Command, FromArgMatches};
use serde_json::Value;
use uuid::Uuid;

use crate::app::{App, PaymentDoors};
use crate::catalogue::demo;
use crate::clock::now;
use crate::config::{Settings, in_force};
use crate::keys::{self, Owner};
use crate::lifecycle::{Actor, Event};
use crate::order::{CustomerId, Instant, NewOrder, OnUnavailable, OrderId, PartnerId, Pickup, RequestedLine, ShopId};
use crate::pace::Expectations;
use crate::state::Order;
use crate::store::{Accept, Claims, Options, Partner, Policy, Received, Scope, Sender, Store, StoredKey, Word};
use crate::web::{configure, edge};

/// The service with the demo catalogue, and the secret of a key of each kind.
pub struct House {
    pub app: Data<App>,
    pub partner: String,
    /// Of a partner without shops.
    pub other_partner: String,
    /// Of Lungo Central.
    pub shop: String,
    /// Of Lungo Station, of the same partner.
    pub other_shop: String,
    pub admin: String,
    _claims: Claims,
    pub directory: tempfile::TempDir,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// Null if there was no body; text that is no JSON is a string.
    pub body: Value,
}

impl Answer {
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The pointers of all faults that were told.
    pub fn pointers(&self) -> Vec<&str> {
        let faults = self.body["errors"].as_array().into_iter().flatten();
        faults.map(|fault| fault["pointer"].as_str().unwrap_or_default()).collect()
    }
}

impl House {
    pub async fn open() -> Self {
        Self::open_with(&[]).await
    }

    /// The same with these flags.
    pub async fn open_with(flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let command = || Settings::augment_args(Command::new("serve"));
        let matches = command().get_matches_from([&["serve"], flags].concat());
        let settings = Settings::from_arg_matches(&matches).unwrap();
        let options = Options {
            policy: Policy::default(),
            readers: 1,
            queue: 64,
            local_queue: 1,
            commit_patience: std::time::Duration::from_secs(10),
            replica_lag: None,
            durability: None,
            max_staleness: std::time::Duration::from_millis(100),
            clock: now,
            follow_clock: crate::clock::follow,
        };
        let (store, claims) = Store::open(directory.path(), options).unwrap();
        let other = Partner { partner_id: PartnerId::new(), name: "Other".into(), created_at: now() };
        let mut keys = Vec::new();
        let mut add = |owner: Owner| {
            let secret = owner.kind().generate();
            let (label, hash) = (owner.kind().to_string(), keys::hash(&secret));
            keys.push(StoredKey { key_id: Uuid::now_v7(), owner, hash, label, created_at: now(), revoked_at: None });
            secret
        };
        let partner = add(Owner::Partner(demo::PARTNER));
        let shop = add(Owner::Shop { shop_id: demo::LUNGO_CENTRAL, partner_id: demo::PARTNER });
        let other_shop = add(Owner::Shop { shop_id: demo::LUNGO_STATION, partner_id: demo::PARTNER });
        let admin = add(Owner::Admin);
        let other_partner = add(Owner::Partner(other.partner_id));
        let of_the_other = keys.pop().unwrap();
        assert!(store.seed(demo::demo(), keys, now()).await.unwrap());
        store.put_partner(other).await.unwrap();
        assert!(store.add_key(of_the_other, None).await.unwrap());
        let expectations = Expectations {
            authorization: Duration::seconds(1),
            payment_action: Duration::seconds(25),
            acceptance: Duration::seconds(25),
            queue: Duration::seconds(90),
            collection: Duration::seconds(180),
            simulated_making: None,
        };
        let shown = in_force(&command(), &command(), &matches);
        let app = Data::new(App::new(store, settings, shown, expectations, PaymentDoors::default()).await.unwrap());
        Self { app, partner, other_partner, shop, other_shop, admin, _claims: claims, directory }
    }

    /// Sends a request with this key; with none if it is empty.
    pub async fn send(&self, request: TestRequest, key: &str) -> Answer {
        let service = test::init_service(
            actix_web::App::new()
                .wrap(from_fn(edge::serve))
                .app_data(self.app.clone())
                .app_data(Data::from(self.app.keys.clone()))
                .configure(configure),
        )
        .await;
        let request = match key {
            "" => request,
            key => request.insert_header((header::AUTHORIZATION, format!("Bearer {key}"))),
        };
        // What a middleware refuses travels as an error up to the server, which makes it the answer.
        let answer = match test::try_call_service(&service, request.to_request()).await {
            Ok(answered) => answered.into_parts().1.map_into_boxed_body(),
            Err(refused) => refused.error_response(),
        };
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let bytes = answer.into_body().try_into_bytes().expect("answers are not streamed");
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        let body =
            if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap_or_else(|_| text()) };
        Answer { status, headers, body }
    }

    pub async fn get(&self, key: &str, uri: &str) -> Answer {
        self.send(TestRequest::get().uri(uri), key).await
    }

    pub async fn post(&self, key: &str, uri: &str, body: Value) -> Answer {
        self.send(TestRequest::post().uri(uri).set_json(body), key).await
    }

    pub async fn put(&self, key: &str, uri: &str, body: Value) -> Answer {
        self.send(TestRequest::put().uri(uri).set_json(body), key).await
    }

    /// A request for a lungo and a cookie, of a customer of its own.
    pub fn request(&self, shop_id: ShopId) -> NewOrder {
        let line = |item_id: &str| RequestedLine { item_id: item_id.into(), options: vec![], quantity: 1 };
        NewOrder {
            customer_id: CustomerId(format!("cus_{}", Uuid::now_v7().simple())),
            shop_id,
            lines: vec![line("lungo"), line("cookie")],
            total: None,
            payment_method: "pm_card_visa".into(),
            pickup: Pickup::default(),
            on_unavailable: OnUnavailable::RemoveLine,
            metadata: Default::default(),
            replaces_order_id: None,
        }
    }

    /// A new order of the demo partner.
    pub async fn place(&self, request: NewOrder) -> OrderId {
        self.place_at(request, now()).await
    }

    /// The same at another time.
    pub async fn place_at(&self, request: NewOrder, now: Instant) -> OrderId {
        let order_id = OrderId::new();
        let catalogue = self.app.catalogue().verdict(demo::PARTNER, &request, now, None);
        let accept = Accept {
            order_id,
            partner_id: demo::PARTNER,
            request,
            idempotency_key: None,
            seen: None,
            catalogue,
            draft: None,
            now,
        };
        self.app.store.accept(accept).await.unwrap().order.expect("it is accepted");
        order_id
    }

    /// An order at Lungo Central that is paid for and waits for the shop.
    pub async fn awaiting(&self) -> OrderId {
        let id = self.place(self.request(demo::LUNGO_CENTRAL)).await;
        self.authorize(id).await;
        id
    }

    /// The gateway holds the money.
    pub async fn authorize(&self, id: OrderId) -> Order {
        let (order, _) = self.app.store.order(id).await.unwrap().unwrap();
        let amount = order.placed.total.amount;
        let reference = "ch_1".to_owned();
        self.hear(id, Actor::Gateway, Event::PaymentAuthorized { amount, reference, capture_before: None }).await
    }

    /// Something happens to an order.
    pub async fn hear(&self, order_id: OrderId, actor: Actor, event: Event) -> Order {
        let sender = match actor {
            Actor::Partner => Sender::Partner,
            Actor::Worker => Sender::Worker,
            Actor::Gateway => Sender::Gateway,
            Actor::Timer => Sender::Timer,
            Actor::Shop => Sender::Shop,
            Actor::Operator => panic!("operators give commands"),
        };
        let word = Word { order_id, scope: Scope::Everyone, sender, event, version: None, now: now() };
        match self.app.store.receive(word).await.unwrap() {
            Received::Changed(order, _) => *order,
            other => panic!("{other:?}"),
        }
    }
}

/// A time from now, as the API writes it.
pub fn in_minutes(minutes: i64) -> String {
    let at: Instant = now() + Duration::minutes(minutes);
    at.to_rfc3339()
}
