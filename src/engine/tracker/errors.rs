//! Errors, which stay in the state, and anomalies, which are warned about once per stream.

use crate::engine::failure_type::{FailureType, classify};
use crate::engine::tracker::raw_message::RawMessage;
use crate::engine::tracker::{ErrorRecord, MAX_ERROR_TEXT, MAX_WARNINGS, Tracker, wire};
use synctop_core::protocol::{Failure, Status, mask};
use synctop_core::reduce::fingerprint;

impl Tracker {
    pub(super) fn failure(&mut self, failure: Failure, received: &RawMessage, out: &mut Vec<u8>) {
        let stream = failure.stream.as_ref().map(|name| name.key().into_owned());
        let declared = failure.failure_type.as_deref();
        let kind = classify(received.error_status(), declared).unwrap_or(FailureType::System);
        // Keeps the failure type of the source unless the HTTP status contradicts it.
        let word = match declared {
            Some(declared) if FailureType::from(declared).permanent() == kind.permanent() => declared.to_owned(),
            _ => kind.as_str().to_owned(),
        };
        received.write_prefix(out);
        if declared == Some(word.as_str()) {
            received.write_enriched("source", self.now, out);
        } else {
            received.write_with_failure_type(&word, self.now, out);
        }
        self.record_error(stream, ErrorRecord { message: failure.message.into_owned(), failure_type: Some(word) }, out);
    }

    /// Records and logs an error of a stream, or of the run if `stream` is `None`.
    pub(super) fn record_error(&mut self, stream: Option<String>, error_record: ErrorRecord, out: &mut Vec<u8>) {
        let permanent = error_record.failure_type.as_deref().is_none_or(|word| FailureType::from(word).permanent());
        let kind = error_record.failure_type.clone().unwrap_or_else(|| "error".into());
        let none_started = !self.current.values().any(|current| current.started);
        let text = format!("{kind}: {}", synctop_core::format::short(&error_record.message, MAX_ERROR_TEXT));
        let Some(stream) = stream else {
            self.error(&format!("the run failed with {text}"), out);
            if permanent {
                self.global.get_or_insert(error_record);
            } else {
                self.last_word_failed = true;
            }
            return self.totals(out);
        };
        self.error(&format!("{stream} failed with {text}"), out);
        if permanent && none_started {
            self.global.get_or_insert_with(|| error_record.clone());
        }
        let current = self.current(&stream);
        current.fingerprint = Some(fingerprint::of_error(&error_record.message, Some(&stream)));
        current.failed |= permanent;
        current.has_transient_error |= !permanent;
        let again = current.is_finished;
        if let Some(kept) = self.memory.streams.get_mut(&stream) {
            kept.fail(error_record);
        }
        if permanent {
            self.finish_stream(&stream, Status::Errored, out);
        } else if again {
            // Announces the error of a stream that was already announced as finished.
            self.announce_stream(&stream, None, out);
        }
    }

    /// Logs an error, with secrets masked.
    pub(super) fn error(&mut self, message: &str, out: &mut Vec<u8>) {
        wire::log(out, "error", &mask::secrets(message), self.now);
    }

    /// Logs an anomaly, once for each stream.
    pub(super) fn warn(&mut self, kind: &'static str, stream: &str, message: &str, out: &mut Vec<u8>) {
        if !self.warned.insert((kind, stream.to_owned())) {
            return;
        }
        let subject = if stream.is_empty() { String::new() } else { format!("{stream}: ") };
        match self.warned.len() {
            ..=MAX_WARNINGS => wire::log(out, "warn", &format!("{subject}{message} ({kind})"), self.now),
            n if n == MAX_WARNINGS + 1 => wire::log(out, "warn", "further warnings are left out", self.now),
            _ => {}
        }
    }
}
