//! Sends what happened to whoever asked to be told, signed, a few times until it is taken, in no particular order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use reqwest::Client;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::config::Secret;
use crate::gateway::stripe::signature;

/// Who is told of everything that happens.
#[derive(Clone, Debug)]
pub struct Subscriber {
    pub url: String,
    /// Callbacks are signed with it.
    pub secret: Secret,
}

/// The pauses before each try to send a callback.
const TRIES: [Duration; 4] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(25)];
const PATIENCE: Duration = Duration::from_secs(10);
/// How many are on their way at once.
const ABREAST: usize = 16;

pub(super) struct Callbacks {
    to: Subscriber,
    http: Client,
    room: Arc<Semaphore>,
}

impl Callbacks {
    pub fn new(to: Subscriber) -> io::Result<Self> {
        crate::tls::install();
        let http = Client::builder().timeout(PATIENCE).build().map_err(io::Error::other)?;
        Ok(Self { to, http, room: Arc::new(Semaphore::new(ABREAST)) })
    }

    /// Sends an event, later and again if need be; whoever never answers misses it.
    pub fn send(&self, event: Value) {
        let (to, http, room) = (self.to.clone(), self.http.clone(), self.room.clone());
        tokio::spawn(async move {
            let body = event.to_string();
            for pause in TRIES {
                tokio::time::sleep(pause).await;
                let _place = room.acquire().await.expect("the semaphore is never closed");
                let signature = signature::sign(&to.secret, body.as_bytes(), Utc::now());
                let request = http.post(&to.url).header("content-type", "application/json; charset=utf-8");
                match request.header("stripe-signature", signature).body(body.clone()).send().await {
                    Ok(answer) if answer.status().is_success() => return,
                    Ok(answer) => tracing::info!(status = %answer.status(), "simulator.callback_refused"),
                    Err(fault) => tracing::info!(%fault, "simulator.callback_not_delivered"),
                }
            }
        });
    }
}
