//! A shop that is offered its orders by a signed POST to a URL of its own. Its answer only says that it was received:
//! what it decides comes by the shop API, where it can be told "too late", and said again until it is heard.

use super::{Answer, Unreachable};
use crate::foreign::{Caller, ForeignUrl};
use crate::order::Instant;
use crate::signing::{self, SigningSecret};

/// Offers an order. `id` is the same each time the same order is offered.
///
/// # Errors
/// [`Unreachable`] for everything but an answer of 2xx: it is offered again, until the order's time for that is over.
pub async fn offer(
    caller: &Caller,
    url: &str,
    secrets: &[&SigningSecret],
    id: &str,
    traceparent: Option<String>,
    body: Vec<u8>,
    now: Instant,
) -> Result<Answer, Unreachable> {
    let unreachable = |why: &dyn std::fmt::Display| Unreachable::new(format!("the shop's URL: {why}"));
    let url = ForeignUrl::parse(url, caller.rules()).map_err(|unfit| unreachable(&unfit))?;
    let mut headers = signing::headers(secrets, id, now, &body).to_vec();
    headers.extend(traceparent.map(|traceparent| ("traceparent", traceparent)));
    match caller.post(&url, &headers, body).await {
        Ok(answer) if (200..300).contains(&answer.status) => Ok(Answer::Received),
        Ok(answer) => {
            let after = answer.asks_for(now);
            Err(Unreachable { after, ..unreachable(&format_args!("it answered {}", answer.status)) })
        }
        // Only operators read it.
        Err(trouble) => Err(unreachable(&trouble.detail())),
    }
}
