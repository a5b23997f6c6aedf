//! Splits, decodes and reduces the bytes of one feed.

use crate::protocol::{Decoder, Line, Splitter};
use crate::reduce::{Exit, Progress, StderrLog};

/// Reducer of the bytes of one feed: lines, messages, [`Progress`].
///
/// ```
/// use synctop_core::protocol::Decoder;
/// use synctop_core::reduce::{Exit, Outcome, Reducer, outcome};
///
/// let mut reducer = Reducer::new(Decoder::default());
/// reducer.push(b"{\"type\":\"RECORD\",\"stream\":\"users\",\"record\":{\"id\":1}}\n");
/// reducer.finish(Some(Exit::Code(1)));
/// assert_eq!(outcome(&reducer.progress), Outcome::Failed);
/// ```
#[derive(Debug, Default)]
pub struct Reducer {
    splitter: Splitter,
    decoder: Decoder,
    stderr: StderrLog,
    /// State after the last complete line.
    pub progress: Progress,
}

impl Reducer {
    /// Creates a reducer with a decoder.
    #[must_use]
    pub fn new(decoder: Decoder) -> Self {
        Self { progress: Progress::new(&decoder), decoder, ..Self::default() }
    }

    /// Merges the saved stderr of the engine into the log, by the times of both.
    #[must_use]
    pub fn with_stderr(mut self, stderr: StderrLog) -> Self {
        self.stderr = stderr;
        self
    }

    /// Reduces the next bytes. Chunks may end anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        self.push_with(bytes, |_| {});
    }

    /// Reduces the next bytes and calls `each` after each line.
    pub fn push_with(&mut self, bytes: &[u8], mut each: impl FnMut(&Progress)) {
        let Self { splitter, decoder, stderr, progress } = self;
        splitter.push(bytes, |line| {
            apply(&line, decoder, stderr, progress);
            each(progress);
        });
    }

    /// Ends the current line: the next bytes do not continue it. Calls `each` after it.
    pub fn break_line(&mut self, mut each: impl FnMut(&Progress)) {
        let Self { splitter, decoder, stderr, progress } = self;
        splitter.finish(|line| {
            apply(&line, decoder, stderr, progress);
            each(progress);
        });
    }

    /// Ends the input; `exit` is the exit of the engine's process, if known.
    pub fn finish(&mut self, exit: Option<Exit>) {
        self.break_line(|_| {});
        while let Some(line) = self.stderr.rest() {
            self.progress.stderr(&line);
        }
        self.progress.close(exit);
    }
}

/// Applies a line, and the lines of stderr that were written before it.
fn apply(line: &Line, decoder: &Decoder, stderr: &mut StderrLog, progress: &mut Progress) {
    progress.apply(line, decoder.decode(line, &mut String::new()), decoder);
    while let Some(line) = stderr.due(progress) {
        progress.stderr(&line);
    }
}
