//! One deadline travels with the call and shrinks at every hop.
//!
//! gRPC sends a *duration* (`grpc-timeout`), because clocks of two machines need not agree. The server turns it into a
//! [`Deadline`], an instant of its own clock, the moment the request arrives; whoever calls further on the request's
//! behalf sends what is left then ([`Deadline::apply`]).
//!
//! What a deadline covers: the whole call, until the last byte of the response, for streams as well. That is what gRPC
//! says, and what a caller means who bounds a stream. A watch that should live for ever simply sends no deadline;
//! the server invents none.
//!
//! What a peer may write there: at most eight digits and a unit. More than [`MAX`] is cut to it, so that no arithmetic on
//! instants can overflow; anything malformed is ignored, as if it were not there; and less than a millisecond has passed
//! on arrival, because timers here have that granularity and no work fits in.

use std::future::Future;
use std::time::Duration;

use http::{Extensions, HeaderMap};
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use tokio::time::Instant;
use tonic::Status;
use tonic::metadata::{Ascii, MetadataValue};

/// The longest deadline: a day. Longer work is a run, which outlives its callers, not a call.
pub const MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Shortest time that is worth beginning: the granularity of the timers.
const MIN: Duration = Duration::from_millis(1);

/// The header.
const GRPC_TIMEOUT: &str = "grpc-timeout";

/// Most digits the gRPC specification allows.
const MAX_DIGITS: usize = 8;

/// The instant by which a call must have ended, on this process's monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// A deadline `timeout` from now, at most [`MAX`] away.
    #[must_use]
    pub fn after(timeout: Duration) -> Self {
        let timeout = if timeout < MIN { Duration::ZERO } else { timeout.min(MAX) };
        Self(Instant::now() + timeout)
    }

    /// The deadline the server noted for a request, if its caller sent one.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get().copied()
    }

    /// The deadline in the headers of a request that arrives now.
    #[must_use]
    pub fn arriving(headers: &HeaderMap) -> Option<Self> {
        parse(headers.get(GRPC_TIMEOUT)?.as_bytes()).map(Self::after)
    }

    /// The instant.
    #[must_use]
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// What is left; zero once it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    #[must_use]
    pub fn passed(self) -> bool {
        Instant::now() >= self.0
    }

    /// The earlier of this deadline and one `timeout` from now: how a stage takes its share.
    #[must_use]
    pub fn within(self, timeout: Duration) -> Self {
        self.min(Self::after(timeout))
    }

    /// Sends what is left of this deadline along with `request`.
    pub fn apply<T>(self, request: &mut tonic::Request<T>) {
        set(request, self.remaining());
    }

    /// Runs `work` until it ends or the deadline passes; then it is dropped.
    ///
    /// # Errors
    /// [`Passed`] if the deadline came first.
    pub async fn bound<F: Future>(self, work: F) -> Result<F::Output, Passed> {
        tokio::time::timeout_at(self.0, work).await.map_err(|_| Passed)
    }
}

/// The deadline came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the deadline passed before the call ended")]
pub struct Passed;

impl From<Passed> for Status {
    fn from(passed: Passed) -> Self {
        Fault::new(Reason::DeadlinePassed, passed).into()
    }
}

/// Sends `timeout` along with `request`. Rounds down: a peer must not work longer than its caller waits.
pub fn set<T>(request: &mut tonic::Request<T>, timeout: Duration) {
    request.metadata_mut().insert(GRPC_TIMEOUT, format(timeout));
}

/// Writes a timeout with the finest unit whose value has at most eight digits.
fn format(timeout: Duration) -> MetadataValue<Ascii> {
    let nanos = timeout.min(MAX).as_nanos();
    let units = [(1, 'n'), (1_000, 'u'), (1_000_000, 'm'), (1_000_000_000, 'S')];
    let text = units
        .iter()
        .map(|(size, unit)| (nanos / size, unit))
        .find(|(value, _)| *value < 100_000_000)
        .map(|(value, unit)| format!("{value}{unit}"));
    // A day has 86,400 seconds, so the last unit always fits, and digits are always ASCII.
    text.and_then(|text| text.parse().ok()).unwrap_or(MetadataValue::from_static("0n"))
}

/// Reads `TimeoutValue TimeoutUnit` of the gRPC specification; `None` if it is anything else.
fn parse(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |value: u64, digit| value * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(value * 3600)),
        b'M' => Some(Duration::from_secs(value * 60)),
        b'S' => Some(Duration::from_secs(value)),
        b'm' => Some(Duration::from_millis(value)),
        b'u' => Some(Duration::from_micros(value)),
        b'n' => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arriving(text: &str) -> Option<Deadline> {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, text.parse().unwrap());
        Deadline::arriving(&headers)
    }

    #[tokio::test(start_paused = true)]
    async fn every_unit_is_understood() {
        let cases = [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("10S", Duration::from_secs(10)),
            ("250m", Duration::from_millis(250)),
            ("5000u", Duration::from_millis(5)),
            ("99999999n", Duration::from_nanos(99_999_999)),
        ];
        for (text, expected) in cases {
            assert_eq!(arriving(text).unwrap().remaining(), expected, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_nanosecond_has_passed_on_arrival_and_a_century_is_cut_to_a_day() {
        assert!(arriving("1n").unwrap().passed());
        assert!(arriving("0S").unwrap().passed());
        assert_eq!(arriving("99999999H").unwrap().remaining(), MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn garbage_is_ignored() {
        for text in
            ["", "S", "1", "123456789S", "-1S", "+1S", "1.5S", "1s", " 1S", "1S ", "S1", "0x1S", "1SS"]
        {
            assert_eq!(arriving(text), None, "{text:?}");
        }
        assert_eq!(Deadline::arriving(&HeaderMap::new()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_on_is_what_is_left_and_never_more() {
        let deadline = Deadline::after(Duration::from_secs(10));
        tokio::time::advance(Duration::from_millis(2_500)).await;
        let mut request = tonic::Request::new(());
        deadline.apply(&mut request);
        assert_eq!(request.metadata().get(GRPC_TIMEOUT).unwrap(), "7500000u");
        for nanos in [0, 1, 99_999_999, 100_000_000, 123_456_789_123, MAX.as_nanos() as u64 * 2] {
            let timeout = Duration::from_nanos(nanos);
            let back = parse(format(timeout).as_bytes()).unwrap();
            assert!(back <= timeout.min(MAX), "{timeout:?} became {back:?}");
            assert!(timeout.min(MAX) - back < Duration::from_secs(1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_dropped_at_the_deadline() {
        let deadline = Deadline::after(Duration::from_secs(1));
        assert_eq!(deadline.bound(std::future::pending::<()>()).await, Err(Passed));
        assert!(deadline.passed());
        assert_eq!(Deadline::after(MAX).within(Duration::from_secs(3)).remaining(), Duration::from_secs(3));
    }
}
