//! The page of the simulated bank: where a customer answers a 3-D Secure challenge by hand.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::app::{App, Bank};
use crate::error::{Code, Failure};
use crate::web::body::read_form;
use crate::web::problem::Problem;

type Answer = Result<HttpResponse, Problem>;

/// The customer's answer.
#[derive(Deserialize)]
pub struct Form {
    answer: String,
}

/// `GET /simulator/bank/{key}`: what the bank asks.
pub async fn get_challenge(app: web::Data<App>, key: web::Path<String>) -> Answer {
    show(bank(&app)?, &key).await
}

/// What this bank asks.
///
/// # Errors
/// `overloaded` while the bank does not answer.
pub async fn show(bank: &dyn Bank, key: &str) -> Answer {
    let text = match bank.asks(key).await.map_err(silent)? {
        Some(total) => format!(
            "<p>Do you want to pay <strong>{}.{:02} {}</strong>?</p>\
             <form method=\"post\"><button name=\"answer\" value=\"approve\">Approve</button> \
             <button name=\"answer\" value=\"decline\">Decline</button></form>",
            total.amount / 100,
            total.amount % 100,
            total.currency
        ),
        None => "<p>There is nothing to answer here.</p>".into(),
    };
    Ok(page(&text))
}

/// `POST /simulator/bank/{key}`: the customer's answer, `answer=approve` or `answer=decline`.
pub async fn answer_challenge(
    app: web::Data<App>,
    key: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Answer {
    hear(bank(&app)?, &key, &request, payload).await
}

/// Takes the customer's answer to this bank.
///
/// # Errors
/// `invalid_request` for what is no answer, `not_found` where nothing was asked.
pub async fn hear(bank: &dyn Bank, key: &str, request: &HttpRequest, payload: web::Payload) -> Answer {
    let form: Form = read_form(request, payload).await?;
    let approve = match form.answer.as_str() {
        "approve" => true,
        "decline" => false,
        _ => return Err(Failure::new(Code::InvalidRequest, "answer: send `approve` or `decline`.").into()),
    };
    if !bank.answer(key, approve).await.map_err(silent)? {
        return Err(nothing_asked().into());
    }
    Ok(page("<p>Thank you. You can go back to your coffee.</p>"))
}

fn bank(app: &App) -> Result<&dyn Bank, Failure> {
    app.payment.bank.as_deref().ok_or_else(nothing_asked)
}

fn nothing_asked() -> Failure {
    Failure::new(Code::NotFound, "The bank asks nothing here.")
}

fn silent(why: String) -> Failure {
    Failure::new(Code::Overloaded, "The bank does not answer: try again.").because(why)
}

fn page(text: &str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; form-action 'self'; frame-ancestors 'none'",
        ))
        .body(format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>Simulated bank</title>\
             <h1>Simulated bank</h1>{text}</html>"
        ))
}
