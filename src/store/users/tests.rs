//! Users, links, sessions and the audit log, on a database of their own.

use std::time::Duration;

use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::access::{Session, hash, secret};
use crate::fixtures::at;
use crate::store::{AuditFilter, Entry, Options, Policy};

fn open() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        policy: Policy::default(),
        readers: 1,
        queue: 16,
        local_queue: 1,
        commit_patience: Duration::from_secs(60),
        replica_lag: None,
        durability: None,
        max_staleness: std::time::Duration::from_millis(100),
        clock: || at(0),
        follow_clock: |_, _| {},
    };
    let (store, _) = Store::open(dir.path(), options).unwrap();
    (dir, store)
}

fn entry(action: &str) -> Entry {
    Entry {
        at: at(0),
        user_id: None,
        user_name: "ada".into(),
        action: action.into(),
        subject: "user:eve".into(),
        reason: Some("because".into()),
        detail: serde_json::json!({"a": 1}),
        request_id: "r-1".into(),
    }
}

fn user(name: &str, roles: &[Role]) -> User {
    User {
        id: Uuid::now_v7(),
        name: name.into(),
        roles: roles.to_vec(),
        created_at: at(0),
        disabled_at: None,
        has_password: false,
    }
}

fn session(user_id: Uuid) -> Session {
    Session { id: Uuid::now_v7(), user_id, address: "a".into(), agent: "b".into(), created_at: at(0), seen_at: at(0) }
}

/// A user who has followed a link, and what it is logged in by.
async fn enter(store: &Store, user: &User) -> Hash {
    let link = hash(&secret());
    store.add_link(user.id, link, at(0)).await.unwrap();
    store.follow_link(link, "hash".into(), at(0)).await.unwrap().unwrap();
    let session_hash = hash(&secret());
    store.open_session(session_hash, session(user.id)).await.unwrap();
    session_hash
}

#[tokio::test]
async fn a_deed_and_its_entry_are_there_together_or_not_at_all() {
    let (_dir, store) = open();
    let eve = user("eve", &[Role::Support]);
    let added = store.recording(entry("invite")).add_user(eve.clone(), hash("1")).await.unwrap();
    assert_eq!(added, Changed::Done);
    let twice = store.recording(entry("again")).add_user(User { id: Uuid::now_v7(), ..eve.clone() }, hash("2")).await;
    assert_eq!(twice.unwrap(), Changed::Taken);
    // The same hash of a link cannot stand twice: the transaction fails as a whole.
    store.recording(entry("fails")).add_user(user("mallory", &[]), hash("1")).await.unwrap_err();
    let log = store.audit(AuditFilter::default(), 10).await.unwrap();
    let told: Vec<_> = log.iter().map(|logged| (logged.entry.action.as_str(), logged.done)).collect();
    assert_eq!(told, [("again", false), ("invite", true)], "the newest first");
    assert_eq!(log[1].entry, entry("invite"));
    let of = |filter: AuditFilter| store.audit(filter, 10);
    assert_eq!(of(AuditFilter { action: Some("invite".into()), ..Default::default() }).await.unwrap().len(), 1);
    assert_eq!(of(AuditFilter { user_name: Some("eve".into()), ..Default::default() }).await.unwrap().len(), 0);
    assert_eq!(of(AuditFilter { below: Some(log[0].position), ..Default::default() }).await.unwrap(), log[1..]);
    store.add_link(eve.id, hash("3"), at(0)).await.unwrap();
    assert_eq!(of(AuditFilter::default()).await.unwrap().len(), 2, "an entry is for one deed");
}

#[tokio::test]
async fn the_audit_log_is_never_changed_nor_shortened() {
    let (dir, store) = open();
    store.record(entry("looks"), true).await.unwrap();
    let path = dir.path().join(crate::store::FILE).display().to_string();
    let mut conn = SqliteConnection::establish(&path).unwrap();
    for statement in ["UPDATE audit SET reason = 'other'", "DELETE FROM audit"] {
        let refused = diesel::sql_query(statement).execute(&mut conn).unwrap_err().to_string();
        assert!(refused.contains("the audit log is never"), "{refused}");
    }
    assert_eq!(store.audit(AuditFilter::default(), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_link_is_followed_once_and_not_after_its_day_and_the_newest_only() {
    let (_dir, store) = open();
    let ada = user("ada", &[Role::Admin]);
    store.add_user(ada.clone(), hash("first")).await.unwrap();
    store.add_link(ada.id, hash("second"), at(10)).await.unwrap();
    let follow = |link: &str, seconds| store.follow_link(hash(link), "h".into(), at(seconds));
    assert_eq!(follow("first", 20).await.unwrap(), None, "a newer one was made");
    assert_eq!(follow("second", 10 + 24 * 3600).await.unwrap(), None, "its day is over");
    let session_hash = hash("session");
    store.open_session(session_hash, session(ada.id)).await.unwrap();
    assert!(follow("second", 30).await.unwrap().is_some_and(|user| user.has_password));
    assert_eq!(follow("second", 31).await.unwrap(), None, "it is used up");
    assert_eq!(store.session(session_hash).await.unwrap(), None, "who knew the old password is out");
    assert!(!store.add_first_link(hash("x"), at(40)).await.unwrap(), "somebody can log in");
}

#[tokio::test]
async fn the_first_link_is_made_anew_until_somebody_follows_one() {
    let (_dir, store) = open();
    assert!(store.add_first_link(hash("1"), at(0)).await.unwrap());
    assert!(store.add_first_link(hash("2"), at(1)).await.unwrap());
    assert_eq!(store.users().await.unwrap().len(), 1);
    assert_eq!(store.link(hash("1"), at(2)).await.unwrap(), None);
    assert_eq!(store.link(hash("2"), at(2)).await.unwrap().unwrap().name, FIRST_USER);
}

#[tokio::test]
async fn whoever_is_shut_out_is_out_at_once_and_the_last_administrator_stays() {
    let (_dir, store) = open();
    let (ada, eve) = (user("ada", &[Role::Admin]), user("eve", &[Role::Support]));
    for user in [&ada, &eve] {
        store.add_user(user.clone(), hash(&user.name)).await.unwrap();
    }
    let (of_ada, of_eve) = (enter(&store, &ada).await, enter(&store, &eve).await);
    assert!(store.session(of_ada).await.unwrap().is_some());
    let change = |id, roles: &[Role], out| store.change_user(id, roles.to_vec(), out, at(1));
    assert_eq!(change(ada.id, &[Role::Support], false).await.unwrap(), Changed::LastAdmin);
    assert_eq!(change(ada.id, &[Role::Admin], true).await.unwrap(), Changed::LastAdmin);
    assert_eq!(change(Uuid::now_v7(), &[], true).await.unwrap(), Changed::Unknown);
    assert_eq!(change(eve.id, &[Role::Support], true).await.unwrap(), Changed::Done);
    assert_eq!(store.session(of_eve).await.unwrap(), None);
    assert_eq!(store.link(hash("eve"), at(1)).await.unwrap(), None);
    assert_eq!(change(eve.id, &[Role::Support], false).await.unwrap(), Changed::Done);
    assert_eq!(store.session(of_eve).await.unwrap(), None, "a session that ended does not come back");
    assert_eq!(change(eve.id, &[Role::Admin], false).await.unwrap(), Changed::Done);
    assert_eq!(change(ada.id, &[Role::Support], false).await.unwrap(), Changed::Done);
}

#[tokio::test]
async fn a_session_is_ended_by_its_own_user_or_by_whoever_may_end_all() {
    let (_dir, store) = open();
    let (ada, eve) = (user("ada", &[Role::Admin]), user("eve", &[Role::Support]));
    for user in [&ada, &eve] {
        store.add_user(user.clone(), hash(&user.name)).await.unwrap();
    }
    enter(&store, &ada).await;
    enter(&store, &eve).await;
    let of_ada = store.sessions(Some(ada.id)).await.unwrap()[0].id;
    assert!(!store.revoke_session(of_ada, Some(eve.id), at(1)).await.unwrap());
    assert!(store.revoke_session(of_ada, Some(ada.id), at(1)).await.unwrap());
    assert!(!store.revoke_session(of_ada, None, at(1)).await.unwrap(), "once");
    assert_eq!(store.sessions(None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn guesses_are_counted_before_they_are_looked_at_and_forgotten_after_a_while() {
    let (_dir, store) = open();
    let guesser =
        |name: &str, address: &str| Guesser::Browser { name: name.into(), address: address.into(), device: None };
    let attempt = |seconds: i64| store.attempt_login(guesser("ada", "1.2.3.4"), at(seconds));
    for second in 0..5 {
        assert_eq!(attempt(second).await.unwrap(), Ok(()));
    }
    assert_eq!(attempt(5).await.unwrap(), Err(at(4 + 10)), "the fifth locks for ten seconds");
    assert_eq!(store.attempt_login(guesser("eve", "1.2.3.4"), at(5)).await.unwrap(), Ok(()), "only her");
    assert_eq!(attempt(14).await.unwrap(), Ok(()));
    assert_eq!(attempt(15).await.unwrap(), Err(at(14 + 20)), "twice as long");
    store.forgive_login(guesser("ada", "1.2.3.4"), at(15)).await.unwrap();
    assert_eq!(attempt(16).await.unwrap(), Ok(()));
    for n in 0..40 {
        let _ = store.attempt_login(guesser(&format!("user{n}"), "6.6.6.6"), at(20)).await.unwrap();
    }
    let locked = store.attempt_login(guesser("anybody", "6.6.6.6"), at(21)).await.unwrap();
    assert!(locked.is_err(), "an address that guesses at many names is locked too");
    assert_eq!(store.attempt_login(guesser("anybody", "6.6.6.6"), at(21 + 3600)).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn guessing_at_a_name_does_not_bar_a_browser_that_its_user_has_logged_in_with() {
    let (_dir, store) = open();
    let (ada, eve) = (user("ada", &[Role::Admin]), user("eve", &[Role::Support]));
    for user in [&ada, &eve] {
        store.add_user(user.clone(), hash(&user.name)).await.unwrap();
    }
    let shown = enter(&store, &ada).await;
    let of_ada = store.sessions(Some(ada.id)).await.unwrap()[0].id;
    let from = |name: &str, device| Guesser::Browser { name: name.into(), address: "1.2.3.4".into(), device };
    let (stranger, known) = (from("ada", None), from("ada", Some(shown)));
    for _ in 0..30 {
        let _ = store.attempt_login(stranger.clone(), at(0)).await.unwrap();
    }
    let is_barred =
        async |guesser: &Guesser, seconds| store.attempt_login(guesser.clone(), at(seconds)).await.unwrap().is_err();
    assert!(is_barred(&stranger, 1).await);
    assert!(is_barred(&from("ada", Some(hash("made up"))), 1).await, "what was not given out shows nothing");
    assert!(!is_barred(&known, 1).await, "her own browser");
    assert!(!is_barred(&Guesser::Session(of_ada), 1).await, "her open session");
    store.forgive_login(known.clone(), at(1)).await.unwrap();
    assert!(is_barred(&stranger, 2).await, "her success tells nothing of a stranger's guesses");

    assert!(store.revoke_session(of_ada, None, at(2)).await.unwrap());
    assert!(!is_barred(&known, 2).await, "also after she has logged out");
    for _ in 0..4 {
        assert!(!is_barred(&known, 3).await);
    }
    assert!(is_barred(&known, 3).await, "a known browser guesses no faster");
    assert!(!is_barred(&from("eve", Some(shown)), 3).await);
    for _ in 0..30 {
        let _ = store.attempt_login(from("eve", Some(shown)), at(3)).await.unwrap();
    }
    assert!(is_barred(&from("eve", None), 4).await, "a browser is known for its own user only");
    let later = at(31 * 24 * 3600);
    for _ in 0..30 {
        let _ = store.attempt_login(stranger.clone(), later).await.unwrap();
    }
    assert!(store.attempt_login(known, later).await.unwrap().is_err(), "a browser is forgotten after a month");
}
