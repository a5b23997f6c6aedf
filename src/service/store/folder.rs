//! Export, import and check of a data folder: its database and its log files.

use crate::net::timeline::segments::SegmentName;
use crate::service::log::{FileLog, LogRetention, Piece};
use crate::service::model::StoredPipeline;
use crate::service::store::sqlite::{self, FileImport};
use crate::service::store::transfer::{ExportRecord, ExportTotals, StoreFinding, TransferError, Writer, decode, read};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Maximum bytes of a log per record.
const PART: usize = 256 * 1024;

/// Size of the segments that an import writes.
const SEGMENT: u64 = 16 << 20;

/// Returns the folder of a pipeline's log.
fn log_folder(folder: &Path, id: &str, incarnation: u64) -> PathBuf {
    folder.join("logs").join(format!("{id}.{incarnation}"))
}

/// Opens the log of a pipeline. Nothing is compressed or removed.
fn open_log(folder: &Path, pipeline: &StoredPipeline) -> Result<Option<Arc<FileLog>>, TransferError> {
    let path = log_folder(folder, &pipeline.id, pipeline.incarnation);
    if !path.exists() {
        return Ok(None);
    }
    let keep = LogRetention { segment: SEGMENT, size: u64::MAX, age: Duration::MAX };
    let log = FileLog::open(path, keep, mpsc::sync_channel(1).0, 0);
    log.map(Some).map_err(|error| TransferError::Log(pipeline.id.clone(), error))
}

/// Passes the parts of a log to `each`: run, position and bytes. Returns the ranges that are no
/// longer stored.
fn read_log(
    log: &Arc<FileLog>,
    id: &str,
    mut each: impl FnMut(u64, u64, &[u8]) -> Result<(), TransferError>,
) -> Result<Vec<(u64, u64)>, TransferError> {
    let mut missing = Vec::new();
    let mut next = log.kept_from();
    for (begin, length, run) in log.segments() {
        if begin > next {
            missing.push((next, begin));
        }
        next = begin + length;
        let mut reader = log.reader(begin);
        while reader.at < begin + length {
            let at = reader.at;
            let room = usize::try_from(begin + length - at).unwrap_or(usize::MAX).min(PART);
            match reader.next(room).map_err(|error| TransferError::Log(id.to_owned(), error))? {
                Piece::Bytes(bytes) => each(run, at, &bytes)?,
                Piece::Gone(next) => {
                    missing.push((at, next));
                    break;
                }
                Piece::End => break,
            }
        }
    }
    if log.end() > next {
        missing.push((next, log.end()));
    }
    Ok(missing)
}

/// Writes all records of a data folder. Its service must not run. Returns the number of parts of logs
/// that are missing.
///
/// # Errors
/// Returns the error of the database, of a log or of the output.
pub fn export(folder: &Path, writer: &mut Writer<impl Write>) -> Result<usize, TransferError> {
    let mut missing = 0;
    for pipeline in sqlite::export(folder, writer)? {
        let Some(log) = open_log(folder, &pipeline)? else { continue };
        let gaps = read_log(&log, &pipeline.id, |run, at, bytes| {
            writer.write(&ExportRecord::log(pipeline.incarnation, run, at, bytes))
        })?;
        missing += gaps.len();
    }
    Ok(missing)
}

/// Log file that an import writes.
struct Segment {
    run: u64,
    begin: u64,
    end: u64,
    file: File,
}

/// Imports records into a data folder without pipelines.
///
/// # Errors
/// Returns [`TransferError::NotEmpty`] if the folder has pipelines or logs already, or the error of the
/// export, of the database or of a log; the database is unchanged then.
pub fn import(folder: &Path, input: impl BufRead) -> Result<ExportTotals, TransferError> {
    let logs = folder.join("logs");
    if std::fs::read_dir(&logs).is_ok_and(|mut all| all.next().is_some()) {
        return Err(TransferError::NotEmpty);
    }
    let imported = import_records(folder, input);
    if imported.is_err() {
        // Completely or not at all: there were no logs before.
        let _ = std::fs::remove_dir_all(&logs);
    }
    imported
}

fn import_records(folder: &Path, input: impl BufRead) -> Result<ExportTotals, TransferError> {
    let database = FileImport::begin(folder)?;
    let mut names: BTreeMap<u64, String> = BTreeMap::new();
    let mut open: BTreeMap<u64, Segment> = BTreeMap::new();
    let totals = read(input, |record| match record {
        ExportRecord::Log { incarnation, run, start, bytes } => {
            let id = names.get(&incarnation).ok_or_else(|| {
                TransferError::Damaged(format!("a log without its pipeline (incarnation {incarnation})"))
            })?;
            let bytes = decode(&bytes)?;
            let failed = |error: io::Error| TransferError::Log(id.clone(), error);
            let continues = |it: &Segment| it.run == run && it.end == start && it.end - it.begin < SEGMENT;
            let mut segment = match open.remove(&incarnation) {
                Some(segment) if continues(&segment) => segment,
                _ => create(&log_folder(folder, id, incarnation), run, start).map_err(failed)?,
            };
            segment.file.write_all(&bytes).map_err(failed)?;
            segment.end += bytes.len() as u64;
            // Logs come one after the other: one file is open.
            open.clear();
            open.insert(incarnation, segment);
            Ok(())
        }
        record => {
            if let ExportRecord::Pipeline { pipeline } = &record {
                names.insert(pipeline.incarnation, pipeline.id.clone());
            }
            Ok(database.put(record)?)
        }
    })?;
    database.commit()?;
    Ok(totals)
}

fn create(folder: &Path, run: u64, begin: u64) -> io::Result<Segment> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(SegmentName { run, begin, packed: false }.name());
    let file = File::options().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    Ok(Segment { run, begin, end: begin, file })
}

/// Checks that the database is sound, and that all documents and logs can be read.
///
/// # Errors
/// Returns the error of the database if it cannot be opened.
pub fn check(folder: &Path) -> Result<Vec<StoreFinding>, TransferError> {
    let mut findings = Vec::new();
    for pipeline in sqlite::check(folder, &mut findings)? {
        let mut find = |sentence: String| findings.push(StoreFinding { pipeline: Some(pipeline.id.clone()), sentence });
        match open_log(folder, &pipeline) {
            Ok(None) => find("its log is missing".into()),
            Ok(Some(log)) => match read_log(&log, &pipeline.id, |_, _, _| Ok(())) {
                Ok(missing) => {
                    for (from, to) in missing {
                        find(format!("its log is not whole: bytes {from} to {to} cannot be read"));
                    }
                }
                Err(error) => find(error.to_string()),
            },
            Err(error) => find(error.to_string()),
        }
    }
    Ok(findings)
}
