//! The HTTP edge.

pub mod auth;
pub mod edge;
pub mod headers;
pub mod problem;
pub mod create_order;
pub mod views;
pub mod vocabulary;
