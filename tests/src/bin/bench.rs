//! The benches as a program: `bench call|isolation|overload|runs|commit|registry|restart|history [--quick] [--json]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mainstay_tests::bench::main()
}
