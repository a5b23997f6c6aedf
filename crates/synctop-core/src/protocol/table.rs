//! The protocols that synctop knows, and questions to all of them.

use super::adapter::{Adapter, Message, PlatformLog, Protocol};
use super::message::{Level, Side};
use super::remedy::Remedy;
use super::{airbyte, clean, foreign, singer, stripe};

/// All protocols, in the order of detection.
pub static PROTOCOLS: [&Protocol; PROTOCOL_COUNT] =
    [&stripe::PROTOCOL, &singer::PROTOCOL, &airbyte::PROTOCOL, &singer::MELTANO];

/// Number of protocols.
pub(super) const PROTOCOL_COUNT: usize = 4;

/// Returns the adapters of all protocols.
fn adapters() -> impl Iterator<Item = &'static dyn Adapter> {
    PROTOCOLS.iter().map(|protocol| protocol.adapter)
}

/// Decodes a line of an engine's stderr; `None` if it has no known format.
#[must_use]
pub fn decode_stderr_line(line: &str) -> Option<Message<'_>> {
    PROTOCOLS.iter().find_map(|protocol| {
        let mut message = protocol.adapter.decode_stderr(line)?;
        message.set_protocol(protocol);
        Some(message)
    })
}

/// Returns the level of a line of text, if it has a known format.
#[must_use]
pub fn text_level(line: &str) -> Option<Level> {
    adapters().find_map(|adapter| adapter.text_level(line))
}

/// Returns the side of a logger, if its name shows it.
#[must_use]
pub fn logger_side(logger: &str) -> Option<Side> {
    adapters().find_map(|adapter| adapter.logger_side(logger))
}

/// Returns the stream in a logger's name (`tap-demo.orders`), if it has one.
#[must_use]
pub fn logger_stream(logger: &str) -> Option<&str> {
    adapters().find_map(|adapter| adapter.logger_stream(logger))
}

/// Returns the core of an error message that has a form of any protocol.
pub(super) fn error_core(message: &str) -> Option<String> {
    adapters().find_map(|adapter| adapter.error_core(message))
}

/// Returns the cause in an error message that has a form of any protocol.
pub(super) fn error_cause(message: &str) -> Option<&str> {
    adapters().find_map(|adapter| adapter.error_cause(message))
}

/// Returns the HTTP status in an error message that has a form of any protocol.
pub(super) fn http_status(message: &str) -> Option<u16> {
    adapters().find_map(|adapter| adapter.http_status(message))
}

/// True if an error message is empty or generic: another text has the cause.
#[must_use]
pub fn is_generic_error(message: &str) -> bool {
    let text = message.trim();
    let lower = text.get(..text.len().min(40)).unwrap_or(text).to_ascii_lowercase();
    let is_known = ["sync failed", "exiting", "an error occurred", "unexpected error", "unhandled exception"]
        .iter()
        .any(|known| lower.starts_with(known));
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number || text == "None" || is_known || adapters().any(|adapter| adapter.is_generic_error(text))
}

/// Returns the platform whose log has lines of this form.
#[must_use]
pub fn platform_log(line: &str) -> Option<PlatformLog> {
    let plain = clean::line(line);
    adapters().find_map(|adapter| adapter.platform_log(&plain)).or_else(|| foreign::log_of(&plain))
}

/// Returns the remedy for an error message that has a form of any protocol.
#[must_use]
pub fn remedy(message: &str) -> Option<Remedy> {
    adapters().find_map(|adapter| adapter.remedy(message))
}
