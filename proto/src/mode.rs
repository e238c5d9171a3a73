//! Operating modes, as clients see and set them.

use mainstay_kernel::mode::Mode;

use crate::fault::Fault;
use crate::pb;

/// A mode on the wire.
#[must_use]
pub const fn view(mode: Mode) -> pb::OperatingMode {
    match mode {
        Mode::Full => pb::OperatingMode::Full,
        Mode::Degraded => pb::OperatingMode::Degraded,
        Mode::Emergency => pb::OperatingMode::Emergency,
    }
}

/// A mode that a client asks for.
///
/// # Errors
/// If it says none, or one that this program does not know.
pub fn parse(field: &str, mode: i32) -> Result<Mode, Fault> {
    match pb::OperatingMode::try_from(mode) {
        Ok(pb::OperatingMode::Full) => Ok(Mode::Full),
        Ok(pb::OperatingMode::Degraded) => Ok(Mode::Degraded),
        Ok(pb::OperatingMode::Emergency) => Ok(Mode::Emergency),
        Ok(pb::OperatingMode::Unspecified) | Err(_) => {
            Err(Fault::invalid(field, "must be FULL, DEGRADED or EMERGENCY"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_is_read_back_and_nothing_else_is_a_mode() {
        for mode in Mode::ALL {
            assert_eq!(parse("mode", view(mode).into()).unwrap(), mode);
        }
        assert!(parse("mode", 0).is_err() && parse("mode", 99).is_err());
    }
}
