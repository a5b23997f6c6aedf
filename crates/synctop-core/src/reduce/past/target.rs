//! Positions in a log as users type them: `08:31:20`, `+10m`, `50%`, `line 1200`.

use crate::protocol::{Millis, time};
use crate::reduce::past::axis::{Axis, Target};
use crate::reduce::past::history::{History, LogPosition};
use crate::reduce::state::progress::Progress;

/// Length of a day in milliseconds.
const DAY: Millis = 86_400_000;

/// Text that is no position in a log; describes a valid form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The text after `line`, `l` or `#` is not a number.
    #[error("a line is a number: line 1200")]
    Line,
    /// The text before `%` is not a number from 0 to 100.
    #[error("a share is a number from 0 to 100: 50%")]
    Share,
    /// The text after `+` or `-` is not a duration.
    #[error("a distance is +10m, -30s, +1h30m or +250ms")]
    Distance,
    /// The log has no times, and the text is neither a line, a share nor an end of the log.
    #[error("this log has no times: try 50% or line 1200")]
    NoTimes,
    /// The text has none of the forms of a position.
    #[error("a place is 08:31:20, 2026-11-20 08:31, +10m, -30s, 50%, line 1200 or end")]
    Place,
}

/// Parses a position. Distances such as `+10m` count from `from`. A time without a date is on the
/// day of the log that is nearest to `from`.
///
/// # Errors
/// Returns a [`TargetError`] with a valid form if the text is no position, and
/// [`TargetError::NoTimes`] if the log has no times.
pub fn target(text: &str, history: &History, from: LogPosition) -> Result<Target, TargetError> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let span = history.span();
    match lower.as_str() {
        "begin" | "start" | "first" => return Ok(Target::Begin),
        "end" | "now" | "last" => return Ok(Target::End),
        _ => {}
    }
    if let Some(number) =
        lower.strip_prefix("line").or_else(|| lower.strip_prefix('l')).or_else(|| lower.strip_prefix('#'))
    {
        let number: String = number.chars().filter(|c| !matches!(c, ' ' | ',' | '_')).collect();
        return number.parse().map(Target::Line).map_err(|_| TargetError::Line);
    }
    if let Some(number) = lower.strip_suffix('%') {
        let share = number.trim().parse::<f64>().ok().filter(|share| (0.0..=100.0).contains(share));
        let share = share.ok_or(TargetError::Share)? / 100.0;
        return Ok(Axis::new(history, false).target(share));
    }
    if lower.starts_with(|c: char| c.is_ascii_digit())
        && let Ok(line) = lower.replace([',', '_'], "").parse()
    {
        return Ok(Target::Line(line));
    }
    let signed = lower.chars().next().filter(|c| matches!(c, '+' | '-'));
    if signed.is_some() || duration(&lower).is_some() {
        let sign = signed.unwrap_or('+');
        let distance = lower.trim_start_matches(['+', '-']);
        let step = duration(distance).ok_or(TargetError::Distance)?;
        let begin = from.at.or(span.map(|span| span.0)).ok_or(TargetError::NoTimes)?;
        return Ok(Target::Time(if sign == '+' { begin.saturating_add(step) } else { begin.saturating_sub(step) }));
    }
    let (first, last) = span.ok_or(TargetError::NoTimes)?;
    if let Some(of_day) = time_of_day(text) {
        let near = from.at.unwrap_or(first);
        let days = first.div_euclid(DAY)..=last.div_euclid(DAY);
        let best = days.map(|day| day * DAY + of_day).min_by_key(|at| (outside(*at, first, last), (at - near).abs()));
        return best.map(Target::Time).ok_or(TargetError::NoTimes);
    }
    let spaced = text.replacen(' ', "T", 1);
    let dated = [text, spaced.as_str()].into_iter().find_map(time::parse);
    let dated =
        dated.or_else(|| time::parse(&format!("{spaced}:00"))).or_else(|| time::parse(&format!("{spaced}T00:00:00")));
    dated.map(Target::Time).ok_or(TargetError::Place)
}

/// Checks that a text is a position in some log.
///
/// # Errors
/// Returns a [`TargetError`] with a valid form if the text is no position.
pub fn place(text: &str) -> Result<(), TargetError> {
    let mut history = History::new();
    let mut progress = Progress::default();
    for at in [0, DAY] {
        progress.input.lines += 1;
        progress.input.bytes += 1;
        progress.last_at = Some(at);
        progress.first_at = Some(0);
        history.note(&progress, false);
    }
    target(text, &history, LogPosition::default()).map(drop)
}

/// Returns the distance of a time from the log; 0 within it.
fn outside(at: Millis, first: Millis, last: Millis) -> Millis {
    (first - at).max(at - last).max(0)
}

/// Parses a duration such as `1h30m`, `90s`, `250ms` or `2d`; a bare number is seconds.
fn duration(text: &str) -> Option<Millis> {
    let mut rest = text.trim();
    let mut sum: f64 = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let unit = match unit {
            "ms" => 1.0,
            "" | "s" | "sec" => 1e3,
            "m" | "min" => 6e4,
            "h" => 3.6e6,
            "d" => 8.64e7,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * unit;
        rest = after.trim_start();
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
    (sum < 1e15).then_some(sum as Millis)
}

/// Parses `08:31`, `08:31:20` or `08:31:20.5`, with or without a Z, to milliseconds of the day.
fn time_of_day(text: &str) -> Option<Millis> {
    let mut parts = text.trim_end_matches(['Z', 'z']).split(':');
    let number = |part: Option<&str>, below: i64| {
        let part = part.filter(|part| !part.is_empty() && part.len() <= 2)?;
        part.parse::<Millis>().ok().filter(|number| (0..below).contains(number))
    };
    let (hour, minute) = (number(parts.next(), 24)?, number(parts.next(), 60)?);
    let seconds = match parts.next() {
        None => 0,
        Some(text) => {
            let (whole, part) = text.split_once('.').unwrap_or((text, ""));
            let part: String = part.chars().chain("000".chars()).take(3).collect();
            number(Some(whole), 60)? * 1000 + part.parse::<Millis>().ok()?
        }
    };
    parts.next().is_none().then_some((hour * 60 + minute) * 60_000 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reduce::Progress;

    fn two_days() -> History {
        let mut history = History::new();
        let mut progress = Progress::default();
        for (line, text) in
            ["2026-11-20T08:00:00Z", "2026-11-20T23:00:00Z", "2026-11-21T07:00:00Z"].into_iter().enumerate()
        {
            progress.input.lines = line as u64 + 1;
            progress.input.bytes = (line as u64 + 1) * 100;
            progress.last_at = time::parse(text);
            progress.first_at = progress.first_at.or(progress.last_at);
            history.note(&progress, false);
        }
        history
    }

    #[test]
    fn places_as_people_say_them() {
        let history = two_days();
        let at = |text: &str| Target::Time(time::parse(text).unwrap());
        let from = LogPosition { at: time::parse("2026-11-20T10:00:00Z"), ..LogPosition::default() };
        for (text, wanted) in [
            ("08:31:20", at("2026-11-20T08:31:20Z")),
            ("08:31", at("2026-11-20T08:31:00Z")),
            ("06:59:59.25", at("2026-11-21T06:59:59.250Z")),
            ("2026-11-21 01:02", at("2026-11-21T01:02:00Z")),
            ("2026-11-20T08:31:20.003Z", at("2026-11-20T08:31:20.003Z")),
            ("2026-11-21", at("2026-11-21T00:00:00Z")),
            ("+10m", at("2026-11-20T10:10:00Z")),
            ("-1h30m", at("2026-11-20T08:30:00Z")),
            ("+5", at("2026-11-20T10:00:05Z")),
            ("50%", at("2026-11-20T19:30:00Z")),
            ("100%", Target::End),
            ("0%", Target::Begin),
            ("line 1,200", Target::Line(1200)),
            ("l7", Target::Line(7)),
            ("1,200", Target::Line(1200)),
            ("10m", at("2026-11-20T10:10:00Z")),
            ("End", Target::End),
        ] {
            assert_eq!(target(text, &history, from), Ok(wanted), "{text}");
        }
        for text in ["", "never", "101%", "line x", "+ten", "25:00", "08:31:20:10", "+"] {
            assert!(target(text, &history, from).is_err() && place(text).is_err(), "{text}");
        }
    }
}
