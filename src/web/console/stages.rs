//! The stages of the worker and whoever is asked outside: what waits, who works, and what is held.

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;
use chrono::Duration;
use serde_json::json;
use strum::VariantArray;

use super::frame::Frame;
use super::guard::Visitor;
use super::{Action, Posted, show};
use crate::app::App;
use crate::clock::now;
use crate::controls::{AtWork, Held};
use crate::error::{Code, Failure};
use crate::instance;
use crate::lifecycle::Stage;
use crate::order::{Instant, OrderId};
use crate::store::{Hold, InStage, Instance, Leased, ReplicaSeen, Worked};
use crate::turns::Peer;
use crate::web::pages::page;
use crate::web::problem::Problem;

/// The longest hold, in minutes: what is forgotten must not last.
const LONGEST_HOLD: i64 = 240;
/// Leases of a stage that are shown.
const LEASES: usize = 10;
/// Characters of a payment method.
const METHOD: usize = 100;

#[derive(Template)]
#[template(path = "console/stages.html")]
struct StagesPage {
    frame: Frame,
    state: State,
    stages: &'static [Stage],
    shops: Vec<(String, String)>,
    may_hold: bool,
    longest: i64,
    has_drills: bool,
}

/// The part that is kept up to date.
#[derive(Template)]
#[template(path = "console/stages_state.html")]
struct State {
    rows: Vec<StageRow>,
    /// What somebody has to do something about.
    alarms: Vec<String>,
    silent: Vec<SilentRow>,
    leases: Vec<LeaseRow>,
    stages: &'static [Stage],
    instances: Vec<InstanceRow>,
    replicas: Vec<ReplicaRow>,
    holds: Vec<HoldRow>,
    may_hold: bool,
    may_close: bool,
    token: String,
}

/// It escapes what it shows by itself.
impl askama::filters::HtmlSafe for State {}

struct StageRow {
    queue: InStage,
    /// What all instances together do there.
    doing: Option<AtWork>,
    held: Option<String>,
    next: String,
    is_overdue: bool,
    oldest: String,
}

struct SilentRow {
    subject: String,
    name: String,
    failures: u32,
    is_pausing: bool,
    /// The instance that it did not answer.
    seen_by: String,
    is_here: bool,
}

struct LeaseRow {
    leased: Leased,
    left: String,
    /// The instance that holds it, where that is known.
    by: Option<String>,
}

struct InstanceRow {
    name: String,
    version: String,
    started_at: Instant,
    is_this: bool,
    /// For how long nothing was heard of it, if that is too long.
    silent_for: Option<String>,
    /// What it does at each stage; `None` where it is not to work.
    worked: Vec<Option<Worked>>,
}

struct ReplicaRow {
    instance: String,
    name: String,
    /// How old it is at most; `None` while nothing is proven of it.
    age: Option<String>,
}

struct HoldRow {
    hold: Hold,
    name: String,
    left: String,
}

/// What people call what is held.
fn name(app: &App, held: &Held) -> String {
    match held {
        Held::Stage(stage) => format!("stage {}", show::plain(stage.word())),
        Held::Peer(Peer::Method(method)) => format!("payment method {method}"),
        Held::Peer(Peer::Shop(shop)) => {
            let known = app.catalogue().find_shop(*shop).map(|shop| shop.name.clone());
            format!("shop {}", known.unwrap_or_else(|| shop.to_string()))
        }
    }
}

fn name_of(app: &App, subject: &str) -> String {
    subject.parse().map_or_else(|_| subject.to_owned(), |held| name(app, &held))
}

impl State {
    async fn read(visitor: &Visitor, app: &App, now: Instant) -> Result<Self, Failure> {
        let holds = app.store.holds().await?;
        let instances = app.instances(app.store.instances().await?, now);
        let (mut rows, mut alarms, mut leases) = (Vec::new(), Vec::new(), Vec::new());
        for hold in &holds {
            let left = show::span(hold.until_at - now);
            let what = name_of(app, &hold.subject);
            alarms.push(format!("{what} is held by {} for another {left}. Deadlines run on.", hold.user_name));
        }
        for queue in app.store.stages(now).await? {
            let doing = instance::together(&instances, queue.stage, now);
            if doing.is_none() {
                alarms.push(format!("Nobody works the stage {}.", show::plain(queue.stage.word())));
            }
            let subject = Held::Stage(queue.stage).to_string();
            let hold = holds.iter().find(|hold| hold.subject == subject);
            let late = queue.next_attempt.is_some_and(|at| now - at > Duration::seconds(5));
            for leased in app.store.leases(queue.stage, LEASES).await? {
                let left = match leased.until - now {
                    left if left > Duration::zero() => show::span(left),
                    late => format!("lapsed {} ago", show::span(-late)),
                };
                let by = holder(&instances, leased.order_id).map(str::to_owned);
                leases.push(LeaseRow { leased, left, by });
            }
            rows.push(StageRow {
                doing,
                held: hold.map(|hold| show::span(hold.until_at - now)),
                next: match queue.next_attempt {
                    None => String::new(),
                    Some(at) if at > now => format!("in {}", show::span(at - now)),
                    Some(at) => format!("due for {}", show::span(now - at)),
                },
                is_overdue: late && hold.is_none(),
                oldest: if queue.depth > 0 { show::span(seconds(queue.oldest_seconds)) } else { String::new() },
                queue,
            });
        }
        let silent: Vec<SilentRow> = instances
            .iter()
            .filter(|instance| !instance.is_silent(now))
            .flat_map(|instance| instance.report.silent.iter().map(move |peer| (instance, peer)))
            .map(|(instance, peer)| SilentRow {
                subject: peer.subject.clone(),
                name: name_of(app, &peer.subject),
                failures: peer.failures,
                is_pausing: peer.is_pausing,
                seen_by: instance.name.clone(),
                is_here: instance.id == app.store.instance(),
            })
            .collect();
        let is_one = instances.len() == 1;
        alarms.extend(silent.iter().map(|row| {
            let whom = if is_one { String::new() } else { format!(" {}", row.seen_by) };
            format!("{} does not answer{whom}: {} failures in a row.", row.name, row.failures)
        }));
        let (instances, replicas) = (instance_rows(app, &instances, now), replica_rows(&instances, now));
        alarms.extend(instances.iter().filter_map(|row| {
            let silent_for = row.silent_for.as_ref()?;
            Some(format!("Nothing was heard of {} for {silent_for}: others take over what it held.", row.name))
        }));
        let hold =
            |hold: Hold| HoldRow { name: name_of(app, &hold.subject), left: show::span(hold.until_at - now), hold };
        Ok(Self {
            rows,
            alarms,
            silent,
            leases,
            stages: Stage::VARIANTS,
            instances,
            replicas,
            holds: holds.into_iter().map(hold).collect(),
            may_hold: visitor.may(Action::HoldWork),
            may_close: visitor.may(Action::CloseBreaker),
            token: visitor.token.clone(),
        })
    }
}

/// The instance that has said that it works on an order; where there is no other, the one that there is.
fn holder(instances: &[Instance], order: OrderId) -> Option<&str> {
    let said = instances.iter().find(|instance| instance.report.asking.contains(&order));
    let only = || instances.first().filter(|_| instances.len() == 1);
    said.or_else(only).map(|instance| &*instance.name)
}

fn instance_rows(app: &App, instances: &[Instance], now: Instant) -> Vec<InstanceRow> {
    let row = |instance: &Instance| InstanceRow {
        name: instance.name.clone(),
        version: instance.version.clone(),
        started_at: instance.started_at,
        is_this: instance.id == app.store.instance(),
        silent_for: instance.is_silent(now).then(|| show::span(now - instance.seen_at)),
        worked: Stage::VARIANTS
            .iter()
            .map(|stage| instance.report.stages.iter().find(|worked| worked.stage == *stage).copied())
            .collect(),
    };
    instances.iter().map(row).collect()
}

/// What each instance that is heard of knows of each replica.
fn replica_rows(instances: &[Instance], now: Instant) -> Vec<ReplicaRow> {
    let heard = instances.iter().filter(|instance| !instance.is_silent(now));
    let row = |(instance, replica): (&Instance, &ReplicaSeen)| ReplicaRow {
        instance: instance.name.clone(),
        name: replica.name.clone(),
        age: replica.age_seconds.map(|age| format!("{age:.2} s")),
    };
    heard
        .flat_map(|instance| instance.report.replicas.iter().map(move |replica| (instance, replica)))
        .map(row)
        .collect()
}

impl State {
    /// Those who can be asked again from here: each instance leaves them alone by itself.
    fn closable(&self) -> impl Iterator<Item = &SilentRow> {
        self.silent.iter().filter(|row| self.may_close && row.is_here)
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::milliseconds((seconds * 1000.0) as i64)
}

/// `GET /console/stages`
pub async fn show_stages(visitor: Visitor, app: Data<App>) -> Result<HttpResponse, Problem> {
    let state = State::read(&visitor, &app, now()).await?;
    let catalogue = app.catalogue();
    let mut shops: Vec<(String, String)> = catalogue
        .all_shops()
        .map(|shop| (Held::Peer(Peer::Shop(shop.shop_id)).to_string(), shop.name.clone()))
        .collect();
    shops.sort_by(|one, other| one.1.cmp(&other.1));
    let shown = StagesPage {
        frame: visitor.frame("Stages"),
        stages: Stage::VARIANTS,
        shops,
        may_hold: visitor.may(Action::HoldWork),
        longest: LONGEST_HOLD,
        has_drills: app.drills.is_some() && visitor.may(Action::SeeDrills),
        state,
    };
    Ok(page(&shown)?)
}

/// `GET /console/stages/state`: the part that is kept up to date.
pub async fn show_state(visitor: Visitor, app: Data<App>) -> Result<HttpResponse, Problem> {
    Ok(page(&State::read(&visitor, &app, now()).await?)?)
}

/// `POST /console/stages/hold`: nobody begins an act of a stage, or asks somebody, until then.
pub async fn hold(app: Data<App>, posted: Posted) -> Result<HttpResponse, Problem> {
    let minutes: i64 = posted.fields.parse("minutes", "a number of minutes")?;
    if !(1..=LONGEST_HOLD).contains(&minutes) {
        let detail = format!("A hold lasts for 1 to {LONGEST_HOLD} minutes.");
        return Err(Failure::new(Code::Unprocessable, detail).into());
    }
    let held = held(posted.fields.text("what"), posted.fields.text("method"))?;
    if let Held::Peer(Peer::Shop(shop)) = &held
        && app.catalogue().find_shop(*shop).is_none()
    {
        return Err(Failure::new(Code::Unprocessable, "There is no such shop.").into());
    }
    let (subject, now) = (held.to_string(), now());
    let store = app.store.recording(posted.entry(&subject, json!({"minutes": minutes}))?);
    let (until, by) = (now + Duration::minutes(minutes), posted.visitor.user.name.clone());
    store.put_hold(subject, until, by, posted.reason()?, now).await.map_err(Failure::from)?;
    app.take_effect().await;
    Ok(posted.done("/console/stages", &format!("The {} is held for {minutes} minutes.", name(&app, &held))))
}

/// `POST /console/stages/lift`: a hold ends before its time.
pub async fn lift(app: Data<App>, posted: Posted) -> Result<HttpResponse, Problem> {
    let subject = posted.fields.text("what").to_owned();
    let store = app.store.recording(posted.entry(&subject, json!({}))?);
    if !store.lift_hold(subject.clone()).await.map_err(Failure::from)? {
        return Err(Failure::new(Code::NotPossible, "It is not held any more.").into());
    }
    app.take_effect().await;
    Ok(posted.done("/console/stages", &format!("The {} goes on.", name_of(&app, &subject))))
}

/// `POST /console/stages/close`: whoever did not answer is asked again at once.
pub async fn close(app: Data<App>, posted: Posted) -> Result<HttpResponse, Problem> {
    let subject = posted.fields.text("what");
    let Ok(Held::Peer(peer)) = subject.parse() else {
        return Err(Failure::new(Code::Unprocessable, "Who is to be asked again?").into());
    };
    let closed = app.controls.close(&peer);
    app.store.record(posted.entry(subject, json!({}))?, closed).await.map_err(Failure::from)?;
    if !closed {
        return Err(Failure::new(Code::NotPossible, "Nobody leaves it alone any more.").into());
    }
    Ok(posted.done("/console/stages", &format!("The {} is asked again.", name_of(&app, subject))))
}

fn held(what: &str, method: &str) -> Result<Held, Failure> {
    let is_fit = method.chars().count() <= METHOD && !method.chars().any(char::is_control);
    let text = if what == "method" && is_fit { format!("method:{method}") } else { what.to_owned() };
    text.parse().map_err(|_| Failure::new(Code::Unprocessable, "What is to be held?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;
    use crate::store::Report;

    #[test]
    fn an_order_is_held_by_whoever_says_so_or_by_the_only_one_there_is() {
        let (asked, other) = (OrderId::new(), OrderId::new());
        let instance = |name: &str, asking: Vec<OrderId>| Instance {
            id: uuid::Uuid::now_v7(),
            name: name.into(),
            version: "1".into(),
            started_at: at(0),
            seen_at: at(0),
            report: Report { asking, ..Report::default() },
        };
        let both = [instance("a:1", vec![]), instance("b:2", vec![asked])];
        assert_eq!([holder(&both, asked), holder(&both, other)], [Some("b:2"), None]);
        assert_eq!([holder(&both[..1], asked), holder(&[], asked)], [Some("a:1"), None]);
    }
}
