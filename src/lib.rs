pub mod admission;
pub mod breaker;
pub mod clock;
pub mod error;
#[cfg(test)]
mod fixtures;
pub mod gateway;
pub mod journal;
pub mod lifecycle;
pub mod machine;
pub mod order;
pub mod shop;
pub mod simulator;
pub mod stages;
pub mod state;
pub mod store;
pub mod worker;
