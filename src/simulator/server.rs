//! The simulated gateway as a server of its own, behind the part of Stripe's HTTP API that `gateway::stripe` uses:
//! PaymentIntents with manual capture, refunds, idempotency keys, test keys, and signed callbacks. What people and banks do
//! there by hand is done with `POST /simulator/payments/{id}/{cancel, capture, refund, fail_refund, lapse}`. It keeps the
//! simulator's ledger, which has minor units, while requests and answers have Stripe's. Its payment methods decide what
//! becomes of a payment.
//!
//! Answers are stored under their keys for as long as the process lives.

mod callbacks;
mod listing;
mod objects;

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpResponseBuilder, HttpServer};
use async_trait::async_trait;
use serde_json::{Value, json};
use uuid::Uuid;

use self::callbacks::Callbacks;
pub use self::callbacks::Subscriber;
use crate::app::Bank;
use crate::gateway::simulator::{ByHand, Delivery, Entry, GatewaySimulator, SLOW};
use crate::gateway::stripe::{INSTALLATION, ORDER_ID, units};
use crate::gateway::{Charge, Gateway, HeldStatus, Trouble};
use crate::order::{Currency, Hash, Money, OrderId};
use crate::web::bank;
use crate::web::problem::Problem;

/// Bytes a request may hold.
const LARGEST: usize = 64 * 1024;
/// When the first refund of `pm_refund_fails_later` fails.
const LATER: Duration = Duration::from_secs(1);
/// Keys that are remembered: a simulator is not for ever.
const MOST_KEYS: usize = 1_000_000;

/// Serves on that listener until `stop` ends. Whatever changes is told to the subscriber.
///
/// # Errors
/// When it cannot listen.
pub async fn serve(
    listener: TcpListener,
    gateway: Arc<GatewaySimulator>,
    subscriber: Option<Subscriber>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let callbacks = subscriber.map(Callbacks::new).transpose()?;
    let desk = Data::new(Desk { gateway, answers: Mutex::default(), callbacks });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(desk.clone())
            .app_data(web::PayloadConfig::new(LARGEST))
            .route("/v1/payment_intents", web::get().to(listing::list))
            .route("/v1/payment_intents/{id}", web::get().to(retrieve))
            .route("/v1/refunds", web::get().to(listing::list_refunds))
            .route("/v1/refunds/{id}", web::get().to(retrieve_refund))
            .route("/v1/{what:.*}", web::post().to(post))
            .route("/simulator/payments/{id}/{what}", web::post().to(by_hand))
            .route("/simulator/bank/{key:.*}", web::get().to(get_challenge))
            .route("/simulator/bank/{key:.*}", web::post().to(answer_challenge))
            .default_service(web::to(async || Answer::of(&Refusal::missing()).send()))
    })
    .workers(2)
    .shutdown_timeout(1)
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    tokio::select! {
        ended = server => ended,
        () = stop => {
            // Whoever waits for an answer that never comes is not waited for.
            handle.stop(false).await;
            Ok(())
        }
    }
}

/// What the requests share.
struct Desk {
    gateway: Arc<GatewaySimulator>,
    answers: Mutex<HashMap<String, Stored>>,
    callbacks: Option<Callbacks>,
}

/// What stands under an Idempotency-Key: the request, and its answer once there is one.
struct Stored {
    request: Hash,
    answer: Option<Answer>,
}

#[derive(Clone)]
struct Answer {
    status: u16,
    body: Value,
    is_replayed: bool,
}

impl Answer {
    fn ok(body: Value) -> Self {
        Self { status: 200, body, is_replayed: false }
    }

    fn of(refusal: &Refusal) -> Self {
        Self { status: refusal.status, body: refusal.body(), is_replayed: false }
    }

    /// A request that did not get anywhere can be repeated under its key.
    fn is_kept(&self) -> bool {
        self.status < 500 && ![401, 409, 429].contains(&self.status)
    }

    fn send(self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).expect("the statuses here are real ones");
        let mut response = HttpResponseBuilder::new(status);
        if self.is_replayed {
            response.insert_header(("idempotent-replayed", "true"));
        }
        if self.status == 429 {
            response.insert_header(("retry-after", "1"));
        }
        response.insert_header(("request-id", format!("req_{}", Uuid::now_v7().simple()))).json(self.body)
    }
}

/// An error of the API.
struct Refusal {
    status: u16,
    kind: &'static str,
    code: &'static str,
    decline_code: Option<String>,
    intent: Option<Value>,
}

impl Refusal {
    fn new(status: u16, kind: &'static str, code: &'static str) -> Self {
        Self { status, kind, code, decline_code: None, intent: None }
    }

    fn missing() -> Self {
        Self::new(404, "invalid_request_error", "resource_missing")
    }

    fn invalid(code: &'static str) -> Self {
        Self::new(400, "invalid_request_error", code)
    }

    fn unexpected_state() -> Self {
        Self::invalid("payment_intent_unexpected_state")
    }

    fn broken() -> Self {
        Self::new(500, "api_error", "internal")
    }

    fn of(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(_) => Self::unexpected_state(),
            Trouble::Invalid(_) => Self::invalid("parameter_invalid"),
            Trouble::Later { .. } => Self::new(429, "rate_limit_error", "rate_limit"),
            Trouble::Unavailable(_) | Trouble::Unanswered(_) => Self::broken(),
        }
    }

    fn body(&self) -> Value {
        let Self { kind, code, decline_code, intent, .. } = self;
        json!({"error": {"type": kind, "code": code, "decline_code": decline_code, "payment_intent": intent}})
    }
}

/// The parameters of a request.
struct Form(Vec<(String, String)>);

impl Form {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn amount(&self, name: &str) -> Result<Option<i64>, Refusal> {
        self.get(name).map(|text| text.parse().map_err(|_| Refusal::invalid("parameter_invalid_integer"))).transpose()
    }

    /// How many objects a page holds.
    fn limit(&self) -> Result<usize, Refusal> {
        Ok(usize::try_from(self.amount("limit")?.unwrap_or(10)).unwrap_or_default().clamp(1, 100))
    }

    /// An amount of this currency, from what Stripe would write.
    fn money(&self, name: &str, currency: Currency) -> Result<Option<i64>, Refusal> {
        let Some(written) = self.amount(name)? else { return Ok(None) };
        let amount = units::read(written, currency).filter(|_| units::is_taken(written, currency));
        amount.map(Some).ok_or_else(|| Refusal::invalid("invalid_charge_amount_no_decimal_compatible"))
    }

    fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        let is_known = |name: &String| name == "expand[]" || known.contains(&name.as_str());
        if self.0.iter().all(|(name, _)| is_known(name)) { Ok(()) } else { Err(Refusal::invalid("parameter_unknown")) }
    }
}

async fn retrieve(desk: Data<Desk>, request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    if !is_permitted(&request) {
        return unauthorized();
    }
    let answer = match desk.gateway.look_up(&named(&id, OrderId(Uuid::nil()))).await {
        Ok(_) => {
            desk.entry(&id).map_or_else(|refusal| Answer::of(&refusal), |entry| Answer::ok(objects::intent(&entry)))
        }
        Err(trouble) => Answer::of(&Refusal::of(trouble)),
    };
    answer.send()
}

async fn retrieve_refund(desk: Data<Desk>, request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    if !is_permitted(&request) {
        return unauthorized();
    }
    let refund = objects::refund_of(&id).and_then(|(key, n)| objects::refund(&desk.entry(key).ok()?, n));
    refund.map_or_else(|| Answer::of(&Refusal::missing()), Answer::ok).send()
}

/// What a person does in the gateway's dashboard, or a bank by itself.
async fn by_hand(
    desk: Data<Desk>,
    request: HttpRequest,
    what: web::Path<(String, String)>,
    body: Bytes,
) -> HttpResponse {
    if !is_permitted(&request) {
        return unauthorized();
    }
    let (id, what) = what.into_inner();
    let form = Form(form_urlencoded::parse(&body).into_owned().collect());
    let amount = || form.amount("amount")?.ok_or_else(|| Refusal::invalid("parameter_missing"));
    let what = match what.as_str() {
        "cancel" => Ok(ByHand::Cancel),
        "capture" => amount().map(ByHand::Capture),
        "refund" => amount().map(ByHand::Refund),
        "fail_refund" => Ok(ByHand::FailRefund),
        "lapse" => Ok(ByHand::Lapse),
        _ => Err(Refusal::missing()),
    };
    let done = async { desk.gateway.by_hand(&id, what?).await.map_err(Refusal::of).and_then(|_| desk.changed(&id)) };
    done.await.map_or_else(|refusal| Answer::of(&refusal), |(intent, _)| Answer::ok(intent)).send()
}

/// Every POST goes through the stored answers; what it does is done to its end, whether or not the caller still listens.
async fn post(desk: Data<Desk>, request: HttpRequest, what: web::Path<String>, body: Bytes) -> HttpResponse {
    if !is_permitted(&request) {
        return unauthorized();
    }
    let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    let asked = Hash::of(&(what.as_str(), &body[..]));
    if let Some(key) = &key
        && let Some(answer) = desk.stored(key, asked)
    {
        return answer.send();
    }
    let form = Form(form_urlencoded::parse(&body).into_owned().collect());
    let desk = desk.into_inner();
    let work = async move {
        let (answer, delivery) = match desk.carry_out(&what, &form, key.as_deref()).await {
            Ok((body, delivery)) => (Answer::ok(body), delivery),
            Err((refusal, delivery)) => (Answer::of(&refusal), delivery),
        };
        let answer = if delivery == Delivery::Error { Answer::of(&Refusal::broken()) } else { answer };
        let is_kept = delivery == Delivery::Error || answer.is_kept();
        if let Some(key) = key {
            desk.store(key, asked, is_kept.then(|| answer.clone()));
        }
        (answer, delivery)
    };
    match actix_web::rt::spawn(work).await {
        Ok((_, Delivery::Never)) => pending().await,
        Ok((answer, Delivery::Slow)) => {
            tokio::time::sleep(SLOW).await;
            answer.send()
        }
        Ok((answer, Delivery::Prompt | Delivery::Error)) => answer.send(),
        Err(_) => Answer::of(&Refusal::broken()).send(),
    }
}

type Done = Result<(Value, Delivery), (Refusal, Delivery)>;

impl Desk {
    /// The answer to a request whose key was seen before; otherwise the key belongs to this request from now on.
    fn stored(&self, key: &str, asked: Hash) -> Option<Answer> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match answers.get(key) {
            Some(stored) if stored.request != asked => {
                Some(Answer::of(&Refusal::new(400, "idempotency_error", "idempotency_key_reused")))
            }
            Some(Stored { answer: None, .. }) => {
                Some(Answer::of(&Refusal::new(409, "idempotency_error", "idempotency_key_in_use")))
            }
            Some(Stored { answer: Some(answer), .. }) => Some(Answer { is_replayed: true, ..answer.clone() }),
            None => {
                if answers.len() >= MOST_KEYS {
                    answers.clear();
                }
                answers.insert(key.to_owned(), Stored { request: asked, answer: None });
                None
            }
        }
    }

    fn store(&self, key: String, request: Hash, answer: Option<Answer>) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Some(answer) => drop(answers.insert(key, Stored { request, answer: Some(answer) })),
            None => drop(answers.remove(&key)),
        }
    }

    async fn carry_out(self: &Arc<Self>, what: &str, form: &Form, key: Option<&str>) -> Done {
        let parts: Vec<&str> = what.split('/').collect();
        let prompt = |refusal| (refusal, Delivery::Prompt);
        match parts[..] {
            ["payment_intents"] => self.create(form, key).await.map_err(prompt),
            ["payment_intents", id, "confirm"] => {
                let entry = self.entry(id).map_err(prompt)?;
                form.only(&["return_url"]).map_err(prompt)?;
                self.confirm(id, entry).await
            }
            ["payment_intents", id, "capture"] => self.capture(id, form).await.map_err(prompt),
            ["payment_intents", id, "cancel"] => self.cancel(id, form).await.map_err(prompt),
            ["refunds"] => self.refund(form).await.map_err(prompt),
            _ => Err(prompt(Refusal::missing())),
        }
    }

    async fn create(&self, form: &Form, key: Option<&str>) -> Result<(Value, Delivery), Refusal> {
        form.only(&[
            "amount",
            "currency",
            "capture_method",
            "confirm",
            "payment_method",
            "payment_method_types[]",
            ORDER_ID,
            INSTALLATION,
        ])?;
        let missing = || Refusal::invalid("parameter_missing");
        form.amount("amount")?.ok_or_else(missing)?;
        let currency = form.get("currency").ok_or_else(missing)?.to_uppercase();
        let currency: Currency = currency.parse().map_err(|_| Refusal::invalid("parameter_invalid"))?;
        if !currency.is_in_use() {
            return Err(Refusal::invalid("parameter_invalid"));
        }
        let amount = form.money("amount", currency)?.filter(|amount| *amount > 0).ok_or_else(missing)?;
        if form.get("capture_method") != Some("manual") || form.get("confirm").is_some_and(|text| text != "false") {
            return Err(Refusal::invalid("parameter_invalid"));
        }
        let chance = Uuid::now_v7().to_string();
        let id = format!("pi_{}", Hash::of_bytes(key.unwrap_or(&chance).as_bytes()).tag());
        let order_id = form.get(ORDER_ID).and_then(|id| id.parse().ok()).unwrap_or(OrderId(Uuid::nil()));
        let charge = Charge {
            total: Money { amount, currency },
            method: form.get("payment_method").ok_or_else(missing)?.to_owned(),
            ..named(&id, order_id)
        };
        let prepared = self.gateway.prepare(&charge, form.get(INSTALLATION).map(str::to_owned)).await;
        prepared.map_err(Refusal::of)?;
        Ok((objects::intent(&self.entry(&id)?), Delivery::Prompt))
    }

    async fn confirm(&self, id: &str, entry: Entry) -> Done {
        let unexpected = || (Refusal::unexpected_state(), Delivery::Prompt);
        let charge = entry.charge.filter(|_| entry.held.status == HeldStatus::Prepared).ok_or_else(unexpected)?;
        let (result, delivery) = self.gateway.charge(&charge).await;
        let held = result.map_err(|trouble| (Refusal::of(trouble), delivery))?;
        let (intent, _) = self.changed(id).map_err(|refusal| (refusal, delivery))?;
        if held.status != HeldStatus::Declined {
            return Ok((intent, delivery));
        }
        let declined = Refusal::new(402, "card_error", "card_declined");
        Err((Refusal { decline_code: held.refusal, intent: Some(intent), ..declined }, delivery))
    }

    async fn capture(&self, id: &str, form: &Form) -> Result<(Value, Delivery), Refusal> {
        form.only(&["amount_to_capture"])?;
        let held = self.entry(id)?.held;
        if held.status != HeldStatus::Authorized {
            return Err(Refusal::unexpected_state());
        }
        let amount = form.money("amount_to_capture", held.total.currency)?.unwrap_or(held.total.amount);
        self.gateway.capture(&named(id, held.order_id), amount).await.map_err(Refusal::of)?;
        self.changed(id)
    }

    async fn cancel(&self, id: &str, form: &Form) -> Result<(Value, Delivery), Refusal> {
        form.only(&["cancellation_reason"])?;
        let held = self.entry(id)?.held;
        if matches!(held.status, HeldStatus::Voided | HeldStatus::Captured) {
            return Err(Refusal::unexpected_state());
        }
        self.gateway.void(&named(id, held.order_id)).await.map_err(Refusal::of)?;
        self.changed(id)
    }

    async fn refund(self: &Arc<Self>, form: &Form) -> Result<(Value, Delivery), Refusal> {
        form.only(&["payment_intent", "amount", ORDER_ID])?;
        let id = form.get("payment_intent").ok_or_else(|| Refusal::invalid("parameter_missing"))?;
        let held = self.entry(id)?.held;
        let amount = form.money("amount", held.total.currency)?.unwrap_or(held.captured - held.refunded);
        if amount <= 0 {
            return Err(Refusal::invalid("parameter_invalid_integer"));
        }
        let is_ours = form.get(ORDER_ID).is_some();
        let given = self.gateway.give_back(id, is_ours, move |held| held.refunded.saturating_add(amount)).await;
        let entry = given.map_err(|trouble| match trouble {
            Trouble::Refused(_) => Refusal::invalid("charge_already_refunded"),
            other => Refusal::of(other),
        })?;
        self.changed(id)?;
        let method = entry.charge.as_ref().map(|charge| charge.method.as_str());
        if method == Some("pm_refund_fails_later") && entry.refunds.len() == 1 {
            let (desk, id) = (self.clone(), id.to_owned());
            actix_web::rt::spawn(async move {
                tokio::time::sleep(LATER).await;
                if desk.gateway.by_hand(&id, ByHand::FailRefund).await.is_ok() {
                    let _ = desk.changed(&id);
                }
            });
        }
        let refund = objects::refund(&entry, entry.refunds.len().saturating_sub(1)).ok_or_else(Refusal::broken)?;
        Ok((refund, Delivery::Prompt))
    }

    /// What has become of a payment, which the subscriber is told of.
    fn changed(&self, id: &str) -> Result<(Value, Delivery), Refusal> {
        let entry = self.entry(id)?;
        if let Some(callbacks) = &self.callbacks {
            callbacks.send(objects::event(&entry));
        }
        Ok((objects::intent(&entry), Delivery::Prompt))
    }

    fn entry(&self, id: &str) -> Result<Entry, Refusal> {
        let found = self.gateway.entry(id).map_err(Refusal::of)?;
        found.ok_or_else(Refusal::missing)
    }
}

#[async_trait]
impl Bank for Desk {
    async fn asks(&self, key: &str) -> Result<Option<Money>, String> {
        let entry = self.gateway.entry(key).map_err(|trouble| trouble.to_string())?;
        let held = entry.map(|entry| entry.held).filter(|held| held.status == HeldStatus::ActionRequired);
        Ok(held.map(|held| held.total))
    }

    async fn answer(&self, key: &str, approve: bool) -> Result<bool, String> {
        let held = self.gateway.answer_bank(key, approve).await.map_err(|trouble| trouble.to_string())?;
        if held.is_some() {
            let _ = self.changed(key);
        }
        Ok(held.is_some())
    }
}

async fn get_challenge(desk: Data<Desk>, key: web::Path<String>) -> Result<HttpResponse, Problem> {
    bank::show(&**desk, &key).await
}

async fn answer_challenge(
    desk: Data<Desk>,
    key: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    bank::hear(&**desk, &key, &request, payload).await
}

/// A charge by nothing but its name.
fn named(id: &str, order_id: OrderId) -> Charge {
    Charge {
        key: id.to_owned(),
        order_id,
        total: Money { amount: 0, currency: "XXX".parse().expect("ISO 4217 has a code for no currency") },
        method: String::new(),
        traceparent: None,
        reference: None,
    }
}

/// Test keys only: nobody should try a live one here.
fn is_permitted(request: &HttpRequest) -> bool {
    let given = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let key = given.and_then(|value| value.strip_prefix("Bearer "));
    key.is_some_and(|key| {
        ["sk_test_", "rk_test_"].iter().any(|kind| key.strip_prefix(kind).is_some_and(|k| !k.is_empty()))
    })
}

fn unauthorized() -> HttpResponse {
    Answer::of(&Refusal::new(401, "invalid_request_error", "api_key_invalid")).send()
}
