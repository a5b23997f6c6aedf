//! Sources of bytes, and the thread that reduces them.
//!
//! ```text
//! file.rs  followed files       pipe.rs       stdin and stdout    decompress.rs  .gz, .zst
//! child.rs a started engine     recording.rs  built-in recording  sidecar.rs     stderr of a saved log
//! tee.rs   copies of the input  engine_http.rs  call of an engine     frames.rs  .zst by many threads
//! event.rs events of a source   ingest.rs     events to snapshots
//! ```

pub mod child;
pub mod decompress;
pub mod engine_http;
pub mod error;
pub mod event;
pub mod file;
pub mod frames;
pub mod ingest;
pub mod pipe;
pub mod recording;
pub mod rotated;
pub mod sidecar;
pub mod tee;
