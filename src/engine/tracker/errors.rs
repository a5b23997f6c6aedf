//! Errors, which persist; and anomalies, with one warning each.

use super::raw_message::RawMessage;
use super::{Mistake, TEXT, Tracker, WARNINGS, wire};
use crate::engine::classify::{FailureType, classify};
use synctop_core::protocol::{Failure, Status, mask};
use synctop_core::reduce::fingerprint;

impl Tracker {
    pub(super) fn failure(&mut self, failure: Failure, came: &RawMessage, out: &mut Vec<u8>) {
        let stream = failure.stream.as_ref().map(|name| name.key().into_owned());
        let said = failure.failure_type.as_deref();
        let kind = classify(came.error_status(), said).unwrap_or(FailureType::System);
        // The word on the wire stays, unless the status contradicts it.
        let word = match said {
            Some(said) if FailureType::from(said).permanent() == kind.permanent() => said.to_owned(),
            _ => kind.as_str().to_owned(),
        };
        came.glued(out);
        if said == Some(word.as_str()) {
            came.enriched("source", self.now, out);
        } else {
            came.retyped(&word, self.now, out);
        }
        self.mistake(stream, Mistake { message: failure.message.into_owned(), failure_type: Some(word) }, out);
    }

    pub(super) fn mistake(&mut self, stream: Option<String>, mistake: Mistake, out: &mut Vec<u8>) {
        let permanent = mistake.failure_type.as_deref().is_none_or(|word| FailureType::from(word).permanent());
        let kind = mistake.failure_type.clone().unwrap_or_else(|| "error".into());
        let none_started = !self.here.values().any(|here| here.started);
        let text = format!("{kind}: {}", synctop_core::format::short(&mistake.message, TEXT));
        let Some(stream) = stream else {
            self.error(&format!("the run failed with {text}"), out);
            if permanent {
                self.global.get_or_insert(mistake);
            } else {
                self.last_word_failed = true;
            }
            return self.totals(out);
        };
        self.error(&format!("{stream} failed with {text}"), out);
        if permanent && none_started {
            self.global.get_or_insert_with(|| mistake.clone());
        }
        let here = self.here(&stream);
        here.fingerprint = Some(fingerprint::of_error(&mistake.message, Some(&stream)));
        here.failed |= permanent;
        here.stumbled |= !permanent;
        let again = here.over;
        if let Some(kept) = self.memory.streams.get_mut(&stream) {
            kept.fail(mistake);
        }
        if permanent {
            self.over(&stream, Status::Errored, out);
        } else if again {
            // It was reported complete, and an error of it stands.
            self.say(&stream, None, out);
        }
    }

    pub(super) fn error(&mut self, message: &str, out: &mut Vec<u8>) {
        wire::log(out, "error", &mask::secrets(message), self.now);
    }

    /// An anomaly, once for each stream.
    pub(super) fn warn(&mut self, kind: &'static str, stream: &str, message: &str, out: &mut Vec<u8>) {
        if !self.warned.insert((kind, stream.to_owned())) {
            return;
        }
        let who = if stream.is_empty() { String::new() } else { format!("{stream}: ") };
        match self.warned.len() {
            ..=WARNINGS => wire::log(out, "warn", &format!("{who}{message} ({kind})"), self.now),
            n if n == WARNINGS + 1 => wire::log(out, "warn", "further warnings are left out", self.now),
            _ => {}
        }
    }
}
