//! The frame around every page, and how a page or a deed is answered.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use askama::Template;

use super::guard::Visitor;
use super::{Action, SECTIONS, assets};
use crate::error::{Code, Failure};

/// Only our own files, and nothing inline.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                          media-src 'self'; connect-src 'self'; form-action 'self'; manifest-src 'self'; \
                          base-uri 'none'; frame-ancestors 'none'";

/// What every page has around it.
pub struct Frame {
    pub title: String,
    /// Who looks; nobody on the pages before the login.
    pub user: Option<String>,
    pub sections: Vec<Section>,
    /// Every form carries it.
    pub token: String,
}

/// A place in the navigation.
pub struct Section {
    pub path: &'static str,
    pub name: &'static str,
    pub is_here: bool,
}

impl Frame {
    /// For those who are logged in.
    pub fn new(visitor: &Visitor, title: impl Into<String>) -> Self {
        let allowed = SECTIONS.iter().filter(|(.., action)| visitor.may(*action));
        let here =
            |path: &str| visitor.path == path || (path != "/console" && visitor.path.starts_with(&format!("{path}/")));
        Self {
            title: title.into(),
            user: Some(visitor.user.name.clone()),
            sections: allowed.map(|(path, name, _)| Section { path, name, is_here: here(path) }).collect(),
            token: visitor.token.clone(),
        }
    }

    /// For those who are not.
    pub fn outside(title: impl Into<String>, token: String) -> Self {
        Self { title: title.into(), user: None, sections: Vec::new(), token }
    }

    /// Where one of our own files is.
    pub fn asset(&self, file: &str) -> String {
        assets::address(file)
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

pub(super) fn html(status: StatusCode, body: String) -> HttpResponse {
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

impl Visitor {
    /// A frame for this visitor.
    pub fn frame(&self, title: impl Into<String>) -> Frame {
        Frame::new(self, title)
    }

    /// Whether a button for this is to be shown.
    pub fn may(&self, action: Action) -> bool {
        action.is_allowed_to(&self.user)
    }
}
