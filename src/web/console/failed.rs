//! A failure as people see it: in the place of what was asked for, and never as an empty table.

use actix_web::HttpResponse;
use actix_web::dev::ServiceRequest;
use actix_web::http::{Method, header};
use askama::Template;

use super::frame::{Frame, html};
use crate::error::{Class, Failure};
use crate::web::problem::{Occurrence, status};

/// A request for a page, as far as its failure has to know it.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest {
    /// Only a part of the page is replaced by the answer.
    is_part: bool,
    is_deed: bool,
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
}

impl PageRequest {
    /// `None` if this is a request of the API, also where a board's script makes it.
    pub fn of(request: &ServiceRequest) -> Option<Self> {
        let path = request.path();
        let is_below =
            |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let is_page = ["/console", "/board"].into_iter().any(is_below) && !is_below("/board/shop");
        is_page.then(|| Self {
            is_part: request.headers().contains_key("hx-request"),
            is_deed: request.method() == Method::POST,
        })
    }

    /// The answer to a request that failed. What only the operator of the machine may know is not in it.
    pub fn answer(self, failure: &Failure, occurrence: &Occurrence) -> HttpResponse {
        let class = failure.code.class();
        let what = What {
            title: failure.code.title(),
            detail: if class == Class::Internal { "" } else { &failure.detail },
            code: failure.code.into(),
            faults: failure.faults.iter().map(|fault| &*fault.detail).collect(),
            request_id: &occurrence.request_id,
            retryable: failure.code.is_retryable(),
        };
        let body = if self.is_part {
            FailedPart { what: &what }.render()
        } else {
            FailedPage { frame: Frame::outside("Not done", String::new()), what: &what }.render()
        };
        let mut answer = html(status(class), body.unwrap_or_else(|_| what.title.to_owned()));
        let headers = answer.headers_mut();
        if self.is_part && self.is_deed {
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
}
