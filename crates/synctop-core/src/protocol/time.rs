//! Conversion of instants between ISO 8601 text and milliseconds since 1970.

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type Millis = i64;

/// Last instant that `jiff` can print.
const MAX_MILLIS: Millis = 253_402_207_200_000;

/// Parses an ISO 8601 instant; without an offset it is UTC. The form that all engines print
/// (`2026-11-20T08:31:18.003Z`) takes a fast path, because a progress line has hundreds of them.
#[must_use]
pub fn parse(text: &str) -> Option<Millis> {
    parse_canonical(text.as_bytes())
        .or_else(|| text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond))
        .or_else(|| {
            let civil = text.trim().parse::<jiff::civil::DateTime>().ok()?;
            civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_millisecond())
        })
}

/// Parses the form that all engines print, with or without milliseconds; `None` for any other form.
#[inline]
pub(super) fn parse_canonical(text: &[u8]) -> Option<Millis> {
    if let Ok(whole) = <&[u8; 24]>::try_from(text) {
        return parse_millis(whole);
    }
    // Adds milliseconds to a text without them.
    let (seconds, rest) = text.split_last_chunk::<1>()?;
    let mut whole = *b"0000-00-00T00:00:00.000Z";
    whole.get_mut(..19)?.copy_from_slice(seconds.get(..19).filter(|_| seconds.len() == 19 && rest == b"Z")?);
    parse_millis(&whole)
}

/// Parses an instant as Python prints it: `2026-11-20T08:35:12.787006+00:00` or
/// `2026-11-20T08:38:04.701827Z`.
#[inline]
pub(super) fn parse_micros(text: &[u8]) -> Option<Millis> {
    let (millis, rest) = text.split_first_chunk::<23>()?;
    let (finer, zone) = rest.split_first_chunk::<3>()?;
    if !(finer.iter().all(u8::is_ascii_digit) && (zone == b"+00:00" || zone == b"Z")) {
        return None;
    }
    let mut whole = *b"0000-00-00T00:00:00.000Z";
    whole.get_mut(..23)?.copy_from_slice(millis);
    // `jiff` truncates towards 1970, so that an earlier instant with microseconds is left to it.
    parse_millis(&whole).filter(|at| *at >= 0 || finer == b"000")
}

/// Parses the form `2026-11-20T08:31:18.003Z`, eight bytes at once: this is most of the work of
/// reading a progress line.
#[inline]
pub(super) fn parse_millis(text: &[u8; 24]) -> Option<Millis> {
    /// Addends that set the high bit of a byte that is no digit or not the expected separator.
    const ADDENDS: [u64; 3] = [
        u64::from_le_bytes([
            DIGIT_ADDEND,
            DIGIT_ADDEND,
            DIGIT_ADDEND,
            DIGIT_ADDEND,
            SEPARATOR_ADDEND,
            DIGIT_ADDEND,
            DIGIT_ADDEND,
            SEPARATOR_ADDEND,
        ]),
        u64::from_le_bytes([
            DIGIT_ADDEND,
            DIGIT_ADDEND,
            SEPARATOR_ADDEND,
            DIGIT_ADDEND,
            DIGIT_ADDEND,
            SEPARATOR_ADDEND,
            DIGIT_ADDEND,
            DIGIT_ADDEND,
        ]),
        u64::from_le_bytes([
            SEPARATOR_ADDEND,
            DIGIT_ADDEND,
            DIGIT_ADDEND,
            SEPARATOR_ADDEND,
            DIGIT_ADDEND,
            DIGIT_ADDEND,
            DIGIT_ADDEND,
            SEPARATOR_ADDEND,
        ]),
    ];
    const DIGIT_ADDEND: u8 = 0x80 - 10;
    const SEPARATOR_ADDEND: u8 = 0x80 - 1;
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);

    let ([date, middle, end], []) = text.as_chunks() else { return None };
    // In a valid text, digits become 0 to 9 and separators become 0.
    let date = u64::from_le_bytes(*date) ^ u64::from_le_bytes(*b"0000-00-");
    let middle = u64::from_le_bytes(*middle) ^ u64::from_le_bytes(*b"00T00:00");
    let end = u64::from_le_bytes(*end) ^ u64::from_le_bytes(*b":00.000Z");
    let [of_date, of_middle, of_end] = ADDENDS;
    let invalid = |word: u64, addend: u64| ((word & !HIGH) + addend) | word;
    if (invalid(date, of_date) | invalid(middle, of_middle) | invalid(end, of_end)) & HIGH != 0 {
        return None;
    }
    // Each byte becomes the two-digit number that starts at it.
    let pairs = |word: u64| (word * 10 + (word >> 8)).to_le_bytes().map(i32::from);
    let ([century, _, year, _, _, month, ..], [day, _, _, hour, _, _, minute, _]) = (pairs(date), pairs(middle));
    let ([_, second, _, _, hundredths, _, thousandths, _], year) = (pairs(end), century * 100 + year);
    let is_valid = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (day <= 28 || day <= days_in_month(year, month))
        && hour <= 23
        && minute <= 59
        && second <= 59;
    if !is_valid {
        return None;
    }
    let seconds = (hour * 60 + minute) * 60 + second;
    // The last digit is the tens of its pair, with the `Z` (0) as the ones.
    let millis = hundredths * 10 + thousandths / 10;
    let at = Millis::from(days_from_civil(year, month, day)) * 86_400_000
        + Millis::from(seconds) * 1000
        + Millis::from(millis);
    (at <= MAX_MILLIS).then_some(at)
}

fn days_in_month(year: i32, month: i32) -> i32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Returns the days since 1970-01-01 in the proleptic Gregorian calendar, for years from 0. Years
/// are counted from March, so that the leap day is the last day.
#[inline]
fn days_from_civil(year: i32, month: i32, day: i32) -> i32 {
    let early = i32::from(month <= 2);
    // Adds an era of 400 years, so that no intermediate value is negative.
    let year = (year - early + 400).cast_unsigned();
    let day_of_year = (153 * (month + 12 * early - 3) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400;
    days.cast_signed() + day_of_year - 719_468 - 146_097
}

/// Formats an instant as `2026-11-20T08:31:18.003Z`.
#[must_use]
pub fn iso(at: Millis) -> String {
    // The printer of the library is several times faster than its `strftime`.
    jiff::Timestamp::from_millisecond(at).map_or_else(|_| "-".to_owned(), |at| format!("{at:.3}"))
}

/// Formats an instant by a `strftime` format, in UTC; a dash if it is out of range.
#[must_use]
pub fn stamp(at: Millis, form: &str) -> String {
    jiff::Timestamp::from_millisecond(at).map_or_else(|_| "-".to_owned(), |at| at.strftime(form).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_formatted_to_milliseconds() {
        assert_eq!(iso(1_795_161_600_003), "2026-11-20T08:00:00.003Z");
        assert_eq!(iso(0), "1970-01-01T00:00:00.000Z");
        for at in [-62_167_219_200_000, -1, 999, 253_402_207_199_999] {
            assert_eq!(iso(at), stamp(at, "%Y-%m-%dT%H:%M:%S%.3fZ"));
        }
        assert_eq!(iso(Millis::MAX), "-");
    }

    #[test]
    fn the_fast_path_agrees_with_jiff() {
        for year in [0, 1, 4, 100, 400, 1600, 1900, 1969, 1970, 1999, 2000, 2024, 2026, 2100, 9998] {
            for (month, day) in [(1, 1), (2, 28), (3, 1), (12, 31)] {
                let text = format!("{year:04}-{month:02}-{day:02}T23:59:58.765Z");
                let library = text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
                assert_eq!(parse_canonical(text.as_bytes()), Some(library), "{text}");
                assert_eq!(iso(library), text);
            }
        }
        assert_eq!(parse("2024-02-29T00:00:00Z"), Some(1_709_164_800_000));
        assert_eq!(parse("2023-02-29T00:00:00Z"), None);
    }

    #[test]
    fn the_fast_path_checks_every_byte() {
        let right = *b"2026-11-20T08:31:18.037Z";
        assert_eq!(parse_millis(&right), Some(1_795_163_478_037));
        for at in 0..right.len() {
            for byte in 0..=u8::MAX {
                let mut text = right;
                text[at] = byte;
                let library = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<jiff::Timestamp>().ok());
                let read = parse_millis(&text);
                // `jiff` also accepts other separators and leap seconds.
                let form =
                    right[at].is_ascii_digit() == byte.is_ascii_digit() && (byte.is_ascii_digit() || byte == right[at]);
                let leap = at == 17 && byte == b'6';
                let expected = library.filter(|_| form && !leap).map(jiff::Timestamp::as_millisecond);
                assert_eq!(read, expected, "{}", String::from_utf8_lossy(&text));
            }
        }
    }

    #[test]
    fn offsets_and_finer_fractions_are_parsed() {
        assert_eq!(parse("2026-11-20T09:31:18.003+01:00"), parse("2026-11-20T08:31:18.003Z"));
        assert_eq!(parse("2026-11-20T08:31:18.003999Z"), parse("2026-11-20T08:31:18.003Z"));
        for text in ["2026-11-20T08:35:12.787006+00:00", "2026-11-20T08:38:04.701827Z"] {
            assert_eq!(parse_micros(text.as_bytes()), parse(text));
        }
        assert_eq!(parse_micros(b"2026-11-20T08:35:12.787006+01:00"), None);
        assert_eq!(parse_micros(b"1026-11-20T08:38:05.002365Z"), None);
        assert_eq!(parse("2026-11-20 08:31:18"), parse("2026-11-20T08:31:18Z"));
        assert_eq!(parse("yesterday"), None);
        assert_eq!(parse(""), None);
    }
}
