//! Cron expressions: minute, hour, day of the month, month, day of the week.
//!
//! As in Vixie cron: lists (`1,15`), ranges (`9-17`), steps (`*/5`, `0-30/10`), names of months and days, 7 for Sunday, and
//! `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. Where both the day of the month and the day of the week are given,
//! either is enough (crontab(5)).

use std::fmt;
use std::str::FromStr;

use super::calendar::{DAY, Date, MINUTE, weekday};
use crate::time::Wall;

/// How many days are looked at for the next occurrence: 29 February comes again after eight years at the latest.
const MOST_DAYS: i64 = 366 * 9;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A cron expression. Each field is a set of bits.
#[derive(Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day must be in both sets: one of the two fields says nothing.
    both: bool,
}

/// Why a text is no cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It has too few or too many fields.
    #[error("has {0} fields; write five: minute, hour, day of the month, month, day of the week")]
    Fields(usize),
    /// A field cannot be read.
    #[error("`{text}` is no {field}; it goes from {least} to {most}, as a list, a range or with a step")]
    Field {
        /// Which field.
        field: &'static str,
        /// What stands there.
        text: String,
        /// Its least value.
        least: u32,
        /// Its greatest.
        most: u32,
    },
    /// Its days do not exist.
    #[error("never comes: no month it names has such a day")]
    Never,
}

struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, names: &[] },
    Field { name: "day of the month", least: 1, most: 31, names: &[] },
    Field { name: "month", least: 1, most: 12, names: &MONTHS },
    Field { name: "day of the week", least: 0, most: 7, names: &DAYS },
];

impl Cron {
    /// The first occurrence after `after`; nothing if there is none.
    #[must_use]
    pub fn next(&self, after: Wall) -> Option<Wall> {
        let first = after.as_millis().div_euclid(MINUTE).checked_add(1)?;
        let (day, minute) = (first.div_euclid(DAY), first.rem_euclid(DAY));
        if self.on(day)
            && let Some(minute) = self.at_or_after(minute)
        {
            return at(day, minute);
        }
        let begin = self.at_or_after(0)?;
        (1..=MOST_DAYS).map(|ahead| day + ahead).find(|day| self.on(*day)).and_then(|day| at(day, begin))
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it comes on this day, counted from 1970.
    fn on(&self, day: i64) -> bool {
        let date = Date::of(day);
        let of_month = has(self.days, date.day);
        let of_week = has(self.weekdays, weekday(day));
        let days = if self.both { of_month && of_week } else { of_month || of_week };
        has(self.months, date.month) && days
    }

    /// The first minute of a day that is not before `from`.
    fn at_or_after(&self, from: i64) -> Option<i64> {
        (from..DAY).find(|minute| {
            let (hour, minute) = (u32::try_from(minute / 60), u32::try_from(minute % 60));
            hour.is_ok_and(|hour| has(self.hours, hour))
                && minute.is_ok_and(|minute| has(self.minutes, minute))
        })
    }
}

fn at(day: i64, minute: i64) -> Option<Wall> {
    day.checked_mul(DAY)?.checked_add(minute)?.checked_mul(MINUTE).map(Wall::from_millis)
}

const fn has(set: u64, value: u32) -> bool {
    set & (1 << value) != 0
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let written = text.trim();
        let text = match written {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            text => text,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(CronError::Fields(fields.len()));
        };
        let [of_minute, of_hour, of_day, of_month, of_week] = &FIELDS;
        let week = of_week.set(weekdays)?;
        let cron = Self {
            text: written.to_owned(),
            minutes: of_minute.set(minutes)?,
            hours: of_hour.set(hours)?,
            days: of_day.set(days)?,
            months: of_month.set(months)?,
            // Sunday is 0 and 7.
            weekdays: if has(week, 7) { week | 1 } else { week },
            both: days.starts_with('*') || weekdays.starts_with('*'),
        };
        if cron.next(Wall::from_millis(0)).is_none() { Err(CronError::Never) } else { Ok(cron) }
    }
}

impl Field {
    /// The values a field names.
    fn set(&self, text: &str) -> Result<u64, CronError> {
        let mut parts = text.split(',').map(|part| self.part(part));
        let set = parts.try_fold(0, |set, part| Some(set | part?));
        set.ok_or_else(|| CronError::Field {
            field: self.name,
            text: text.to_owned(),
            least: self.least,
            most: self.most,
        })
    }

    fn part(&self, part: &str) -> Option<u64> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().ok().filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((from, to)) => (self.value(from)?, self.value(to)?),
            None => {
                let from = self.value(range)?;
                // `5/10` is from 5 on, every tenth.
                (from, if step.is_some() { self.most } else { from })
            }
        };
        if from > to {
            return None;
        }
        let every = usize::try_from(step.unwrap_or(1)).ok()?;
        Some((from..=to).step_by(every).fold(0, |set, value| set | 1 << value))
    }

    fn value(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let value = match named {
            Some(at) => u32::try_from(at).ok()? + self.least,
            None if text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
            None => return None,
        };
        (self.least..=self.most).contains(&value).then_some(value)
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cron").field(&self.text).finish()
    }
}
