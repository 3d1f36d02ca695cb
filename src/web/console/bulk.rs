//! What is done to many orders at once: counted first, confirmed by what was counted, and worked off by the service.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use serde::Deserialize;
use serde_json::json;

use super::frame::Frame;
use super::guard::Visitor;
use super::orders::TABS;
use super::{Action, Posted, filter, show};
use crate::app::App;
use crate::clock::now;
use crate::error::{Code, Failure};
use crate::lifecycle::{Reason, Refund};
use crate::order::Instant;
use crate::store::{BulkJob, BulkState, Counted, Deed, Lot, Sieve, Started};
use crate::web::heard::path_id;
use crate::web::pages::page;
use crate::web::problem::Problem;

/// Jobs that are listed.
const LISTED: i64 = 50;
/// A list that is no tab of its own: it stands among the money.
const UNKNOWN: (&str, &str, Lot) = ("unknown", "Unknown outcomes", Lot::Unknown);

/// The lists whose orders can be acted on together: word, name, and what is in it.
fn lots() -> impl Iterator<Item = (&'static str, &'static str, Lot)> {
    TABS.iter().map(|(word, name, lot, _)| (*word, *name, *lot)).chain([UNKNOWN])
}

#[derive(Template)]
#[template(path = "console/bulk.html")]
struct BulkPage {
    frame: Frame,
    rows: Vec<Row>,
    deeds: Vec<(&'static str, &'static str)>,
    lots: Vec<(&'static str, &'static str)>,
    tab: String,
    q: String,
    reasons: &'static [Reason],
    keys: &'static [(&'static str, &'static str)],
}

#[derive(Template)]
#[template(path = "console/bulk_job.html")]
struct JobPage {
    frame: Frame,
    row: Row,
    /// What has to be typed.
    phrase: String,
    may_start: bool,
    is_stale: bool,
    left_out: String,
    state: State,
}

/// The part that is kept up to date.
#[derive(Template)]
#[template(path = "console/bulk_state.html")]
struct State {
    row: Row,
    token: String,
    percent: i64,
    takes: String,
    may_start: bool,
}

/// It escapes what it shows by itself.
impl askama::filters::HtmlSafe for State {}

struct Row {
    job: BulkJob,
    what: String,
    which: String,
    money: String,
    look: &'static str,
    at: Instant,
    /// Where the same orders are counted again.
    again: String,
}

impl Row {
    fn new(job: BulkJob) -> Self {
        let lot = lots().find(|(.., lot)| *lot == job.lot).map_or("", |(_, name, _)| name);
        Self {
            what: what(job.deed),
            which: format!("{lot}: {}", job.query),
            money: money(job.deed, &job.counted),
            look: match job.state {
                BulkState::Proposed => "",
                BulkState::Running => "info",
                BulkState::Stopped => "warn",
                BulkState::Done => "good",
            },
            at: job.started_at.unwrap_or(job.created_at),
            again: {
                let q: String = form_urlencoded::byte_serialize(job.query.as_bytes()).collect();
                format!("/console/bulk?tab={}&q={q}", job.lot)
            },
            job,
        }
    }

    fn orders(&self) -> String {
        counted_orders(self.job.total)
    }
}

fn counted_orders(count: i64) -> String {
    format!("{} {}", show::grouped(count), if count == 1 { "order" } else { "orders" })
}

/// What is done to each order, in words.
fn what(deed: Deed) -> String {
    match deed {
        Deed::CancelOrder { why, refund } => {
            let refund = match refund {
                Refund::None => ", without giving back what was taken",
                Refund::Full | Refund::Partial(_) => "",
            };
            format!("Cancel ({}){refund}", show::plain(why.word()))
        }
        Deed::RetryOrder => "Retry now".into(),
        Deed::ForceComplete => "Force-complete".into(),
        Deed::LookUpPayment => "Look up at the gateway".into(),
    }
}

/// What moves, in words: `void 2,310.00 EUR, refund 180.00 EUR`.
fn money(deed: Deed, counted: &Counted) -> String {
    let uncertain = if deed == Deed::LookUpPayment { "perhaps held:" } else { "release, if it is held," };
    let moves = counted.sums.iter().flat_map(|sum| {
        let parts = [("void", sum.void), ("refund", sum.refund), ("take", sum.capture), (uncertain, sum.uncertain)];
        parts.map(|(what, minor)| (minor > 0).then(|| format!("{what} {}", show::amount(minor, &sum.currency))))
    });
    let moves: Vec<String> = moves.flatten().collect();
    if moves.is_empty() { "no money moves".into() } else { moves.join(", ") }
}

/// What has to be typed to start it.
fn phrase(job: &BulkJob) -> String {
    let verb = match job.deed {
        Deed::CancelOrder { .. } => "cancel",
        Deed::RetryOrder => "retry",
        Deed::ForceComplete => "complete",
        Deed::LookUpPayment => "look up",
    };
    format!("{verb} {}", job.total)
}

/// What each deed is to the table of actions: whoever may not do it to one order may not do it to many.
fn action(deed: Deed) -> Action {
    match deed {
        Deed::CancelOrder { .. } => Action::CancelOrder,
        Deed::RetryOrder => Action::RetryOrder,
        Deed::ForceComplete => Action::ForceComplete,
        Deed::LookUpPayment => Action::LookUpPayment,
    }
}

/// What is filled in already, for whoever comes from a list.
#[derive(Deserialize)]
pub struct Prefilled {
    #[serde(default)]
    tab: String,
    #[serde(default)]
    q: String,
}

/// `GET /console/bulk`
pub async fn show_jobs(visitor: Visitor, app: Data<App>, from: Query<Prefilled>) -> Result<HttpResponse, Problem> {
    let jobs = app.store.bulk_jobs(LISTED).await.map_err(Failure::from)?;
    let is_seen = |job: &BulkJob| job.state != BulkState::Proposed || job.user_id == visitor.user.id;
    let deeds = [
        ("retry", "Retry now", Action::RetryOrder),
        ("cancel", "Cancel", Action::CancelOrder),
        ("complete", "Force-complete", Action::ForceComplete),
        ("look_up", "Look up at the gateway", Action::LookUpPayment),
    ];
    let may = |action: Action| visitor.may(action) && (action != Action::LookUpPayment || app.payment.books.is_some());
    let Prefilled { tab, q } = from.into_inner();
    let shown = BulkPage {
        frame: visitor.frame("Bulk"),
        rows: jobs.into_iter().filter(is_seen).map(Row::new).collect(),
        deeds: deeds.iter().filter(|(.., action)| may(*action)).map(|(word, name, _)| (*word, *name)).collect(),
        lots: lots().map(|(word, name, _)| (word, name)).collect(),
        tab,
        q,
        reasons: Reason::OPERATOR_CANCELLING,
        keys: filter::KEYS,
    };
    Ok(page(&shown)?)
}

/// `POST /console/bulk`: counts, and keeps what was counted for its confirmation.
pub async fn propose(app: Data<App>, posted: Posted) -> Result<HttpResponse, Problem> {
    let unprocessable = |detail: String| Problem::from(Failure::new(Code::Unprocessable, detail));
    let fields = &posted.fields;
    let deed = deed(&posted)?;
    if !posted.visitor.may(action(deed)) {
        let detail = format!("Your roles do not allow you to {}.", action(deed).rule().meaning);
        return Err(Failure::new(Code::Forbidden, detail).into());
    }
    let lot = lots().find(|(word, ..)| *word == fields.text("tab"));
    let (.., lot) = lot.ok_or_else(|| unprocessable("In which list are these orders?".into()))?;
    let (query, now) = (fields.text("q").to_owned(), now());
    let typed = filter::parse(&query, &app.catalogue(), now);
    if !typed.faults.is_empty() {
        return Err(unprocessable(typed.faults.join(" ")));
    }
    if typed.order.is_some() {
        return Err(unprocessable("That is one order: act on it on its own page.".into()));
    }
    if typed.sieve == Sieve::default() {
        return Err(unprocessable("Say which orders are meant: not all of them at once.".into()));
    }
    let counting = app.store.count_bulk(deed, lot, typed.sieve.clone(), now).await;
    let (orders, counted) = counting.map_err(Failure::from)?;
    if orders.is_empty() {
        let detail = match counted.left_out {
            0 => "No order fits.".to_owned(),
            left_out => format!("This cannot be done now to any of the {} that fit.", counted_orders(left_out)),
        };
        return Err(unprocessable(detail));
    }
    let user = &posted.visitor.user;
    let meant = (lot, query, typed.sieve);
    let job = BulkJob::proposed(deed, meant, (orders.len(), counted), (user.id, user.name.clone()), now);
    let detail =
        json!({"deed": deed.word(), "filter": job.query, "orders": job.total, "money": money(deed, &job.counted)});
    let store = app.store.recording(posted.entry(subject(job.id), detail)?);
    let address = address(job.id);
    store.propose_bulk(job, orders).await.map_err(Failure::from)?;
    Ok(posted.done(&address, "Counted. Nothing is done yet."))
}

fn deed(posted: &Posted) -> Result<Deed, Failure> {
    let fields = &posted.fields;
    match fields.text("deed") {
        "retry" => Ok(Deed::RetryOrder),
        "complete" => Ok(Deed::ForceComplete),
        "look_up" => Ok(Deed::LookUpPayment),
        "cancel" => {
            let why: Reason = fields.parse("why", "one of the reasons that operators may give")?;
            if !Reason::OPERATOR_CANCELLING.contains(&why) {
                return Err(Failure::new(Code::Unprocessable, "Operators do not cancel for that reason."));
            }
            let refund = match fields.text("refund") {
                "full" => Refund::Full,
                "none" => Refund::None,
                _ => return Err(Failure::new(Code::Unprocessable, "Does what was taken go back?")),
            };
            Ok(Deed::CancelOrder { why, refund })
        }
        _ => Err(Failure::new(Code::Unprocessable, "What is to be done?")),
    }
}

/// `GET /console/bulk/{id}`
pub async fn show_job(visitor: Visitor, app: Data<App>, id: Path<String>) -> Result<HttpResponse, Problem> {
    let job = find(&app, &id).await?;
    let is_stale = job.state == BulkState::Proposed && !job.is_fresh(now());
    let shown = JobPage {
        frame: visitor.frame("Bulk"),
        phrase: phrase(&job),
        may_start: !is_stale && may_start(&visitor, &job),
        is_stale,
        left_out: counted_orders(job.counted.left_out),
        state: State::new(&visitor, &app, job.clone()),
        row: Row::new(job),
    };
    Ok(page(&shown)?)
}

/// `GET /console/bulk/{id}/state`: the part that is kept up to date.
pub async fn show_state(visitor: Visitor, app: Data<App>, id: Path<String>) -> Result<HttpResponse, Problem> {
    let job = find(&app, &id).await?;
    Ok(page(&State::new(&visitor, &app, job))?)
}

impl State {
    fn new(visitor: &Visitor, app: &App, job: BulkJob) -> Self {
        let left = (job.total - job.place) / i64::from(app.settings.bulk_rate.get()).max(1);
        Self {
            token: visitor.token.clone(),
            percent: job.place * 100 / job.total.max(1),
            takes: show::span(chrono::Duration::seconds(left.max(1))),
            may_start: may_start(visitor, &job),
            row: Row::new(job),
        }
    }
}

/// `POST /console/bulk/{id}/start`: confirms what was counted, or goes on with what was stopped.
pub async fn start(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let job = find(&app, &id).await?;
    if !posted.visitor.may(action(job.deed)) {
        let detail = format!("Your roles do not allow you to {}.", action(job.deed).rule().meaning);
        return Err(Failure::new(Code::Forbidden, detail).into());
    }
    if job.state == BulkState::Proposed && posted.fields.text("phrase") != phrase(&job) {
        return Err(Failure::new(Code::Unprocessable, format!("Type `{}` to confirm it.", phrase(&job))).into());
    }
    let detail = json!({"deed": job.deed.word(), "filter": job.query, "orders": job.total - job.place, "money": money(job.deed, &job.counted)});
    let entry = posted.entry(subject(job.id), detail)?;
    let started = app.store.recording(entry.clone()).start_bulk(job.id, entry).await.map_err(Failure::from)?;
    let refused = |detail: &str| Err(Failure::new(Code::NotPossible, detail).into());
    match started {
        Started::Done => Ok(posted.done(&address(job.id), "It runs.")),
        Started::Already => refused("It was started already."),
        Started::Stale => refused("It was counted too long ago: count again."),
        Started::Foreign => refused("Somebody else counted this. Count it yourself."),
        Started::Unknown => Err(unknown().into()),
    }
}

/// `POST /console/bulk/{id}/stop`: no more orders are acted on. What was done stays done.
pub async fn stop(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let job = find(&app, &id).await?;
    let store = app.store.recording(posted.entry(subject(job.id), json!({"after": job.place}))?);
    let by = posted.visitor.user.name.clone();
    if !store.stop_bulk(job.id, by, now()).await.map_err(Failure::from)? {
        return Err(Failure::new(Code::NotPossible, "It does not run.").into());
    }
    Ok(posted.done(&address(job.id), "It is stopped."))
}

fn may_start(visitor: &Visitor, job: &BulkJob) -> bool {
    let is_theirs = job.state == BulkState::Stopped || job.user_id == visitor.user.id;
    is_theirs && visitor.may(Action::RunBulk) && visitor.may(action(job.deed))
}

async fn find(app: &App, id: &Path<String>) -> Result<BulkJob, Failure> {
    app.store.bulk_job(path_id(id)?).await?.ok_or_else(unknown)
}

fn unknown() -> Failure {
    Failure::new(Code::NotFound, "There is no such job, or nobody confirmed it in time.")
}

fn subject(id: uuid::Uuid) -> String {
    format!("bulk:{id}")
}

fn address(id: uuid::Uuid) -> String {
    format!("/console/bulk/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Sum;

    #[test]
    fn money_is_told_as_it_moves() {
        let sum = |currency: &str, void, refund| Sum { currency: currency.into(), void, refund, ..Sum::default() };
        let counted = |sums| Counted { sums, ..Counted::default() };
        assert_eq!(
            money(Deed::ForceComplete, &counted(vec![sum("EUR", 231_000, 18_000)])),
            "void 2,310.00 EUR, refund 180.00 EUR"
        );
        assert_eq!(
            money(Deed::ForceComplete, &counted(vec![sum("EUR", 0, 5), sum("JPY", 7, 0)])),
            "refund 0.05 EUR, void 7 JPY"
        );
        assert_eq!(money(Deed::ForceComplete, &counted(vec![sum("EUR", 0, 0)])), "no money moves");
    }

    #[test]
    fn a_deed_to_many_has_the_word_of_the_deed_to_one() {
        let cancel = Deed::CancelOrder { why: Reason::OperatorRequest, refund: Refund::Full };
        for deed in [cancel, Deed::RetryOrder, Deed::ForceComplete, Deed::LookUpPayment] {
            assert_eq!(deed.word(), action(deed).word());
        }
    }
}
