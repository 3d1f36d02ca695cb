//! Everything that is tested from outside the crate, in one binary.

mod cli;
mod client;
mod conformance;
mod contract;
mod crash;
mod deliveries;
mod deploy;
mod derived;
mod draining;
mod gateway;
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
mod support;
mod tidy;
mod timing;
mod unwinding;
mod webhooks;
