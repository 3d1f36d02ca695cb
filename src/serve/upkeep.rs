//! What a running service does besides: keeps what is in memory close to what is stored, and watches how things go.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::app::App;
use crate::clock::now;
use crate::logs::failing;
use crate::meters;
use crate::store::Haste;

/// How often the ongoing orders are summed up, and learned from what has happened.
const WATCH: Duration = Duration::from_secs(1);
/// … but where very many are, the former rests so many times as long as it took: it reads the row of each.
const RESTS: u32 = 50;
/// … but no longer than this: a database that stood still for a minute must not leave the console blind for an hour.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// How often samples are tidied up.
const TIDY: Duration = Duration::from_secs(1);
/// How often keys and catalogue are read again.
const REFRESH: Duration = Duration::from_secs(15);
/// How often drafts are swept out that nobody confirmed.
const SWEEP: Duration = Duration::from_secs(5 * 60);

/// Counts what the shops are making, watches how things go, and learns how long they take. Nobody waits for any of it.
pub(super) async fn watch(app: Arc<App>) {
    let mut count_at = Instant::now();
    loop {
        tokio::time::sleep(WATCH).await;
        if count_at <= Instant::now() {
            let began = Instant::now();
            let ongoing = app.count_ongoing(Haste::None).await;
            count_at = Instant::now() + (began.elapsed() * RESTS).min(LONGEST_REST);
            app.pulse.look(&app.store, ongoing, now).await;
        }
        if let Err(fault) = app.learn().await {
            failing!("app.not_learned", fault);
        }
    }
}

/// Keeps what is in memory close to what is stored.
pub(super) async fn refresh(app: Arc<App>) {
    let mut since_refresh = Duration::ZERO;
    let mut since_sweep = Duration::ZERO;
    let mut swept = None;
    loop {
        tokio::time::sleep(TIDY).await;
        meters::tidy_up();
        since_refresh += TIDY;
        if since_refresh >= REFRESH {
            since_refresh = Duration::ZERO;
            if let Err(fault) = app.refresh().await {
                failing!("app.refresh_failed", fault);
            }
        }
        since_sweep += TIDY;
        // One step at a time: creating orders goes through the same thread.
        if swept.is_some() || since_sweep >= SWEEP {
            since_sweep = Duration::ZERO;
            swept = app.store.sweep_drafts(swept, now()).await.unwrap_or_else(|fault| {
                failing!("drafts.not_swept", fault);
                None
            });
        }
    }
}
