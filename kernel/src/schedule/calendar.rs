//! The Gregorian calendar in UTC, as whole numbers.
//!
//! Days are counted from 1 January 1970 by Howard Hinnant's algorithms (`days_from_civil` and `civil_from_days`,
//! <https://howardhinnant.github.io/date_algorithms.html>): years begin in March, so that the leap day comes last.

use std::fmt;

use crate::time::Wall;

/// Milliseconds of a minute.
pub const MINUTE: i64 = 60_000;
/// Minutes of a day.
pub const DAY: i64 = 24 * 60;

/// A date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// The year.
    pub year: i64,
    /// From 1.
    pub month: u32,
    /// Of the month, from 1.
    pub day: u32,
}

impl Date {
    /// The date so many days after 1 January 1970.
    #[must_use]
    pub fn of(days: i64) -> Self {
        let days = days + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self { year, month: small(month), day: small(day) }
    }
}

/// The day of the week, from Sunday as 0.
#[must_use]
pub fn weekday(days: i64) -> u32 {
    // 1 January 1970 was a Thursday.
    small((days + 4).rem_euclid(7))
}

/// A time as RFC 3339 writes it, in UTC and whole seconds.
#[derive(Debug, Clone, Copy)]
pub struct Rfc3339(pub Wall);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_millis().div_euclid(1_000);
        let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let Date { year, month, day } = Date::of(days);
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(0)
}
