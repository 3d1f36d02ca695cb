//! Checks, when all is done, that every 202 is there exactly once and that orders and ledger agree.

use std::collections::{HashMap, HashSet};

use eyre::Result;
use hyper::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::client::{Connection, Target};
use super::drive::Sending;
use super::feed::Life;
use super::plan::Plan;
use crate::gateway::simulator::Entry;
use crate::order::Instant;
use crate::reconcile::{Verdict, reconcile};
use crate::state::Order;

/// Orders of others that are asked whose they are; if there are more, the partner's feed is not only ours.
const MOST_STRANGERS: usize = 1_000;

/// One thing that has to be so.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub what: &'static str,
    pub ok: bool,
    /// What was counted.
    pub found: String,
}

fn check(what: &'static str, ok: bool, found: String) -> Check {
    Check { what, ok, found }
}

/// What the feed says of the accepted orders.
pub fn against_feed(sending: &Sending, lives: &HashMap<Uuid, Life>) -> Vec<Check> {
    let accepted: HashSet<Uuid> = sending.accepted.iter().map(|accepted| accepted.order_id).collect();
    let shared = sending.accepted.len() - accepted.len();
    let created = |wanted: fn(u32) -> bool| {
        accepted.iter().filter(|id| wanted(lives.get(*id).map_or(0, |life| life.created))).count()
    };
    let (missing, doubled) = (created(|count| count == 0), created(|count| count > 1));
    let unfinished = accepted.iter().filter(|id| lives.get(*id).is_none_or(|life| life.ended.is_none())).count();
    vec![
        check("every 202 names an order of its own", shared == 0, format!("{} ids, {shared} shared", accepted.len())),
        check(
            "every 202 was created exactly once",
            missing == 0 && doubled == 0,
            format!("{} in the feed, {missing} missing, {doubled} twice", accepted.len() - missing),
        ),
        check(
            "every order was accepted by its shop or failed for good",
            unfinished == 0,
            format!("{} were, {unfinished} not yet", accepted.len() - unfinished),
        ),
    ]
}

/// Orders of this run that exist without a 202. Allowed are those whose answer got lost.
///
/// # Errors
/// When the orders cannot be read.
pub async fn no_order_beyond(
    plan: &Plan,
    target: &Target,
    sending: &Sending,
    lives: &HashMap<Uuid, Life>,
) -> Result<Check> {
    #[derive(Deserialize)]
    struct View {
        customer_id: String,
    }
    let what = "no order beyond the 202s";
    let accepted: HashSet<Uuid> = sending.accepted.iter().map(|accepted| accepted.order_id).collect();
    let strangers: Vec<&Uuid> =
        lives.iter().filter(|(id, life)| life.created > 0 && !accepted.contains(id)).map(|(id, _)| id).collect();
    let mut connection = Connection::new(target.clone());
    let (mut lost, mut beyond) = (0, 0);
    for id in strangers.iter().take(MOST_STRANGERS) {
        let uri: Uri = format!("/v1/orders/{id}").parse().expect("an id is a path");
        let answer = connection.get(&uri).await.ok().filter(|answer| answer.status == StatusCode::OK);
        let Some(answer) = answer else { continue };
        let View { customer_id } = serde_json::from_slice(&answer.body)?;
        match plan.number_of(&customer_id) {
            Some(number) if sending.uncertain.contains(&number) => lost += 1,
            Some(_) => beyond += 1,
            None => {}
        }
    }
    let unknown = strangers.len().saturating_sub(MOST_STRANGERS);
    let found = format!(
        "{beyond} beyond; {lost} whose answer was lost; {} of others, {unknown} not looked at",
        strangers.len() - lost - beyond - unknown
    );
    Ok(check(what, beyond == 0, found))
}

/// What the rows and the gateway's ledger say of the accepted orders, beside `earlier` ones that were there before. Only
/// a server of our own shows them.
pub fn against_books(
    sending: &Sending,
    orders: &[Order],
    charges: &[Entry],
    earlier: usize,
    now: Instant,
) -> Vec<Check> {
    let rows: HashSet<Uuid> = orders.iter().map(|order| order.id.0).collect();
    let missing = sending.accepted.iter().filter(|accepted| !rows.contains(&accepted.order_id)).count();
    let beyond = (rows.len() + missing).saturating_sub(sending.accepted.len() + earlier);
    let findings = reconcile(orders, charges, now);
    let wrong: Vec<_> = findings.iter().filter(|finding| finding.verdict.is_wrong()).collect();
    let under_way = findings.iter().filter(|finding| finding.verdict == Verdict::UnderWay).count();
    let example = wrong.first().map_or_else(String::new, |found| format!(" ({}: {})", found.order_id, found.verdict));
    vec![
        check(
            "there is a row for every 202, and no other",
            missing == 0 && beyond <= sending.uncertain.len(),
            format!("{} rows, {missing} missing, {beyond} beyond", rows.len() - earlier),
        ),
        check(
            "orders and the gateway's ledger agree",
            wrong.is_empty(),
            format!("{} charges, {} wrong{example}, {under_way} under way", charges.len(), wrong.len()),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Instant, SystemTime};

    use super::*;
    use crate::lifecycle::Status;
    use crate::load::drive::Accepted;

    fn sending(ids: &[u128]) -> Sending {
        let now = Instant::now();
        let accepted = ids.iter().map(|id| Accepted { order_id: Uuid::from_u128(*id), intended: now, answered: now });
        Sending {
            accepted: accepted.collect(),
            turned_away: Vec::new(),
            errors: BTreeMap::new(),
            uncertain: HashSet::new(),
            started: now,
            ended: now,
            ended_at: SystemTime::now(),
            polling: Vec::new(),
        }
    }

    fn lives(created: &[(u128, u32, bool)]) -> HashMap<Uuid, Life> {
        let at = crate::order::Instant::from_timestamp(1, 0).unwrap();
        let life = |&(id, created, ended): &(u128, u32, bool)| {
            let ended = ended.then_some((Status::Accepted, at));
            (Uuid::from_u128(id), Life { created, created_at: Some(at), ended })
        };
        created.iter().map(life).collect()
    }

    #[test]
    fn a_lost_a_doubled_and_an_unfinished_order_are_each_found() {
        let ok = |ids: &[u128], feed: &[(u128, u32, bool)]| -> Vec<bool> {
            against_feed(&sending(ids), &lives(feed)).iter().map(|check| check.ok).collect()
        };
        assert_eq!(ok(&[1, 2], &[(1, 1, true), (2, 1, true)]), [true, true, true]);
        assert_eq!(ok(&[1, 2], &[(1, 1, true)]), [true, false, false]);
        assert_eq!(ok(&[1], &[(1, 2, true)]), [true, false, true]);
        assert_eq!(ok(&[1], &[(1, 1, false)]), [true, true, false]);
        assert_eq!(ok(&[1, 1], &[(1, 1, true)]), [false, true, true]);
    }
}
