//! Orders and lists over HTTP, as they are measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use eyre::{Result, bail, eyre};
use hyper::Uri;
use lungo::load::client::{Answer, Connection, Target};
use lungo::load::plan::{Arrivals, Plan};
use lungo::load::report::{Quantiles, Report};
use tokio::task::JoinSet;

/// The number of connections that goals are set for.
pub const USUAL: usize = 64;

/// A report, if it is one of a run in which all went well.
///
/// # Errors
/// When something did not.
pub fn useful(report: Report) -> Result<Report> {
    if !report.is_sound() || !report.errors.is_empty() {
        bail!("these figures are of no use:\n{report}");
    }
    Ok(report)
}

/// Orders that all go well.
///
/// # Errors
/// Never.
pub fn plan(connections: usize, orders: u64, arrivals: Arrivals) -> Result<Plan> {
    let mix = "visa=1".parse().map_err(|fault: String| eyre!(fault))?;
    Ok(Plan::new(orders, connections, arrivals, mix, Duration::from_secs(600)))
}

/// Reads lists in turn over as many connections as usual: how many a second, how long each took, and the last answer.
pub fn read_lists(uris: &Arc<[Uri]>, target: &Target, lists: u64) -> Result<(f64, Quantiles, Answer)> {
    on_one_thread(async {
        let next = Arc::new(AtomicU64::new(0));
        let started = Instant::now();
        let mut readers = JoinSet::new();
        for _ in 0..USUAL {
            let (mut connection, next, uris) = (Connection::new(target.clone()), next.clone(), uris.clone());
            readers.spawn(async move {
                let (mut took, mut last) = (Vec::new(), None);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= lists {
                        return Ok((took, last));
                    }
                    let asked = Instant::now();
                    let answer = connection.get(&uris[number as usize % uris.len()]).await;
                    let answer = answer.map_err(|silence| eyre!("no answer: {silence:?}"))?;
                    if answer.status.as_u16() != 200 {
                        bail!("a list was answered with {}", answer.status);
                    }
                    took.push(asked.elapsed());
                    last = Some(answer);
                }
            });
        }
        let (mut took, mut sample) = (Vec::new(), None);
        while let Some(read) = readers.join_next().await {
            let (some, last) = read??;
            took.extend(some);
            sample = last.or(sample);
        }
        let per_s = took.len() as f64 / started.elapsed().as_secs_f64();
        Ok((per_s, Quantiles::of(took), sample.ok_or_else(|| eyre!("no list was read"))?))
    })
}

pub fn on_one_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
