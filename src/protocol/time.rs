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
        .filter(|at| *at <= LAST)
        .or_else(|| text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond))
        .or_else(|| {
            let plain = text.trim().parse::<jiff::civil::DateTime>().ok()?;
            plain.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_millisecond())
        })
}

fn canonical(text: &[u8]) -> Option<Millis> {
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', n0, n1, b':', s0, s1, rest @ ..] = text else {
        return None;
    };
    let millis = match rest {
        [b'Z'] => 0,
        [b'.', a, b, c, b'Z'] => digits(&[*a, *b, *c])?,
        _ => return None,
    };
    let (year, month, day) = (digits(&[*y0, *y1, *y2, *y3])?, digits(&[*m0, *m1])?, digits(&[*d0, *d1])?);
    let (hour, minute, second) = (digits(&[*h0, *h1])?, digits(&[*n0, *n1])?, digits(&[*s0, *s1])?);
    if !(1..=12).contains(&month)
        || !(1..=days_in(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    Some((((days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000 + millis)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (years count from March, so that the leap day is last).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
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
        for year in [1970, 1999, 2000, 2024, 2026, 2100] {
            for (month, day) in [(1, 1), (2, 28), (3, 1), (12, 31)] {
                let text = format!("{year}-{month:02}-{day:02}T23:59:58.765Z");
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
        assert_eq!(parse("2026-11-20 08:31:18"), parse("2026-11-20T08:31:18Z"));
        assert_eq!(parse("yesterday"), None);
        assert_eq!(parse(""), None);
    }
}
