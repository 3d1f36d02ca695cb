//! What holds of the binary as a whole, over real HTTP.

mod contract;
mod crash;
mod routes;
mod server;
