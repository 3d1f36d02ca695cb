//! The first start: a partner to try things with, and the keys for it.

use std::fs;
use std::path::Path;

use uuid::Uuid;

use super::Error;
use crate::catalogue::demo::{LUNGO_CENTRAL, PARTNER, demo};
use crate::clock::now;
use crate::config::Pace;
use crate::files;
use crate::keys::{self, Owner};
use crate::store::{Store, StoredKey};

/// Where the keys of the demo are written, in the data directory.
pub const FILE: &str = "demo.env";

/// Fills an empty database with the demo partner and writes its keys to a file that only its owner can read. The
/// file is written first: a crash in between leaves keys that open nothing, never a partner nobody has a key to.
///
/// At [`Pace::Zero`] nobody ever starts to make an order, so that the shops get room for all of them.
///
/// Says whether the demo was made now.
pub(super) async fn prepare(store: &Store, directory: &Path, url: &str, pace: Pace) -> Result<bool, Error> {
    let path = directory.join(FILE);
    let io = |fault| Error::Io { what: format!("cannot write {}", path.display()), fault };
    if store.partners().await?.is_empty() {
        let owners = [
            ("LUNGO_PARTNER_KEY", Owner::Partner(PARTNER)),
            ("LUNGO_SHOP_KEY", Owner::Shop { shop_id: LUNGO_CENTRAL, partner_id: PARTNER }),
            ("LUNGO_ADMIN_KEY", Owner::Admin),
        ];
        let mut text = format!("LUNGO_URL={url}\n");
        let mut stored = Vec::new();
        for (name, owner) in owners {
            let secret = owner.kind().generate();
            text += &format!("{name}={secret}\n");
            stored.push(StoredKey {
                key_id: Uuid::now_v7(),
                owner,
                hash: keys::hash(&secret),
                label: "demo".into(),
                created_at: now(),
                revoked_at: None,
            });
        }
        files::replace(&path, text.as_bytes()).map_err(io)?;
        let mut demo = demo();
        if pace == Pace::Zero {
            demo.shops.iter_mut().for_each(|shop| shop.max_in_progress = u32::MAX);
        }
        store.seed(demo, stored, now()).await?;
        return Ok(true);
    }
    if let Ok(text) = fs::read_to_string(&path) {
        // The address may be another one this time; the keys stay.
        let lines = text.lines().map(|line| {
            if line.starts_with("LUNGO_URL=") { format!("LUNGO_URL={url}\n") } else { format!("{line}\n") }
        });
        files::replace(&path, lines.collect::<String>().as_bytes()).map_err(io)?;
    }
    Ok(false)
}
