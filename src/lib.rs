pub mod admission;
pub mod error;
pub mod gateway;
pub mod lifecycle;
pub mod machine;
pub mod order;
pub mod shop;
pub mod state;
