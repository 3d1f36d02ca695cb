//! Who works on what: what this process says of itself to those who look at all instances, and what all of them say
//! together.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant as Monotonic};

use crate::app::App;
use crate::controls::{AtWork, Held, Silent};
use crate::lifecycle::Stage;
use crate::logs::failing;
use crate::order::Instant;
use crate::store::{Instance, Report, SilentPeer, Worked};

/// How often each instance says that it is there.
const EVERY: Duration = Duration::from_secs(2);
/// Of one instance, orders that somebody is asked about for long, and peers that do not answer, that are told.
const TOLD: usize = 50;

/// What this process is called: its machine, and its number there.
static NAME: LazyLock<String> =
    LazyLock::new(|| format!("{}:{}", gethostname::gethostname().to_string_lossy(), std::process::id()));

/// What this process is called among its like.
pub fn name() -> &'static str {
    &NAME
}

/// Says what this instance is doing, until it is told to stop. What cannot be said now is said the next time.
pub async fn say(app: Arc<App>, clock: fn() -> Instant) {
    let mut was_said = true;
    loop {
        let now = clock();
        let said = app.store.say_instance(NAME.clone(), app.report(now), now).await;
        if let Err(fault) = &said
            && was_said
        {
            failing!("instance.not_said", fault);
        }
        was_said = said.is_ok();
        tokio::time::sleep(EVERY).await;
    }
}

impl App {
    /// What this instance is doing now.
    fn report(&self, now: Instant) -> Report {
        let worked = |(stage, doing): (Stage, Option<AtWork>)| {
            let AtWork { under_way, limit, waiting } = doing.unwrap_or_default();
            self.settings.stages.contains(stage).then_some(Worked {
                stage,
                is_at_work: doing.is_some(),
                under_way,
                limit,
                waiting,
            })
        };
        let silent = |Silent { peer, failures, is_pausing }: Silent| SilentPeer {
            subject: Held::Peer(peer).to_string(),
            failures,
            is_pausing,
        };
        let monotonic = Monotonic::now();
        Report {
            stages: self.controls.at_work(monotonic).into_iter().filter_map(worked).collect(),
            silent: self.controls.silent(monotonic).into_iter().map(silent).take(TOLD).collect(),
            asking: self.controls.asked_longest(TOLD),
            replicas: self.store.replicas_seen(now),
        }
    }

    /// The instances as they were read, and this one as it is now.
    pub fn instances(&self, mut read: Vec<Instance>, now: Instant) -> Vec<Instance> {
        let (id, report) = (self.store.instance(), self.report(now));
        match read.iter_mut().find(|instance| instance.id == id) {
            Some(own) => (own.seen_at, own.report) = (now, report),
            None => read.push(Instance {
                id,
                name: NAME.clone(),
                version: env!("CARGO_PKG_VERSION").into(),
                started_at: now,
                seen_at: now,
                report,
            }),
        }
        read
    }
}

/// What all instances that are heard of do at a stage; `None` if nobody works there.
pub fn together(instances: &[Instance], stage: Stage, now: Instant) -> Option<AtWork> {
    let heard = instances.iter().filter(|instance| !instance.is_silent(now));
    let worked = heard.flat_map(|instance| &instance.report.stages).filter(|at| at.stage == stage && at.is_at_work);
    worked.fold(None, |all: Option<AtWork>, at| {
        let AtWork { under_way, limit, waiting } = all.unwrap_or_default();
        Some(AtWork { under_way: under_way + at.under_way, limit: limit + at.limit, waiting: waiting + at.waiting })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    fn instance(seen_at: i64, stages: &[(Stage, bool)]) -> Instance {
        let worked = |(stage, is_at_work): &(Stage, bool)| Worked {
            stage: *stage,
            is_at_work: *is_at_work,
            under_way: 1,
            limit: 4,
            waiting: 2,
        };
        Instance {
            id: uuid::Uuid::now_v7(),
            name: "a:1".into(),
            version: "1".into(),
            started_at: at(0),
            seen_at: at(seen_at),
            report: Report { stages: stages.iter().map(worked).collect(), ..Report::default() },
        }
    }

    #[test]
    fn a_stage_is_worked_by_whoever_is_heard_of_and_looks_after_it() {
        let all = [
            instance(100, &[(Stage::Offer, true), (Stage::Capture, false)]),
            instance(99, &[(Stage::Offer, true)]),
            instance(80, &[(Stage::Offer, true), (Stage::Release, true)]),
        ];
        let of = |stage| together(&all, stage, at(100));
        assert_eq!(of(Stage::Offer), Some(AtWork { under_way: 2, limit: 8, waiting: 4 }));
        assert_eq!([of(Stage::Capture), of(Stage::Release), of(Stage::Authorize)], [None; 3]);
    }
}
