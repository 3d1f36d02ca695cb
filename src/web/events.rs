//! The partner's feed: everything that happened to its orders, in one fixed order.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::error::{Code, Failure};
use crate::store::Position;
use crate::web::auth::AsPartner;
use crate::web::problem::Problem;
use crate::web::query::{Query, cursor, limit, opaque};
use crate::web::views::EventView;

/// An event, and whose it is.
#[derive(Serialize, ToSchema)]
pub struct FeedEvent {
    pub order_id: Uuid,
    #[serde(flatten)]
    pub event: EventView,
}

/// A page of the feed.
#[derive(Serialize, ToSchema)]
pub struct EventPage {
    pub events: Vec<FeedEvent>,
    /// Where to go on, now or later: nothing is ever inserted before it.
    pub cursor: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FeedQuery {
    /// From the page before; none to begin with the oldest event.
    cursor: Option<String>,
    /// At most so many; 20 if it is not said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
}

/// All transitions of the partner's orders, oldest first. None is skipped, none comes twice.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "listEvents", tag = "orders", security(("partnerKey" = [])),
    params(FeedQuery),
    responses((status = 200, description = "A page; an empty one means that nothing more has happened yet.", body = EventPage, headers(("Lungo-Position" = String)))),
)]
pub async fn list_events(
    AsPartner(partner): AsPartner,
    app: web::Data<App>,
    query: Query<FeedQuery>,
) -> Result<HttpResponse, Problem> {
    let scope = opaque::scope(partner, None);
    let after = cursor(query.cursor.as_deref(), scope)?.unwrap_or(0);
    let (events, last) = app.store.feed(partner, after, limit(query.limit, 1000)?).await.map_err(Failure::from)?;
    if after > last {
        let detail = "The history this cursor points into was lost: start again without a cursor.";
        return Err(Failure::new(Code::CursorInvalid, detail).into());
    }
    let next = events.last().map_or(after, |event| event.position);
    let events = events.iter().map(|event| FeedEvent { order_id: event.order_id.0, event: EventView::new(event) });
    let mut answer = HttpResponse::Ok();
    answer.insert_header(("Lungo-Position", Position::of_log(app.store.cluster(), last).token()));
    Ok(answer.json(EventPage { events: events.collect(), cursor: opaque::cursor(next, scope) }))
}
