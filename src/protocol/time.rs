//! Instants on the wire: ISO 8601 text to milliseconds since 1970 and back.

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type Millis = i64;

/// The last instant that can be printed again (the library's own bound).
const LAST: Millis = 253_402_207_200_000;

/// Reads an ISO 8601 instant. The form all engines print (`2026-11-20T08:31:18.003Z`) takes a short path,
/// because a progress line holds some hundred of them.
#[must_use]
pub fn parse(text: &str) -> Option<Millis> {
    canonical(text.as_bytes())
        .or_else(|| text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond))
        .or_else(|| {
            let plain = text.trim().parse::<jiff::civil::DateTime>().ok()?;
            plain.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_millisecond())
        })
}

/// The form that all engines print; any other is `None`.
#[inline]
pub(super) fn canonical(text: &[u8]) -> Option<Millis> {
    if let Ok(whole) = <&[u8; 24]>::try_from(text) {
        return exact(whole);
    }
    // Without milliseconds.
    let (seconds, rest) = text.split_last_chunk::<1>()?;
    let mut whole = *b"0000-00-00T00:00:00.000Z";
    whole.get_mut(..19)?.copy_from_slice(seconds.get(..19).filter(|_| seconds.len() == 19 && rest == b"Z")?);
    exact(&whole)
}

/// `2026-11-20T08:35:12.787006+00:00` and `2026-11-20T08:38:04.701827Z`, as Python writes an instant.
#[inline]
pub(super) fn micros(text: &[u8]) -> Option<Millis> {
    let (millis, rest) = text.split_first_chunk::<23>()?;
    let (finer, zone) = rest.split_first_chunk::<3>()?;
    if !(finer.iter().all(u8::is_ascii_digit) && (zone == b"+00:00" || zone == b"Z")) {
        return None;
    }
    let mut whole = *b"0000-00-00T00:00:00.000Z";
    whole.get_mut(..23)?.copy_from_slice(millis);
    exact(&whole)
}

/// `2026-11-20T08:31:18.003Z`. A progress line holds some hundred of them, so that this is most of reading one.
#[inline]
pub(super) fn exact(text: &[u8; 24]) -> Option<Millis> {
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', n0, n1, b':', s0, s1, b'.', t0, t1, t2, b'Z'] =
        *text
    else {
        return None;
    };
    let digits =
        [y0, y1, y2, y3, m0, m1, d0, d1, h0, h1, n0, n1, s0, s1, t0, t1, t2].map(|byte| byte.wrapping_sub(b'0'));
    if digits.iter().fold(0, |most, digit| most.max(*digit)) > 9 {
        return None;
    }
    let [y0, y1, y2, y3, m0, m1, d0, d1, h0, h1, n0, n1, s0, s1, t0, t1, t2] = digits.map(i32::from);
    let (year, month, day) = (y0 * 1000 + y1 * 100 + y2 * 10 + y3, m0 * 10 + m1, d0 * 10 + d1);
    let (hour, minute, second) = (h0 * 10 + h1, n0 * 10 + n1, s0 * 10 + s1);
    let right = (1..=12).contains(&month)
        && (1..=28).contains(&day) | ((29..=31).contains(&day) && day <= days_in(year, month))
        && hour <= 23
        && minute <= 59
        && second <= 59;
    if !right {
        return None;
    }
    let seconds = (hour * 60 + minute) * 60 + second;
    let millis = t0 * 100 + t1 * 10 + t2;
    let at = Millis::from(days_from_civil(year, month, day)) * 86_400_000
        + Millis::from(seconds) * 1000
        + Millis::from(millis);
    (at <= LAST).then_some(at)
}

fn days_in(year: i32, month: i32) -> i32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (years count from March, so that the leap day is last); of a
/// year from 0 on.
#[inline]
fn days_from_civil(year: i32, month: i32, day: i32) -> i32 {
    let early = i32::from(month <= 2);
    // One era of 400 years more, so that nothing is negative.
    let year = (year - early + 400).cast_unsigned();
    let day_of_year = (153 * (month + 12 * early - 3) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400;
    days.cast_signed() + day_of_year - 719_468 - 146_097
}

/// `2026-11-20T08:31:18.003Z`.
#[must_use]
pub fn iso(at: Millis) -> String {
    stamp(at, "%Y-%m-%dT%H:%M:%S%.3fZ")
}

/// An instant in any `strftime` form, UTC. Out of range it is a dash.
#[must_use]
pub fn stamp(at: Millis, form: &str) -> String {
    jiff::Timestamp::from_millisecond(at).map_or_else(|_| "-".to_owned(), |at| at.strftime(form).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_path_agrees_with_the_library() {
        for year in [0, 1, 4, 100, 400, 1600, 1900, 1969, 1970, 1999, 2000, 2024, 2026, 2100, 9998] {
            for (month, day) in [(1, 1), (2, 28), (3, 1), (12, 31)] {
                let text = format!("{year:04}-{month:02}-{day:02}T23:59:58.765Z");
                let library = text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
                assert_eq!(canonical(text.as_bytes()), Some(library), "{text}");
                assert_eq!(iso(library), text);
            }
        }
        assert_eq!(parse("2024-02-29T00:00:00Z"), Some(1_709_164_800_000));
        assert_eq!(parse("2023-02-29T00:00:00Z"), None);
    }

    #[test]
    fn offsets_and_finer_fractions_are_read_too() {
        assert_eq!(parse("2026-11-20T09:31:18.003+01:00"), parse("2026-11-20T08:31:18.003Z"));
        assert_eq!(parse("2026-11-20T08:31:18.003999Z"), parse("2026-11-20T08:31:18.003Z"));
        for text in ["2026-11-20T08:35:12.787006+00:00", "2026-11-20T08:38:04.701827Z"] {
            assert_eq!(micros(text.as_bytes()), parse(text));
        }
        assert_eq!(micros(b"2026-11-20T08:35:12.787006+01:00"), None);
        assert_eq!(parse("2026-11-20 08:31:18"), parse("2026-11-20T08:31:18Z"));
        assert_eq!(parse("yesterday"), None);
        assert_eq!(parse(""), None);
    }
}
