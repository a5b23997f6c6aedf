//! Names of loggers of taps and targets.

/// Returns true for a destination's logger (`target-demo`), false for a source's
/// (`tap-demo.orders`), `None` if the name shows neither.
pub(super) fn is_destination_logger(logger: &str) -> Option<bool> {
    match logger {
        name if name.starts_with("tap-") => Some(false),
        name if name.starts_with("target-") => Some(true),
        _ => None,
    }
}

/// Returns the stream in a logger's name, if it has one: `orders` of `tap-demo.orders`.
pub(super) fn stream_of_logger(logger: &str) -> Option<&str> {
    logger.rsplit_once('.').map(|(_, name)| name)
}
