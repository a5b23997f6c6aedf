//! Errors that an engine logged: bounded, and compared with the errors that it reported.
//!
//! In protocols whose statuses, traces and ends decide, a logged error only adds a reason. A logged
//! error without a reported error that explains it is a doubt about a run that claims completion
//! (`errors_logged`).

use crate::protocol::{Log, error_text, logger_stream};
use crate::reduce::state::logged::{LoggedKind, MIN_QUOTE_LENGTH};
use crate::reduce::state::progress::Progress;
use std::sync::Arc;

impl Progress {
    /// Stores a logged error until the verdict of the run.
    pub(crate) fn logged_error(&mut self, log: &Log) {
        self.evidence.logged.add(log, self.attempts.max(1));
    }

    /// Stores a warning until the end of the process, in protocols without an end message and while
    /// no protocol is known.
    pub(crate) fn logged_warning(&mut self, log: &Log, logger: Option<&str>) {
        let may_end_silently = self.dialect.is_none() || self.traits().ends_with_process;
        if may_end_silently && log.retry.is_none() {
            let stream = logger.and_then(logger_stream).and_then(|name| self.find_key(name));
            let label = stream.and_then(|at| self.streams.get(at)).map(|stream| stream.label.clone());
            self.evidence.warned.add_exactly(log, label, self.attempts.max(1));
        }
    }

    /// True if any error was logged in this run.
    pub(crate) fn has_logged_errors(&self) -> bool {
        self.evidence.logged.len() > 0 || self.evidence.last_log_error.is_some()
    }

    /// Returns the logged errors of this run that no reported error explains: their count, and the
    /// text of the first one.
    pub(crate) fn unexplained_errors(&self) -> Option<(u64, &str)> {
        let groups = self.errors.groups();
        let reported = |fingerprint: u64| groups.iter().any(|group| group.fingerprint == fingerprint);
        let named = |stream: &Arc<str>| groups.iter().any(|group| group.hits.contains_key(stream));
        let explained = |kind: &LoggedKind| {
            reported(kind.fingerprint ^ u64::from(kind.attempt))
                || kind.error.is_some_and(reported)
                || kind.streams.iter().any(named)
                || groups.iter().any(|group| {
                    // A log line quotes a reported error, or the reverse. Details after the cause
                    // may be missing.
                    let cause = error_text::cause(&group.message);
                    kind.text.len() >= MIN_QUOTE_LENGTH
                        && (kind.text.contains(cause) || group.message.contains(&*kind.text))
                })
        };
        let mut unexplained = self.evidence.logged.kinds.iter().filter(|kind| !explained(kind)).peekable();
        let first =
            unexplained.peek().map(|kind| &*kind.text).or((self.evidence.logged.beyond > 0).then_some("(not kept)"))?;
        Some((unexplained.map(|kind| kind.count).sum::<u64>() + self.evidence.logged.beyond, first))
    }
}
