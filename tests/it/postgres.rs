//! The service on real servers of PostgreSQL, and the servers themselves.

mod servers;

#[path = "../support/postgres.rs"]
mod harness;

pub use harness::{Cluster, Node, ask, is_there, run_file, shared};
