//! A payment gateway to try everything with: an outside actor with a ledger of its own, not a mock.
//!
//! What it holds survives this process and is unknown to the service's database, so the two can disagree, as
//! in life. The payment method of a charge decides how it behaves. Nothing of the service belongs here.

mod ledger;

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::future::{Future, pending};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use self::ledger::{Kind, Ledger, captured, decide, name, no_charge, nothing_held, refunded, voided};
use super::{Charge, Gateway, Held, HeldStatus, Page, Trouble};
use crate::journal;
use crate::order::Instant;
use crate::simulator::{Speed, between, draw};

/// How long `pm_slow` keeps its first caller waiting.
pub const SLOW: Duration = Duration::from_secs(30);

/// A line of the ledger: one charge as it stands after an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The operations on this charge are numbered from 1, without gaps.
    pub seq: u64,
    pub at: Instant,
    pub key: String,
    pub operation: Operation,
    pub held: Held,
    /// The authorization as it was asked for; `None` while the key is only known from a void.
    pub charge: Option<Charge>,
    /// All that was ever given back of it, failed or not, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refunds: Vec<Refund>,
    /// When it was first heard of.
    #[serde(default)]
    pub made_at: Instant,
    /// Whose it is, where several share the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installation: Option<String>,
}

/// One refund of a charge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    pub amount: i64,
    /// Whether the service asked for it; otherwise a person did at the gateway.
    pub is_ours: bool,
    /// It did not reach the customer.
    pub has_failed: bool,
}

/// What happens to a charge at the gateway without the service: it learns of it only by looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByHand {
    /// A person or the bank cancels the authorization.
    Cancel,
    /// A person takes so much of what is held.
    Capture(i64),
    /// A person gives so much back.
    Refund(i64),
    /// The bank sends the newest refund back.
    FailRefund,
    /// The authorization expires.
    Lapse,
}

/// What changed a charge. What changes nothing leaves no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Prepare,
    Authorize,
    BankApproved,
    BankDeclined,
    Capture,
    Void,
    Refund,
    /// A refund failed, at once or later.
    RefundFailed,
    Lapse,
}

/// The simulated gateway. These payment methods decide what becomes of a charge:
///
/// | method | behaviour |
/// |---|---|
/// | `pm_card_visa` | authorized |
/// | `pm_declined` | declined |
/// | `pm_action_required` | the bank asks the customer, until [`answer_bank`](Self::answer_bank) |
/// | `pm_slow` | held at once, answered 30 s later; repeated calls answer normally |
/// | `pm_silent` | `authorize` is never answered and never holds anything |
/// | `pm_timeout_after_charge` | held, but the first `authorize` is never answered |
/// | `pm_error_after_charge` | held, but every `authorize` is answered by an error that says nothing |
/// | `pm_flaky` | every second call of each kind fails without effect, the first one included |
/// | `pm_busy` | every second call of each kind is put off for a second, the first one included |
/// | `pm_short_hold` | authorized for a quarter of an hour |
/// | `pm_refund_fails` | authorized, and the first refund fails at once |
/// | `pm_refund_fails_later` | authorized, and the first refund fails a second later (behind the simulator's server) |
/// | anything else | declined as `unknown_method` |
pub struct GatewaySimulator {
    ledger: Arc<Ledger>,
    speed: Speed,
    base_url: String,
}

impl GatewaySimulator {
    /// Goes on with the ledger in that file, which is made if it is not there; without one, all is forgotten
    /// when the process ends. `base_url` is where a customer's browser reaches the simulated bank.
    ///
    /// Fails if the file cannot be read or written, is damaged, or is held by another process.
    pub fn open(ledger: Option<&Path>, speed: Speed, base_url: String) -> io::Result<Self> {
        let ledger = Arc::new(Ledger::open(ledger)?);
        Ok(Self { ledger, speed, base_url: base_url.trim_end_matches('/').to_owned() })
    }

    /// Makes a charge known without holding anything yet. Repeated, it says what has become of it since.
    ///
    /// # Errors
    /// As the port's calls.
    pub async fn prepare(&self, charge: &Charge, installation: Option<String>) -> Result<Held, Trouble> {
        let charge = charge.clone();
        self.call(self.delay(), |ledger| async move {
            let _turn = ledger.turn(&charge.key).await;
            ledger.unless_unwilling(Kind::Prepare, &charge.key, &charge.method)?;
            match ledger.find(&charge.key)? {
                Some(entry) => Ok(entry.held),
                None => {
                    let (key, at) = (charge.key.clone(), Utc::now());
                    let held = Held { status: HeldStatus::Prepared, ..nothing_held(&charge) };
                    let (operation, charge) = (Operation::Prepare, Some(charge));
                    let refunds = Vec::new();
                    let entry = Entry { seq: 1, at, key, operation, held, charge, refunds, made_at: at, installation };
                    ledger.append(entry, None).await
                }
            }
        })
        .await
    }

    /// Holds the money, and says how the answer travels: what the port's `authorize` does, for those who have a wire
    /// of their own.
    ///
    /// # Errors
    /// As the port's calls.
    pub async fn charge(&self, charge: &Charge) -> (Result<Held, Trouble>, Delivery) {
        if charge.method == "pm_silent" {
            return (Err(Trouble::Unanswered("silence".into())), Delivery::Never);
        }
        let wanted = charge.clone();
        let page = format!("{}/simulator/bank/{}", self.base_url, charge.key);
        let answer = self.call(self.authorize_delay(), |ledger| async move {
            let _turn = ledger.turn(&wanted.key).await;
            ledger.unless_unwilling(Kind::Authorize, &wanted.key, &wanted.method)?;
            match ledger.find(&wanted.key)? {
                Some(entry) if entry.held.status == HeldStatus::Prepared => {
                    let held = decide(&wanted, Utc::now(), page);
                    ledger.write(entry, Operation::Authorize, held).await.map(|held| (held, true))
                }
                Some(entry) => ledger.repeat(entry, wanted).await.map(|held| (held, false)),
                None => ledger.hold(wanted, page).await.map(|held| (held, true)),
            }
        });
        match answer.await {
            Ok((held, is_first)) => {
                let delivery = match charge.method.as_str() {
                    "pm_timeout_after_charge" if is_first => Delivery::Never,
                    "pm_slow" if is_first => Delivery::Slow,
                    "pm_error_after_charge" => Delivery::Error,
                    _ => Delivery::Prompt,
                };
                (Ok(held), delivery)
            }
            Err(trouble) => (Err(trouble), Delivery::Prompt),
        }
    }

    /// Gives back until so much has been given back in all as `total` makes of what has been so far. `is_ours` tells a
    /// refund of the service from one by hand. The result is the charge, with the new refund as its last if there is one.
    ///
    /// # Errors
    /// As the port's calls.
    pub async fn give_back(
        &self,
        key: &str,
        is_ours: bool,
        total: impl FnOnce(&Held) -> i64 + Send + 'static,
    ) -> Result<Entry, Trouble> {
        let key = key.to_owned();
        self.call(self.delay(), move |ledger| async move {
            let _turn = ledger.turn(&key).await;
            let mut entry = ledger.find_if_willing(Kind::Refund, &key)?.ok_or_else(no_charge)?;
            let Some(held) = refunded(&entry.held, total(&entry.held))? else { return Ok(entry) };
            let method = entry.charge.as_ref().map(|charge| charge.method.as_str());
            let has_failed = method == Some("pm_refund_fails") && entry.refunds.is_empty();
            entry.refunds.push(Refund { amount: held.refunded - entry.held.refunded, is_ours, has_failed });
            let (operation, held) =
                if has_failed { (Operation::RefundFailed, entry.held.clone()) } else { (Operation::Refund, held) };
            ledger.write(entry.clone(), operation, held.clone()).await?;
            Ok(Entry { held, ..entry })
        })
        .await
    }

    /// Something happens at the gateway that the service did not ask for.
    ///
    /// # Errors
    /// [`Trouble::Refused`] where it cannot happen.
    pub async fn by_hand(&self, key: &str, what: ByHand) -> Result<Held, Trouble> {
        if let ByHand::Refund(amount) = what {
            let total = move |held: &Held| held.refunded.saturating_add(amount.max(0));
            return self.give_back(key, false, total).await.map(|entry| entry.held);
        }
        let key = key.to_owned();
        self.call(Duration::ZERO, move |ledger| async move {
            let _turn = ledger.turn(&key).await;
            let mut entry = ledger.find(&key)?.ok_or_else(no_charge)?;
            let (operation, held) = match what {
                ByHand::Cancel => (Operation::Void, voided(&entry.held, entry.held.order_id)?),
                ByHand::Lapse => (Operation::Lapse, voided(&entry.held, entry.held.order_id)?),
                ByHand::Capture(amount) => (Operation::Capture, captured(&entry.held, amount)?),
                ByHand::Refund(_) | ByHand::FailRefund => {
                    let newest = entry.refunds.iter_mut().rfind(|refund| !refund.has_failed);
                    let newest = newest.ok_or_else(|| Trouble::Refused("nothing was refunded".into()))?;
                    newest.has_failed = true;
                    let refunded = entry.held.refunded - newest.amount;
                    (Operation::RefundFailed, Some(Held { refunded, ..entry.held.clone() }))
                }
            };
            match held {
                Some(held) => ledger.write(entry, operation, held).await,
                None => Ok(entry.held),
            }
        })
        .await
    }

    /// A charge as its key's latest line has it.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn entry(&self, key: &str) -> Result<Option<Entry>, Trouble> {
        self.ledger.find(key)
    }

    /// The customer's answer to the bank. The first one counts: a later one changes nothing and returns what is
    /// held. `None` if there is no such charge.
    pub async fn answer_bank(&self, key: &str, approve: bool) -> Result<Option<Held>, Trouble> {
        let key = key.to_owned();
        self.call(Duration::ZERO, move |ledger| async move {
            let _turn = ledger.turn(&key).await;
            let Some(entry) = ledger.find(&key)? else { return Ok(None) };
            if entry.held.status != HeldStatus::ActionRequired {
                return Ok(Some(entry.held));
            }
            let (operation, status, refusal) = match approve {
                true => (Operation::BankApproved, HeldStatus::Authorized, None),
                false => (Operation::BankDeclined, HeldStatus::Declined, Some("bank_declined".to_owned())),
            };
            let held = Held { status, refusal, action: None, ..entry.held.clone() };
            ledger.write(entry, operation, held).await.map(Some)
        })
        .await
    }

    /// The latest state of each charge that was made within that time, in no order.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn made(&self, within: &Range<Instant>) -> Result<Vec<Entry>, Trouble> {
        let (ledger, within) = (self.ledger.clone(), within.clone());
        let read = move || -> io::Result<Vec<Entry>> {
            let entries = ledger.snapshot()?.into_iter();
            Ok(entries.filter(|entry| within.contains(&entry.made_at)).collect())
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(io::Error::other).flatten();
        read.map_err(|fault| Trouble::Unavailable(fault.to_string()))
    }

    /// The latest state of each charge, in no order: what [`ledger`] reads from a file, for one that has none.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn snapshot(&self) -> io::Result<Vec<Entry>> {
        self.ledger.snapshot()
    }

    /// Does the work in a task of its own, so that it is finished whether or not the caller still listens; half
    /// of the delay passes on the way there and half on the way back.
    async fn call<R, F>(
        &self,
        delay: Duration,
        work: impl FnOnce(Arc<Ledger>) -> F + Send + 'static,
    ) -> Result<R, Trouble>
    where
        R: Send + 'static,
        F: Future<Output = Result<R, Trouble>> + Send + 'static,
    {
        let ledger = self.ledger.clone();
        let task = tokio::spawn(async move {
            pass(delay / 2).await;
            let answer = work(ledger).await;
            pass(delay / 2).await;
            answer
        });
        task.await.unwrap_or_else(|error| Err(Trouble::Unanswered(format!("the simulator stopped: {error}"))))
    }

    fn delay(&self) -> Duration {
        match self.speed {
            Speed::Zero => Duration::ZERO,
            Speed::Fast => between(Duration::from_millis(50), Duration::from_millis(300)),
            Speed::Real => draw(Duration::from_millis(200), Duration::from_millis(400)),
        }
    }

    fn authorize_delay(&self) -> Duration {
        match self.speed {
            Speed::Zero | Speed::Fast => self.delay(),
            Speed::Real => draw(Duration::from_millis(800), Duration::from_millis(2500)),
        }
    }
}

/// The latest state of each charge in a ledger, oldest charge first. The gateway may be running meanwhile.
pub fn ledger(path: &Path) -> io::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut places = HashMap::new();
    journal::read_all(path, |_, entry: Entry| match places.entry(name(&entry.key)) {
        Slot::Occupied(place) => entries[*place.get()] = entry,
        Slot::Vacant(place) => {
            place.insert(entries.len());
            entries.push(entry);
        }
    })?;
    Ok(entries)
}

#[async_trait]
impl Gateway for GatewaySimulator {
    async fn authorize(&self, charge: &Charge) -> Result<Held, Trouble> {
        let (held, delivery) = self.charge(charge).await;
        match delivery {
            Delivery::Never => return pending().await,
            Delivery::Slow => sleep(SLOW).await,
            Delivery::Error => return Err(Trouble::Unanswered("500".into())),
            Delivery::Prompt => {}
        }
        held
    }

    async fn look_up(&self, charge: &Charge) -> Result<Option<Held>, Trouble> {
        let key = charge.key.clone();
        self.call(self.delay(), |ledger| async move {
            let _turn = ledger.turn(&key).await;
            Ok(ledger.find_if_willing(Kind::LookUp, &key)?.map(|entry| entry.held))
        })
        .await
    }

    async fn capture(&self, charge: &Charge, amount: i64) -> Result<Held, Trouble> {
        let key = charge.key.clone();
        self.call(self.delay(), move |ledger| async move {
            let _turn = ledger.turn(&key).await;
            let entry = ledger.find_if_willing(Kind::Capture, &key)?.ok_or_else(no_charge)?;
            match captured(&entry.held, amount)? {
                Some(held) => ledger.write(entry, Operation::Capture, held).await,
                None => Ok(entry.held),
            }
        })
        .await
    }

    async fn void(&self, charge: &Charge) -> Result<Held, Trouble> {
        let (key, order_id) = (charge.key.clone(), charge.order_id);
        self.call(self.delay(), move |ledger| async move {
            let _turn = ledger.turn(&key).await;
            match ledger.find_if_willing(Kind::Void, &key)? {
                Some(entry) => match voided(&entry.held, order_id)? {
                    Some(held) => ledger.write(entry, Operation::Void, held).await,
                    None => Ok(entry.held),
                },
                None => ledger.bind(key, order_id).await,
            }
        })
        .await
    }

    async fn refund(&self, charge: &Charge, total_refunded: i64) -> Result<Held, Trouble> {
        self.give_back(&charge.key, true, move |_| total_refunded).await.map(|entry| entry.held)
    }

    /// Everything is of one installation here: nobody else has this ledger.
    async fn list(&self, made: &Range<Instant>, _: Option<&str>) -> Result<Page, Trouble> {
        let held = self.made(made).await?.into_iter().map(|entry| entry.held).collect();
        Ok(Page { held, ..Page::default() })
    }
}

/// How an answer to `authorize` travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Prompt,
    /// It takes [`SLOW`].
    Slow,
    Never,
    /// Something else arrives, which says nothing.
    Error,
}

/// Even a sleep of no length would wait for the timer's next tick.
async fn pass(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

#[cfg(test)]
mod tests;
