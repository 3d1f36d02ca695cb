//! The routes of the partner API, grouped by resource.

mod drafts;
mod edge;
mod events;
mod examples;
mod operators;
mod orders;
mod wire;
