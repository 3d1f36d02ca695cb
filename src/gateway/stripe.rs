//! Stripe, by hand over its HTTP API: a PaymentIntent is created without moving money, its id is committed, and only
//! then it is confirmed. Nothing was ever confirmed whose id was not committed, and a cancelled one refuses a late
//! confirmation: so whatever is released stays released.
//!
//! The bytes of a request depend on the order alone, and its Idempotency-Key on the order, the operation and the
//! amount: a repetition is the same request. Refunds are the exception: what people gave back counts, so that a
//! repetition may ask for another amount. Their key is a number, of which Stripe carries out one request only
//! ([`Stripe::refund`]). Amounts are written as Stripe writes them (`units`), and only here. What
//! refuses is not believed before the intent itself was looked at.
//! Source: the API's reference of the version below.

pub mod callback;
mod intent;
mod reply;
pub mod signature;
pub mod units;

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use form_urlencoded::Serializer;
use reqwest::{Client, Method, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use self::intent::{Intent, Refunds};
use self::reply::Fault;
use super::{Charge, Gateway, Held, HeldStatus, Page, Trouble};
use crate::config::Secret;
use crate::order::{Instant, Money};

/// The version of the API whose answers are understood here, whatever the account's own default is.
pub const VERSION: &str = "2024-06-20";
/// Where the order's id stands in all that is made for it.
pub const ORDER_ID: &str = "metadata[order_id]";

/// Where it stands which installation made it: others may have the same account.
pub const INSTALLATION: &str = "metadata[installation]";

/// Payments of one page of a list.
const LISTED: &str = "50";
/// What every answer about an intent must contain.
const EXPAND: (&str, &str) = ("expand[]", "latest_charge.refunds");
/// No answer is longer. Bytes.
const LONGEST: usize = 1024 * 1024;

/// One account at Stripe, or at whatever speaks like it.
pub struct Stripe {
    http: Client,
    /// Without a slash at its end.
    url: String,
    key: Secret,
    /// Tells what is made here from what others make on the same account.
    installation: String,
    /// Where a bank sends the customer back to after 3-D Secure; without it the app finishes that by Stripe's library.
    return_url: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    data: Vec<Intent>,
    has_more: bool,
}

#[derive(Deserialize)]
struct Refund {
    id: String,
    amount: i64,
    payment_intent: String,
    status: String,
}

impl Stripe {
    /// The account of this key at that address, for this installation. `patience` is how long the caller of the port waits for an answer.
    ///
    /// # Errors
    /// When there is no way to check a server's certificate.
    pub fn new(
        url: &str,
        key: Secret,
        installation: String,
        return_url: Option<String>,
        patience: Duration,
    ) -> Result<Self, reqwest::Error> {
        crate::tls::install();
        let http = Client::builder()
            .redirect(redirect::Policy::none())
            // Whether it was never reached, or never answered, has to be known before the caller stops listening.
            .connect_timeout(patience / 3)
            .timeout(patience * 9 / 10)
            .user_agent(concat!("lungo/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned(), key, installation, return_url })
    }

    /// One request. `key` makes it idempotent; without one it has to be so by itself.
    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        form: &[(&str, &str)],
        key: Option<&str>,
        traceparent: Option<&str>,
    ) -> Result<T, Fault> {
        let form = Serializer::new(String::new()).extend_pairs(form).finish();
        let url = format!("{}/v1/{path}", self.url);
        let request = match method {
            Method::GET => self.http.get(format!("{url}?{form}")),
            method => {
                self.http.request(method, url).header("content-type", "application/x-www-form-urlencoded").body(form)
            }
        };
        let headers = [("idempotency-key", key), ("traceparent", traceparent), ("stripe-version", Some(VERSION))];
        let named = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let request =
            named.fold(request.bearer_auth(self.key.expose()), |request, (name, value)| request.header(name, value));
        let answered = async {
            let mut response = request.send().await?;
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                body.extend_from_slice(&chunk);
                if body.len() > LONGEST {
                    break;
                }
            }
            Ok((response, body))
        };
        let (response, body) = answered.await.map_err(|fault: reqwest::Error| {
            let text = chain(&fault);
            if fault.is_connect() || fault.is_builder() { Fault::Unreachable(text) } else { Fault::Unknown(text) }
        })?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let heard = reply::Head {
            status: response.status().as_u16(),
            is_replayed: header("idempotent-replayed") == Some("true"),
            retry_after: header("retry-after"),
            date: header("date"),
        };
        let read = reply::read(heard, &body);
        if let Err(fault) = &read
            && let Some(alarm) = fault.alarm()
        {
            let request_id = header("request-id").unwrap_or_default();
            tracing::error!(path, request_id, %alarm, "stripe.misunderstanding");
        }
        read
    }

    async fn create(&self, charge: &Charge) -> Result<Intent, Fault> {
        let amount = units::written(charge.total).map_err(Fault::Rejected)?;
        let form = creation(charge, amount, &self.installation);
        let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.call(Method::POST, "payment_intents", &form, Some(&charge.key), charge.traceparent.as_deref()).await
    }

    async fn act(
        &self,
        charge: &Charge,
        reference: &str,
        operation: &str,
        form: &[(&str, &str)],
        key: Option<&str>,
    ) -> Result<Intent, Fault> {
        let path = format!("payment_intents/{}/{operation}", in_path(reference));
        self.call(Method::POST, &path, &[form, &[EXPAND]].concat(), key, charge.traceparent.as_deref()).await
    }

    /// How many refunds of a payment this service asked for, where an intent does not show them all.
    async fn refunds_listed(&self, charge: &Charge, reference: &str) -> Result<usize, Trouble> {
        let (mut number, mut last): (usize, Option<String>) = (0, None);
        loop {
            let mut form = vec![("payment_intent", reference), ("limit", "100")];
            form.extend(last.as_deref().map(|last| ("starting_after", last)));
            let trace = charge.traceparent.as_deref();
            let page: Refunds = self.call(Method::GET, "refunds", &form, None, trace).await?;
            number += page.asked_for();
            last = page.next().map(str::to_owned);
            if last.is_none() {
                return Ok(number);
            }
        }
    }

    async fn retrieve(&self, charge: &Charge, reference: &str) -> Result<Intent, Trouble> {
        let path = format!("payment_intents/{}", in_path(reference));
        Ok(self.call(Method::GET, &path, &[EXPAND], None, charge.traceparent.as_deref()).await?)
    }

    /// Ends an intent for ever, or finds that it has ended. Repeating it does no harm, and a stored failure would be
    /// replayed for a day: therefore it has no key.
    async fn cancel(&self, charge: &Charge, reference: &str) -> Result<Held, Trouble> {
        let (intent, refusal) = match self.act(charge, reference, "cancel", &[], None).await {
            Ok(intent) => (intent, "it was not cancelled".to_owned()),
            Err(Fault::Declined { refusal, .. } | Fault::Rejected(refusal)) => {
                (self.retrieve(charge, reference).await?, refusal)
            }
            Err(fault) => return Err(fault.into()),
        };
        match intent.held(false)? {
            held if intent.is_canceled() => Ok(held),
            held if held.status == HeldStatus::Captured => Err(Trouble::Refused("already captured".into())),
            _ => Err(Trouble::Unanswered(refusal)),
        }
    }

    /// What is held by an intent. One that was refused could still be confirmed with another card by whoever has its
    /// secret: it is cancelled before anybody is told of a decline.
    async fn settled(&self, charge: &Charge, intent: Intent, refusal: Option<String>) -> Result<Held, Trouble> {
        let held = intent.held(refusal.is_some())?;
        if held.status != HeldStatus::Declined || intent.is_canceled() || !is_of(charge, &held) {
            return Ok(held);
        }
        let refusal = refusal.or(held.refusal);
        match self.cancel(charge, &intent.id).await {
            Ok(canceled) => Ok(Held { status: HeldStatus::Declined, refusal, ..canceled }),
            // What refuses that has found another card meanwhile: the next look-up tells.
            Err(Trouble::Refused(why)) => Err(Trouble::Unanswered(why)),
            Err(trouble) => Err(trouble),
        }
    }
}

#[async_trait]
impl Gateway for Stripe {
    async fn authorize(&self, charge: &Charge) -> Result<Held, Trouble> {
        let Some(reference) = charge.reference.as_deref() else {
            // Without an answer there is an intent, or there is none: either way no money has moved.
            let created = self.create(charge).await.map_err(Trouble::from).and_then(|intent| intent.held(false));
            return created.map_err(|trouble| match trouble {
                Trouble::Unanswered(why) => Trouble::Unavailable(why),
                other => other,
            });
        };
        let return_url = self.return_url.as_deref().map(|url| ("return_url", url));
        let form: Vec<_> = return_url.into_iter().collect();
        let key = format!("{}/confirm", charge.key);
        match self.act(charge, reference, "confirm", &form, Some(&key)).await {
            Ok(intent) => self.settled(charge, intent, None).await,
            Err(Fault::Declined { refusal, intent: Some(intent) }) => {
                self.settled(charge, *intent, Some(refusal)).await
            }
            Err(Fault::Declined { refusal, intent: None }) => {
                let intent = self.retrieve(charge, reference).await?;
                self.settled(charge, intent, Some(refusal)).await
            }
            // What it says is true, or the request is wrong: the intent tells.
            Err(Fault::Rejected(why)) => {
                let intent = self.retrieve(charge, reference).await?;
                match intent.held(false)?.status {
                    HeldStatus::Prepared => Err(Trouble::Invalid(why)),
                    _ => self.settled(charge, intent, None).await,
                }
            }
            Err(fault) => Err(fault.into()),
        }
    }

    async fn look_up(&self, charge: &Charge) -> Result<Option<Held>, Trouble> {
        let Some(reference) = charge.reference.as_deref() else { return Ok(None) };
        let intent = self.retrieve(charge, reference).await?;
        self.settled(charge, intent, None).await.map(Some)
    }

    async fn capture(&self, charge: &Charge, amount: i64) -> Result<Held, Trouble> {
        let reference = charge.reference.as_deref().ok_or_else(nothing_confirmed)?;
        let key = format!("{}/capture/{amount}", charge.key);
        let amount = written(charge, amount)?.to_string();
        match self.act(charge, reference, "capture", &[("amount_to_capture", &amount)], Some(&key)).await {
            Ok(intent) => match intent.held(false)? {
                held if held.status == HeldStatus::Captured => Ok(held),
                held => Err(Trouble::Unanswered(format!("after its capture it is {:?}", held.status))),
            },
            Err(Fault::Declined { refusal, .. }) => match self.retrieve(charge, reference).await?.held(false)? {
                held if held.status == HeldStatus::Captured => Ok(held),
                _ => Err(Trouble::Refused(refusal)),
            },
            // What it says is true, or the request is wrong: the intent tells.
            Err(Fault::Rejected(why)) => match self.retrieve(charge, reference).await?.held(false)? {
                held if held.status == HeldStatus::Captured => Ok(held),
                held if held.status == HeldStatus::Authorized => Err(Trouble::Invalid(why)),
                _ => Err(Trouble::Refused(why)),
            },
            Err(fault) => Err(fault.into()),
        }
    }

    async fn void(&self, charge: &Charge) -> Result<Held, Trouble> {
        let reference = match &charge.reference {
            Some(reference) => reference.clone(),
            // Its answer may have been lost: the same request finds it.
            None => match self.create(charge).await {
                Ok(intent) => match intent.held(false)? {
                    held if is_of(charge, &held) => held.reference,
                    foreign => return Ok(foreign),
                },
                // There is nothing, and nothing can come of it but an intent that nobody confirms.
                Err(Fault::Declined { .. } | Fault::Rejected(_)) => return Ok(never_made(charge)),
                Err(fault) => return Err(fault.into()),
            },
        };
        self.cancel(charge, &reference).await
    }

    /// The key is the number of refunds of this service that Stripe lists, failed ones among them. It changes only once a
    /// refund is listed, so that every repetition of a request in doubt has the same key, whatever amount is missing by
    /// then. Stripe binds a key to the first request that arrives, and refuses a later one with another amount: a lost
    /// request that lands late gives nothing back beside the one that was sent instead.
    async fn refund(&self, charge: &Charge, total_refunded: i64) -> Result<Held, Trouble> {
        let reference = charge.reference.as_deref().ok_or_else(nothing_confirmed)?;
        let intent = self.retrieve(charge, reference).await?;
        let held = intent.held(false)?;
        if !is_of(charge, &held) {
            return Ok(held);
        }
        match held.status {
            HeldStatus::Captured if !(0..=held.captured).contains(&total_refunded) => {
                return Err(Trouble::Refused(format!("{total_refunded} of {} cannot be given back", held.captured)));
            }
            HeldStatus::Captured if held.refunded >= total_refunded => return Ok(held),
            HeldStatus::Captured => {}
            _ => return Err(Trouble::Refused("nothing was captured".into())),
        }
        let number = match intent.refunds_asked_for() {
            Some(number) => number,
            None => self.refunds_listed(charge, reference).await?,
        };
        let key = format!("{}/refund/{number}", charge.key);
        let amount = written(charge, total_refunded - held.refunded)?.to_string();
        let order = charge.order_id.to_string();
        let form = [("payment_intent", reference), ("amount", &amount), (ORDER_ID, &order)];
        let trace = charge.traceparent.as_deref();
        let asked: Refund = self.call(Method::POST, "refunds", &form, Some(&key), trace).await?;
        // The answer may be a stored one, from before the refund failed: only the refund itself says what became of it.
        let path = format!("refunds/{}", in_path(&asked.id));
        let refund: Refund = self.call(Method::GET, &path, &[], None, trace).await?;
        match refund.status.as_str() {
            _ if refund.payment_intent != reference => Err(Trouble::Unanswered("a refund of something else".into())),
            "succeeded" | "pending" => match units::read(refund.amount, charge.total.currency) {
                Some(amount) => Ok(Held { refunded: held.refunded + amount, ..held }),
                None => Err(Trouble::Unanswered("a refund of an amount that its currency has not".into())),
            },
            "failed" | "canceled" => Ok(held),
            status => Err(Trouble::Unanswered(format!("the refund is {status:.40}"))),
        }
    }

    async fn list(&self, made: &Range<Instant>, after: Option<&str>) -> Result<Page, Trouble> {
        let (from, to) = (made.start.timestamp().to_string(), (made.end.timestamp() + 1).to_string());
        let mut form = vec![("created[gte]", from.as_str()), ("created[lt]", &to), ("limit", LISTED)];
        form.push((EXPAND.0, "data.latest_charge.refunds"));
        form.extend(after.map(|after| ("starting_after", after)));
        let Listed { data, has_more } = self.call(Method::GET, "payment_intents", &form, None, None).await?;
        let next = data.last().filter(|_| has_more).map(|intent| intent.id.clone());
        let ours = data.into_iter().filter(|intent| intent.is_of(&self.installation)).map(|intent| intent.held(false));
        let (held, unclear): (Vec<_>, Vec<_>) = ours.partition(Result::is_ok);
        Ok(Page { held: held.into_iter().flatten().collect(), unclear: unclear.len(), next })
    }
}

/// The parameters of a PaymentIntent. They are part of what is resent byte for byte: another version of this service
/// must not change them for an order whose creation may be under way.
fn creation(charge: &Charge, amount: i64, installation: &str) -> [(&'static str, String); 9] {
    [
        ("amount", amount.to_string()),
        ("currency", charge.total.currency.as_str().to_lowercase()),
        ("capture_method", "manual".into()),
        ("confirm", "false".into()),
        ("payment_method", charge.method.clone()),
        ("payment_method_types[]", "card".into()),
        (ORDER_ID, charge.order_id.to_string()),
        (INSTALLATION, installation.to_owned()),
        (EXPAND.0, EXPAND.1.into()),
    ]
}

/// An amount of the charge's currency, as Stripe writes it.
fn written(charge: &Charge, amount: i64) -> Result<i64, Trouble> {
    units::written(Money { amount, ..charge.total }).map_err(Trouble::Invalid)
}

fn is_of(charge: &Charge, held: &Held) -> bool {
    held.order_id == charge.order_id && held.total == charge.total
}

fn never_made(charge: &Charge) -> Held {
    Held {
        order_id: charge.order_id,
        total: charge.total,
        reference: String::new(),
        status: HeldStatus::Voided,
        captured: 0,
        refunded: 0,
        capture_before: None,
        action: None,
        refusal: None,
    }
}

fn nothing_confirmed() -> Trouble {
    Trouble::Refused("nothing was ever confirmed".into())
}

/// A gateway's name in a path: it came from outside.
fn in_path(reference: &str) -> String {
    form_urlencoded::byte_serialize(reference.as_bytes()).collect()
}

/// A fault with its causes; the address it was for is not the log's business.
fn chain(fault: &reqwest::Error) -> String {
    let mut text = match (fault.is_connect(), fault.is_timeout()) {
        (true, _) => "not reached".to_owned(),
        (_, true) => "no answer in time".to_owned(),
        _ => "the connection broke".to_owned(),
    };
    let mut cause = std::error::Error::source(fault);
    while let Some(fault) = cause {
        text += &format!(": {fault}");
        cause = fault.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::OrderId;

    #[test]
    fn the_bytes_of_a_creation_never_change() {
        let charge = Charge {
            key: "k".into(),
            order_id: OrderId("01970000-0000-7000-8000-0000000000aa".parse().unwrap()),
            total: Money { amount: 820, currency: "EUR".parse().unwrap() },
            method: "pm_card_visa&confirm=true".into(),
            traceparent: Some("00-1-2-01".into()),
            reference: None,
        };
        let body = Serializer::new(String::new()).extend_pairs(creation(&charge, 820, "00aa")).finish();
        assert_eq!(
            body,
            "amount=820&currency=eur&capture_method=manual&confirm=false&payment_method=pm_card_visa%26confirm%3Dtrue\
             &payment_method_types%5B%5D=card&metadata%5Border_id%5D=01970000-0000-7000-8000-0000000000aa\
             &metadata%5Binstallation%5D=00aa&expand%5B%5D=latest_charge.refunds"
        );
    }
}
