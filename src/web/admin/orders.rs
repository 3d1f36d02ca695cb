//! Orders as operators see them: everything there is to know, deleted ones too, and what a person may decide.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::clock::now;
use crate::command::{Command, CommandKind};
use crate::error::{Code, Failure, Fault};
use crate::lifecycle::{Actor, Reason, Refund, Stage, Status};
use crate::order::{Instant, OrderId, PartnerId, text};
use crate::state::Order;
use crate::store::{AuditFilter, Logged, Recorded, Wanted, order_subject};
use crate::suspects::DEATH;
use crate::web::auth::AsAdmin;
use crate::web::body::{Body, OptionalBody};
use crate::web::events::{self, AfterQuery};
use crate::web::faults;
use crate::web::headers;
use crate::web::heard::{obeyed, path_id, unknown_order};
use crate::web::problem::Problem;
use crate::web::query::Query;
use crate::web::views::{EventView, OrderView};
use crate::web::vocabulary::{Timestamp, operator_cancelling};

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;
/// Entries of the audit log that are looked through for who did something to an order.
const MOST_DEEDS: i64 = 1000;

/// An order with all that is known of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdminOrderView {
    #[serde(flatten)]
    order: OrderView,
    partner_id: Uuid,
    /// Whether the stored body still has the hash that it was accepted with.
    intact: bool,
    task: TaskView,
    gateway: GatewayView,
    /// When the clock decides, if nobody else does.
    #[schema(required)]
    deadline_at: Option<Timestamp>,
    /// When a scheduled order is offered to the shop.
    #[schema(required)]
    offer_at: Option<Timestamp>,
    #[schema(required)]
    offered_at: Option<Timestamp>,
    #[schema(required)]
    ready_at: Option<Timestamp>,
    /// The partner no longer sees it.
    #[schema(required)]
    deleted_at: Option<Timestamp>,
    operator_actions: Vec<OperatorAction>,
}

/// The work that is pending on an order.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskView {
    #[schema(required)]
    stage: Option<Stage>,
    /// Since the order entered its stage.
    attempts: i32,
    errors: i32,
    /// Deaths of processes for which the order is blamed, and its panics, since it last came back.
    crashes: i32,
    #[schema(required)]
    next_attempt_at: Option<Timestamp>,
    /// A worker holds it until then.
    #[schema(required)]
    leased_until: Option<Timestamp>,
    /// It was set aside for an operator.
    #[schema(required)]
    parked_at: Option<Timestamp>,
    #[schema(required)]
    last_error: Option<String>,
    fence: i64,
}

/// How the gateway knows the order.
#[derive(Debug, Serialize, ToSchema)]
pub struct GatewayView {
    /// The key of its one authorization.
    key: String,
    /// The gateway's own name for the charge.
    #[schema(required)]
    reference: Option<String>,
    /// The hold lapses by itself then.
    #[schema(required)]
    capture_before: Option<Timestamp>,
    /// How much must have gone back in the end: what operators decided, and what was taken beyond what is due. Minor
    /// units.
    refund_target: i64,
    /// How much can still be refunded. Minor units.
    refundable: i64,
    /// How much of the pending refund an operator can give up. Minor units.
    reducible: i64,
}

/// What an operator may do with an order now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperatorAction {
    Cancel,
    Retry,
    ForceComplete,
    Refund,
    ReduceRefund,
}

impl AdminOrderView {
    pub fn new(app: &App, order: &Order, now: Instant) -> Self {
        let (task, payment) = (&order.task, &order.payment);
        Self {
            order: OrderView::new(order, None, &app.pace().waiting(order, 0.0, now)),
            partner_id: order.partner_id.0,
            intact: order.intact,
            task: TaskView {
                stage: task.stage,
                attempts: task.attempts,
                errors: task.errors,
                crashes: task.blame / DEATH,
                next_attempt_at: Timestamp::maybe(task.next_attempt_at),
                leased_until: Timestamp::maybe(task.leased_until),
                parked_at: Timestamp::maybe(task.parked_at),
                last_error: task.last_error.clone(),
                fence: task.fence,
            },
            gateway: GatewayView {
                key: order.authorization_key(),
                reference: payment.reference.clone(),
                capture_before: Timestamp::maybe(payment.capture_before),
                refund_target: order.must_go_back(),
                refundable: order.refundable(),
                reducible: order.reducible(),
            },
            deadline_at: Timestamp::maybe(order.deadline_at),
            offer_at: Timestamp::maybe(order.offer_at),
            offered_at: Timestamp::maybe(order.offered_at),
            ready_at: Timestamp::maybe(order.ready_at),
            deleted_at: Timestamp::maybe(order.deleted_at),
            operator_actions: OperatorAction::allowed(order),
        }
    }
}

impl OperatorAction {
    /// All that the order's present state allows.
    pub fn allowed(order: &Order) -> Vec<Self> {
        let actions = [
            (Self::Cancel, CommandKind::Cancel),
            (Self::Retry, CommandKind::Retry),
            (Self::ForceComplete, CommandKind::ForceComplete),
            (Self::Refund, CommandKind::Refund),
            (Self::ReduceRefund, CommandKind::ReduceRefund),
        ];
        actions.into_iter().filter_map(|(action, command)| command.allowed(order).then_some(action)).collect()
    }
}

/// Some of the orders that were looked for.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdminOrderList {
    /// The newest first.
    orders: Vec<AdminOrderView>,
    /// Where to go on; null at the end. There may be more even if this page is empty: each looks through a bounded
    /// part of the history.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Which orders to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OrderFilter {
    status: Option<Status>,
    /// What is to be done next.
    stage: Option<Stage>,
    /// Whether it was set aside for an operator.
    parked: Option<bool>,
    partner_id: Option<Uuid>,
    /// `next_cursor` of the page before.
    #[param(format = Uuid)]
    cursor: Option<String>,
    /// 1 to 200; 50 by default.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
}

/// What happened to an order.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdminEventList {
    /// At most 1,000, the oldest first.
    events: Vec<AdminEventView>,
    /// There are more: ask again with the last version as `after`.
    truncated: bool,
}

/// An event with all that was known of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdminEventView {
    #[serde(flatten)]
    event: EventView,
    /// Its place in the log of all orders.
    position: i64,
    /// Which operator did it, as the audit log has it: a user of the console, or `key` and its label. Null for what no
    /// operator did. Partners are not told.
    #[schema(required)]
    by: Option<String>,
    /// What else the event told, by its type: amounts, notes, what the gateway answered.
    #[schema(value_type = Object)]
    data: serde_json::Value,
}

impl AdminEventView {
    fn new(recorded: &Recorded, log: &[Logged]) -> Result<Self, Failure> {
        let mut data = serde_json::to_value(recorded.event()?).expect("plain data serialises");
        data.as_object_mut().expect("an event is an object").remove("type");
        let by = who(recorded, log).map(str::to_owned);
        Ok(Self { event: EventView::new(recorded), position: recorded.position, by, data })
    }

    /// Events of one order, with who did what operators did.
    ///
    /// # Errors
    /// Those of the store, and of an event that is damaged.
    pub async fn all(app: &App, order: OrderId, events: &[Recorded]) -> Result<Vec<Self>, Failure> {
        let log = deeds_of(app, order, events).await?;
        events.iter().map(|event| Self::new(event, &log)).collect()
    }
}

/// What operators did to an order, where any of these events is theirs.
async fn deeds_of(app: &App, order: OrderId, events: &[Recorded]) -> Result<Vec<Logged>, Failure> {
    if events.iter().all(|event| event.actor != Actor::Operator) {
        return Ok(Vec::new());
    }
    let filter = AuditFilter { subject: Some(order_subject(order)), ..AuditFilter::default() };
    Ok(app.store.audit(filter, MOST_DEEDS).await?)
}

/// Which operator caused an event: a command is decided on a version, and its event makes the next one.
pub fn who<'l>(event: &Recorded, log: &'l [Logged]) -> Option<&'l str> {
    let is_it = |logged: &&Logged| logged.done && logged.entry.detail["version"] == event.version - 1;
    let deeds = log.iter().filter(|_| event.actor == Actor::Operator);
    deeds.filter(is_it).map(|logged| logged.entry.user_name.as_str()).next()
}

/// How an operator ends an order.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "reason": "equipment_failure", "refund": {"type": "partial", "amount": 100}, "note": "half of it was handed over",
}))]
pub struct OperatorCancel {
    #[schema(schema_with = operator_cancelling)]
    reason: Reason,
    /// What goes back of money that was taken; all of it by default. What was only held is always given up.
    refund: Option<RefundRequest>,
    #[schema(max_length = 500, pattern = "^[^\\u0000-\\u0008\\u000B\\u000C\\u000E-\\u001F\\u007F-\\u009F]*$")]
    note: Option<String>,
}

/// How much goes back to the customer.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundRequest {
    #[serde(rename = "type")]
    kind: RefundType,
    /// Needed for `partial`, and only there: minor units of the order's currency.
    #[schema(minimum = 1, maximum = 1000000000)]
    amount: Option<i64>,
}

/// How much goes back: all, nothing or a part.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefundType {
    Full,
    None,
    Partial,
}

impl RefundRequest {
    fn parse(&self) -> Result<Refund, Fault> {
        match (self.kind, self.amount) {
            (RefundType::Full, None) => Ok(Refund::Full),
            (RefundType::None, None) => Ok(Refund::None),
            (RefundType::Partial, Some(amount)) => Ok(Refund::Partial(amount)),
            (RefundType::Partial, None) => Err(Fault::new("/refund/amount", "missing", "A part of how much?")),
            _ => Err(Fault::new("/refund/amount", "not_allowed", "Only `partial` has an amount.")),
        }
    }
}

/// Why; it may be left out, and so may the body.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OperatorNote {
    #[schema(max_length = 500, pattern = "^[^\\u0000-\\u0008\\u000B\\u000C\\u000E-\\u001F\\u007F-\\u009F]*$")]
    note: Option<String>,
}

/// Why: it stands in the audit log.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"note": "the customer has it, and the tablet is broken"}))]
pub struct OperatorReason {
    #[schema(
        min_length = 1,
        max_length = 500,
        pattern = "^[^\\u0000-\\u0008\\u000B\\u000C\\u000E-\\u001F\\u007F-\\u009F]*[^\\s\\u0000-\\u001F\\u007F-\\u009F][^\\u0000-\\u0008\\u000B\\u000C\\u000E-\\u001F\\u007F-\\u009F]*$"
    )]
    note: String,
}

/// Money that is to go back, and why.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"amount": 100, "note": "it was cold"}))]
pub struct OperatorRefund {
    /// Minor units of the order's currency: on top of what was refunded before, or off what is pending.
    #[schema(minimum = 1, maximum = 1000000000)]
    amount: i64,
    #[schema(
        min_length = 1,
        max_length = 500,
        pattern = "^[^\\u0000-\\u0008\\u000B\\u000C\\u000E-\\u001F\\u007F-\\u009F]*[^\\s\\u0000-\\u001F\\u007F-\\u009F][^\\u0000-\\u0008\\u000B\\u000C\\u000E-\\u001F\\u007F-\\u009F]*$"
    )]
    note: String,
}

/// Orders of all partners, the newest first, also deleted ones.
#[utoipa::path(
    get, path = "/v1/admin/orders", operation_id = "searchOrders", tag = "admin", security(("adminKey" = [])),
    params(OrderFilter), responses((status = 200, description = "A page of orders.", body = AdminOrderList))
)]
pub async fn search_orders(
    _: AsAdmin,
    app: web::Data<App>,
    filter: Query<OrderFilter>,
) -> Result<web::Json<AdminOrderList>, Problem> {
    let limit = filter.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Failure::new(Code::InvalidRequest, format!("`limit` is 1 to {MAX_LIMIT}.")).into());
    }
    let below = filter.cursor.as_deref().map(str::parse::<OrderId>).transpose();
    let below = below.map_err(|_| Failure::new(Code::InvalidCursor, "Send the `next_cursor` of the page before."))?;
    let wanted = Wanted {
        status: filter.status,
        stage: filter.stage,
        parked: filter.parked,
        partner: filter.partner_id.map(PartnerId),
    };
    let (found, now) = (app.store.search(wanted, below, limit).await.map_err(Failure::from)?, now());
    Ok(web::Json(AdminOrderList {
        orders: found.orders.iter().map(|order| AdminOrderView::new(&app, order, now)).collect(),
        next_cursor: found.below.map(|id| id.to_string()),
    }))
}

/// All that is known of an order.
#[utoipa::path(
    get, path = "/v1/admin/orders/{order_id}", operation_id = "inspectOrder", tag = "admin",
    security(("adminKey" = [])), params(("order_id" = Uuid, Path)),
    responses((status = 200, description = "The order.", body = AdminOrderView,
               headers(("ETag" = String, description = "The order's version."))))
)]
pub async fn inspect_order(
    _: AsAdmin,
    app: web::Data<App>,
    order_id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let order = app.store.order(OrderId(path_id(&order_id)?)).await.map_err(Failure::from)?;
    let (order, _) = order.ok_or_else(unknown_order)?;
    Ok(shown(&app, &order))
}

/// All that happened to an order.
#[utoipa::path(
    get, path = "/v1/admin/orders/{order_id}/events", operation_id = "inspectOrderEvents", tag = "admin",
    security(("adminKey" = [])), params(("order_id" = Uuid, Path), AfterQuery),
    responses((status = 200, description = "The events, the oldest first.", body = AdminEventList))
)]
pub async fn inspect_order_events(
    _: AsAdmin,
    app: web::Data<App>,
    order_id: web::Path<String>,
    query: Query<AfterQuery>,
) -> Result<web::Json<AdminEventList>, Problem> {
    let order_id = OrderId(path_id(&order_id)?);
    let (events, truncated) = events::of_one(&app, order_id, &query).await?;
    let events = AdminEventView::all(&app, order_id, &events).await?;
    Ok(web::Json(AdminEventList { events, truncated }))
}

/// Ends an ongoing order. It is refused with 412 if the order has moved since the version in `If-Match`; this holds for
/// every deed of an operator.
#[utoipa::path(
    post, path = "/v1/admin/orders/{order_id}/cancel", operation_id = "operatorCancelOrder", tag = "admin",
    security(("adminKey" = [])), params(("order_id" = Uuid, Path), ("If-Match" = String, Header, description = "The version that this was decided on: the order's `ETag`, or its `version` in quotes. A weak tag, as a compressing proxy makes it, says the same.")),
    request_body = OperatorCancel, responses((status = 200, description = "The order.", body = AdminOrderView))
)]
pub async fn operator_cancel_order(
    admin: AsAdmin,
    app: web::Data<App>,
    order_id: web::Path<String>,
    request: HttpRequest,
    Body(body): Body<OperatorCancel>,
) -> Result<HttpResponse, Problem> {
    let refund = body.refund.as_ref().map_or(Ok(Refund::Full), RefundRequest::parse);
    let refund = refund.map_err(|fault| faults::unprocessable(vec![fault]))?;
    let command = Command::Cancel { reason: body.reason, refund };
    decide(admin, &app, &order_id, &request, command, body.note).await
}

/// Tries the pending work again now, with all of its patience; what was set aside is taken up again.
#[utoipa::path(
    post, path = "/v1/admin/orders/{order_id}/retry", operation_id = "retryOrder", tag = "admin",
    security(("adminKey" = [])), params(("order_id" = Uuid, Path), ("If-Match" = String, Header, description = "The version that this was decided on: the order's `ETag`, or its `version` in quotes. A weak tag, as a compressing proxy makes it, says the same.")),
    request_body = Option<OperatorNote>, responses((status = 200, description = "The order.", body = AdminOrderView))
)]
pub async fn retry_order(
    admin: AsAdmin,
    app: web::Data<App>,
    order_id: web::Path<String>,
    request: HttpRequest,
    OptionalBody(body): OptionalBody<OperatorNote>,
) -> Result<HttpResponse, Problem> {
    let command = Command::Retry;
    decide(admin, &app, &order_id, &request, command, body.note).await
}

/// Ends an accepted order as handed over; its money is taken if it was not yet.
#[utoipa::path(
    post, path = "/v1/admin/orders/{order_id}/force-complete", operation_id = "forceCompleteOrder", tag = "admin",
    security(("adminKey" = [])), params(("order_id" = Uuid, Path), ("If-Match" = String, Header, description = "The version that this was decided on: the order's `ETag`, or its `version` in quotes. A weak tag, as a compressing proxy makes it, says the same.")),
    request_body = OperatorReason, responses((status = 200, description = "The order.", body = AdminOrderView))
)]
pub async fn force_complete_order(
    admin: AsAdmin,
    app: web::Data<App>,
    order_id: web::Path<String>,
    request: HttpRequest,
    Body(body): Body<OperatorReason>,
) -> Result<HttpResponse, Problem> {
    let command = Command::ForceComplete;
    decide(admin, &app, &order_id, &request, command, Some(body.note)).await
}

/// Gives back a part, or all, of what was taken. A client that repeats it because the answer was lost gets 412, and
/// nothing is given back twice.
#[utoipa::path(
    post, path = "/v1/admin/orders/{order_id}/refund", operation_id = "refundOrder", tag = "admin",
    security(("adminKey" = [])), params(("order_id" = Uuid, Path), ("If-Match" = String, Header, description = "The version that this was decided on: the order's `ETag`, or its `version` in quotes. A weak tag, as a compressing proxy makes it, says the same.")),
    request_body = OperatorRefund, responses((status = 200, description = "The order.", body = AdminOrderView))
)]
pub async fn refund_order(
    admin: AsAdmin,
    app: web::Data<App>,
    order_id: web::Path<String>,
    request: HttpRequest,
    Body(body): Body<OperatorRefund>,
) -> Result<HttpResponse, Problem> {
    let command = Command::Refund { amount: body.amount, lines: Vec::new() };
    decide(admin, &app, &order_id, &request, command, Some(body.note)).await
}

/// Gives up a part, or all, of a refund that is pending, such as one that the gateway refuses for good. So much less goes
/// back, and is no longer owed. It needs `If-Match`, as a refund does.
#[utoipa::path(
    post, path = "/v1/admin/orders/{order_id}/reduce-refund", operation_id = "reduceRefund", tag = "admin",
    security(("adminKey" = [])),
    params(("order_id" = Uuid, Path), ("If-Match" = String, Header, description = "The version that this was decided on.")),
    request_body = OperatorRefund, responses((status = 200, description = "The order.", body = AdminOrderView))
)]
pub async fn reduce_refund(
    admin: AsAdmin,
    app: web::Data<App>,
    order_id: web::Path<String>,
    request: HttpRequest,
    Body(body): Body<OperatorRefund>,
) -> Result<HttpResponse, Problem> {
    let command = Command::ReduceRefund { amount: body.amount };
    decide(admin, &app, &order_id, &request, command, Some(body.note)).await
}

async fn decide(
    admin: AsAdmin,
    app: &App,
    order_id: &web::Path<String>,
    request: &HttpRequest,
    command: Command,
    note: Option<String>,
) -> Result<HttpResponse, Problem> {
    let order_id = OrderId(path_id(order_id)?);
    let version = headers::version_decided_on(request.headers())?;
    let by = super::by(app, admin, request, note.map(text::with_line_feeds)).await?;
    Ok(shown(app, &obeyed(app, order_id, version, command, by).await?))
}

fn shown(app: &App, order: &Order) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::ETAG, format!("\"{}\"", order.version))).json(AdminOrderView::new(
        app,
        order,
        now(),
    ))
}
