//! Everything that is tested from outside the crate, in one binary.

mod client;
mod conformance;
mod contract;
mod crash;
mod deploy;
mod derived;
mod routes;
mod server;
mod support;
mod tidy;
mod unwinding;
