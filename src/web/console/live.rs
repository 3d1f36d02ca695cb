//! What is going on now: numbers with their last minutes, red where they should not be, each with the way to what is
//! behind it.

mod tiles;

use std::convert::Infallible;
use std::fmt::Write;
use std::time::Duration as Wait;

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data};
use askama::Template;
use futures_util::stream;

use self::tiles::Tile;
use super::frame::Frame;
use super::guard::{Visitor, lifetimes};
use super::show;
use crate::app::App;
use crate::clock::now;
use crate::config::Durability;
use crate::order::Instant;
use crate::web::pages::page;
use crate::web::problem::Problem;

/// How often a stream looks whether there is something new.
const EVERY: Wait = Wait::from_secs(1);
/// After so many looks a stream asks whether it is still welcome, and says something in any case: what is between us and
/// the browser must not think that it is dead.
const SILENT_FOR: u32 = 15;

#[derive(Template)]
#[template(path = "console/live.html")]
struct LivePage {
    frame: Frame,
    tiles: Tiles,
}

#[derive(Template)]
#[template(path = "console/live_tiles.html")]
struct Tiles {
    groups: Vec<(&'static str, Vec<Tile>)>,
    at: Option<Instant>,
    /// The database could not be read when it was looked at last.
    is_blind: bool,
    durability: &'static str,
}

/// It escapes what it shows by itself.
impl askama::filters::HtmlSafe for Tiles {}

/// `GET /console`
pub async fn show(visitor: Visitor, app: Data<App>) -> Result<HttpResponse, Problem> {
    Ok(page(&LivePage { frame: visitor.frame("Live"), tiles: Tiles::of(&app) })?)
}

/// `GET /console/live`: the tiles alone, for a page that was not looked at for a while.
pub async fn show_tiles(_: Visitor, app: Data<App>) -> Result<HttpResponse, Problem> {
    Ok(page(&Tiles::of(&app))?)
}

/// `GET /console/live/stream`: the tiles, whenever they have changed, until the session or the service ends.
pub async fn stream_tiles(visitor: Visitor, app: Data<App>) -> HttpResponse {
    let ends_at = visitor.session.created_at + lifetimes(&app).absolute;
    let watching = Watching { app, visitor, ends_at, shown: None, looks: 0, is_over: false };
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header(("cache-control", "no-store"))
        // Nobody in between may wait for more before it passes this on.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(stream::unfold(watching, |mut watching| async move {
            let told = watching.next().await?;
            Some((Ok::<_, Infallible>(told), watching))
        }))
}

struct Watching {
    app: Data<App>,
    visitor: Visitor,
    ends_at: Instant,
    shown: Option<(Option<Instant>, bool)>,
    /// Looks that found nothing new, in all.
    looks: u32,
    is_over: bool,
}

impl Watching {
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        loop {
            let mark = self.app.pulse.mark();
            if self.shown != Some(mark) {
                self.shown = Some(mark);
                let html = Tiles::of(&self.app)
                    .render()
                    .unwrap_or_else(|_| "<p class=\"fault\">It cannot be shown.</p>".into());
                return Some(event("tiles", &html));
            }
            tokio::time::sleep(EVERY).await;
            self.looks += 1;
            // A service that stops is not kept from it by those who watch.
            if !self.app.is_ready() {
                return None;
            }
            if self.looks.is_multiple_of(SILENT_FOR) {
                if !self.is_welcome().await {
                    self.is_over = true;
                    return Some(event("over", ""));
                }
                return Some(Bytes::from_static(b": still there\n\n"));
            }
        }
    }

    /// Whether the session is still open: a stream is let in only once, and may last for hours.
    async fn is_welcome(&self) -> bool {
        let open = self.app.store.sessions(Some(self.visitor.user.id)).await;
        let is_open = open.is_ok_and(|open| {
            open.iter()
                .any(|session| session.id == self.visitor.session.id && !session.is_over(lifetimes(&self.app), now()))
        });
        is_open && now() < self.ends_at
    }
}

fn event(name: &str, html: &str) -> Bytes {
    let mut text = format!("event: {name}\n");
    for line in html.lines() {
        let _ = writeln!(text, "data: {line}");
    }
    if html.is_empty() {
        text += "data:\n";
    }
    Bytes::from(text + "\n")
}

impl Tiles {
    /// What is wrong stands at the top: in a bad hour nobody looks for it among all the rest.
    fn is_any_broken(&self) -> bool {
        self.groups.iter().flat_map(|(_, tiles)| tiles).any(|tile| tile.broken.is_some())
    }

    fn of(app: &App) -> Self {
        let (samples, is_blind) = app.pulse.recent();
        let durability = durable(app.store.durability());
        let Some(last) = samples.last() else {
            return Self { groups: Vec::new(), at: None, is_blind, durability };
        };
        Self { groups: tiles::groups(app, &samples, last), at: Some(last.at), is_blind, durability }
    }
}

/// What an accepted order survives.
fn durable(durability: Durability) -> &'static str {
    match durability {
        Durability::Local => "Durability is local: an accepted order is on the disk of this machine.",
        Durability::Synchronous => "Durability is synchronous: a standby has applied every accepted order.",
        Durability::Asynchronous => "Durability is asynchronous: a failover may lose the last moments.",
    }
}
