//! What the service tells its supervisor by systemd's protocol (`Type=notify`): that it is ready, stops, and is alive.
//! Without `NOTIFY_SOCKET` in the environment, nothing is told.

use std::net::SocketAddr;
use std::time::Duration;

use sd_notify::NotifyState;

/// The supervisor that started this process, if there is one.
pub struct Supervisor {
    /// It ends a process that has been silent for so long.
    patience: Option<Duration>,
}

impl Supervisor {
    pub fn from_environment() -> Self {
        Self { patience: sd_notify::watchdog_enabled() }
    }

    /// Requests are answered from now on.
    pub fn ready(&self, address: SocketAddr) {
        tell(&[NotifyState::Ready, NotifyState::Status(&format!("Listening on {address}"))]);
    }

    /// The stop has begun: requests under way end.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping, NotifyState::Status("Ending the requests under way")]);
    }

    /// Says twice within the supervisor's patience that the runtime, on which every request and every task depends, still
    /// makes progress. Needs a runtime, and ends with it.
    pub fn stay_alive(&self) {
        let Some(patience) = self.patience else { return };
        tokio::spawn(async move {
            let mut turns = tokio::time::interval(patience / 2);
            loop {
                turns.tick().await;
                tell(&[NotifyState::Watchdog]);
            }
        });
    }
}

/// A supervisor that does not listen is no reason to stop.
fn tell(states: &[NotifyState]) {
    if let Err(fault) = sd_notify::notify(states) {
        tracing::warn!(%fault, "supervisor.not_told");
    }
}
