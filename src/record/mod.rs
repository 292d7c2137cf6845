//! Records as they come: formats, decoding, and what is rejected.

pub mod event;

pub use event::{Cell, Event, Known, Record, Reject, RejectReason, Target};
