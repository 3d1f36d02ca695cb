//! What every page has in common, whoever it is for: how a request for one is known, and how it is answered.

use std::cell::RefCell;
use std::rc::Rc;

use actix_web::HttpResponse;
use actix_web::dev::ServiceRequest;
use actix_web::http::{Method, StatusCode, header};
use askama::Template;

use crate::error::{Code, Failure};
use crate::web::console::frame::Frame;

/// Only our own files, and nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      media-src 'self'; connect-src 'self'; form-action 'self'; manifest-src 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// A request for a page, as far as its failure has to know it: in its extensions, and beside it, because a failure may
/// take the request down with it.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// Only a part of the page is replaced by the answer.
    pub is_part: bool,
    pub is_deed: bool,
    /// It is a page for the tablet of a shop.
    pub is_board: bool,
    /// What the failure has around it, once it is known who asks.
    pub around: Rc<RefCell<Option<Frame>>>,
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
            is_board: is_below("/board"),
            around: Rc::default(),
        })
    }
}

/// A page, or a part of one.
pub fn page(template: &impl Template) -> Result<HttpResponse, Failure> {
    page_with(StatusCode::OK, template)
}

/// A page that tells of a fault in what was sent.
pub fn page_with(status: StatusCode, template: &impl Template) -> Result<HttpResponse, Failure> {
    let body = template.render().map_err(|fault| Failure::new(Code::InternalError, "").because(fault))?;
    Ok(html(status, body))
}

/// A page that is written already.
pub fn html(status: StatusCode, body: String) -> HttpResponse {
    HttpResponse::build(status)
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .body(body)
}

/// Elsewhere, by GET.
pub fn see_other(path: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, path))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}
