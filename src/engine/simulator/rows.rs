//! File with the rows written by the simulated destination.

use crate::engine::simulator::list_api::Api;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;

/// File with one JSON line for each row: `{"stream":"charge","id":"cha_00000000000001"}`. A row
/// that is sent twice has two lines.
pub struct RowFile(Mutex<File>);

impl RowFile {
    /// Opens the file for appending. Terminates a partial line that a crash left.
    ///
    /// # Errors
    /// Returns the I/O error if the file cannot be opened, read or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::options().create(true).read(true).append(true).open(path)?;
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(Self(Mutex::new(file)))
    }

    /// Appends rows. The rows reach the operating system before the checkpoint that follows them is
    /// printed.
    ///
    /// # Errors
    /// Returns the I/O error if the rows cannot be written.
    pub fn add(&self, api: &Api, stream: usize, objects: Range<u64>) -> io::Result<()> {
        let name = api.scenario().streams.get(stream).map_or("", |stream| stream.name.as_str());
        let name = serde_json::Value::from(name).to_string();
        let mut lines = String::new();
        for number in objects {
            lines.push_str(&format!("{{\"stream\":{name},\"id\":\"{}\"}}\n", api.id(stream, number)));
        }
        crate::util::sys::lock(&self.0).write_all(lines.as_bytes())
    }
}
