//! Opens the payment gateway that the settings name, with what the web has to know of it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::drills::Drilled;
use super::outside::{Hints, SimulatedBank, StripeCallbacks};
use crate::app::PaymentDoors;
use crate::config::{self, Settings};
use crate::drills::Drills;
use crate::gateway::Gateway;
use crate::gateway::simulator::GatewaySimulator;
use crate::gateway::stripe::Stripe;
use crate::store::Store;

/// The gateway in use.
pub struct Opened {
    pub port: Arc<dyn Gateway>,
    /// The same, where it is simulated within this process.
    pub simulated: Option<Arc<GatewaySimulator>>,
    pub doors: PaymentDoors,
}

/// # Errors
/// When the simulator's ledger cannot be opened, or no connection could be secured.
pub fn open(
    settings: &Settings,
    ledger: Option<&Path>,
    base_url: &str,
    store: &Store,
    drills: &Arc<Drills>,
) -> io::Result<Opened> {
    let hints = |gateway| Hints { store: store.clone(), gateway, patience: settings.call_timeout.0 };
    match settings.gateway {
        config::Gateway::Stripe => {
            let key = settings.stripe_key.as_ref().ok_or_else(|| io::Error::other("there is no stripe-key"))?;
            let (url, return_url) = (&settings.stripe_url, settings.stripe_return_url.clone());
            let installation = format!("{:016x}", store.installation());
            let stripe = Stripe::new(url, key.clone(), installation, return_url, settings.call_timeout.0);
            let port: Arc<dyn Gateway> = Arc::new(stripe.map_err(io::Error::other)?);
            let secrets = settings.stripe_webhook_secrets.clone();
            let callbacks = Arc::new(StripeCallbacks::new(hints(port.clone()), secrets));
            let books = Arc::new(hints(port.clone()));
            let doors = PaymentDoors { bank: None, callbacks: Some(callbacks), books: Some(books) };
            Ok(Opened { port, simulated: None, doors })
        }
        config::Gateway::Simulator => {
            let gateway = Arc::new(GatewaySimulator::open(ledger, settings.pace.into(), base_url.to_owned())?);
            let bank = Arc::new(SimulatedBank { gateway: gateway.clone(), hints: hints(gateway.clone()) });
            let books = Arc::new(hints(gateway.clone()));
            let doors = PaymentDoors { bank: Some(bank), callbacks: None, books: Some(books) };
            let port = Arc::new(Drilled { gateway: gateway.clone(), drills: drills.clone() });
            Ok(Opened { port, simulated: Some(gateway), doors })
        }
    }
}
