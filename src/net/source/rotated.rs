//! Parts of a rotated log beside a followed file: `run.log.2.gz`, `run.log.1`, then `run.log`, as
//! logrotate(8) names them.

use crate::net::source::decompress;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use synctop_core::protocol::{Decoder, begins_run};

/// Maximum number of parts that are read before the followed file.
const MAX_PARTS: usize = 100;

/// Bytes at the start of a part in which the beginning of a run is looked for.
const HEAD: u64 = 64 * 1024;

/// Returns the earlier parts of the run that the file continues, oldest first. A file that begins a
/// run, or that has no message yet, continues none.
#[must_use]
pub fn parts_before(path: &Path, decoder: &Decoder) -> Vec<PathBuf> {
    let mut parts = Vec::new();
    let mut first = path.to_owned();
    while parts.len() < MAX_PARTS && continues(&first, decoder) {
        let Some(part) = part(path, parts.len() + 1) else { break };
        first.clone_from(&part);
        parts.push(part);
    }
    parts.reverse();
    parts
}

/// Returns the part with this number, if it is a file.
fn part(path: &Path, number: usize) -> Option<PathBuf> {
    ["", ".gz", ".zst"].iter().find_map(|ending| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}{ending}"));
        let part = PathBuf::from(name);
        part.is_file().then_some(part)
    })
}

fn continues(path: &Path, decoder: &Decoder) -> bool {
    let mut head = Vec::new();
    // A truncated archive still has a head.
    let _ = File::open(path).and_then(decompress::open).and_then(|(_, text)| text.take(HEAD).read_to_end(&mut head));
    let whole_lines = head.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    !begins_run(head.get(..whole_lines).unwrap_or_default(), decoder)
}
