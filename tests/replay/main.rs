//! `tailwater replay` of files, as users run it.

#![allow(clippy::unwrap_used, missing_docs)]

mod command;
mod formats;
mod init;
mod options;
mod wrong;
