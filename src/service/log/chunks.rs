//! Log of a pipeline in chunks of a database. The node with the lease appends: its lines have their
//! positions at once, and readers see them once they are stored. A thread stores the lines of all
//! pipelines together, several times a second.

use crate::service::archive::Archive;
use crate::service::log::piece::Piece;
use crate::service::store::postgres::Cluster;
use crate::service::store::postgres::chunks::{self, MAX_CHUNK, NewChunk};
use crate::service::store::postgres::segments;
use crate::service::store::postgres::session::DatabaseSession;
use crate::util::sqlite::StoreError;
use crate::util::sys::lock;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Maximum bytes of a pipeline that wait to be stored; then its engine waits.
const MAX_PENDING: usize = 4 << 20;

/// Time in which lines are gathered before they are stored.
const GATHER_TIME: Duration = Duration::from_millis(10);

/// Maximum bytes of one statement, over all pipelines.
const MAX_BATCH: usize = 4 << 20;

/// Delay after the database failed.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// Chunks that a reader asks for at once.
const CHUNKS_PER_READ: u64 = 16;

/// Lines that are not stored yet.
#[derive(Default)]
struct Writing {
    /// Fencing number of this node's lease; `None` if another node may append.
    fence: Option<u64>,
    /// End of the appended lines.
    end: u64,
    run: u64,
    pending: VecDeque<NewChunk>,
    pending_bytes: usize,
    /// Number of chunks on their way to the database.
    storing: usize,
    is_finished: bool,
}

/// Log of one pipeline.
pub struct ChunkLog {
    incarnation: u64,
    cluster: Arc<Cluster>,
    writer: Arc<LogWriter>,
    /// End of the stored lines.
    tail: watch::Sender<u64>,
    kept_from: AtomicU64,
    writing: Mutex<Writing>,
    /// Notified when pending lines were stored.
    room: Condvar,
}

fn not_ours() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, StoreError::Fenced)
}

impl ChunkLog {
    /// Creates the view of a log whose stored lines end at `end`.
    #[must_use]
    pub fn new(
        incarnation: u64,
        (kept_from, end): (u64, u64),
        cluster: Arc<Cluster>,
        writer: Arc<LogWriter>,
    ) -> Arc<Self> {
        Arc::new(Self {
            incarnation,
            cluster,
            writer,
            tail: watch::channel(end).0,
            kept_from: kept_from.into(),
            writing: Mutex::new(Writing { end, ..Writing::default() }),
            room: Condvar::new(),
        })
    }

    pub(super) fn tail(&self) -> watch::Receiver<u64> {
        self.tail.subscribe()
    }

    pub(super) fn end(&self) -> u64 {
        let writing = lock(&self.writing);
        if writing.fence.is_some() { writing.end } else { self.stored_end() }
    }

    pub(super) fn stored_end(&self) -> u64 {
        *self.tail.borrow()
    }

    pub(super) fn kept_from(&self) -> u64 {
        self.kept_from.load(Ordering::Relaxed)
    }

    pub(super) fn begin_run(&self, run: u64) {
        lock(&self.writing).run = run;
    }

    /// Notes the range of the stored lines, as the database has it.
    pub fn note_stored(&self, kept_from: u64, end: u64) {
        self.kept_from.fetch_max(kept_from, Ordering::Relaxed);
        self.tail.send_if_modified(|tail| {
            let grows = end > *tail;
            *tail = end.max(*tail);
            grows
        });
    }

    /// Begins to append with this fencing number, behind the position `end`.
    pub fn acquire(&self, fence: u64, end: u64, run: u64) {
        *lock(&self.writing) = Writing { fence: Some(fence), end, run, ..Writing::default() };
        self.note_stored(self.kept_from(), end);
    }

    /// Ends to append. Lines that are not stored are dropped: another node may write already.
    pub fn lose(&self) {
        let mut writing = lock(&self.writing);
        writing.fence = None;
        writing.pending.clear();
        writing.pending_bytes = 0;
        drop(writing);
        self.room.notify_all();
        // Those that wait for their lines look again.
        self.tail.send_modify(|_| {});
    }

    /// Ends to append with this fencing number; a later one stays.
    fn lose_if(&self, fence: u64) {
        if self.fence() == Some(fence) {
            self.lose();
        }
    }

    /// Returns the fencing number of this node's lease.
    #[must_use]
    pub fn fence(&self) -> Option<u64> {
        lock(&self.writing).fence
    }

    pub(super) fn finish(&self) {
        lock(&self.writing).is_finished = true;
        self.tail.send_modify(|_| {});
    }

    pub(super) fn is_finished(&self) -> bool {
        lock(&self.writing).is_finished
    }

    pub(super) fn append(self: &Arc<Self>, lines: &[u8]) -> io::Result<u64> {
        let mut writing = lock(&self.writing);
        if writing.is_finished || lines.is_empty() {
            return Ok(writing.end);
        }
        if writing.pending_bytes > MAX_PENDING {
            drop(writing);
            self.wait_for_room();
            writing = lock(&self.writing);
        }
        let Some(fence) = writing.fence else { return Err(not_ours()) };
        let was_empty = writing.pending.is_empty();
        let run = writing.run;
        let mut rest = lines;
        while !rest.is_empty() {
            // A chunk on its way to the database stays as it is.
            let open = writing.pending.len() > writing.storing;
            let room = writing.pending.back().filter(|last| open && last.run == run);
            let room = room.map_or(0, |last| MAX_CHUNK.saturating_sub(last.bytes.len()));
            let (now, later) = rest.split_at(rest.len().min(if room == 0 { MAX_CHUNK } else { room }));
            if let Some(last) = writing.pending.back_mut().filter(|_| room > 0) {
                last.bytes.extend_from_slice(now);
            } else {
                let (start, incarnation) = (writing.end, self.incarnation);
                writing.pending.push_back(NewChunk { incarnation, fence, run, start, bytes: now.to_vec() });
            }
            writing.end += now.len() as u64;
            writing.pending_bytes += now.len();
            rest = later;
        }
        let end = writing.end;
        drop(writing);
        if was_empty {
            self.writer.queue(Arc::clone(self));
        }
        Ok(end)
    }

    /// Waits until fewer lines are pending.
    fn wait_for_room(&self) {
        let wait = || {
            let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let full = |writing: &mut Writing| writing.pending_bytes > MAX_PENDING && writing.fence.is_some();
            drop(self.room.wait_while(writing, full));
        };
        match tokio::runtime::Handle::try_current() {
            // Other tasks of the thread go on elsewhere.
            Ok(_) => tokio::task::block_in_place(wait),
            Err(_) => wait(),
        }
    }

    pub(super) async fn flush(&self) -> io::Result<()> {
        let wanted = lock(&self.writing).end;
        let mut tail = self.tail.subscribe();
        loop {
            let stored = *tail.borrow_and_update();
            let writing = lock(&self.writing).fence;
            if writing.is_none() {
                return Err(not_ours());
            }
            if stored >= wanted {
                return Ok(());
            }
            if tail.changed().await.is_err() {
                return Err(not_ours());
            }
        }
    }

    /// Takes pending chunks of whole lines to store them: at most `most` bytes, but at least one line.
    fn take(&self, most: usize) -> Vec<NewChunk> {
        let mut writing = lock(&self.writing);
        let (mut bytes, mut count) = (0, 0);
        for (at, chunk) in (1..).zip(&writing.pending) {
            bytes += chunk.bytes.len();
            if count > 0 && bytes > most {
                break;
            }
            // A line that is longer than a chunk is stored as a whole: each batch ends with a line.
            if chunk.bytes.ends_with(b"\n") {
                count = at;
            }
        }
        writing.storing = count;
        writing.pending.iter().take(count).cloned().collect()
    }

    /// Notes that chunks are stored. True if others are pending.
    fn note_taken(&self, end: u64) -> bool {
        let mut writing = lock(&self.writing);
        writing.storing = 0;
        while let Some(chunk) = writing.pending.front().filter(|chunk| chunk.end() <= end) {
            writing.pending_bytes = writing.pending_bytes.saturating_sub(chunk.bytes.len());
            writing.pending.pop_front();
        }
        let has_more = !writing.pending.is_empty();
        drop(writing);
        self.room.notify_all();
        self.note_stored(self.kept_from(), end);
        has_more
    }

    pub(super) fn reader(self: &Arc<Self>, at: u64) -> ChunkReader {
        ChunkReader { log: Arc::clone(self), at, chunks: VecDeque::new() }
    }
}

/// Logs with lines to be stored.
#[derive(Default)]
struct LogQueue {
    logs: Vec<Arc<ChunkLog>>,
    is_closed: bool,
}

/// Queue of logs with lines to be stored, and the thread that stores them.
pub struct LogWriter {
    cluster: Arc<Cluster>,
    /// Object store of closed parts, if there is one.
    archive: Option<Arc<Archive>>,
    queue: Mutex<LogQueue>,
    queued: Condvar,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl LogWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// Returns [`StoreError::Sql`] if it cannot be started.
    pub fn start(cluster: &Arc<Cluster>, archive: Option<Arc<Archive>>) -> Result<Arc<Self>, StoreError> {
        let writer = Arc::new(Self {
            cluster: Arc::clone(cluster),
            archive,
            queue: Mutex::default(),
            queued: Condvar::new(),
            thread: Mutex::default(),
        });
        let mut session = DatabaseSession::new(Arc::clone(&cluster.connector))?;
        let own = Arc::clone(&writer);
        let thread = std::thread::Builder::new().name("log-writer".into()).spawn(move || own.run(&mut session));
        *lock(&writer.thread) = Some(thread.map_err(|error| StoreError::Sql(error.to_string()))?);
        Ok(writer)
    }

    fn queue(&self, log: Arc<ChunkLog>) {
        lock(&self.queue).logs.push(log);
        self.queued.notify_one();
    }

    /// Stores the queued lines, and ends the thread.
    pub fn close(&self) {
        lock(&self.queue).is_closed = true;
        self.queued.notify_one();
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }

    fn run(&self, session: &mut DatabaseSession) {
        loop {
            let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            let idle = |queue: &mut LogQueue| queue.logs.is_empty() && !queue.is_closed;
            drop(self.queued.wait_while(queue, idle));
            std::thread::sleep(GATHER_TIME);
            let mut logs = std::mem::take(&mut lock(&self.queue).logs);
            if logs.is_empty() {
                return;
            }
            // A log is queued once for its first pending line.
            logs.sort_by_key(|log| log.incarnation);
            logs.dedup_by_key(|log| log.incarnation);
            self.store(session, logs);
            self.cluster.give_hint(session);
        }
    }

    /// Stores the pending lines of some logs, until the database has them or their leases are lost.
    fn store(&self, session: &mut DatabaseSession, logs: Vec<Arc<ChunkLog>>) {
        let mut logs = VecDeque::from(logs);
        while !logs.is_empty() {
            let (mut batch, mut chosen, mut bytes) = (Vec::new(), Vec::new(), 0);
            while bytes < MAX_BATCH
                && let Some(log) = logs.pop_front()
            {
                let chunks = log.take(MAX_BATCH - bytes);
                let Some((end, fence)) = chunks.last().map(|last| (last.end(), last.fence)) else { continue };
                bytes += chunks.iter().map(|chunk| chunk.bytes.len()).sum::<usize>();
                batch.extend(chunks);
                chosen.push((log, end, fence));
            }
            if batch.is_empty() {
                return;
            }
            let stored = loop {
                match chunks::append(session, &batch) {
                    Ok(stored) => break Some(stored),
                    Err(error) => {
                        tracing::debug!(target: "service", "lines cannot be stored: {error}");
                        let lost = |(log, _, fence): &(Arc<ChunkLog>, u64, u64)| log.fence() != Some(*fence);
                        if lock(&self.queue).is_closed || chosen.iter().all(lost) {
                            break None;
                        }
                        std::thread::sleep(RETRY_DELAY);
                    }
                }
            };
            for (log, end, fence) in chosen {
                if !stored.as_ref().is_some_and(|stored| stored.contains(&log.incarnation)) {
                    log.lose_if(fence);
                } else if log.note_taken(end) {
                    logs.push_back(log);
                }
            }
        }
    }
}

/// Reader of a log in chunks.
pub struct ChunkReader {
    log: Arc<ChunkLog>,
    /// Position of the next byte.
    pub at: u64,
    /// Chunks that were read ahead.
    chunks: VecDeque<(u64, Vec<u8>)>,
}

impl ChunkReader {
    /// Reads the object of the archive that holds the position; `None` if there is none.
    async fn read_archive(&self) -> io::Result<Option<(u64, Vec<u8>)>> {
        let (incarnation, at) = (self.log.incarnation, self.at);
        let found = self.log.cluster.run(move |session| segments::at(session, incarnation, at)).await;
        let Some(segment) = found.map_err(io::Error::other)? else { return Ok(None) };
        let Some(archive) = &self.log.writer.archive else {
            return Err(io::Error::other("it is in the archive: this node needs --archive"));
        };
        let bytes = archive.read(&segment).await.map_err(io::Error::other)?;
        Ok(Some((segment.start, bytes)))
    }

    pub(super) fn seek(&mut self, at: u64) {
        self.at = at;
        self.chunks.clear();
    }

    pub(super) async fn next(&mut self, most: usize) -> io::Result<Piece> {
        let end = self.log.stored_end();
        if self.at >= end || most == 0 {
            return Ok(Piece::End);
        }
        if self.at < self.log.kept_from() {
            return Ok(Piece::Gone(self.log.kept_from()));
        }
        if self.chunks.is_empty() {
            let (incarnation, at) = (self.log.incarnation, self.at);
            let read =
                self.log.cluster.run(move |session| chunks::read(session, incarnation, at, CHUNKS_PER_READ)).await;
            self.chunks = read.map_err(io::Error::other)?.into();
        }
        if self.chunks.front().is_none_or(|(start, _)| *start > self.at) {
            match self.read_archive().await? {
                Some(segment) => self.chunks = VecDeque::from([segment]),
                // The chunks were pruned since.
                None => return Ok(Piece::Gone(self.chunks.front().map_or(end, |(start, _)| *start))),
            }
        }
        let Some((start, bytes)) = self.chunks.front() else { return Ok(Piece::Gone(end)) };
        let skip = usize::try_from(self.at - start).unwrap_or(usize::MAX);
        let rest = bytes.get(skip..).unwrap_or_default();
        let room = usize::try_from(end - self.at).unwrap_or(usize::MAX).min(most);
        let piece = rest.get(..room).unwrap_or(rest).to_vec();
        if piece.len() == rest.len() {
            self.chunks.pop_front();
        }
        self.at += piece.len() as u64;
        Ok(Piece::Bytes(piece))
    }
}
