//! What payment gateways send by themselves. They have no key: their signature over the raw body stands for it.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{App, Unheard};
use crate::clock::now;
use crate::error::{Code, Failure};
use crate::web::body::{Limits, read};
use crate::web::problem::Problem;

/// An event with all that hangs on it is longer than an order.
const LIMITS: Limits = Limits { max_bytes: 256 * 1024, within: Duration::from_secs(10) };
const SIGNATURE: &str = "stripe-signature";

/// What a gateway is answered whose event was taken in.
#[derive(Serialize, ToSchema)]
pub struct Acknowledged {
    /// Always true.
    received: bool,
}

/// Takes in an event of Stripe's, signed with one of the endpoint's secrets at most five minutes ago. What it says is
/// taken as a hint, and looked up: so events may be repeated and come in any order. Whatever is not about an order of
/// this service is acknowledged and forgotten.
#[utoipa::path(
    post, path = "/v1/callbacks/stripe", operation_id = "stripeCallback", tag = "callbacks",
    request_body(content = Object, description = "An event, as Stripe signs it."),
    params(("Stripe-Signature" = String, Header, description = "Time and signatures: `t=…,v1=…`.")),
    responses((status = 200, description = "Taken in.", body = Acknowledged))
)]
pub async fn stripe_callback(
    app: web::Data<App>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let body = read(payload, LIMITS).await?;
    let mut signatures = request.headers().get_all(SIGNATURE);
    let signature = match (signatures.next().and_then(|value| value.to_str().ok()), signatures.next()) {
        (Some(signature), None) => signature,
        _ => return Err(unverified("one readable Stripe-Signature is needed").into()),
    };
    let Some(callbacks) = &app.payment.callbacks else {
        return Err(unverified("this service does not work with Stripe").into());
    };
    match callbacks.hear(signature, &body, now()).await {
        Ok(()) => Ok(HttpResponse::Ok().json(Acknowledged { received: true })),
        Err(Unheard::Unverified(why)) => Err(unverified(&why).into()),
        Err(Unheard::Unreadable(why)) => {
            Err(Failure::new(Code::MalformedRequest, "This is not an event.").because(why).into())
        }
        Err(Unheard::Later(why)) => Err(Failure::new(Code::Overloaded, "Send it again later.").because(why).into()),
    }
}

fn unverified(why: &str) -> Failure {
    Failure::new(Code::InvalidSignature, format!("This is not believed: {why}."))
}
