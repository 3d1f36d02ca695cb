//! The partner's feed: everything that happened to its orders, in one fixed order.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::error::{Code, Failure};
use crate::order::OrderId;
use crate::store::{Position, Recorded};
use crate::web::auth::AsPartner;
use crate::web::heard::unknown_order;
use crate::web::problem::Problem;
use crate::web::query::{EventTag, LogCursor, Query, limit, log_cursor, lost_history, opaque};
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
    /// Where to go on, now or later: nothing is ever inserted before it. It names the last event of this page: where
    /// another one stands there, because the database was restored from a backup, it is refused (`cursor_invalid`).
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

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AfterQuery {
    /// Only what happened after this version of the order; everything if it is not said.
    #[param(minimum = 0)]
    after: Option<i64>,
}

/// Events of one order that are told at once: few orders ever have more than a dozen.
const MOST_OF_ONE: usize = 1000;

/// What happened to an order, oldest first, and whether there is more than that.
///
/// # Errors
/// `invalid_request` for a negative version, `not_found` if there is no such order, and whatever keeps the store from
/// reading it.
pub async fn of_one(app: &App, order: OrderId, query: &AfterQuery) -> Result<(Vec<Recorded>, bool), Failure> {
    let after = query.after.unwrap_or(0);
    if after < 0 {
        return Err(Failure::new(Code::InvalidRequest, "after: send a version, which is never negative."));
    }
    let mut events = app.store.events_after(order, after, MOST_OF_ONE as i64 + 1).await?;
    if events.is_empty() && app.store.events_after(order, 0, 1).await?.is_empty() {
        return Err(unknown_order());
    }
    let is_truncated = events.len() > MOST_OF_ONE;
    events.truncate(MOST_OF_ONE);
    Ok((events, is_truncated))
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
    let (scope, cluster) = (opaque::scope(partner, None), app.store.cluster());
    let cursor = log_cursor(query.cursor.as_deref(), scope, |of| app.store.has_log_of(of))?;
    let after = cursor.map_or(0, |cursor| cursor.after);
    let (told, events, last, place) =
        app.store.feed(partner, after, limit(query.limit, 1000)?).await.map_err(Failure::from)?;
    // A history that has the very event that was told last has all before it too, and what came since has later
    // positions. One that has another event there, or none, was never told: some of it may stand before that position.
    let is_told = cursor.is_none_or(|cursor| after == 0 || told.is_some_and(|told| cursor.event.names(&told)));
    let mut seen = place;
    // Of a database that this one was moved from nothing can be lost here.
    if let Some(cursor) = cursor.filter(|cursor| cursor.cluster == cluster)
        && app.store.goes_on(place, cursor.seen).map_err(Failure::from)?
        && events.is_empty()
    {
        // Whoever hears nothing new depends on no more than before.
        seen = cursor.seen;
    }
    if after > last || !is_told {
        return Err(lost_history().into());
    }
    let none = EventTag::Whole(0);
    let (after, event) = match events.last() {
        Some(event) => (event.position, EventTag::of(event)),
        None => (after, cursor.map_or(none, |cursor| cursor.event)),
    };
    let next = LogCursor { after, event, cluster, seen };
    let events = events.iter().map(|event| FeedEvent { order_id: event.order_id.0, event: EventView::new(event) });
    let mut answer = HttpResponse::Ok();
    answer.insert_header(("Lungo-Position", Position::of_log(cluster, place).token()));
    Ok(answer.json(EventPage { events: events.collect(), cursor: opaque::log_cursor(next, scope) }))
}
