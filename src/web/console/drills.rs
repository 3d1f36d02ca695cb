//! Drills: the simulators in trouble, on purpose. Where the gateway is a real one there is no such page.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;
use serde_json::json;
use strum::VariantArray;

use super::frame::Frame;
use super::guard::Visitor;
use super::{Action, Posted, show};
use crate::app::App;
use crate::drills::{Actor, Drills, Manner};
use crate::error::{Code, Failure};
use crate::lifecycle::Stage;
use crate::web::pages::page;
use crate::web::problem::Problem;

/// The longest drill, in minutes, and the largest lag of the replica, in seconds.
const LONGEST: u64 = 30;
const LARGEST_LAG: u64 = 600;

#[derive(Template)]
#[template(path = "console/drills.html")]
struct DrillsPage {
    frame: Frame,
    on: Vec<(Actor, String)>,
    lag: Option<String>,
    actors: &'static [Actor],
    manners: &'static [Manner],
    stages: &'static [Stage],
    may_run: bool,
    longest: u64,
    largest_lag: u64,
}

/// `GET /console/drills`
pub async fn show_drills(visitor: Visitor, app: Data<App>) -> Result<HttpResponse, Problem> {
    let on = drills(&app)?.on(std::time::Instant::now()).into_iter().map(|(actor, manner, left)| {
        let left = chrono::Duration::from_std(left).unwrap_or_default();
        (actor, format!("{actor}: {manner}, for another {}", show::span(left)))
    });
    let shown = DrillsPage {
        frame: visitor.frame("Drills"),
        on: on.collect(),
        lag: app.store.replica_lag().map(|lag| show::span(chrono::Duration::from_std(lag).unwrap_or_default())),
        actors: Actor::VARIANTS,
        manners: Manner::VARIANTS,
        stages: Stage::VARIANTS,
        may_run: visitor.may(Action::RunDrill),
        longest: LONGEST,
        largest_lag: LARGEST_LAG,
    };
    Ok(page(&shown)?)
}

/// `POST /console/drills`: begins one.
pub async fn begin(app: Data<App>, posted: Posted) -> Result<HttpResponse, Problem> {
    let drills = drills(&app)?;
    let actor: Actor = posted.fields.parse("actor", "one of the simulators")?;
    let manner: Manner = posted.fields.parse("manner", "slow, silent or rejecting")?;
    let lasts = minutes(&posted)?;
    let detail = json!({"manner": manner.to_string(), "minutes": lasts.as_secs() / 60});
    app.store.record(posted.entry(format!("drill:{actor}"), detail)?, true).await.map_err(Failure::from)?;
    drills.begin(actor, manner, std::time::Instant::now() + lasts);
    Ok(posted.done("/console/drills", "The drill is on."))
}

/// `POST /console/drills/end`
pub async fn end(app: Data<App>, posted: Posted) -> Result<HttpResponse, Problem> {
    let drills = drills(&app)?;
    let actor: Actor = posted.fields.parse("actor", "one of the simulators")?;
    let ended = drills.end(actor);
    app.store.record(posted.entry(format!("drill:{actor}"), json!({}))?, ended).await.map_err(Failure::from)?;
    Ok(posted.done("/console/drills", if ended { "The drill is over." } else { "It was over already." }))
}

/// `POST /console/drills/lag`: the replica lags so far behind, for a while.
pub async fn raise_lag(app: Data<App>, posted: Posted) -> Result<HttpResponse, Problem> {
    drills(&app)?;
    let seconds: u64 = posted.fields.parse("seconds", "a number of seconds")?;
    if seconds == 0 || seconds > LARGEST_LAG {
        let detail = format!("A replica lags by 1 to {LARGEST_LAG} seconds.");
        return Err(Failure::new(Code::Unprocessable, detail).into());
    }
    let lasts = minutes(&posted)?;
    let raised = app.store.raise_replica_lag(Duration::from_secs(seconds), std::time::Instant::now() + lasts);
    let detail = json!({"seconds": seconds, "minutes": lasts.as_secs() / 60});
    app.store.record(posted.entry("drill:replica", detail)?, raised).await.map_err(Failure::from)?;
    if !raised {
        return Err(Failure::new(Code::NotPossible, "There is no replica: start with --replica-lag.").into());
    }
    Ok(posted.done("/console/drills", "The replica falls behind."))
}

/// `POST /console/drills/kill`: whoever does the next step of a stage dies before it can say what came of it.
pub async fn kill(app: Data<App>, posted: Posted) -> Result<HttpResponse, Problem> {
    drills(&app)?;
    let stage: Stage = posted.fields.parse("stage", "a stage")?;
    let entry = posted.entry("drill:worker", json!({"stage": stage}))?;
    app.store.record(entry, true).await.map_err(Failure::from)?;
    app.controls.lose_next(stage);
    Ok(posted.done("/console/drills", "What comes of the next step there is lost: its lease has to lapse."))
}

fn minutes(posted: &Posted) -> Result<Duration, Failure> {
    let minutes: u64 = posted.fields.parse("minutes", "a number of minutes")?;
    if !(1..=LONGEST).contains(&minutes) {
        return Err(Failure::new(Code::Unprocessable, format!("A drill lasts for 1 to {LONGEST} minutes.")));
    }
    Ok(Duration::from_secs(minutes * 60))
}

fn drills(app: &App) -> Result<&Drills, Failure> {
    app.drills.as_deref().ok_or_else(|| Failure::new(Code::NotFound, "There is no such page."))
}
