//! What every caller of the simulated gateway may rely on, one promise a test.

use std::fs::{self, OpenOptions};
use std::io::Write;

use chrono::TimeDelta;
use rstest::rstest;
use tokio::time::{Instant as Clock, timeout};

use super::ledger::lapsed;
use super::*;
use crate::order::{Money, OrderId};

const PATIENCE: Duration = Duration::from_secs(3600);

fn charge(method: &str) -> Charge {
    let order_id = OrderId::new();
    Charge {
        key: format!("{order_id}/authorize/1"),
        order_id,
        total: Money { amount: 1250, currency: "EUR".parse().unwrap() },
        method: method.into(),
        traceparent: None,
        reference: None,
    }
}

fn in_memory() -> GatewaySimulator {
    GatewaySimulator::open(None, Speed::Zero, "http://localhost:8080/".into()).unwrap()
}

fn on_file(path: &Path) -> GatewaySimulator {
    GatewaySimulator::open(Some(path), Speed::Zero, "http://localhost:8080".into()).unwrap()
}

fn is_refused<T>(answer: Result<T, Trouble>) -> bool {
    matches!(answer, Err(Trouble::Refused(_)))
}

#[rstest]
#[case("pm_card_visa", HeldStatus::Authorized, None)]
#[case("pm_declined", HeldStatus::Declined, Some("card_declined"))]
#[case("pm_action_required", HeldStatus::ActionRequired, None)]
#[case("pm_who_knows", HeldStatus::Declined, Some("unknown_method"))]
#[tokio::test]
async fn the_method_decides(#[case] method: &str, #[case] status: HeldStatus, #[case] refusal: Option<&str>) {
    let gateway = in_memory();
    let charge = charge(method);
    assert_eq!(gateway.look_up(&charge).await, Ok(None));
    let held = gateway.authorize(&charge).await.unwrap();
    assert_eq!((held.status, held.refusal.as_deref()), (status, refusal));
    assert_eq!((held.total, held.captured, held.refunded), (charge.total, 0, 0));
    assert_eq!(gateway.authorize(&charge).await.as_ref(), Ok(&held), "a repetition");
    assert_eq!(gateway.look_up(&charge).await, Ok(Some(held)));
}

#[tokio::test]
async fn a_key_stands_for_one_set_of_parameters() {
    let gateway = in_memory();
    let first = charge("pm_card_visa");
    gateway.authorize(&first).await.unwrap();
    let dearer = Charge { total: Money { amount: 1251, ..first.total }, ..first.clone() };
    let other_card = Charge { method: "pm_declined".into(), ..first.clone() };
    let other_order = Charge { order_id: OrderId::new(), ..first.clone() };
    for other in [dearer, other_card, other_order] {
        assert!(is_refused(gateway.authorize(&other).await), "{other:?}");
    }
    let traced = Charge { traceparent: Some("00-1-2-01".into()), ..first };
    assert!(gateway.authorize(&traced).await.is_ok());
}

#[tokio::test]
async fn capture_is_once_and_never_more_than_authorized() {
    let gateway = in_memory();
    let charge = charge("pm_card_visa");
    assert!(is_refused(gateway.capture(&charge, 1).await), "an unseen key");
    gateway.authorize(&charge).await.unwrap();
    for wrong in [-1, 0, 1251] {
        assert!(is_refused(gateway.capture(&charge, wrong).await), "{wrong}");
    }
    let held = gateway.capture(&charge, 1000).await.unwrap();
    assert_eq!((held.status, held.captured), (HeldStatus::Captured, 1000));
    assert_eq!(gateway.capture(&charge, 1000).await, Ok(held));
    assert!(is_refused(gateway.capture(&charge, 999).await));
    assert!(is_refused(gateway.void(&charge).await));
}

#[tokio::test]
async fn a_lapsed_hold_cannot_be_captured() {
    let held = in_memory().authorize(&charge("pm_card_visa")).await.unwrap();
    let end = held.capture_before.unwrap();
    let before = lapsed(held.clone(), end - TimeDelta::milliseconds(1));
    assert!(captured(&before, 1).is_ok());
    let after = lapsed(held, end);
    assert_eq!(after.status, HeldStatus::Voided);
    assert!(is_refused(captured(&after, 1)));
}

#[tokio::test]
async fn a_refund_is_a_total_and_gives_nothing_twice() {
    let gateway = in_memory();
    let charge = charge("pm_card_visa");
    gateway.authorize(&charge).await.unwrap();
    assert!(is_refused(gateway.refund(&charge, 1).await), "nothing was captured");
    gateway.capture(&charge, 1000).await.unwrap();
    for (target, refunded) in [(300, 300), (300, 300), (200, 300), (1000, 1000), (1000, 1000)] {
        assert_eq!(gateway.refund(&charge, target).await.unwrap().refunded, refunded);
    }
    assert!(is_refused(gateway.refund(&charge, 1001).await));
    assert!(is_refused(gateway.refund(&charge, -1).await));
    assert_eq!(gateway.capture(&charge, 1000).await.unwrap().refunded, 1000, "a late repetition");
}

#[tokio::test]
async fn a_void_is_for_ever() {
    let gateway = in_memory();
    let charge = charge("pm_card_visa");
    gateway.authorize(&charge).await.unwrap();
    assert!(is_refused(gateway.void(&Charge { order_id: OrderId::new(), ..charge.clone() }).await), "another order");
    gateway.void(&charge).await.unwrap();
    gateway.void(&charge).await.unwrap();
    assert!(is_refused(gateway.capture(&charge, 1250).await));
    assert_eq!(gateway.authorize(&charge).await.unwrap().status, HeldStatus::Voided);
}

#[tokio::test]
async fn a_void_binds_a_key_before_it_is_used() {
    let gateway = in_memory();
    let charge = charge("pm_card_visa");
    gateway.void(&charge).await.unwrap();
    assert_eq!(gateway.look_up(&charge).await.unwrap().unwrap().status, HeldStatus::Voided);
    for _ in 0..2 {
        let held = gateway.authorize(&charge).await.unwrap();
        assert_eq!((held.status, held.total), (HeldStatus::Voided, charge.total));
    }
    assert!(is_refused(gateway.capture(&charge, 1250).await));
    let dearer = Charge { total: Money { amount: 1251, ..charge.total }, ..charge.clone() };
    assert!(is_refused(gateway.authorize(&dearer).await));
}

#[tokio::test]
async fn the_bank_is_answered_once() {
    let gateway = in_memory();
    assert_eq!(gateway.answer_bank("unseen", true).await, Ok(None));
    for (approve, status) in [(true, HeldStatus::Authorized), (false, HeldStatus::Declined)] {
        let charge = charge("pm_action_required");
        let action = gateway.authorize(&charge).await.unwrap().action.unwrap();
        assert_eq!(action.kind, "redirect");
        assert_eq!(action.url, Some(format!("http://localhost:8080/simulator/bank/{}", charge.key)));
        assert!(is_refused(gateway.capture(&charge, 1250).await), "not yet approved");
        let held = gateway.answer_bank(&charge.key, approve).await.unwrap().unwrap();
        assert_eq!((held.status, &held.action), (status, &None));
        assert_eq!(gateway.answer_bank(&charge.key, approve).await, Ok(Some(held.clone())));
        assert_eq!(gateway.answer_bank(&charge.key, !approve).await, Ok(Some(held.clone())));
        assert_eq!(gateway.authorize(&charge).await, Ok(held));
    }
}

#[tokio::test]
async fn an_answer_to_the_bank_comes_too_late_for_a_void() {
    let gateway = in_memory();
    let charge = charge("pm_action_required");
    gateway.authorize(&charge).await.unwrap();
    gateway.void(&charge).await.unwrap();
    assert_eq!(gateway.answer_bank(&charge.key, true).await.unwrap().unwrap().status, HeldStatus::Voided);
}

#[tokio::test(start_paused = true)]
async fn slow_holds_at_once_and_answers_late() {
    let gateway = in_memory();
    let charge = charge("pm_slow");
    let began = Clock::now();
    assert!(timeout(Duration::from_secs(10), gateway.authorize(&charge)).await.is_err());
    assert_eq!(gateway.look_up(&charge).await.unwrap().unwrap().status, HeldStatus::Authorized);
    assert_eq!(gateway.authorize(&charge).await.unwrap().status, HeldStatus::Authorized);
    assert_eq!(began.elapsed().as_secs(), 10);
    gateway.authorize(&self::charge("pm_slow")).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 40);
}

#[tokio::test(start_paused = true)]
async fn silent_never_answers_and_never_holds() {
    let gateway = in_memory();
    let charge = charge("pm_silent");
    for _ in 0..2 {
        assert!(timeout(PATIENCE, gateway.authorize(&charge)).await.is_err());
        assert_eq!(gateway.look_up(&charge).await, Ok(None));
    }
    gateway.void(&charge).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn timeout_after_charge_holds_and_hides_it_once() {
    let gateway = in_memory();
    let charge = charge("pm_timeout_after_charge");
    assert!(timeout(PATIENCE, gateway.authorize(&charge)).await.is_err());
    assert_eq!(gateway.look_up(&charge).await.unwrap().unwrap().status, HeldStatus::Authorized);
    assert_eq!(gateway.authorize(&charge).await.unwrap().status, HeldStatus::Authorized);
    assert_eq!(gateway.capture(&charge, 1250).await.unwrap().captured, 1250);
}

#[tokio::test]
async fn flaky_fails_every_second_call_of_a_kind_without_effect() {
    let gateway = in_memory();
    let charge = charge("pm_flaky");
    let failed = Trouble::Unanswered("500".into());
    assert_eq!(gateway.authorize(&charge).await, Err(failed.clone()));
    assert_eq!(gateway.look_up(&charge).await, Err(failed.clone()));
    assert_eq!(gateway.look_up(&charge).await, Ok(None), "the failure had no effect");
    assert_eq!(gateway.authorize(&charge).await.unwrap().status, HeldStatus::Authorized);
    assert_eq!(gateway.authorize(&charge).await, Err(failed.clone()));
    assert_eq!(gateway.capture(&charge, 1250).await, Err(failed.clone()));
    assert_eq!(gateway.capture(&charge, 1250).await.unwrap().captured, 1250);
    assert_eq!(gateway.refund(&charge, 1250).await, Err(failed.clone()));
    assert_eq!(gateway.look_up(&charge).await, Err(failed));
    assert_eq!(gateway.look_up(&charge).await.unwrap().unwrap().refunded, 0);
    assert_eq!(gateway.refund(&charge, 1250).await.unwrap().refunded, 1250);
}

#[tokio::test]
async fn who_looks_first_and_acts_then_gets_through_to_a_flaky_gateway() {
    let gateway = in_memory();
    let charge = charge("pm_flaky");
    let mut tries = 0;
    while !matches!(gateway.look_up(&charge).await, Ok(Some(_))) {
        let _ = gateway.authorize(&charge).await;
        tries += 1;
        assert!(tries < 10, "look-up and authorization in turn never succeed");
    }
}

#[tokio::test(start_paused = true)]
async fn the_work_is_done_even_if_the_caller_stops_listening() {
    let gateway = GatewaySimulator::open(None, Speed::Real, String::new()).unwrap();
    let charge = charge("pm_card_visa");
    assert!(timeout(Duration::from_millis(1), gateway.authorize(&charge)).await.is_err());
    sleep(PATIENCE).await;
    assert_eq!(gateway.look_up(&charge).await.unwrap().unwrap().status, HeldStatus::Authorized);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_callers_lose_no_update_and_move_money_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.jsonl");
    let gateway = Arc::new(on_file(&path));
    let charges: Vec<_> = (0..50).map(|_| charge("pm_card_visa")).collect();
    let mut tasks = Vec::new();
    for (charge, i) in charges.iter().flat_map(|charge| (0..8).map(move |i| (charge.clone(), i))) {
        let gateway = gateway.clone();
        tasks.push(tokio::spawn(async move {
            gateway.authorize(&charge).await.unwrap();
            // Half of the callers want to take the money and half to let it go: one side wins.
            let captures = i % 2 == 0;
            let ok = match captures {
                true => gateway.capture(&charge, 1250).await.is_ok(),
                false => gateway.void(&charge).await.is_ok(),
            };
            if captures && ok {
                gateway.refund(&charge, 100 * i).await.unwrap();
            }
            (charge.key, captures, ok)
        }));
    }
    let mut won: HashMap<(String, bool), bool> = HashMap::new();
    for task in tasks {
        let (key, captures, ok) = task.await.unwrap();
        assert_eq!(*won.entry((key, captures)).or_insert(ok), ok, "all of one side agree");
    }
    let mut sequences: HashMap<String, u64> = HashMap::new();
    journal::read_all(&path, |_, entry: Entry| {
        let last = sequences.entry(entry.key).or_insert(0);
        assert_eq!(entry.seq, *last + 1);
        *last = entry.seq;
    })
    .unwrap();
    let entries = ledger(&path).unwrap();
    assert_eq!(entries.len(), 50);
    for entry in entries {
        let (captured, voided) = (won[&(entry.key.clone(), true)], won[&(entry.key.clone(), false)]);
        assert_ne!(captured, voided);
        let expected = if captured { (HeldStatus::Captured, 1250, 600) } else { (HeldStatus::Voided, 0, 0) };
        assert_eq!((entry.held.status, entry.held.captured, entry.held.refunded), expected);
    }
}

#[tokio::test]
async fn what_is_held_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.jsonl");
    let (first, second, unseen) = (charge("pm_card_visa"), charge("pm_action_required"), charge("pm_card_visa"));
    let gateway = on_file(&path);
    gateway.authorize(&first).await.unwrap();
    let taken = gateway.capture(&first, 1250).await.unwrap();
    gateway.authorize(&second).await.unwrap();
    gateway.void(&unseen).await.unwrap();
    drop(gateway);

    // Killed in the middle of a line.
    let whole = fs::read(&path).unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(br#"{"seq":3,"at""#).unwrap();
    assert_eq!(ledger(&path).unwrap().len(), 3);
    let gateway = on_file(&path);
    assert_eq!(fs::read(&path).unwrap(), whole);
    assert_eq!(gateway.look_up(&first).await, Ok(Some(taken.clone())));
    assert_eq!(gateway.authorize(&first).await, Ok(taken));
    let dearer = Charge { total: Money { amount: 1251, ..first.total }, ..first.clone() };
    assert!(is_refused(gateway.authorize(&dearer).await), "the parameters are remembered");
    assert_eq!(gateway.answer_bank(&second.key, true).await.unwrap().unwrap().status, HeldStatus::Authorized);
    assert_eq!(gateway.authorize(&unseen).await.unwrap().status, HeldStatus::Voided);

    let entries = ledger(&path).unwrap();
    let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, [&first.key, &second.key, &unseen.key].map(String::as_str));
    assert_eq!(entries[0].operation, Operation::Capture);
    assert_eq!(entries[1].operation, Operation::BankApproved);
    assert_eq!(entries[2].charge.as_ref(), Some(&unseen));
}

#[tokio::test]
async fn memory_keeps_one_line_a_charge() {
    let gateway = in_memory();
    let charge = charge("pm_card_visa");
    gateway.authorize(&charge).await.unwrap();
    gateway.capture(&charge, 1250).await.unwrap();
    assert!(gateway.ledger.journal.read_at(0).is_err());
    assert_eq!(gateway.ledger.journal.read_at(1).unwrap().seq, 2);
}
