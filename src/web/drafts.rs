//! Drafts: a basket that is priced first, and becomes an order by an idempotent confirmation.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::Duration;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::admission::Verdict;
use crate::app::App;
use crate::catalogue::Refusal;
use crate::clock::now;
use crate::error::{Code, Failure};
use crate::order::{Instant, Money, NewOrder, OrderId, PartnerId};
use crate::store::{Accept, Draft, Known, Position, Replaced};
use crate::web::admitted;
use crate::web::auth::AsPartner;
use crate::web::body::Body;
use crate::web::create_order::DraftOrder;
use crate::web::heard::path_id;
use crate::web::orders::{caller_trace, known, seen_revision, trace_parent};
use crate::web::problem::Problem;
use crate::web::views::{LineView, PickupView};
use crate::web::vocabulary::Timestamp;

type Answer = Result<HttpResponse, Problem>;

/// An order to be.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DraftView {
    /// The id of the order that its confirmation makes.
    pub order_id: Uuid,
    pub customer_id: String,
    pub shop_id: Uuid,
    pub lines: Vec<LineView>,
    /// The shop is bound to it until `valid_until`.
    pub total: Money,
    pub pickup: PickupView,
    pub valid_until: Timestamp,
    /// It was confirmed: the order is at `/v1/orders/{order_id}`.
    pub confirmed: bool,
    pub created_at: Timestamp,
}

impl DraftView {
    fn new(draft: &Draft) -> Self {
        let currency = draft.placed.total.currency;
        Self {
            order_id: draft.order_id.0,
            customer_id: draft.request.customer_id.0.clone(),
            shop_id: draft.request.shop_id.0,
            lines: draft.placed.lines.iter().map(|line| LineView::new(line, currency, false)).collect(),
            total: draft.placed.total,
            pickup: PickupView::new(&draft.request.pickup),
            valid_until: Timestamp(draft.valid_until),
            confirmed: draft.is_confirmed,
            created_at: Timestamp(draft.created_at),
        }
    }
}

/// Says that the customer wants the draft.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"confirmed": true}))]
pub struct Confirmation {
    confirmed: bool,
}

/// Price a basket. The answer's id is the id of the order to be.
#[utoipa::path(
    post, path = "/v1/drafts", operation_id = "createDraft", tag = "drafts", security(("partnerKey" = [])),
    request_body = DraftOrder,
    responses((status = 201, description = "Priced.", body = DraftView, headers(("Location" = String), ("Lungo-Position" = String)))),
)]
pub async fn create_draft(
    AsPartner(partner): AsPartner,
    request: HttpRequest,
    app: web::Data<App>,
    Body(body): Body<DraftOrder>,
) -> Answer {
    let draft = price(&app, partner, OrderId::new(), body.parse(), &request)?;
    let view = DraftView::new(&draft);
    let position = app.store.put_draft(draft).await.map_err(Failure::from)?;
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/v1/drafts/{}", view.order_id)))
        .insert_header(("Lungo-Position", position.token()))
        .json(view))
}

/// One draft.
#[utoipa::path(
    get, path = "/v1/drafts/{order_id}", operation_id = "getDraft", tag = "drafts", security(("partnerKey" = [])),
    params(("order_id" = Uuid, Path)),
    responses((status = 200, description = "The draft.", body = DraftView, headers(("Lungo-Position" = String)))),
)]
pub async fn get_draft(AsPartner(partner): AsPartner, app: web::Data<App>, id: web::Path<String>) -> Answer {
    let (draft, position) = draft_of(&app, partner, path_id(&id)?).await?;
    Ok(shown(DraftView::new(&draft), position))
}

/// Replace what a draft holds, priced anew.
#[utoipa::path(
    put, path = "/v1/drafts/{order_id}", operation_id = "putDraft", tag = "drafts", security(("partnerKey" = [])),
    params(("order_id" = Uuid, Path)), request_body = DraftOrder,
    responses((status = 200, description = "Replaced.", body = DraftView, headers(("Lungo-Position" = String)))),
)]
pub async fn put_draft(
    AsPartner(partner): AsPartner,
    request: HttpRequest,
    app: web::Data<App>,
    id: web::Path<String>,
    Body(body): Body<DraftOrder>,
) -> Answer {
    let (before, _) = draft_of(&app, partner, path_id(&id)?).await?;
    check_open(&before, now())?;
    let draft = price(&app, partner, before.order_id, body.parse(), &request)?;
    let view = DraftView { created_at: Timestamp(before.created_at), ..DraftView::new(&draft) };
    match app.store.replace_draft(draft, now()).await.map_err(Failure::from)? {
        Replaced::Done(position) => Ok(shown(view, position)),
        Replaced::Unknown => Err(unknown_draft().into()),
        Replaced::Confirmed => Err(confirmed().into()),
        Replaced::Expired => Err(admitted::refusal(&Refusal::DraftExpired).into()),
        Replaced::Deleted(draft) => Err(admitted::Deleted::draft(&draft).into_failure().into()),
    }
}

/// Make the draft an order. Repeating it gives the same order, for ever.
#[utoipa::path(
    put, path = "/v1/drafts/{order_id}/confirmation", operation_id = "confirmDraft", tag = "drafts", security(("partnerKey" = [])),
    params(("order_id" = Uuid, Path), ("If-Match" = Option<String>, Header, description = "The `revision`, in quotes, of the list that the customer has seen. A weak tag says the same.")),
    request_body = Confirmation,
    responses((status = 202, description = "The order.", body = crate::web::views::OrderView,
        headers(("Location" = String), ("Retry-After" = u32), ("Lungo-Position" = String), ("ETag" = String)))),
)]
pub async fn confirm_draft(
    AsPartner(partner): AsPartner,
    request: HttpRequest,
    app: web::Data<App>,
    id: web::Path<String>,
    Body(confirmation): Body<Confirmation>,
) -> Answer {
    if !confirmation.confirmed {
        let fault = crate::error::Fault::new("/confirmed", "not_allowed", "Only `true` confirms a draft.");
        let failure = Failure::new(Code::Unprocessable, "A confirmation cannot be taken back: cancel the order.");
        return Err(failure.faults(vec![fault]).into());
    }
    let id = path_id(&id)?;
    loop {
        let (draft, _) = draft_of(&app, partner, id).await?;
        let seen = seen_revision(request.headers(), partner, &draft.request.customer_id)?;
        let now = now();
        let mut catalogue =
            if draft.valid_until <= now { Err(Refusal::DraftExpired) } else { app.recheck(partner, &draft, now) };
        // An order belongs to the trace of the request that made it; the draft may have come from another one.
        if let (Ok(priced), Some(caller)) = (&mut catalogue, caller_trace(&request)) {
            priced.placed.traceparent = Some(caller);
        }
        let accept = Accept {
            order_id: draft.order_id,
            partner_id: partner,
            request: draft.request.clone(),
            idempotency_key: None,
            seen,
            catalogue,
            draft: Some(draft),
            now,
        };
        let admitted = app.accept(accept).await.map_err(Failure::from)?;
        // It was replaced while it was being judged: only what it holds now may be ordered.
        if admitted.verdict != Verdict::Catalogue(Refusal::DraftReplaced) {
            admitted::note(&app, partner, None, &request, &admitted);
            return admitted::answer(&app, partner, admitted);
        }
    }
}

fn price(
    app: &App,
    partner: PartnerId,
    order_id: OrderId,
    request: NewOrder,
    http: &HttpRequest,
) -> Result<Draft, Failure> {
    let now = now();
    let priced = app
        .verdict(partner, &request, now, trace_parent(http, order_id))
        .map_err(|refused| admitted::refusal(&refused))?;
    let valid_for = Duration::from_std(app.settings.draft_valid_for.0).expect("spans are at most a year");
    Ok(Draft {
        order_id,
        partner_id: partner,
        request,
        placed: priced.placed,
        valid_until: now + valid_for,
        created_at: now,
        deleted_at: None,
        is_confirmed: false,
    })
}

fn shown(view: DraftView, position: Position) -> HttpResponse {
    HttpResponse::Ok().insert_header(("Lungo-Position", position.token())).json(view)
}

async fn draft_of(app: &App, partner: PartnerId, id: Uuid) -> Result<(Draft, Position), Failure> {
    let Some(found) = known(app, partner, id, None).await? else { return Err(unknown_draft()) };
    if let Some(gone) = admitted::gone(&found) {
        return Err(gone);
    }
    match found {
        Known::Draft(draft, position) => Ok((*draft, position)),
        // It may have been confirmed; then the draft is still there behind its order.
        Known::Order(..) => app.store.draft(OrderId(id)).await?.ok_or_else(unknown_draft),
    }
}

fn check_open(draft: &Draft, now: Instant) -> Result<(), Failure> {
    match draft {
        Draft { is_confirmed: true, .. } => Err(confirmed()),
        draft if draft.valid_until <= now => Err(admitted::refusal(&Refusal::DraftExpired)),
        _ => Ok(()),
    }
}

fn unknown_draft() -> Failure {
    Failure::new(Code::NotFound, "There is no such draft.")
}

fn confirmed() -> Failure {
    Failure::new(Code::DraftConfirmed, "The draft was confirmed and is an order now.")
}
