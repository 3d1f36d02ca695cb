//! The HTTP edge.

pub mod auth;
pub mod edge;
pub mod headers;
pub mod problem;
