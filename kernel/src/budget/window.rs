//! Budgets over time: what a tenant, or a workflow of it, may use up in a day or a month.
//!
//! A machine: it counts what was used in the windows that are open, and is told again after a restart from the records of
//! what was spent. Windows are calendar days and months in UTC, because that is how money is accounted for; a window that
//! slides would never say when it begins anew. Use counts on the day its call began.
//!
//! As within a run, what a call may take is held before it begins and settled after it. A limit is never exceeded by more
//! than the calls under way used beyond what was held for them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::budget::{Amount, Limit, Limits, WARN_AT};
use crate::name::Name;
use crate::time::Wall;

/// Milliseconds of a day in UTC; it has no leap seconds as clocks tell it.
const DAY_MS: i64 = 86_400_000;

/// Workflows of one tenant that are counted. More than people write; whoever makes them up by a program has a limit on the
/// tenant as a whole, and those beyond are counted there alone.
pub const MAX_WORKFLOWS: usize = 10_000;

/// What a budget over time begins anew with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Period {
    /// A calendar day in UTC.
    Day,
    /// A calendar month in UTC.
    Month,
}

/// Whose budget over time it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The tenant's, whatever it runs.
    Tenant,
    /// That of all runs of one of its workflows.
    Workflow(Name),
}

/// Days since 1970-01-01 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(pub i32);

/// A budget over time that has no room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Over {
    /// Whose.
    pub target: Target,
    /// Per what.
    pub period: Period,
    /// What of it.
    pub limit: Limit,
    /// How much there is.
    pub most: u64,
    /// How much of that is spent.
    pub spent: u64,
    /// When it begins anew.
    pub until: Wall,
}

/// How a budget over time stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whose.
    pub target: Target,
    /// Per what.
    pub period: Period,
    /// What it may use up.
    pub limits: Limits,
    /// What it has.
    pub spent: Amount,
    /// What is held for calls under way.
    pub held: Amount,
    /// When it begins anew.
    pub until: Wall,
}

/// A limit of which so much is spent that people should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Near {
    /// The budget, as it stands.
    pub over: Over,
}

/// Whether a call may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// It may, and what it may take is held for it.
    Now,
    /// Once some of what is held for others is settled.
    Later,
    /// Not before a window ends.
    Never(Over),
}

/// The budgets over time of one tenant.
#[derive(Debug, Default)]
pub struct Windows {
    limits: BTreeMap<(Target, Period), Limits>,
    used: BTreeMap<Target, Used>,
}

/// What one target used.
#[derive(Debug, Default)]
struct Used {
    day: Meter,
    month: Meter,
    held: Amount,
}

#[derive(Debug, Default, Clone, Copy)]
struct Meter {
    /// The first day of the window that is counted.
    from: Option<Day>,
    spent: Amount,
}

// === impl Day ===

impl Day {
    /// The day that `at` is in.
    #[must_use]
    pub fn of(at: Wall) -> Self {
        Self(i32::try_from(at.as_millis().div_euclid(DAY_MS)).unwrap_or(i32::MAX))
    }

    /// When it begins.
    #[must_use]
    pub fn begins(self) -> Wall {
        Wall::from_millis(i64::from(self.0) * DAY_MS)
    }

    /// Year, month and day of the month, by the proleptic Gregorian calendar.
    ///
    /// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
    #[must_use]
    pub fn civil(self) -> (i64, u8, u8) {
        let days = i64::from(self.0) + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        (year, u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1))
    }

    /// The first day of its month.
    #[must_use]
    pub fn first_of_month(self) -> Self {
        let (_, _, day) = self.civil();
        Self(self.0 - i32::from(day) + 1)
    }
}

/// As `2026-11-21`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl FromStr for Day {
    type Err = String;
    /// Source: as [`Day::civil`], `days_from_civil`.
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || "is no day: write it like 2026-11-21".to_owned();
        let mut parts =
            text.splitn(3, '-').map(|part| part.parse::<i64>().ok().filter(|_| !part.starts_with('+')));
        let mut next = || parts.next().flatten().ok_or_else(refused);
        let (year, month, day) = (next()?, next()?, next()?);
        if text.len() != 10 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(refused());
        }
        let shifted = if month <= 2 { year - 1 } else { year };
        let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
        let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
        // A day that its month does not have would be another one.
        i32::try_from(days).map(Self).ok().filter(|day| day.to_string() == text).ok_or_else(refused)
    }
}

// === impl Period ===

impl Period {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Day, Self::Month];

    /// The name used in documents, records and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The first day of the window that `day` is in.
    #[must_use]
    pub fn from(self, day: Day) -> Day {
        match self {
            Self::Day => day,
            Self::Month => day.first_of_month(),
        }
    }

    /// When the window that `day` is in ends.
    #[must_use]
    pub fn until(self, day: Day) -> Wall {
        let next = match self {
            Self::Day => Day(day.0.saturating_add(1)),
            // No month is longer than 31 days, and 31 days on from its first day lies in the next one.
            Self::Month => Day(day.first_of_month().0.saturating_add(31)).first_of_month(),
        };
        next.begins()
    }
}

impl FromStr for Period {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|period| period.as_str() == text)
            .ok_or_else(|| "is no period: give `day` or `month`".to_owned())
    }
}

// === impl Target ===

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant => f.write_str("tenant"),
            Self::Workflow(name) => write!(f, "workflow/{name}"),
        }
    }
}

impl FromStr for Target {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            None if text == "tenant" => Ok(Self::Tenant),
            Some(("workflow", name)) => {
                Name::new(name).map(Self::Workflow).map_err(|error| format!("names a workflow that {error}"))
            }
            _ => Err("is no target: give `tenant` or `workflow/NAME`".to_owned()),
        }
    }
}

// === impl Over ===

/// One sentence for a person.
impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match &self.target {
            Target::Tenant => "the tenant".to_owned(),
            Target::Workflow(name) => format!("workflow `{name}`"),
        };
        let [spent, most] = [self.spent, self.most].map(|much| self.limit.amount(much));
        let (period, until) = (self.period.as_str(), Day::of(self.until));
        write!(
            f,
            "{spent} of the {most} that {whose} may use in a {period} are spent; it begins anew on {until} (UTC)"
        )
    }
}

// === impl Windows ===

impl Windows {
    /// Sets or lifts what `target` may use up in `period`. Time is not counted over time.
    pub fn set(&mut self, target: Target, period: Period, limits: Option<Limits>) {
        match limits {
            Some(limits) => drop(self.limits.insert((target, period), limits)),
            None => drop(self.limits.remove(&(target, period))),
        }
    }

    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// How every budget stands at `now`.
    #[must_use]
    pub fn standings(&self, now: Wall) -> Vec<Standing> {
        let of = |((target, period), limits): (&(Target, Period), &Limits)| {
            let used = self.used.get(target);
            Standing {
                target: target.clone(),
                period: *period,
                limits: *limits,
                spent: used.map_or(Amount::NONE, |used| used.spent(*period, now)),
                held: used.map_or(Amount::NONE, |used| used.held),
                until: period.until(Day::of(now)),
            }
        };
        self.limits.iter().map(of).collect()
    }

    /// Counts what calls of `workflow` used that began on `day`, and says which limits are near because of it.
    pub fn add(&mut self, workflow: &Name, day: Day, used: Amount, now: Wall) -> Vec<Near> {
        let mut near = Vec::new();
        for target in targets(workflow) {
            if !self.used.contains_key(&target) && self.used.len() > MAX_WORKFLOWS {
                continue;
            }
            let meters = self.used.entry(target.clone()).or_default();
            for period in Period::ALL {
                let before = meters.spent(period, now);
                meters.add(period, day, used, now);
                let after = meters.spent(period, now);
                let Some(limits) = self.limits.get(&(target.clone(), period)) else { continue };
                for (limit, most) in limits.on_calls() {
                    let [was, is] = [before, after].map(|spent| is_near(spent.get(limit), most));
                    if is && !was {
                        let (spent, until) = (after.get(limit), period.until(Day::of(now)));
                        near.push(Near {
                            over: Over { target: target.clone(), period, limit, most, spent, until },
                        });
                    }
                }
            }
        }
        near
    }

    /// Whether a run of `workflow` may begin: nothing that it belongs to is used up.
    ///
    /// # Errors
    /// The budget that is, of several the one that begins anew last.
    pub fn admit(&self, workflow: &Name, now: Wall) -> Result<(), Over> {
        match self.fit(workflow, Amount::NONE, now) {
            Held::Never(over) => Err(over),
            Held::Now | Held::Later => Ok(()),
        }
    }

    /// Holds what a call of `workflow` may take, if it fits.
    pub fn hold(&mut self, workflow: &Name, estimate: Amount, now: Wall) -> Held {
        let fit = self.fit(workflow, estimate, now);
        if fit == Held::Now {
            for target in targets(workflow) {
                let used = self.used.entry(target).or_default();
                used.held = used.held.plus(estimate);
            }
        }
        fit
    }

    /// Gives back what was held for a call.
    pub fn release(&mut self, workflow: &Name, estimate: Amount) {
        for target in targets(workflow) {
            if let Some(used) = self.used.get_mut(&target) {
                used.held = used.held.minus(estimate);
            }
        }
    }

    fn fit(&self, workflow: &Name, estimate: Amount, now: Wall) -> Held {
        let (mut later, mut never): (bool, Option<Over>) = (false, None);
        for target in targets(workflow) {
            let used = self.used.get(&target);
            let held = used.map_or(Amount::NONE, |used| used.held);
            for period in Period::ALL {
                let Some(limits) = self.limits.get(&(target.clone(), period)) else { continue };
                let spent = used.map_or(Amount::NONE, |used| used.spent(period, now));
                for (limit, most) in limits.on_calls() {
                    let left = most.saturating_sub(spent.get(limit));
                    let wanted = estimate.get(limit).max(1);
                    let until = period.until(Day::of(now));
                    if wanted > left && never.as_ref().is_none_or(|over| over.until < until) {
                        let spent = spent.get(limit);
                        never = Some(Over { target: target.clone(), period, limit, most, spent, until });
                    }
                    later |= wanted > left.saturating_sub(held.get(limit));
                }
            }
        }
        match never {
            Some(over) => Held::Never(over),
            None if later => Held::Later,
            None => Held::Now,
        }
    }
}

impl Used {
    fn meter(&mut self, period: Period) -> &mut Meter {
        match period {
            Period::Day => &mut self.day,
            Period::Month => &mut self.month,
        }
    }

    fn spent(&self, period: Period, now: Wall) -> Amount {
        let meter = match period {
            Period::Day => self.day,
            Period::Month => self.month,
        };
        if meter.from == Some(period.from(Day::of(now))) { meter.spent } else { Amount::NONE }
    }

    /// What belongs to another window than the one that is open is not counted here.
    fn add(&mut self, period: Period, day: Day, used: Amount, now: Wall) {
        let open = period.from(Day::of(now));
        let meter = self.meter(period);
        if meter.from != Some(open) {
            *meter = Meter { from: Some(open), spent: Amount::NONE };
        }
        if period.from(day) == open {
            meter.spent = meter.spent.plus(used);
        }
    }
}

fn targets(workflow: &Name) -> [Target; 2] {
    [Target::Tenant, Target::Workflow(workflow.clone())]
}

fn is_near(spent: u64, most: u64) -> bool {
    u128::from(spent) * 100 >= u128::from(most) * u128::from(WARN_AT)
}

#[cfg(test)]
mod tests;
