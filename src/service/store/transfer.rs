//! Export and import of a store: one JSON record a line, the same for both stores.
//!
//! ```text
//! {"type":"header","version":1,...}  {"type":"pipeline",...}  {"type":"state",...}  {"type":"task",...}
//! {"type":"incident",...}  {"type":"answer",...}  {"type":"input",...}  {"type":"deleted",...}  {"type":"action",...}
//! {"type":"log","incarnation":3,"run":1,"start":0,"bytes":"base64"}  {"type":"end","records":812}
//! ```
//!
//! An export without its `end` is cut off, and is refused as a whole.

use crate::service::alerts::cause::Incident;
use crate::service::model::{StoredPipeline, Task};
use crate::util::sqlite::StoreError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{BufRead, Write};
use synctop_core::protocol::Millis;

/// Version of the format.
pub const FORMAT: u64 = 1;

/// Maximum length of a line: a chunk of a log, or a pipeline with its state.
const MAX_LINE: u64 = 256 << 20;

/// Record of an export.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ExportRecord {
    Header {
        /// Version of the format.
        format: u64,
        /// Version of the program that wrote it.
        synctop: String,
        /// Incarnation of the last pipeline that was created.
        last_incarnation: u64,
    },
    Pipeline {
        pipeline: Box<StoredPipeline>,
    },
    State {
        pipeline: String,
        state: Option<String>,
        checkpoints: u64,
        call_from: Option<u64>,
    },
    Task {
        task: Box<Task>,
    },
    Answer {
        key: String,
        scope: String,
        request: String,
        answer: String,
        at: Millis,
    },
    Input {
        pipeline: String,
        at: Millis,
        body: String,
    },
    Deleted {
        id: String,
        at: Millis,
    },
    Action {
        at: Millis,
        client: String,
        action: String,
        pipeline: Option<String>,
        detail: Option<Value>,
    },
    Incident {
        key: String,
        incident: Box<Incident>,
    },
    Log {
        incarnation: u64,
        run: u64,
        /// Position of the first byte.
        start: u64,
        bytes: String,
    },
    End {
        /// Number of records before this one.
        records: u64,
    },
}

impl ExportRecord {
    /// Record of a part of a log.
    #[must_use]
    pub fn log(incarnation: u64, run: u64, start: u64, bytes: &[u8]) -> Self {
        Self::Log { incarnation, run, start, bytes: BASE64.encode(bytes) }
    }
}

/// Decodes the bytes of a log record.
///
/// # Errors
/// Returns [`TransferError::Damaged`] if they are no base64.
pub fn decode(bytes: &str) -> Result<Vec<u8>, TransferError> {
    BASE64.decode(bytes).map_err(|error| TransferError::Damaged(error.to_string()))
}

/// Number of records by kind.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ExportTotals {
    pub pipelines: u64,
    pub tasks: u64,
    pub actions: u64,
    pub log_bytes: u64,
    pub records: u64,
}

impl ExportTotals {
    fn add(&mut self, record: &ExportRecord) {
        self.records += 1;
        match record {
            ExportRecord::Pipeline { .. } => self.pipelines += 1,
            ExportRecord::Task { .. } => self.tasks += 1,
            ExportRecord::Action { .. } => self.actions += 1,
            ExportRecord::Log { bytes, .. } => self.log_bytes += bytes.len() as u64 / 4 * 3,
            _ => {}
        }
    }
}

impl std::fmt::Display for ExportTotals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pipelines, tasks, actions, log_bytes, .. } = self;
        let megabytes = log_bytes.div_ceil(1_000_000);
        write!(f, "{pipelines} pipelines, {tasks} runs, {actions} actions, {megabytes} MB of logs")
    }
}

/// Error of an export or import.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the export cannot be written: {0}")]
    Write(std::io::Error),
    #[error("the export cannot be read: {0}")]
    Read(std::io::Error),
    #[error("the export is damaged: {0}")]
    Damaged(String),
    #[error("the export is cut off: its end is missing")]
    CutOff,
    #[error("a newer synctop wrote the export (format {0}, supported: {FORMAT}): use that synctop")]
    Later(u64),
    #[error("the store has pipelines or actions already: import into an empty database or a new --data-dir")]
    NotEmpty,
    #[error("parts of the logs are in an archive: pass its address with --archive")]
    NoArchive,
    #[error("{0}")]
    Archive(String),
    #[error("the data folder {0} is in use: stop its service first")]
    InUse(String),
    #[error("the log of {0} cannot be read or written: {1}")]
    Log(String, std::io::Error),
}

/// Writer of an export.
pub struct Writer<W: Write> {
    output: W,
    pub totals: ExportTotals,
}

impl<W: Write> Writer<W> {
    pub fn new(output: W) -> Self {
        Self { output, totals: ExportTotals::default() }
    }

    /// Writes a record.
    ///
    /// # Errors
    /// Returns [`TransferError::Write`] if the output fails.
    pub fn write(&mut self, record: &ExportRecord) -> Result<(), TransferError> {
        let mut line = serde_json::to_vec(record).map_err(|error| TransferError::Write(error.into()))?;
        line.push(b'\n');
        self.output.write_all(&line).map_err(TransferError::Write)?;
        self.totals.add(record);
        Ok(())
    }

    /// Writes the end, and returns the output.
    ///
    /// # Errors
    /// Returns [`TransferError::Write`] if the output fails.
    pub fn finish(mut self) -> Result<(W, ExportTotals), TransferError> {
        let totals = self.totals;
        self.write(&ExportRecord::End { records: totals.records })?;
        Ok((self.output, totals))
    }
}

/// Reads the records of an export and passes each but the last to `each`.
///
/// # Errors
/// Returns the error of `each`, or the mistake in the export.
pub fn read(
    mut input: impl BufRead,
    mut each: impl FnMut(ExportRecord) -> Result<(), TransferError>,
) -> Result<ExportTotals, TransferError> {
    use std::io::Read as _;
    let mut totals = ExportTotals::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = (&mut input).take(MAX_LINE).read_until(b'\n', &mut line).map_err(TransferError::Read)?;
        if length as u64 == MAX_LINE {
            return Err(TransferError::Damaged(format!("record {} is too long", totals.records + 1)));
        }
        if length == 0 || line.last() != Some(&b'\n') {
            return Err(TransferError::CutOff);
        }
        let number = totals.records + 1;
        let record: ExportRecord = serde_json::from_slice(&line)
            .map_err(|error| TransferError::Damaged(format!("record {number}: {error}")))?;
        match &record {
            ExportRecord::End { records } if *records == totals.records => return Ok(totals),
            ExportRecord::End { .. } => return Err(TransferError::Damaged("records are missing".into())),
            ExportRecord::Header { format, .. } if *format > FORMAT => return Err(TransferError::Later(*format)),
            ExportRecord::Header { .. } if number > 1 => return Err(TransferError::Damaged("a second header".into())),
            _ if number == 1 && !matches!(record, ExportRecord::Header { .. }) => {
                return Err(TransferError::Damaged("it has no header".into()));
            }
            _ => {}
        }
        totals.add(&record);
        each(record)?;
    }
}

/// Finding of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFinding {
    /// Pipeline that it concerns.
    pub pipeline: Option<String>,
    pub sentence: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_that_is_cut_off_or_damaged_is_refused() {
        let mut writer = Writer::new(Vec::new());
        writer.write(&ExportRecord::Header { format: FORMAT, synctop: "0.1.0".into(), last_incarnation: 7 }).unwrap();
        writer.write(&ExportRecord::Deleted { id: "old".into(), at: 5 }).unwrap();
        writer.write(&ExportRecord::log(3, 1, 10, b"a\nb\n")).unwrap();
        let (bytes, totals) = writer.finish().unwrap();
        assert_eq!((totals.records, totals.log_bytes), (3, 6));
        let read_all = |bytes: &[u8]| {
            let mut all = Vec::new();
            read(bytes, |record| {
                all.push(record);
                Ok(())
            })
            .map(|_| all)
        };
        assert_eq!(read_all(&bytes).unwrap()[1], ExportRecord::Deleted { id: "old".into(), at: 5 });
        let text = String::from_utf8(bytes.clone()).unwrap();
        for (odd, says) in [
            (text.get(..text.len() - 5).unwrap().to_owned(), "cut off"),
            (text.split_inclusive('\n').take(3).collect(), "cut off"),
            (text.split_inclusive('\n').skip(1).collect(), "no header"),
            (text.replace("\"records\":3", "\"records\":4"), "records are missing"),
            (text.replace("\"format\":1", "\"format\":2"), "a newer synctop wrote the export"),
            (text.replace("\"id\":\"old\"", "\"id\":1"), "record 2"),
            (text.replace("\"deleted\"", "\"gone\""), "record 2"),
        ] {
            let error = read_all(odd.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{error} does not say {says}");
        }
    }
}
