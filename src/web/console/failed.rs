//! A failure as people see it: in the place of what was asked for, with what to do next, and never as an empty table.

use actix_web::HttpResponse;
use actix_web::http::header;
use askama::Template;

use super::frame::Frame;
use crate::error::{Class, Code, Failure};
use crate::web::pages::{PageRequest, html};
use crate::web::problem::{Occurrence, Problem, status};

/// `GET /console/…`: an address that leads nowhere.
pub async fn nowhere() -> Result<HttpResponse, Problem> {
    Err(Failure::new(Code::NotFound, "There is no page of this address.").into())
}

/// The answer to a request that failed. What only the operator of the machine may know is not in it.
pub fn answer(request: &PageRequest, failure: &Failure, occurrence: &Occurrence) -> HttpResponse {
    let class = failure.code.class();
    let retryable = failure.code.is_retryable();
    let what = What {
        title: if class == Class::Forbidden { "You may not do that." } else { failure.code.title() },
        detail: if class == Class::Internal { "" } else { &failure.detail },
        next: next(failure.code, request.is_deed),
        code: failure.code.into(),
        faults: failure.faults.iter().map(|fault| &*fault.detail).collect(),
        request_id: &occurrence.request_id,
        retryable,
        has_address: !request.is_deed,
    };
    let around = || request.around.take().unwrap_or_else(|| Frame::outside("Not done", String::new()));
    let body = if request.is_part {
        FailedPart { what: &what }.render()
    } else if request.is_board {
        FailedBoard { frame: Frame::outside("Board", String::new()), what: &what }.render()
    } else {
        FailedPage { frame: around(), what: &what }.render()
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

/// What whoever reads this can do now.
fn next(code: Code, is_deed: bool) -> &'static str {
    match (code.class(), is_deed) {
        (Class::Unavailable, _) if code == Code::OutcomeUnknown => {
            "It may have been done all the same: look how it is now before you repeat it."
        }
        (Class::Unavailable | Class::TooMany | Class::TooSlow, true) => "Go back, and send it again in a moment.",
        (Class::Unavailable | Class::TooMany | Class::TooSlow, false) => {
            "Orders are safe meanwhile: what was accepted is gone on with as soon as it can be. This page tries again by \
             itself every few seconds."
        }
        (Class::Internal, _) => {
            "It is logged under the number of this request: give that to whoever runs the service. Other pages may work."
        }
        (Class::Forbidden, _) => "An administrator can give you a role that may. Your own roles are behind your name.",
        (Class::Unauthenticated, _) => "Log in again, and go on from there.",
        (Class::NotFound | Class::Gone | Class::MethodNotAllowed, _) => {
            "The address may be mistyped, or be of something that is there no more. Look for it in one of the sections."
        }
        _ => "Nothing was done. Go back, look how it is now, and try again.",
    }
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

#[derive(Template)]
#[template(path = "board/failed.html")]
struct FailedBoard<'a> {
    frame: Frame,
    what: &'a What<'a>,
}

struct What<'a> {
    title: &'static str,
    detail: &'a str,
    next: &'static str,
    code: &'static str,
    faults: Vec<&'a str>,
    request_id: &'a str,
    retryable: bool,
    /// Loading the page again asks for the same once more.
    has_address: bool,
}

impl What<'_> {
    /// It looks by itself whether it would work now.
    fn tries_again(&self) -> bool {
        self.retryable && self.has_address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_the_look_of_what_was_asked_for_and_says_what_to_do_next() {
        let occurrence = Occurrence { request_id: "r-1".into(), instance: "/".into(), ..Occurrence::default() };
        let asked = |is_deed, is_board| PageRequest { is_part: false, is_deed, is_board, around: Default::default() };
        let told = |request: PageRequest, code| {
            let answer = answer(&request, &Failure::new(code, "why"), &occurrence);
            let body = actix_web::body::to_bytes(answer.into_body());
            let bytes = futures_util::FutureExt::now_or_never(body).expect("it is all there").expect("bytes");
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        let inside = asked(false, false);
        inside.around.replace(Some(Frame::of_somebody("Not done")));
        let page = told(inside, Code::DatabaseUnavailable);
        for wanted in ["href=\"/console/orders\"", "tries again", "again.js", "r-1"] {
            assert!(page.contains(wanted), "{wanted}: {page}");
        }
        let page = told(asked(true, false), Code::DatabaseUnavailable);
        assert!(!page.contains("again.js") && page.contains("send it again"), "{page}");
        let page = told(asked(false, true), Code::DatabaseUnavailable);
        assert!(page.contains("kept on this tablet") && page.contains("board.css"), "{page}");
        let page = told(asked(false, false), Code::InternalError);
        assert!(!page.contains("why") && page.contains("whoever runs the service"), "{page}");
    }
}
