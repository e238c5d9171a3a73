//! The `mainstay` command: see the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    mainstay_cli::main()
}
