//! The service itself: its settings, how much is waiting, and the table that its orders follow.

use actix_web::web;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::catalogue::timezone::{self, Origin};
use crate::config::InForce;
use crate::error::Failure;
use crate::lifecycle::{Actor, EventKind, PAYMENT_RULES, PaymentStatus, RULES, Reason, Rule, Stage, Status, diagram};
use crate::web::auth::AsAdmin;
use crate::web::problem::Problem;
use strum::VariantArray;

/// Every setting as it is in force, and the rules of time zones.
#[derive(Debug, Serialize, ToSchema)]
pub struct SettingList {
    settings: Vec<SettingView>,
    time_zones: TimeZonesView,
}

/// The rules of time zones that are in force: the newer of the system's and of those that are built in.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimeZonesView {
    /// `system` or `built_in`.
    source: &'static str,
    /// Of the system's database.
    #[schema(required)]
    directory: Option<String>,
    /// Such as `2026f`; null if the system does not say.
    #[schema(required)]
    version: Option<String>,
    built_in_version: &'static str,
}

/// One setting as it is in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct SettingView {
    name: String,
    #[schema(required)]
    value: Option<String>,
    #[schema(required)]
    default: Option<String>,
    /// Where the value came from: `default`, `file`, `environment` or `flag`.
    source: &'static str,
    /// The variable that sets it.
    #[schema(required)]
    environment: Option<String>,
    meaning: String,
}

/// How much work is waiting.
#[derive(Debug, Serialize, ToSchema)]
pub struct StageList {
    stages: Vec<StageView>,
}

/// The queue of one stage.
#[derive(Debug, Serialize, ToSchema)]
pub struct StageView {
    stage: Stage,
    /// Orders in this stage, whether or not they are due.
    orders: i64,
    /// Of these, those set aside for an operator.
    parked: i64,
}

/// The two machines of an order, as the code has them.
#[derive(Debug, Serialize, ToSchema)]
pub struct LifecycleView {
    statuses: Vec<StatusView>,
    /// Anything that is not here is refused.
    rules: Vec<RuleView>,
    payment_rules: Vec<PaymentRuleView>,
    reasons: Vec<ReasonMeaning>,
    /// The order's machine as a Mermaid state diagram.
    diagram: String,
}

/// What follows from a status.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatusView {
    status: Status,
    ongoing: bool,
    over: bool,
}

/// From any of these, this event by one of these actors leads to one of those.
#[derive(Debug, Serialize, ToSchema)]
pub struct RuleView {
    /// Empty for the first event.
    from: &'static [Status],
    event: EventKind,
    by: &'static [Actor],
    to: &'static [Status],
}

/// What may become of a payment.
#[derive(Debug, Serialize, ToSchema)]
pub struct PaymentRuleView {
    from: PaymentStatus,
    to: &'static [PaymentStatus],
}

/// What a reason means, and who may give it in words.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReasonMeaning {
    reason: Reason,
    /// Whether the same order may succeed when the customer tries again.
    retryable: bool,
    /// A shop may reject an order with it.
    rejecting: bool,
    /// A shop may cancel an order with it.
    shop_cancelling: bool,
    /// An operator may cancel an order with it.
    operator_cancelling: bool,
}

/// Every setting as it is in force, and where it came from; and the rules of time zones in force.
#[utoipa::path(
    get, path = "/v1/admin/settings", operation_id = "getSettings", tag = "admin", security(("adminKey" = [])),
    responses((status = 200, description = "The settings.", body = SettingList))
)]
pub async fn get_settings(_: AsAdmin, app: web::Data<App>) -> web::Json<SettingList> {
    let settings = app.in_force.iter().cloned().map(|setting| {
        let InForce { name, value, default, source, environment, meaning } = setting;
        SettingView { name, value, default, source, environment, meaning }
    });
    let Origin { directory, version } = timezone::in_use();
    let source = if directory.is_some() { "system" } else { "built_in" };
    let time_zones = TimeZonesView { source, directory, version, built_in_version: timezone::BUILT_IN };
    web::Json(SettingList { settings: settings.collect(), time_zones })
}

/// How many orders wait in each stage, and how many are set aside.
#[utoipa::path(
    get, path = "/v1/admin/stages", operation_id = "getStages", tag = "admin", security(("adminKey" = [])),
    responses((status = 200, description = "All stages.", body = StageList))
)]
pub async fn get_stages(_: AsAdmin, app: web::Data<App>) -> Result<web::Json<StageList>, Problem> {
    let depths = app.store.depths().await.map_err(Failure::from)?;
    let stages = depths.into_iter().map(|(stage, orders, parked)| StageView { stage, orders, parked }).collect();
    Ok(web::Json(StageList { stages }))
}

/// The one table that every order follows.
#[utoipa::path(
    get, path = "/v1/admin/lifecycle", operation_id = "getLifecycle", tag = "admin", security(("adminKey" = [])),
    responses((status = 200, description = "The table.", body = LifecycleView))
)]
pub async fn get_lifecycle(_: AsAdmin) -> web::Json<LifecycleView> {
    let status = |status: &Status| StatusView { status: *status, ongoing: status.is_ongoing(), over: status.is_over() };
    let rule = |Rule { from, event, by, to }: &'static Rule| RuleView { from, event: *event, by, to };
    let reason = |reason: &Reason| ReasonMeaning {
        reason: *reason,
        retryable: reason.is_retryable(),
        rejecting: Reason::REJECTING.contains(reason),
        shop_cancelling: Reason::SHOP_CANCELLING.contains(reason),
        operator_cancelling: Reason::OPERATOR_CANCELLING.contains(reason),
    };
    web::Json(LifecycleView {
        statuses: Status::VARIANTS.iter().map(status).collect(),
        rules: RULES.iter().map(rule).collect(),
        payment_rules: PAYMENT_RULES.iter().map(|(from, to)| PaymentRuleView { from: *from, to }).collect(),
        reasons: Reason::VARIANTS.iter().map(reason).collect(),
        diagram: diagram(),
    })
}
