//! Money that is not where it should be, and what a person decides about it.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::frame::Frame;
use super::guard::Visitor;
use super::moved::{self, Filled};
use super::orders::shop_name;
use super::{Action, Posted, order, show};
use crate::app::{App, Books};
use crate::clock::now;
use crate::command::{Command, CommandKind};
use crate::error::{Code, Failure};
use crate::lifecycle::{Event, PaymentStatus};
use crate::order::{Instant, OrderId};
use crate::reconcile::Finding;
use crate::state::Order;
use crate::store::{
    AuditFilter, DEBT_AGES, Few, Logged, RELEASE_LOST, Received, Settled, Settlement, SettlementState, order_subject,
};
use crate::web::heard::{obeyed, path_id, settled, unknown_order};
use crate::web::pages::{page, page_with};
use crate::web::problem::Problem;

/// Orders of each kind that are shown.
const SHOWN: i64 = 50;
/// Orders that are compared with the gateway at once.
const COMPARED: i64 = 100;

#[derive(Template)]
#[template(path = "console/money.html")]
struct MoneyPage {
    frame: Frame,
    state: State,
    may_compare: bool,
}

/// The part that is kept up to date.
#[derive(Template)]
#[template(path = "console/money_state.html")]
struct State {
    unknown: Rows,
    owed: Rows,
    capture_failed: Rows,
    debts: Vec<DebtRow>,
    waiting: Vec<SaidRow>,
    settled: Vec<SaidRow>,
    looking: Option<String>,
    /// Why nothing acts on any order now.
    withheld: Option<String>,
    lost: Vec<LostRow>,
    may_agree: bool,
    /// All that is unknown can be looked up at once.
    may_look_up_all: bool,
    token: String,
}

/// It escapes what it shows by itself.
impl askama::filters::HtmlSafe for State {}

#[derive(Template)]
#[template(path = "console/money_order.html")]
struct OrderMoneyPage {
    frame: Frame,
    order: Order,
    facts: Vec<(&'static str, String)>,
    shop: String,
    total: String,
    outcomes: Vec<(&'static str, &'static str, bool)>,
    waits: Option<SaidRow>,
    may_look: bool,
    may_void: bool,
    may_settle: bool,
    limit: String,
    filled: Filled,
}

#[derive(Template)]
#[template(path = "console/money_compared.html")]
struct Compared {
    wrong: Vec<FindingRow>,
    unanswered: Vec<(OrderId, String)>,
    looked_at: usize,
    older: Option<OrderId>,
}

struct Rows {
    rows: Vec<OrderRow>,
    count: i64,
}

struct OrderRow {
    order: Order,
    shop: String,
    amount: String,
    since: String,
    next: String,
    trouble: String,
}

struct DebtRow {
    age: String,
    amount: String,
    orders: i64,
    is_old: bool,
}

struct SaidRow {
    said: Settlement,
    what: String,
    amount: String,
    is_waiting: bool,
    is_own: bool,
}

/// Money whose order was lost.
struct LostRow {
    at: String,
    payment: String,
    amount: String,
}

struct FindingRow {
    finding: Finding,
    status: String,
    payment: String,
}

impl Rows {
    fn new(app: &App, few: Few, now: Instant, amount: impl Fn(&Order) -> i64) -> Self {
        let row = |order: Order| OrderRow {
            shop: shop_name(app, &order),
            amount: show::amount(amount(&order), order.placed.total.currency.as_str()),
            since: show::span(now - order.closed_at.or(order.payment.unknown_since).unwrap_or(order.updated_at)),
            next: match order.task.next_attempt_at {
                None => "nobody tries it any more".into(),
                Some(at) if at > now => format!("in {}", show::span(at - now)),
                Some(_) => "now".into(),
            },
            trouble: order.payment.refusal.clone().or_else(|| order.task.last_error.clone()).unwrap_or_default(),
            order,
        };
        Self { rows: few.orders.into_iter().map(row).collect(), count: few.count }
    }
}

impl LostRow {
    fn new(logged: Logged) -> Self {
        let (subject, detail) = (&logged.entry.subject, &logged.entry.detail);
        Self {
            at: show::instant(&logged.entry.at),
            payment: subject.strip_prefix("payment:").unwrap_or(subject).to_owned(),
            amount: show::amount(
                detail["amount"].as_i64().unwrap_or_default(),
                detail["currency"].as_str().unwrap_or_default(),
            ),
        }
    }
}

impl SaidRow {
    fn new(said: Settlement, visitor: &Visitor) -> Self {
        Self {
            what: match &said.event {
                Event::PaymentVoided => "nothing is held".into(),
                Event::PaymentCaptured { amount } => format!("taken: {}", show::amount(*amount, &said.currency)),
                Event::PaymentRefunded { amount } => {
                    format!("given back in all: {}", show::amount(*amount, &said.currency))
                }
                other => show::plain(other.kind().word()),
            },
            amount: show::amount(said.amount, &said.currency),
            is_waiting: said.state == SettlementState::Waiting,
            is_own: said.said_by_id == visitor.user.id,
            said,
        }
    }
}

fn age_name(age: usize) -> String {
    match DEBT_AGES.get(age) {
        Some(younger) => format!("less than {}", show::span(*younger)),
        None => format!("{} or more", show::span(DEBT_AGES[DEBT_AGES.len() - 1])),
    }
}

impl State {
    async fn read(visitor: &Visitor, app: &App, now: Instant) -> Result<Self, Failure> {
        let astray = app.store.astray(SHOWN, now).await?;
        let said = app.store.settlements(SHOWN).await?;
        let debts = astray.debts.iter().map(|debt| DebtRow {
            age: age_name(debt.age),
            amount: show::amount(debt.amount, &debt.currency),
            orders: debt.orders,
            is_old: debt.age > 0,
        });
        let said = said.into_iter().map(|said| SaidRow::new(said, visitor));
        let (waiting, settled) = said.partition(|row| row.is_waiting);
        let loss = app.store.loss().await?;
        let released = AuditFilter { action: Some(RELEASE_LOST.into()), ..AuditFilter::default() };
        let lost = app.store.audit(released, SHOWN).await?;
        let of_looking_up = [Action::LookUpPayment, Action::CountBulk, Action::RunBulk];
        Ok(Self {
            debts: debts.collect(),
            unknown: Rows::new(app, astray.unknown, now, |order| order.placed.total.amount),
            owed: Rows::new(app, astray.owed, now, Order::owed),
            capture_failed: Rows::new(app, astray.capture_failed, now, Order::amount_due),
            waiting,
            settled,
            looking: loss.map(|loss| {
                let [from, to, at] = [loss.made.start, loss.made.end, loss.look_at].map(|at| show::instant(&at));
                format!("Payments from {from} to {to} are looked through, next at {at}.")
            }),
            withheld: app.store.is_withheld().then(|| {
                let (left, all) = app.store.left_to_compare();
                format!(
                    "The database was restored from a backup. Its orders are being compared with the payment gateway: \
                     {left} of {all} are left. Until then no worker, timer, board or customer has them. If the gateway \
                     cannot be reached, `lungo restored --go-on REASON` ends the wait."
                )
            }),
            lost: lost.into_iter().map(LostRow::new).collect(),
            may_agree: visitor.may(Action::AgreeSettlement),
            may_look_up_all: of_looking_up.iter().all(|action| visitor.may(*action)) && app.payment.books.is_some(),
            token: visitor.token.clone(),
        })
    }
}

/// `GET /console/money`
pub async fn show_money(visitor: Visitor, app: Data<App>) -> Result<HttpResponse, Problem> {
    let shown = MoneyPage {
        frame: visitor.frame("Money"),
        state: State::read(&visitor, &app, now()).await?,
        may_compare: visitor.may(Action::LookUpPayment) && app.payment.books.is_some(),
    };
    Ok(page(&shown)?)
}

/// `GET /console/money/state`: the part that is kept up to date.
pub async fn show_state(visitor: Visitor, app: Data<App>) -> Result<HttpResponse, Problem> {
    Ok(page(&State::read(&visitor, &app, now()).await?)?)
}

/// Where to go on comparing.
#[derive(Deserialize)]
pub struct Below {
    below: Option<String>,
}

/// `GET /console/money/compared`: some orders beside what the gateway holds for them, the newest first.
pub async fn compare(_: Visitor, app: Data<App>, query: Query<Below>) -> Result<HttpResponse, Problem> {
    let below = query.below.as_deref().map(str::parse::<OrderId>).transpose();
    let below = below.map_err(|_| Failure::new(Code::InvalidCursor, "This address is not one of ours."))?;
    let (orders, older) = app.store.orders_below(below, COMPARED).await.map_err(Failure::from)?;
    let looked_at = orders.len();
    let (wrong, unanswered) = books(&app)?.compare(orders).await;
    let row = |finding: Finding| FindingRow {
        status: finding.status.map_or_else(String::new, |status| show::plain(status.word())),
        payment: finding.payment_status.map_or_else(String::new, |status| show::plain(status.word())),
        finding,
    };
    Ok(page(&Compared { wrong: wrong.into_iter().map(row).collect(), unanswered, looked_at, older })?)
}

/// `GET /console/money/{order_id}`
pub async fn show_order(visitor: Visitor, app: Data<App>, id: Path<String>) -> Result<HttpResponse, Problem> {
    let order = find(&app, &id).await?;
    show_filled(&app, &visitor, order, Filled::default(), StatusCode::OK).await
}

/// The page of an order whose form was refused because the order has moved: the form stands there as it was filled in.
async fn show_moved(app: &App, posted: Posted, id: &Path<String>, seen: i64) -> Result<HttpResponse, Problem> {
    let (order, visitor) = (find(app, id).await?, posted.visitor.clone());
    let filled = Filled::again(app, posted, &order, seen).await;
    let mut answer = show_filled(app, &visitor, order, filled, StatusCode::PRECONDITION_FAILED).await?;
    order::stay(&mut answer);
    Ok(answer)
}

async fn show_filled(
    app: &App,
    visitor: &Visitor,
    order: Order,
    mut filled: Filled,
    status: StatusCode,
) -> Result<HttpResponse, Problem> {
    let now = now();
    let said = app.store.settlements(SHOWN).await.map_err(Failure::from)?;
    let waits = said.into_iter().find(|said| said.order_id == order.id && said.state == SettlementState::Waiting);
    let currency = order.placed.total.currency.to_string();
    let outcomes = outcomes(&order);
    let can_ask = app.payment.books.is_some();
    let may_void = visitor.may(Action::VoidPayment) && CommandKind::VoidPayment.allowed(&order) && can_ask;
    let may_settle = visitor.may(Action::SettlePayment) && !outcomes.is_empty() && waits.is_none();
    filled.offers(&[(Action::VoidPayment, may_void), (Action::SettlePayment, may_settle)]);
    let shown = OrderMoneyPage {
        frame: visitor.frame(format!("Money of order {}", show::short(&order.id))),
        facts: order::money(&order, now),
        shop: shop_name(app, &order),
        total: show::money(&order.placed.total),
        may_look: visitor.may(Action::LookUpPayment) && can_ask,
        may_void,
        may_settle,
        outcomes,
        waits: waits.map(|said| SaidRow::new(said, visitor)),
        limit: show::amount(app.settings.settle_limit, &currency),
        filled,
        order,
    };
    Ok(page_with(status, &shown)?)
}

/// What evidence may say of a payment as it stands: word, meaning, and whether it has an amount.
fn outcomes(order: &Order) -> Vec<(&'static str, &'static str, bool)> {
    use PaymentStatus as P;
    let free = ("free", "Nothing is held, and nothing was taken", false);
    match order.payment.status {
        P::Unknown if order.status.is_over() => vec![free],
        P::Authorized if order.status.is_over() => vec![free, ("taken", "So much was taken", true)],
        P::CaptureFailed => vec![free, ("taken", "So much was taken", true)],
        P::Captured | P::PartiallyRefunded => vec![("returned", "So much was given back in all", true)],
        _ => Vec::new(),
    }
}

/// `POST /console/money/{order_id}/look-up`: asks the gateway, and tells the order what is new.
pub async fn look_up(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let order = find(&app, &id).await?;
    let entry = posted.entry(order_subject(order.id), json!({}))?;
    let looked = books(&app)?.look_up(order.id).await;
    app.store.record(entry, looked.is_ok()).await.map_err(Failure::from)?;
    let told = match looked {
        Ok(Some(true)) => "The gateway had news: the order knows it now.",
        Ok(Some(false)) => "The gateway says what the order says.",
        Ok(None) => return Err(unknown_order().into()),
        Err(why) => return Err(unanswered(&why).into()),
    };
    Ok(posted.done(&address(order.id), told))
}

/// `POST /console/money/{order_id}/void`: gives up a hold that could not be taken. The sale stays unpaid.
pub async fn void(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let (version, by) = (posted.version()?, posted.by()?);
    let (order, books) = (find(&app, &id).await?, books(&app)?);
    // Written before: whatever becomes of this process, the log knows who asked the gateway for it.
    match obeyed(&app, order.id, version, Command::VoidPayment, by).await {
        Ok(order) => books.void(&order, now()).await.map_err(|why| unanswered(&why))?,
        Err(failure) if failure.code == Code::StaleVersion => return show_moved(&app, posted, &id, version).await,
        Err(failure) if failure.code == Code::NotPossible => {
            let detail =
                "Only a hold that the gateway refused to take is given up by hand: cancel or refund the order.";
            return Err(Failure::new(Code::NotPossible, detail).into());
        }
        Err(failure) => return Err(failure.into()),
    }
    Ok(posted.done(&address(order.id), "The gateway has let go of it."))
}

/// `POST /console/money/{order_id}/settle`: what evidence says has become of the payment.
pub async fn settle(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let (version, by) = (posted.version()?, posted.by()?);
    let order = find(&app, &id).await?;
    if order.version != version {
        moved::record(&app, &posted, &order, version).await?;
        return show_moved(&app, posted, &id, version).await;
    }
    let word = posted.fields.text("outcome");
    let (_, _, has_amount) = *outcomes(&order)
        .iter()
        .find(|(known, ..)| *known == word)
        .ok_or_else(|| Failure::new(Code::NotPossible, "No evidence can say that of this payment now."))?;
    let payment = &order.payment;
    let currency = order.placed.total.currency.to_string();
    let said = if has_amount {
        let text = posted.fields.text("amount");
        show::minor(text, &currency)
            .ok_or_else(|| Failure::new(Code::Unprocessable, format!("`{text}` is no amount of this currency.")))?
    } else {
        0
    };
    let (event, amount) = match word {
        "taken" => (Event::PaymentCaptured { amount: said }, said.max(payment.authorized - said)),
        // All of it, so that nobody gives back by and by what is too much at once.
        "returned" => (Event::PaymentRefunded { amount: said }, said),
        _ => (Event::PaymentVoided, payment.authorized.max(order.placed.total.amount)),
    };
    if has_amount && said <= 0 {
        return Err(Failure::new(Code::Unprocessable, "How much?").into());
    }
    if word == "returned" && said <= payment.refunded {
        return Err(Failure::new(Code::Unprocessable, "The order knows of that much already.").into());
    }
    let (user, evidence) = (&posted.visitor.user, posted.reason()?.unwrap_or_default());
    let settlement = Settlement {
        id: Uuid::now_v7(),
        order_id: order.id,
        version,
        event,
        amount,
        currency,
        evidence,
        state: SettlementState::Waiting,
        said_by_id: user.id,
        said_by: user.name.clone(),
        said_at: now(),
        decided_by: None,
        decided_at: None,
    };
    let done = app.store.say_settlement(settlement, app.settings.settle_limit, by).await.map_err(Failure::from)?;
    let told = match done {
        Settled::Waiting => "That is above what one may decide alone: somebody else has to agree.",
        Settled::Refused(received) if matches!(*received, Received::Stale(_)) => {
            return show_moved(&app, posted, &id, version).await;
        }
        done => settled_or(done).map(|()| "It is settled.")?,
    };
    Ok(posted.done(&address(order.id), told))
}

/// `POST /console/money/settlements/{id}/agree`
pub async fn agree(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    decide(&app, &id, &posted, true, "It is settled.").await
}

/// `POST /console/money/settlements/{id}/withdraw`
pub async fn withdraw(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    decide(&app, &id, &posted, false, "It is withdrawn.").await
}

async fn decide(
    app: &App,
    id: &Path<String>,
    posted: &Posted,
    agrees: bool,
    told: &str,
) -> Result<HttpResponse, Problem> {
    let id = path_id(id)?;
    let decided = app.store.decide_settlement(id, agrees, posted.by()?).await;
    settled_or(decided.map_err(Failure::from)?)?;
    Ok(posted.done("/console/money", told))
}

fn settled_or(done: Settled) -> Result<(), Failure> {
    let refused = |detail: &str| Err(Failure::new(Code::NotPossible, detail));
    match done {
        Settled::Done(_) | Settled::Withdrawn | Settled::Waiting => Ok(()),
        Settled::Refused(received) => settled(*received, Code::NotPossible).map(drop),
        Settled::WaitsAlready => {
            refused("Something was said of this payment already, and waits for somebody to agree.")
        }
        Settled::SamePerson => refused("You said so yourself: somebody else has to agree."),
        Settled::Unknown => refused("It is not waiting any more."),
    }
}

fn books(app: &App) -> Result<&dyn Books, Failure> {
    let missing = || Failure::new(Code::NotPossible, "This gateway cannot be asked from here.");
    app.payment.books.as_deref().ok_or_else(missing)
}

fn unanswered(why: &str) -> Failure {
    Failure::new(Code::NotPossible, format!("It was not done, as far as is known: {why}. Look again."))
}

fn address(order: OrderId) -> String {
    format!("/console/money/{order}")
}

async fn find(app: &App, id: &Path<String>) -> Result<Order, Failure> {
    let order = app.store.order(OrderId(path_id(id)?)).await?;
    order.map(|(order, _)| order).ok_or_else(unknown_order)
}
