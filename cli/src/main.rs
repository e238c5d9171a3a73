//! The `mainstay` command: see the library beside it.

use std::process::ExitCode;

/// Calls and runs are many small allocations on several threads, for months: the allocator of the C library is slower at
/// that and gives less back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mainstay_cli::main()
}
