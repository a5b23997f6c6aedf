//! Bytes and remote services. Each source has a thread that reads and a thread that decodes:
//!
//! ```text
//! source/file | pipe | child | recording --bounded channel of Event--> source/ingest --watch--> Snapshot
//! a saved log: timeline/indexer (chunks, parallel) ------------------------------------watch--> Snapshot
//!     both keep timeline/byte_store and reduce::history --> timeline/seek, rewind --watch--> View of any instant
//! client/  services of pipelines, tasks of any HTTP API
//! ```
//!
//! A full channel makes the source wait (and with it the engine behind a pipe, as any reader
//! would); a slow screen delays nothing, because it takes only the newest snapshot.

pub mod client;
pub mod source;
pub mod timeline;

pub use source::error::SourceError;
pub use source::event::{CHUNK, Event, FileOrigin, QUEUE, channel};
pub use source::ingest::{BETWEEN_SNAPSHOTS, Ingest, RewindData, Snapshot, spawn_ingest};
