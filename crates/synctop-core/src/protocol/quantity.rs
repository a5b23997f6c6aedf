//! Durations and sizes in human notation.

// From `core`: this module uses durations, but no clock.
use core::time::Duration;

/// Text that is no quantity; describes the valid form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Text that is no duration, or a duration below 1 ms or above 1e9 seconds.
    #[error("a time such as 90, 90s, 5m or 1h")]
    Duration,
    /// Text that is no whole number with an optional unit of bytes.
    #[error("a number of bytes such as 800, 64kB, 300MB or 2GiB")]
    Size,
    /// Number of bytes that does not fit into 64 bits.
    #[error("less than 18 EB")]
    TooLarge,
}

/// Parses a duration: `90` (seconds), `90s`, `5m`, `1h`, `14d`.
///
/// # Errors
/// Returns [`QuantityError::Duration`] if the text has another form, or if the duration is below 1
/// ms or above 1e9 seconds.
pub fn span(text: &str) -> Result<Duration, QuantityError> {
    let factors = [('s', 1.0), ('m', 60.0), ('h', 3600.0), ('d', 86400.0)];
    let (number, factor) =
        factors.iter().find_map(|(unit, factor)| Some((text.strip_suffix(*unit)?, *factor))).unwrap_or((text, 1.0));
    let seconds = number.parse::<f64>().ok().map(|number| number * factor);
    let seconds = seconds.filter(|seconds| (0.001..=1e9).contains(seconds)).ok_or(QuantityError::Duration)?;
    Ok(Duration::from_secs_f64(seconds))
}

/// Parses a number of bytes: `800`, `64kB`, `300MB`, `2GiB`.
///
/// # Errors
/// Returns [`QuantityError::Size`] if the text has another form, and [`QuantityError::TooLarge`] if
/// the number does not fit into 64 bits.
pub fn size(text: &str) -> Result<u64, QuantityError> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(QuantityError::Size),
    };
    if number.is_empty() {
        return Err(QuantityError::Size);
    }
    // Digits fail to parse only if they are too many.
    let number: u64 = number.parse().map_err(|_| QuantityError::TooLarge)?;
    number.checked_mul(factor).ok_or(QuantityError::TooLarge)
}
