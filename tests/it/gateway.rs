//! What every payment gateway must do, whoever holds the money: one suite, with the simulator in this process, and
//! with it behind HTTP and the adapter for Stripe.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use lungo::config::Secret;
use lungo::gateway::simulator::{ByHand, Entry, GatewaySimulator};
use lungo::gateway::stripe::Stripe;
use lungo::gateway::{Charge, Gateway, HeldStatus, Trouble};
use lungo::order::{Money, OrderId};
use lungo::simulator::Speed;
use lungo::simulator::server::{self, Subscriber};
use rstest::rstest;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Repeats a call that is put off or said nothing about, as the worker would.
macro_rules! insist {
    ($call:expr) => {{
        let mut tries = 0;
        loop {
            tries += 1;
            match $call.await {
                Ok(done) => break done,
                Err(Trouble::Later { after, .. }) => assert_eq!(after, Duration::from_secs(1)),
                Err(trouble) => assert!(!matches!(trouble, Trouble::Refused(_)), "{trouble}"),
            }
            assert!(tries < 8, "it never gets anywhere");
        }
    }};
}

/// How the gateway is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    InProcess,
    OverHttp,
}

/// A gateway with a fresh ledger, and the simulator behind it as its witness.
pub struct Counterpart {
    pub port: Arc<dyn Gateway>,
    pub witness: Arc<GatewaySimulator>,
    /// Where its API is, if it is reached over HTTP.
    pub url: Option<String>,
    _stop: Option<oneshot::Sender<()>>,
}

/// Longer than any answer takes that comes.
const PATIENCE: Duration = Duration::from_secs(2);
const TOTAL: i64 = 1250;

impl Counterpart {
    pub fn start(way: Way) -> Self {
        Self::start_with(way, None)
    }

    pub fn start_with(way: Way, subscriber: Option<Subscriber>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let witness = Arc::new(GatewaySimulator::open(None, Speed::Zero, url.clone()).expect("in memory"));
        match way {
            Way::InProcess => Self { port: witness.clone(), witness, url: None, _stop: None },
            Way::OverHttp => {
                let (stop, stopped) = oneshot::channel::<()>();
                let served = server::serve(listener, witness.clone(), subscriber, async { drop(stopped.await) });
                // The server's threads end with it: a runtime of its own outlives no test.
                std::thread::spawn(move || {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                    runtime.block_on(served).expect("it serves");
                });
                let key: Secret = "sk_test_contract".parse().expect("any text is a secret");
                let port = Arc::new(Stripe::new(&url, key, "here".into(), None, PATIENCE).expect("a client"));
                Self { port, witness, url: Some(url), _stop: Some(stop) }
            }
        }
    }

    /// What the gateway's own ledger has of an order.
    pub fn entry(&self, order_id: OrderId) -> Option<Entry> {
        let mut entries = self.witness.snapshot().expect("readable");
        entries.retain(|entry| entry.held.order_id == order_id);
        assert!(entries.len() <= 1, "one order has several charges: {entries:#?}");
        entries.pop()
    }

    /// A charge that nothing is held for yet, with the name by which to ask for it where the gateway gives one.
    async fn prepared(&self, method: &str) -> Charge {
        let charge = charge(method);
        if self.url.is_none() {
            return charge;
        }
        let held = insist!(self.port.authorize(&charge));
        assert_eq!(held.status, HeldStatus::Prepared);
        Charge { reference: Some(held.reference), ..charge }
    }

    /// A charge that is authorized, or as far as its method goes.
    async fn authorized(&self, method: &str) -> Charge {
        let charge = self.prepared(method).await;
        assert_eq!(self.port.authorize(&charge).await.expect("an answer").total, charge.total);
        charge
    }

    /// A person does something at the gateway itself.
    async fn by_hand(&self, charge: &Charge, what: ByHand) {
        let key = charge.reference.as_ref().unwrap_or(&charge.key);
        self.witness.by_hand(key, what).await.unwrap_or_else(|trouble| panic!("{what:?}: {trouble}"));
    }

    /// What was taken and given back, as the port says.
    async fn amounts(&self, charge: &Charge) -> (i64, i64) {
        let held = self.port.look_up(charge).await.expect("an answer").expect("it is known");
        (held.captured, held.refunded)
    }

    async fn status(&self, charge: &Charge) -> Option<HeldStatus> {
        self.port.look_up(charge).await.expect("an answer").map(|held| held.status)
    }
}

fn charge(method: &str) -> Charge {
    let order_id = OrderId::new();
    Charge {
        key: format!("{order_id}/authorize/1"),
        order_id,
        total: Money { amount: TOTAL, currency: "EUR".parse().unwrap() },
        method: method.into(),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        reference: None,
    }
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(answer: Result<T, Trouble>) {
    assert!(matches!(answer, Err(Trouble::Refused(_))), "{answer:?}");
}

macro_rules! contract {
    ($($test:ident($gateway:ident) $body:block)*) => {$(
        #[rstest]
        #[tokio::test]
        async fn $test(#[values(Way::InProcess, Way::OverHttp)] way: Way) {
            let $gateway = Counterpart::start(way);
            $body
        }
    )*};
}

contract! {
    what_is_authorized_can_be_captured_in_part_and_refunded_in_steps(gateway) {
        let charge = gateway.authorized("pm_card_visa").await;
        let held = gateway.port.look_up(&charge).await.unwrap().unwrap();
        assert_eq!((held.status, held.captured, held.order_id), (HeldStatus::Authorized, 0, charge.order_id));
        assert!(held.capture_before.is_some());
        for _ in 0..2 {
            let held = gateway.port.capture(&charge, 1000).await.unwrap();
            assert_eq!((held.status, held.captured, held.refunded), (HeldStatus::Captured, 1000, 0));
        }
        for (total, refunded) in [(300, 300), (300, 300), (200, 300), (1000, 1000), (1000, 1000)] {
            assert_eq!(gateway.port.refund(&charge, total).await.unwrap().refunded, refunded);
            assert_eq!(gateway.port.look_up(&charge).await.unwrap().unwrap().refunded, refunded);
        }
        assert_refused(gateway.port.refund(&charge, 1001).await);
        let held = gateway.entry(charge.order_id).unwrap().held;
        assert_eq!((held.captured, held.refunded), (1000, 1000));
    }

    nothing_is_captured_beyond_what_is_held(gateway) {
        let charge = gateway.authorized("pm_card_visa").await;
        for wrong in [-1, 0, TOTAL + 1] {
            // Over HTTP it is a request that the service should never have made.
            let answer = gateway.port.capture(&charge, wrong).await;
            assert!(matches!(answer, Err(Trouble::Refused(_) | Trouble::Invalid(_))), "{answer:?}");
        }
        assert_refused(gateway.port.refund(&charge, 1).await);
        assert_eq!(gateway.status(&charge).await, Some(HeldStatus::Authorized));
    }

    what_was_captured_is_not_voided(gateway) {
        let charge = gateway.authorized("pm_card_visa").await;
        gateway.port.capture(&charge, TOTAL).await.unwrap();
        assert_refused(gateway.port.void(&charge).await);
        assert_eq!(gateway.status(&charge).await, Some(HeldStatus::Captured));
    }

    what_was_voided_stays_so(gateway) {
        let charge = gateway.authorized("pm_card_visa").await;
        for _ in 0..2 {
            assert_eq!(gateway.port.void(&charge).await.unwrap().status, HeldStatus::Voided);
        }
        assert_refused(gateway.port.capture(&charge, TOTAL).await);
        // Its authorization was under way for long, and comes once more.
        let _ = gateway.port.authorize(&charge).await;
        assert_eq!(gateway.status(&charge).await, Some(HeldStatus::Voided));
        assert_eq!(gateway.entry(charge.order_id).unwrap().held.status, HeldStatus::Voided);
    }

    a_void_binds_what_was_never_seen(gateway) {
        let charge = charge("pm_card_visa");
        assert_eq!(gateway.port.look_up(&charge).await, Ok(None));
        assert_eq!(gateway.port.void(&charge).await.unwrap().status, HeldStatus::Voided);
        // The request that was lost arrives after all; and somebody goes on with what it says.
        let late = gateway.port.authorize(&charge).await.unwrap();
        let named = Charge { reference: Some(late.reference), ..charge.clone() };
        let _ = gateway.port.authorize(&named).await;
        assert_eq!(gateway.entry(charge.order_id).unwrap().held.status, HeldStatus::Voided);
    }

    a_list_has_what_was_made_in_its_time_and_by_nobody_else(gateway) {
        let began = chrono::Utc::now() - chrono::TimeDelta::seconds(1);
        let mut made = Vec::new();
        // More than one page.
        for _ in 0..120 {
            made.push(gateway.authorized("pm_card_visa").await.order_id);
        }
        gateway.witness.prepare(&charge("pm_card_visa"), Some("elsewhere".into())).await.unwrap();
        let listed = async |made: &std::ops::Range<lungo::order::Instant>| {
            let (mut orders, mut after) = (Vec::new(), None::<String>);
            loop {
                let page = gateway.port.list(made, after.as_deref()).await.unwrap();
                assert_eq!(page.unclear, 0);
                orders.extend(page.held.iter().map(|held| held.order_id));
                after = page.next;
                if after.is_none() {
                    orders.sort();
                    break orders;
                }
            }
        };
        let now = chrono::Utc::now();
        made.sort();
        // In this process nobody else has the ledger.
        if gateway.url.is_some() {
            assert_eq!(listed(&(began..now)).await, made);
        }
        assert_eq!(listed(&(began - chrono::TimeDelta::hours(1)..began)).await, []);
    }

    a_decline_is_final_and_says_why(gateway) {
        for (method, why) in [("pm_declined", "card_declined"), ("pm_who_knows", "unknown_method")] {
            let charge = gateway.prepared(method).await;
            for _ in 0..2 {
                let held = gateway.port.authorize(&charge).await.unwrap();
                assert_eq!((held.status, held.refusal.as_deref()), (HeldStatus::Declined, Some(why)));
            }
            assert_eq!(gateway.status(&charge).await, Some(HeldStatus::Declined));
            assert_refused(gateway.port.capture(&charge, TOTAL).await);
            gateway.port.void(&charge).await.unwrap();
        }
    }

    a_repeated_authorization_holds_once(gateway) {
        let charge = gateway.authorized("pm_card_visa").await;
        let once = gateway.port.authorize(&charge).await.unwrap();
        assert_eq!(gateway.port.authorize(&charge).await.unwrap(), once);
        assert_eq!(gateway.entry(charge.order_id).unwrap().held.status, HeldStatus::Authorized);
    }

    the_bank_asks_and_the_customer_answers(gateway) {
        for (approves, status) in [(true, HeldStatus::Authorized), (false, HeldStatus::Declined)] {
            let charge = gateway.authorized("pm_action_required").await;
            let held = gateway.port.look_up(&charge).await.unwrap().unwrap();
            assert_eq!(held.status, HeldStatus::ActionRequired);
            let page = held.action.and_then(|action| action.url).expect("a page");
            let key = page.split_once("/simulator/bank/").expect("of the simulated bank").1;
            assert_refused(gateway.port.capture(&charge, TOTAL).await);
            gateway.witness.answer_bank(key, approves).await.unwrap().expect("it asks");
            assert_eq!(gateway.status(&charge).await, Some(status));
        }
        let left = gateway.authorized("pm_action_required").await;
        assert_eq!(gateway.port.void(&left).await.unwrap().status, HeldStatus::Voided);
    }

    silence_holds_nothing_and_can_be_voided(gateway) {
        let charge = gateway.prepared("pm_silent").await;
        let silence = timeout(PATIENCE * 2, gateway.port.authorize(&charge)).await;
        assert!(matches!(silence, Err(_) | Ok(Err(Trouble::Unanswered(_)))), "{silence:?}");
        gateway.port.void(&charge).await.unwrap();
        assert_eq!(gateway.entry(charge.order_id).unwrap().held.status, HeldStatus::Voided);
    }

    a_lost_answer_is_found_out(gateway) {
        for method in ["pm_timeout_after_charge", "pm_error_after_charge"] {
            let charge = gateway.prepared(method).await;
            let lost = timeout(PATIENCE * 2, gateway.port.authorize(&charge)).await;
            assert!(matches!(lost, Err(_) | Ok(Err(Trouble::Unanswered(_)))), "{lost:?}");
            assert_eq!(gateway.status(&charge).await, Some(HeldStatus::Authorized), "{method}");
            assert_eq!(gateway.port.capture(&charge, TOTAL).await.unwrap().captured, TOTAL);
        }
    }

    who_fails_every_second_time_gets_there(gateway) {
        for method in ["pm_flaky", "pm_busy"] {
            let charge = gateway.prepared(method).await;
            assert_eq!(insist!(gateway.port.authorize(&charge)).status, HeldStatus::Authorized);
            assert_eq!(insist!(gateway.port.capture(&charge, TOTAL)).captured, TOTAL);
            assert_eq!(insist!(gateway.port.refund(&charge, 100)).refunded, 100);
            let other = gateway.prepared(method).await;
            assert_eq!(insist!(gateway.port.void(&other)).status, HeldStatus::Voided);
        }
    }

    what_is_done_by_hand_counts_whoever_did_it(gateway) {
        let charge = gateway.authorized("pm_card_visa").await;
        gateway.by_hand(&charge, ByHand::Capture(1000)).await;
        assert_eq!(gateway.amounts(&charge).await, (1000, 0));
        gateway.by_hand(&charge, ByHand::Refund(100)).await;
        assert_eq!(gateway.amounts(&charge).await, (1000, 100), "though only a part was taken");
        assert_eq!(gateway.port.refund(&charge, 300).await.unwrap().refunded, 300);
        assert_eq!(gateway.amounts(&charge).await, (1000, 300));
        gateway.by_hand(&charge, ByHand::Refund(50)).await;
        assert_eq!(gateway.port.refund(&charge, 300).await.unwrap().refunded, 350, "it was more already");
        for what in [ByHand::Cancel, ByHand::Lapse] {
            let charge = gateway.authorized("pm_card_visa").await;
            gateway.by_hand(&charge, what).await;
            assert_eq!(gateway.status(&charge).await, Some(HeldStatus::Voided));
            assert_refused(gateway.port.capture(&charge, TOTAL).await);
        }
    }

    a_refund_that_failed_is_asked_for_anew(gateway) {
        let at_once = gateway.authorized("pm_refund_fails").await;
        gateway.port.capture(&at_once, TOTAL).await.unwrap();
        assert_eq!(gateway.port.refund(&at_once, 300).await.unwrap().refunded, 0, "it failed at once");
        assert_eq!(gateway.port.refund(&at_once, 300).await.unwrap().refunded, 300);
        let later = gateway.authorized("pm_card_visa").await;
        gateway.port.capture(&later, TOTAL).await.unwrap();
        assert_eq!(gateway.port.refund(&later, 300).await.unwrap().refunded, 300);
        gateway.by_hand(&later, ByHand::FailRefund).await;
        assert_eq!(gateway.amounts(&later).await, (TOTAL, 0));
        assert_eq!(gateway.port.refund(&later, 300).await.unwrap().refunded, 300);
        assert_eq!(gateway.amounts(&later).await, (TOTAL, 300));
    }

    a_payment_has_as_many_refunds_as_it_takes(gateway) {
        let charge = gateway.authorized("pm_card_visa").await;
        gateway.port.capture(&charge, 1000).await.unwrap();
        for step in 1..=13 {
            assert_eq!(gateway.port.refund(&charge, 10 * step).await.unwrap().refunded, 10 * step);
        }
        gateway.by_hand(&charge, ByHand::FailRefund).await;
        assert_eq!(gateway.port.refund(&charge, 130).await.unwrap().refunded, 130);
        assert_eq!(gateway.amounts(&charge).await, (1000, 130));
    }

    many_at_once_move_money_once(gateway) {
        let charge = gateway.authorized("pm_card_visa").await;
        let at_once = |act: fn(Arc<dyn Gateway>, Charge) -> tokio::task::JoinHandle<bool>| {
            let acts: Vec<_> = (0..8).map(|_| act(gateway.port.clone(), charge.clone())).collect();
            futures_util::future::join_all(acts)
        };
        let captured = at_once(|port, charge| tokio::spawn(async move { port.capture(&charge, 1000).await.is_ok() })).await;
        assert!(captured.into_iter().any(|done| done.unwrap()));
        let refunded = at_once(|port, charge| tokio::spawn(async move { port.refund(&charge, 400).await.is_ok() })).await;
        assert!(refunded.into_iter().any(|done| done.unwrap()));
        let held = gateway.entry(charge.order_id).unwrap().held;
        assert_eq!((held.captured, held.refunded), (1000, 400));
    }
}

/// A refund of 500 was sent, and its answer was lost. A person gave 100 back since.
#[rstest]
#[case::before_its_repetition(true, 600)]
#[case::after_its_repetition(false, 500)]
#[tokio::test]
async fn a_refund_that_lands_late_is_not_given_beside_its_repetition(#[case] is_first: bool, #[case] in_all: i64) {
    let gateway = Counterpart::start(Way::OverHttp);
    let charge = gateway.authorized("pm_card_visa").await;
    gateway.port.capture(&charge, TOTAL).await.unwrap();
    let lands = async || {
        let (reference, order_id) = (charge.reference.as_ref().unwrap(), charge.order_id);
        let lost = reqwest::Client::new()
            .post(format!("{}/v1/refunds", gateway.url.as_ref().unwrap()))
            .bearer_auth("sk_test_contract")
            .header("idempotency-key", format!("{}/refund/0", charge.key))
            .body(format!("payment_intent={reference}&amount=500&metadata%5Border_id%5D={order_id}"));
        lost.send().await.unwrap().status().as_u16()
    };
    if is_first {
        assert_eq!(lands().await, 200);
    }
    gateway.by_hand(&charge, ByHand::Refund(100)).await;
    assert_eq!(gateway.port.refund(&charge, 500).await.unwrap().refunded, in_all);
    if !is_first {
        assert_eq!(lands().await, 400, "its key belongs to the repetition");
    }
    assert_eq!(gateway.amounts(&charge).await, (TOTAL, in_all));
}

#[tokio::test]
async fn the_simulators_server_keeps_its_answers_and_its_distance() {
    let gateway = Counterpart::start(Way::OverHttp);
    let http = reqwest::Client::new();
    let url = format!("{}/v1/payment_intents", gateway.url.as_deref().expect("over HTTP"));
    let post = async |key: &str, idempotency: &str, body: &'static str| {
        let request = http.post(&url).bearer_auth(key).header("idempotency-key", idempotency).body(body);
        let answer = request.send().await.expect("an answer");
        let is_replayed = answer.headers().contains_key("idempotent-replayed");
        let status = answer.status().as_u16();
        (status, is_replayed, answer.json::<serde_json::Value>().await.expect("JSON"))
    };
    let body = "amount=300&currency=eur&capture_method=manual&payment_method=pm_card_visa";
    let first = post("sk_test_1", "k1", body).await;
    assert_eq!((first.0, first.1, &first.2["status"]), (200, false, &"requires_confirmation".into()));
    assert_eq!(post("sk_test_1", "k1", body).await, (200, true, first.2.clone()));
    assert_ne!(post("sk_test_1", "k2", body).await.2["id"], first.2["id"]);
    let other =
        post("sk_test_1", "k1", "amount=301&currency=eur&capture_method=manual&payment_method=pm_card_visa").await;
    assert_eq!((other.0, &other.2["error"]["type"]), (400, &"idempotency_error".into()));
    for (wrong, code) in [
        ("", "parameter_missing"),
        ("amount=lots", "parameter_invalid_integer"),
        ("amount=1&currency=coffee&capture_method=manual&payment_method=x", "parameter_invalid"),
        ("amount=1&currency=eur&capture_method=automatic&payment_method=x", "parameter_invalid"),
        ("tip=1", "parameter_unknown"),
    ] {
        let refused = post("sk_test_1", wrong, wrong).await;
        assert_eq!((refused.0, &refused.2["error"]["code"]), (400, &code.into()), "{wrong}");
    }
    for key in ["", "sk_test_", "sk_live_1", "pk_test_1"] {
        assert_eq!(post(key, "k3", body).await.0, 401, "{key}");
    }
}
