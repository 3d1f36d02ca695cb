//! What the simulated gateway holds: one line for each change of a charge, and the rules by which a charge changes.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use tokio::sync::Mutex as Turn;

use super::{Entry, Operation};
use crate::gateway::{Charge, Held, HeldStatus, Trouble};
use crate::journal::{Index, Journal};
use crate::order::{Hash, Instant, Money, OrderId, PaymentAction};

/// After this time holds lapse.
const HOLD: TimeDelta = TimeDelta::days(7);
const SHORT_HOLD: TimeDelta = TimeDelta::minutes(15);
/// Charges are changed one caller at a time; those that share a turn wait for each other without need.
const TURNS: usize = 1024;

/// The kinds of calls to a gateway.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Prepare,
    Authorize,
    LookUp,
    Capture,
    Void,
    Refund,
}

/// 128 bits of a key's hash: what is remembered of a charge besides the place of its latest line.
type Name = [u8; 16];

pub(super) struct Ledger {
    pub(super) journal: Journal<Entry>,
    /// Where the latest line of each charge stands.
    latest: Mutex<Index<Name, u64>>,
    /// Calls so far to each charge that fails every second one, of each kind, and with what it fails: those who call
    /// in pairs would otherwise meet the same half of the calls again and again, and never get anywhere.
    unwilling: Mutex<HashMap<Name, ([u64; 6], Trouble)>>,
    turns: Box<[Turn<()>]>,
}

impl Ledger {
    pub fn open(path: Option<&Path>) -> io::Result<Self> {
        let mut latest = Index::default();
        let journal = match path {
            Some(path) => Journal::open(path, |offset, entry: Entry| {
                latest.insert(name(&entry.key), offset);
            })?,
            None => Journal::in_memory(),
        };
        Ok(Self {
            journal,
            latest: Mutex::new(latest),
            unwilling: Mutex::new(HashMap::new()),
            turns: (0..TURNS).map(|_| Turn::new(())).collect(),
        })
    }

    /// The latest state of each charge, in no order.
    pub fn snapshot(&self) -> io::Result<Vec<Entry>> {
        // Held while reading: no line is forgotten before its successor stands here.
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.values().map(|offset| self.journal.read_at(offset)).collect()
    }

    /// Waits until nobody else is at this charge.
    pub async fn turn(&self, key: &str) -> tokio::sync::MutexGuard<'_, ()> {
        let [first, second, ..] = name(key);
        self.turns[usize::from(u16::from_le_bytes([first, second])) % self.turns.len()].lock().await
    }

    pub fn find(&self, key: &str) -> Result<Option<Entry>, Trouble> {
        let offset = self.latest.lock().unwrap_or_else(PoisonError::into_inner).get(&name(key));
        let found: Option<Entry> = offset.map(|offset| self.journal.read_at(offset)).transpose().map_err(unwritten)?;
        Ok(found.map(|entry| Entry { held: lapsed(entry.held, Utc::now()), ..entry }))
    }

    pub fn find_if_willing(&self, kind: Kind, key: &str) -> Result<Option<Entry>, Trouble> {
        let entry = self.find(key)?;
        let method = entry.as_ref().and_then(|entry| entry.charge.as_ref()).map(|charge| charge.method.as_str());
        self.unless_unwilling(kind, key, method.unwrap_or_default())?;
        Ok(entry)
    }

    /// A key counts as unwilling from the first call that shows its method.
    pub fn unless_unwilling(&self, kind: Kind, key: &str, method: &str) -> Result<(), Trouble> {
        let trouble = match method {
            "pm_flaky" => Some(Trouble::Unanswered("500".into())),
            "pm_busy" => Some(Trouble::Later { after: Duration::from_secs(1), why: "429".into() }),
            _ => None,
        };
        let mut unwilling = self.unwilling.lock().unwrap_or_else(PoisonError::into_inner);
        let (calls, trouble) = match (unwilling.entry(name(key)), trouble) {
            (Slot::Occupied(calls), _) => calls.into_mut(),
            (Slot::Vacant(place), Some(trouble)) => place.insert(([0; 6], trouble)),
            (Slot::Vacant(_), None) => return Ok(()),
        };
        let calls = &mut calls[kind as usize];
        *calls += 1;
        if *calls % 2 == 1 { Err(trouble.clone()) } else { Ok(()) }
    }

    /// The first authorization under a key.
    pub async fn hold(&self, charge: Charge, bank_page: String) -> Result<Held, Trouble> {
        let at = Utc::now();
        let (key, held) = (charge.key.clone(), decide(&charge, at, bank_page));
        let (operation, charge) = (Operation::Authorize, Some(charge));
        let refunds = Vec::new();
        self.append(Entry { seq: 1, at, key, operation, held, charge, refunds, made_at: at, installation: None }, None)
            .await
    }

    /// An authorization under a key that is known: nothing is held twice, nor after a void.
    pub async fn repeat(&self, mut entry: Entry, charge: Charge) -> Result<Held, Trouble> {
        if entry.held.order_id != charge.order_id {
            return Err(Trouble::Refused("parameters differ: the key belongs to another order".into()));
        }
        match &entry.charge {
            // The trace context is not of the payment: a repetition may well carry another one.
            Some(known) if (known.total, &known.method) == (charge.total, &charge.method) => Ok(entry.held),
            Some(_) => Err(Trouble::Refused("parameters differ".into())),
            None => {
                let held = Held { total: charge.total, ..entry.held.clone() };
                entry.charge = Some(charge);
                self.write(entry, Operation::Authorize, held).await
            }
        }
    }

    /// A void of a key that nobody has used yet: whatever comes under it later finds it voided.
    pub async fn bind(&self, key: String, order_id: OrderId) -> Result<Held, Trouble> {
        let held = Held {
            order_id,
            total: Money { amount: 0, currency: "XXX".parse().expect("ISO 4217 has a code for no currency") },
            reference: reference(&key),
            status: HeldStatus::Voided,
            captured: 0,
            refunded: 0,
            capture_before: None,
            action: None,
            refusal: None,
        };
        let (at, operation) = (Utc::now(), Operation::Void);
        let entry = Entry {
            seq: 1,
            at,
            key,
            operation,
            held,
            charge: None,
            refunds: Vec::new(),
            made_at: at,
            installation: None,
        };
        self.append(entry, None).await
    }

    pub async fn write(&self, before: Entry, operation: Operation, held: Held) -> Result<Held, Trouble> {
        let old = self.latest.lock().unwrap_or_else(PoisonError::into_inner).get(&name(&before.key));
        self.append(Entry { seq: before.seq + 1, at: Utc::now(), operation, held, ..before }, old).await
    }

    pub async fn append(&self, entry: Entry, old: Option<u64>) -> Result<Held, Trouble> {
        let (name, held) = (name(&entry.key), entry.held.clone());
        let offset = self.journal.append(entry).await.map_err(unwritten)?;
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).insert(name, offset);
        if let Some(old) = old {
            self.journal.forget(old);
        }
        Ok(held)
    }
}

/// What becomes of a charge: its method says so.
pub(super) fn decide(charge: &Charge, at: Instant, bank_page: String) -> Held {
    let (status, refusal) = match charge.method.as_str() {
        _ if charge.total.amount <= 0 => (HeldStatus::Declined, Some("invalid_amount")),
        "pm_card_visa"
        | "pm_slow"
        | "pm_timeout_after_charge"
        | "pm_error_after_charge"
        | "pm_flaky"
        | "pm_busy"
        | "pm_short_hold"
        | "pm_refund_fails"
        | "pm_refund_fails_later" => (HeldStatus::Authorized, None),
        "pm_action_required" => (HeldStatus::ActionRequired, None),
        "pm_declined" => (HeldStatus::Declined, Some("card_declined")),
        _ => (HeldStatus::Declined, Some("unknown_method")),
    };
    let lasts = if charge.method == "pm_short_hold" { SHORT_HOLD } else { HOLD };
    Held {
        status,
        capture_before: (status != HeldStatus::Declined).then(|| at + lasts),
        action: (status == HeldStatus::ActionRequired).then(|| PaymentAction::redirect(bank_page)),
        refusal: refusal.map(str::to_owned),
        ..nothing_held(charge)
    }
}

/// A charge of which nothing is known but what was asked for.
pub(super) fn nothing_held(charge: &Charge) -> Held {
    Held {
        order_id: charge.order_id,
        total: charge.total,
        reference: reference(&charge.key),
        status: HeldStatus::Prepared,
        captured: 0,
        refunded: 0,
        capture_before: None,
        action: None,
        refusal: None,
    }
}

/// The charge as it is now: a hold ends by itself.
pub(super) fn lapsed(held: Held, now: Instant) -> Held {
    let has_ended = held.status == HeldStatus::Authorized && held.capture_before.is_some_and(|end| now >= end);
    if has_ended { Held { status: HeldStatus::Voided, capture_before: None, ..held } } else { held }
}

/// The charge after taking `amount`; `None` if it is so already.
pub(super) fn captured(held: &Held, amount: i64) -> Result<Option<Held>, Trouble> {
    match held.status {
        HeldStatus::Captured if held.captured == amount => Ok(None),
        HeldStatus::Captured => Err(Trouble::Refused(format!("already captured with {}", held.captured))),
        HeldStatus::Authorized if !(1..=held.total.amount).contains(&amount) => {
            Err(Trouble::Refused(format!("{amount} is not between 1 and the authorized {}", held.total.amount)))
        }
        HeldStatus::Authorized => Ok(Some(Held { status: HeldStatus::Captured, captured: amount, ..held.clone() })),
        HeldStatus::Prepared | HeldStatus::ActionRequired | HeldStatus::Declined | HeldStatus::Voided => {
            Err(Trouble::Refused("nothing is held".into()))
        }
    }
}

/// The charge after letting go of it; `None` if nothing is held already.
pub(super) fn voided(held: &Held, order_id: OrderId) -> Result<Option<Held>, Trouble> {
    match held.status {
        _ if held.order_id != order_id => Err(Trouble::Refused("the key belongs to another order".into())),
        HeldStatus::Captured => Err(Trouble::Refused("already captured".into())),
        HeldStatus::Voided => Ok(None),
        HeldStatus::Declined | HeldStatus::Prepared | HeldStatus::Authorized | HeldStatus::ActionRequired => {
            Ok(Some(Held { status: HeldStatus::Voided, action: None, capture_before: None, ..held.clone() }))
        }
    }
}

/// The charge after giving back until `total` has been given back; `None` if it has been already.
pub(super) fn refunded(held: &Held, total: i64) -> Result<Option<Held>, Trouble> {
    match held.status {
        HeldStatus::Captured if !(0..=held.captured).contains(&total) => {
            Err(Trouble::Refused(format!("{total} is not between 0 and the captured {}", held.captured)))
        }
        HeldStatus::Captured if total <= held.refunded => Ok(None),
        HeldStatus::Captured => Ok(Some(Held { refunded: total, ..held.clone() })),
        _ => Err(Trouble::Refused("nothing was captured".into())),
    }
}

pub(super) fn name(key: &str) -> Name {
    let Hash(hash) = Hash::of_bytes(key.as_bytes());
    *hash.first_chunk().expect("a hash has 32 bytes")
}

fn reference(key: &str) -> String {
    name(key).iter().fold("sim_".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

pub(super) fn no_charge() -> Trouble {
    Trouble::Refused("no such charge".into())
}

/// What the ledger could not say or write: it may be there all the same.
fn unwritten(error: io::Error) -> Trouble {
    Trouble::Unanswered(format!("the simulator's ledger: {error}"))
}
