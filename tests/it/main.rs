//! Everything that is tested from outside the crate, in one binary.

mod conformance;
mod deploy;
mod derived;
mod support;
mod tidy;
mod unwinding;
