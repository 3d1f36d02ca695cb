//! When there is too much to do, new orders are turned away, and nothing else. Before anything about them is looked
//! at: whatever that takes would be missing where orders are carried to their end.

use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::web::{Data, Payload};
use actix_web::{FromRequest, HttpMessage};

use crate::app::App;
use crate::error::Failure;
use crate::store;
use crate::web::body;

/// The route of a request that is to be turned away.
pub fn turned_away(request: &ServiceRequest) -> Option<&'static str> {
    let route = match (request.method(), request.path()) {
        (&Method::POST, "/v1/orders") => "/v1/orders",
        (&Method::PUT, path) if path.starts_with("/v1/drafts/") && path.ends_with("/confirmation") => {
            "/v1/drafts/{order_id}/confirmation"
        }
        _ => return None,
    };
    request.app_data::<Data<App>>().filter(|app| app.is_full()).map(|_| route)
}

/// Why it is turned away. Its body is read to its end, so that the connection can be used again.
pub async fn refuse(request: &mut ServiceRequest) -> Failure {
    let mut payload = request.take_payload();
    let limits = request.app_data().copied().unwrap_or_default();
    let read = match Payload::from_request(request.request(), &mut payload).into_inner() {
        Ok(payload) => body::read(payload, limits).await,
        Err(_) => Ok(Default::default()),
    };
    read.err().unwrap_or_else(|| store::Error::Overloaded.into())
}
