//! Everything that is tested from outside the crate, in one binary.

mod book;
mod cli;
mod client;
mod compatible;
mod conformance;
mod contract;
mod crash;
mod deliveries;
mod deploy;
mod derived;
mod draining;
mod gateway;
mod logging;
mod migrate;
mod postgres;
mod private;
mod receiver;
mod restored;
mod routes;
mod server;
mod settings;
mod shop_webhooks;
mod stalled;
mod stripe;
mod supervised;
mod support;
mod tidy;
mod timing;
#[cfg(feature = "otlp")]
mod traces;
mod unwinding;
mod upgrade;
mod webhooks;
