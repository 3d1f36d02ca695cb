//! What is going on now.

use actix_web::HttpResponse;
use askama::Template;

use super::frame::{Frame, page};
use super::guard::Visitor;
use crate::web::problem::Problem;

#[derive(Template)]
#[template(path = "console/live.html")]
struct LivePage {
    frame: Frame,
}

/// `GET /console`
pub async fn show(visitor: Visitor) -> Result<HttpResponse, Problem> {
    Ok(page(&LivePage { frame: visitor.frame("Live") })?)
}
