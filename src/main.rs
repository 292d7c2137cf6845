//! The `tailwater` command.

use std::process::ExitCode;

/// Events are allocated by the reader and freed by the operator, at which the system's allocator makes the two wait for each other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tailwater::cli::main()
}
