//! The `tailwater` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    tailwater::cli::main()
}
