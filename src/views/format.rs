//! Formats numbers, times and texts at a fixed width.

use crate::progress::text::duration;
use crate::protocol::{Millis, clean, time};
use std::borrow::Cow;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

pub use crate::progress::count;
pub use crate::progress::text::plural;

/// `0/s`, `7.3/s`, `812/s`, `4.8k/s`, `1.2M/s`.
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

/// An age of at most six characters: `1s`, `94s`, `12m`, `3h05m`, `9d`.
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

/// A time on the same day as `now` without its date, any other with it.
#[must_use]
pub fn clock(at: Millis, now: Option<Millis>) -> String {
    const DAY: Millis = 86_400_000;
    match now {
        Some(now) if now.div_euclid(DAY) == at.div_euclid(DAY) => time::stamp(at, "%H:%M:%S"),
        _ => time::stamp(at, "%Y-%m-%d %H:%M:%S"),
    }
}

/// A duration in milliseconds.
#[must_use]
pub fn span(millis: Millis) -> String {
    duration(u64::try_from(millis).unwrap_or(0))
}

/// A share as a whole per cent; never 100 before all is there, never 0 once something is.
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

/// `61%`; `≤61%` where streams may come that are not in it yet.
#[must_use]
pub fn coverage(found: &crate::fleet::Found, at_most: &str) -> Option<String> {
    let bound = if found.more_streams { at_most } else { "" };
    found.coverage.map(|share| format!("{bound}{}", percent(share)))
}

/// Text of at most `width` columns on one line, safe for a terminal, cut at the end.
#[must_use]
pub fn fit<'t>(text: &'t str, width: usize, ellipsis: &str) -> Cow<'t, str> {
    // Only so much of a long text can be seen.
    let head = crate::progress::feed::cut(text, width.saturating_mul(8).saturating_add(64));
    let line = clean::line(head);
    if line.width() <= width && head.len() == text.len() {
        return line;
    }
    let room = width.saturating_sub(ellipsis.width());
    let mut cut = String::new();
    let mut used = 0;
    for grapheme in line.graphemes(true) {
        used += grapheme.width();
        if used > room {
            break;
        }
        cut.push_str(grapheme);
    }
    if width >= ellipsis.width() {
        cut.push_str(ellipsis);
    }
    Cow::Owned(cut)
}

/// Name or path of at most `width` columns, cut in the middle: its end distinguishes it.
#[must_use]
pub fn fit_middle<'t>(text: &'t str, width: usize, ellipsis: &str) -> Cow<'t, str> {
    let line = clean::line(text);
    if line.width() <= width {
        return line;
    }
    let room = width.saturating_sub(ellipsis.width());
    let (head_room, tail_room) = (room / 3, room - room / 3);
    let mut tail = String::new();
    let mut used = 0;
    for grapheme in line.graphemes(true).rev() {
        used += grapheme.width();
        if used > tail_room {
            break;
        }
        tail.insert_str(0, grapheme);
    }
    let head = fit(&line, head_room, "").into_owned();
    if width < ellipsis.width() { Cow::Owned(String::new()) } else { Cow::Owned(format!("{head}{ellipsis}{tail}")) }
}

/// Text broken into lines of at most `width` columns, at spaces where there are some.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    for part in clean::lines(text).split('\n') {
        let mut line = String::new();
        let mut used = 0;
        for word in part.split_inclusive(' ') {
            let wide = word.trim_end().width();
            if used + wide <= width {
                line.push_str(word);
                used += word.width();
                continue;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line).trim_end().to_owned());
                used = 0;
            }
            if word.trim().is_empty() {
                continue;
            }
            for grapheme in word.graphemes(true) {
                if used + grapheme.width() > width && used > 0 {
                    lines.push(std::mem::take(&mut line));
                    used = 0;
                }
                line.push_str(grapheme);
                used += grapheme.width();
            }
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn texts_are_cut_by_columns() {
        assert_eq!(fit("abcdef", 4, "…"), "abc…");
        assert_eq!(fit("日本語", 4, "…"), "日…");
        assert_eq!(fit("a\u{1b}[31mb", 9, "…"), "ab");
        assert_eq!(fit("abc", 0, "…"), "");
        assert_eq!(fit_middle("/var/log/engine/sync.ndjson", 14, "…"), "/var…nc.ndjson");
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("a\n\nb", 3), ["a", "", "b"]);
    }
}
