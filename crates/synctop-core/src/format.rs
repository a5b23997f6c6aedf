//! Formats numbers, times, durations and lists for people. Unknown values are a dash.

use crate::protocol::{Millis, clean, time};

/// Formats a count as `1,284,113`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Formats a count, or a dash if it is unknown.
#[must_use]
pub fn known(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), count)
}

/// Formats milliseconds as `45ms`, `0.4s`, `59s`, `04:31`, `1:02:03`, `3d 04h`.
#[must_use]
pub fn duration(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0 if millis < 100 => format!("{millis}ms"),
        0..10 if !millis.is_multiple_of(1000) || seconds == 0 => format!("{seconds}.{}s", millis % 1000 / 100),
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{:02}:{:02}", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Formats a number with its noun: `1 stream`, `2 streams`.
#[must_use]
pub fn plural(number: usize, one: &str) -> String {
    format!("{} {one}{}", count(number as u64), if number == 1 { "" } else { "s" })
}

/// Maximum number of names in one line.
const MAX_NAMES: usize = 4;

/// Formats names as `a, b, c, d and 12 more`.
#[must_use]
pub fn names<T: AsRef<str>>(all: &[T]) -> String {
    let mut text = all.iter().take(MAX_NAMES).map(|name| clean::line(name.as_ref())).collect::<Vec<_>>().join(", ");
    if all.len() > MAX_NAMES {
        text.push_str(&format!(" and {} more", count((all.len() - MAX_NAMES) as u64)));
    }
    text
}

/// Shortens a text to one line of at most `limit` characters.
#[must_use]
pub fn short(text: &str, limit: usize) -> String {
    let line = clean::line(text);
    if line.chars().count() <= limit {
        return line.into_owned();
    }
    let mut cut: String = line.chars().take(limit.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Formats a rate: `0/s`, `7.3/s`, `812/s`, `4.8k/s`, `1.2M/s`.
#[must_use]
pub fn rate(per_second: f64) -> String {
    match per_second {
        r if r < 0.05 => "0/s".into(),
        r if r < 9.95 => format!("{r:.1}/s"),
        r if r < 999.5 => format!("{r:.0}/s"),
        r if r < 9_950.0 => format!("{:.1}k/s", r / 1e3),
        r if r < 999_500.0 => format!("{:.0}k/s", r / 1e3),
        r if r < 9.95e6 => format!("{:.1}M/s", r / 1e6),
        r => format!("{:.0}M/s", r / 1e6),
    }
}

/// Formats an age in milliseconds: `1s`, `94s`, `12m`, `3h05m`, `9d`.
#[must_use]
pub fn age(millis: Millis) -> String {
    let seconds = millis.max(0) / 1000;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Formats a time, without the date if it is on the same day as `now`.
#[must_use]
pub fn clock(at: Millis, now: Option<Millis>) -> String {
    const DAY: Millis = 86_400_000;
    match now {
        Some(now) if now.div_euclid(DAY) == at.div_euclid(DAY) => time::stamp(at, "%H:%M:%S"),
        _ => time::stamp(at, "%Y-%m-%d %H:%M:%S"),
    }
}

/// Formats a duration in milliseconds.
#[must_use]
pub fn span(millis: Millis) -> String {
    duration(u64::try_from(millis).unwrap_or(0))
}

/// Formats a share as a whole percentage. Only 1.0 is shown as 100%, and only 0.0 as 0%.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "0 to 100")]
pub fn percent(share: f64) -> String {
    let whole = match (share * 100.0).round() as i32 {
        100 if share < 1.0 => 99,
        0 if share > 0.0 => 1,
        whole => whole,
    };
    format!("{whole}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_284_113), "1,284,113");
        assert_eq!(known(None), "-");
        assert_eq!(duration(45), "45ms");
        assert_eq!(duration(400), "0.4s");
        assert_eq!(duration(14_818), "14s");
        assert_eq!(duration(271_000), "04:31");
        assert_eq!(duration(3_723_000), "1:02:03");
        assert_eq!(duration(273_600_000), "3d 04h");
        assert_eq!(plural(1, "group"), "1 group");
        assert_eq!(short("abcdef", 4), "abc…");
    }

    #[test]
    fn numbers_keep_their_width() {
        for (value, text) in [
            (0.0, "0/s"),
            (7.31, "7.3/s"),
            (812.0, "812/s"),
            (4_812.0, "4.8k/s"),
            (48_120.0, "48k/s"),
            (1.2e6, "1.2M/s"),
        ] {
            assert_eq!(rate(value), text);
        }
        for (value, text) in [(0, "0s"), (94_000, "94s"), (720_000, "12m"), (11_100_000, "3h05m"), (777_600_000, "9d")]
        {
            assert_eq!(age(value), text);
        }
        assert_eq!((percent(0.999).as_str(), percent(0.0001).as_str(), percent(1.0).as_str()), ("99%", "1%", "100%"));
    }
}
