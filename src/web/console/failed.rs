//! A failure as people see it: in the place of what was asked for, and never as an empty table.

use actix_web::HttpResponse;
use actix_web::http::header;
use askama::Template;

use super::frame::Frame;
use crate::error::{Class, Failure};
use crate::web::pages::{PageRequest, html};
use crate::web::problem::{Occurrence, status};

/// The answer to a request that failed. What only the operator of the machine may know is not in it.
pub fn answer(request: PageRequest, failure: &Failure, occurrence: &Occurrence) -> HttpResponse {
    let class = failure.code.class();
    let what = What {
        title: failure.code.title(),
        detail: if class == Class::Internal { "" } else { &failure.detail },
        code: failure.code.into(),
        faults: failure.faults.iter().map(|fault| &*fault.detail).collect(),
        request_id: &occurrence.request_id,
        retryable: failure.code.is_retryable(),
        has_address: !request.is_deed,
    };
    let body = if request.is_part {
        FailedPart { what: &what }.render()
    } else {
        FailedPage { frame: Frame::outside("Not done", String::new()), what: &what }.render()
    };
    let mut answer = html(status(class), body.unwrap_or_else(|_| what.title.to_owned()));
    let headers = answer.headers_mut();
    if request.is_part && request.is_deed {
        // What was there before stays there: the form has not been used up.
        for (name, value) in [("hx-retarget", "#notice"), ("hx-reswap", "innerHTML"), ("hx-reselect", "unset")] {
            headers.insert(header::HeaderName::from_static(name), header::HeaderValue::from_static(value));
        }
    }
    if matches!(class, Class::TooSlow | Class::TooLarge) {
        answer.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    }
    answer
}

#[derive(Template)]
#[template(path = "console/failed.html")]
struct FailedPage<'a> {
    frame: Frame,
    what: &'a What<'a>,
}

#[derive(Template)]
#[template(path = "console/failed_part.html")]
struct FailedPart<'a> {
    what: &'a What<'a>,
}

struct What<'a> {
    title: &'static str,
    detail: &'a str,
    code: &'static str,
    faults: Vec<&'a str>,
    request_id: &'a str,
    retryable: bool,
    /// Loading the page again asks for the same once more.
    has_address: bool,
}
