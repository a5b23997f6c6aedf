//! Schedule of a pipeline: its next due time, lateness, and the policy for missed times. Pure.

use crate::util::sys::fnv;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use synctop_core::protocol::Millis;
use synctop_core::protocol::quantity::{self, QuantityError};

/// Shortest time between two due times of `every`.
const MIN_EVERY: Duration = Duration::from_secs(10);

/// Default time after which a due pipeline is late.
const DEFAULT_LATE_AFTER: Duration = Duration::from_secs(3600);

/// Delay after which a due time counts as missed.
const MISSED_AFTER: Duration = Duration::from_secs(60);

/// Schedule as in a request: either `cron` or `every`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// Five fields: minute, hour, day of the month, month, day of the week.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// Time between two due times, such as `15m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// Name in the IANA database, such as `Europe/Berlin`; UTC by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Longest delay behind a due time, so that not all pipelines begin at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<String>,
    /// Time after a due time by which a run has to have succeeded; one hour by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_after: Option<String>,
    /// Longest duration of a run after the first backfill; then it is stopped at a checkpoint, and has
    /// failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_runtime: Option<String>,
    pub catch_up: CatchUp,
}

/// Policy for due times that were missed: during an outage, a pause or a longer run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// One run for all missed times.
    #[default]
    Once,
    /// No run before the next due time.
    Skip,
}

/// Mistake in a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("a schedule has either cron or every")]
    Rhythm,
    #[error(
        "cron {0:?} has a mistake: {1}; its five fields are minute (0-59), hour (0-23), day (1-31), month (1-12) and day of the week (0-6 or SUN-SAT)"
    )]
    Cron(String, String),
    #[error("cron never comes to a time")]
    Never,
    #[error("time_zone: there is no zone {0:?}")]
    Zone(String),
    #[error("time_zone belongs to cron, and not to every")]
    ZoneOfEvery,
    #[error("{0}: {1}")]
    Span(&'static str, QuantityError),
    #[error("every is at least {} seconds", MIN_EVERY.as_secs())]
    TooOften,
}

/// Times at which a pipeline is due.
#[derive(Debug, Clone)]
enum Rhythm {
    Cron(Box<croner::Cron>, jiff::tz::TimeZone),
    Every(Duration),
}

/// Schedule that was read.
#[derive(Debug, Clone)]
pub struct Schedule {
    rhythm: Rhythm,
    jitter: Duration,
    pub max_runtime: Option<Duration>,
    catch_up: CatchUp,
}

/// Stored plan of a pipeline with a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Next due time, or the oldest one without a run.
    pub due: Millis,
    /// Oldest due time since the last run that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaited: Option<Millis>,
}

/// Step that a plan demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Nothing before this time.
    Wait(Millis),
    /// A run.
    Run,
    /// The due time was missed, and is skipped.
    Skip,
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

impl ScheduleConfig {
    /// Returns the time after a due time at which a pipeline is late.
    #[must_use]
    pub fn late_after(&self) -> Duration {
        let read = self.late_after.as_ref().and_then(|text| quantity::span(text).ok());
        read.unwrap_or(DEFAULT_LATE_AFTER)
    }

    /// Reads a schedule.
    ///
    /// # Errors
    /// Returns the mistake as a [`ScheduleError`].
    pub fn read(&self) -> Result<Schedule, ScheduleError> {
        let span = |name: &'static str, text: &Option<String>| {
            let read = |text: &String| quantity::span(text).map_err(|error| ScheduleError::Span(name, error));
            text.as_ref().map(read).transpose()
        };
        let rhythm = match (&self.cron, &self.every) {
            (Some(text), None) => {
                let parser = croner::parser::CronParser::builder().seconds(croner::parser::Seconds::Disallowed).build();
                let cron = parser.parse(text).map_err(|error| {
                    let why = error.to_string();
                    ScheduleError::Cron(text.clone(), why.trim_end_matches('.').to_owned())
                })?;
                let zone = match &self.time_zone {
                    None => jiff::tz::TimeZone::UTC,
                    Some(name) => jiff::tz::TimeZone::get(name).map_err(|_| ScheduleError::Zone(name.clone()))?,
                };
                Rhythm::Cron(Box::new(cron), zone)
            }
            (None, Some(_)) if self.time_zone.is_some() => return Err(ScheduleError::ZoneOfEvery),
            (None, Some(_)) => {
                let every = span("every", &self.every)?.unwrap_or_default();
                if every < MIN_EVERY {
                    return Err(ScheduleError::TooOften);
                }
                Rhythm::Every(every)
            }
            _ => return Err(ScheduleError::Rhythm),
        };
        span("late_after", &self.late_after)?;
        let schedule = Schedule {
            rhythm,
            jitter: span("jitter", &self.jitter)?.unwrap_or_default(),
            max_runtime: span("max_runtime", &self.max_runtime)?,
            catch_up: self.catch_up,
        };
        match schedule.next(0, 0) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never),
        }
    }
}

impl Schedule {
    /// Returns the first due time after `at`. The times of `every` are counted from `since`.
    #[must_use]
    pub fn next(&self, at: Millis, since: Millis) -> Option<Millis> {
        match &self.rhythm {
            Rhythm::Every(every) => {
                let every = millis(*every).max(1);
                let passed = (at - since).max(0) / every;
                Some(since.saturating_add((passed + 1).saturating_mul(every)))
            }
            Rhythm::Cron(cron, zone) => {
                let zoned = jiff::Timestamp::from_millisecond(at).ok()?.to_zoned(zone.clone());
                let next = cron.find_next_occurrence(&zoned, false).ok()?;
                Some(next.timestamp().as_millisecond())
            }
        }
    }

    /// Returns the plan of a pipeline that gets this schedule.
    #[must_use]
    pub fn plan(&self, now: Millis) -> Option<Plan> {
        self.next(now, now).map(|due| Plan { due, awaited: None })
    }

    /// Returns the delay behind a due time: the same for the same pipeline and time.
    fn delay(&self, id: &str, due: Millis) -> Millis {
        let jitter = u64::try_from(self.jitter.as_millis()).unwrap_or(u64::MAX);
        if jitter == 0 {
            return 0;
        }
        Millis::try_from(fnv(&[id.as_bytes(), &due.to_le_bytes()].concat()) % jitter).unwrap_or(0)
    }

    /// Returns the step that the plan of an idle pipeline demands.
    #[must_use]
    pub fn demand(&self, id: &str, plan: Plan, now: Millis) -> Demand {
        let begin = self.next_begin(id, plan);
        if now < begin {
            Demand::Wait(begin)
        } else if self.catch_up == CatchUp::Skip && now - begin > millis(MISSED_AFTER) {
            Demand::Skip
        } else {
            Demand::Run
        }
    }

    /// Returns the plan after a run for the due time has begun, or after it was skipped.
    #[must_use]
    pub fn after(&self, plan: Plan, now: Millis, step: Demand) -> Plan {
        let due = self.next(now.max(plan.due), plan.due).unwrap_or(Millis::MAX);
        let awaited = if step == Demand::Run { plan.awaited.or(Some(plan.due)) } else { plan.awaited };
        Plan { due, awaited }
    }

    /// Returns the planned begin of the next run.
    #[must_use]
    pub fn next_begin(&self, id: &str, plan: Plan) -> Millis {
        plan.due.saturating_add(self.delay(id, plan.due))
    }
}

impl Plan {
    /// Returns the time at which the pipeline is late, unless a run succeeds before.
    #[must_use]
    pub fn late_at(self, late_after: Duration) -> Millis {
        self.awaited.unwrap_or(self.due).saturating_add(millis(late_after))
    }

    /// Returns the plan after a run has succeeded that was created at this time.
    #[must_use]
    pub fn succeeded(self, created_at: Millis) -> Self {
        Self { awaited: self.awaited.filter(|awaited| *awaited > created_at), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Millis {
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
    }

    fn cron(cron: &str, zone: &str) -> Schedule {
        let config =
            ScheduleConfig { cron: Some(cron.into()), time_zone: Some(zone.into()), ..ScheduleConfig::default() };
        config.read().unwrap()
    }

    #[test]
    fn due_times_follow_the_clock_of_their_zone() {
        let daily = cron("30 2 * * *", "Europe/Berlin");
        assert_eq!(daily.next(at("2026-01-10T12:00:00Z"), 0), Some(at("2026-01-11T01:30:00Z")));
        assert_eq!(daily.next(at("2026-07-10T12:00:00Z"), 0), Some(at("2026-07-11T00:30:00Z")));
        // 02:30 does not exist on the day on which summer time begins, and exists twice when it ends:
        // the pipeline is due once on each.
        let on = |day: &str| {
            let (mut times, mut last) = (0, at(&format!("{day}T00:00:00+02:00")) - 3_600_000);
            while let Some(next) = daily.next(last, 0).filter(|next| *next < at(&format!("{day}T23:00:00+01:00"))) {
                (times, last) = (times + 1, next);
            }
            times
        };
        assert_eq!((on("2026-03-29"), on("2026-10-25"), on("2026-10-26")), (1, 1, 1));
        let weekly = cron("0 6 * * MON", "UTC");
        assert_eq!(weekly.next(at("2026-12-01T00:00:00Z"), 0), Some(at("2026-12-07T06:00:00Z")));
    }

    #[test]
    fn every_keeps_its_grid_and_jitter_its_bound() {
        let config =
            ScheduleConfig { every: Some("15m".into()), jitter: Some("5m".into()), ..ScheduleConfig::default() };
        let schedule = config.read().unwrap();
        let plan = schedule.plan(1_000).unwrap();
        assert_eq!(plan.due, 901_000);
        let Demand::Wait(begin) = schedule.demand("pipe", plan, 1_000) else { panic!() };
        assert!((901_000..1_201_000).contains(&begin));
        assert_eq!(schedule.demand("pipe", plan, begin), Demand::Run);
        assert_eq!(schedule.demand("pipe", plan, 1_000), Demand::Wait(begin));
        let spread: std::collections::BTreeSet<_> =
            (0..50).map(|number| schedule.next_begin(&format!("pipe_{number}"), plan)).collect();
        assert!(spread.len() > 40);
        // After an outage of an hour the next one is on the grid.
        assert_eq!(schedule.after(plan, 901_000 + 3_700_000, Demand::Run).due, 901_000 + 5 * 900_000);
    }

    #[test]
    fn missed_times_are_caught_up_once_or_skipped() {
        let mut config = ScheduleConfig { every: Some("1h".into()), ..ScheduleConfig::default() };
        let hour = 3_600_000;
        let plan = config.read().unwrap().plan(0).unwrap();
        assert_eq!(config.read().unwrap().demand("p", plan, 5 * hour + 1), Demand::Run);
        config.catch_up = CatchUp::Skip;
        let schedule = config.read().unwrap();
        assert_eq!(schedule.demand("p", plan, hour + 30_000), Demand::Run);
        assert_eq!(schedule.demand("p", plan, 5 * hour + 61_000), Demand::Skip);
        let after = schedule.after(plan, 5 * hour + 61_000, Demand::Skip);
        assert_eq!(after, Plan { due: 6 * hour, awaited: None });
    }

    #[test]
    fn a_pipeline_is_late_until_a_run_that_began_after_the_due_time_succeeds() {
        let config =
            ScheduleConfig { every: Some("1h".into()), late_after: Some("10m".into()), ..ScheduleConfig::default() };
        let schedule = config.read().unwrap();
        let (hour, minute) = (3_600_000, 60_000);
        let late_at = |plan: Plan| plan.late_at(config.late_after());
        let plan = schedule.plan(0).unwrap();
        assert_eq!(late_at(plan), hour + 10 * minute);
        let running = schedule.after(plan, hour, Demand::Run);
        assert_eq!((running.due, late_at(running)), (2 * hour, hour + 10 * minute));
        // The run fails, and the next one is due: late since the first.
        let again = schedule.after(running, 2 * hour, Demand::Run);
        assert_eq!(late_at(again), hour + 10 * minute);
        // An earlier run does not count.
        assert_eq!(again.succeeded(minute), again);
        assert_eq!(late_at(again.succeeded(2 * hour)), 3 * hour + 10 * minute);
    }

    #[test]
    fn mistakes_are_named() {
        let read = |text: &str| {
            let config: Result<ScheduleConfig, _> = serde_json::from_str(text);
            match config {
                Ok(config) => config.read().map_or_else(|error| error.to_string(), |_| String::new()),
                Err(error) => error.to_string(),
            }
        };
        for (text, says) in [
            ("{}", "either cron or every"),
            (r#"{"cron": "0 2 * * *", "every": "1h"}"#, "either cron or every"),
            (r#"{"cron": "0 2 * *"}"#, "its five fields are"),
            (r#"{"cron": "0 0 2 * * *"}"#, "its five fields are"),
            (r#"{"cron": "0 0 30 2 *"}"#, "never comes"),
            (r#"{"cron": "0 2 * * *", "time_zone": "Europe/Atlantis"}"#, "no zone \"Europe/Atlantis\""),
            (r#"{"every": "1h", "time_zone": "UTC"}"#, "belongs to cron"),
            (r#"{"every": "1s"}"#, "at least 10 seconds"),
            (r#"{"every": "often"}"#, "every: "),
            (r#"{"every": "1h", "catch_up": "all"}"#, "unknown variant"),
            (r#"{"interval": "1h"}"#, "unknown field `interval`"),
        ] {
            assert!(read(text).contains(says), "{text}: {}", read(text));
        }
    }
}
