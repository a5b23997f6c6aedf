//! Decodes chunks in parallel and applies them in their order.
//!
//! ```text
//! worker 1   take chunk 0 | decode ......... | apply 0 | take chunk 2 | decode ...
//! worker 2        take chunk 1 | decode ......... | wait | apply 1 | ...
//! ```
//!
//! A worker applies its own chunk in turn, so that no decoded data cross threads and memory is one
//! chunk per worker. The result is the same as of reading line by line (`tests/properties.rs`).

use crate::net::timeline::chunks::{Chunk, Chunks};
use crate::util::sys::lock;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use synctop_core::protocol::Decoder;
use synctop_core::reduce::{Batch, Progress};

/// Maximum workers. More of them would only wait for the one that applies.
const WORKERS: usize = 4;

/// Spins before a worker blocks for its turn: a turn is usually shorter than blocking and waking.
const SPINS: u32 = 400;

/// Consumer of decoded lines, in order.
pub trait Sink: Send {
    /// Applies the next lines. Returns `false` to stop reading.
    fn take(&mut self, batch: &mut Batch, decoder: &Decoder) -> bool;
}

impl Sink for Progress {
    fn take(&mut self, batch: &mut Batch, decoder: &Decoder) -> bool {
        self.apply_batch(batch, decoder);
        true
    }
}

/// Sink, and the order of applying.
struct Turn<'s, S> {
    sink: &'s mut S,
    /// Number of the next chunk to apply.
    next: u64,
    stopped: bool,
}

/// Shared input of the workers.
struct Source<R> {
    chunks: Chunks<R>,
    /// Number of the next chunk.
    number: u64,
    error: Option<io::Error>,
    ended: bool,
}

/// Returns the number of decoding threads for this machine.
#[must_use]
pub fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS)
}

/// Reads to the end, or until the sink stops, and applies everything to the sink.
///
/// # Errors
/// Returns the read error; all data before it were applied.
pub fn reduce<R: Read + Send, S: Sink>(
    chunks: Chunks<R>,
    decoder: &Decoder,
    sink: &mut S,
    workers: usize,
) -> io::Result<()> {
    let source = Mutex::new(Source { chunks, number: 0, error: None, ended: false });
    let turn = Mutex::new(Turn { sink, next: 0, stopped: false });
    let turned = Condvar::new();
    let due = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 1..workers {
            // If a thread cannot be started, the others do its work.
            let _ = std::thread::Builder::new()
                .name("decode".into())
                .spawn_scoped(scope, || work(&source, &turn, &turned, &due, decoder));
        }
        work(&source, &turn, &turned, &due, decoder);
    });
    match lock(&source).error.take() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn work<R: Read, S: Sink>(
    source: &Mutex<Source<R>>,
    turn: &Mutex<Turn<S>>,
    turned: &Condvar,
    due: &AtomicU64,
    decoder: &Decoder,
) {
    let mut chunk = Chunk::default();
    let mut memory = Batch::default();
    let frames = lock(source).chunks.frames().cloned();
    let _guard = Guard { source, turn, turned };
    loop {
        // While another thread reads, this one decompresses ahead.
        let free = source.try_lock().ok();
        if free.is_none()
            && let Some(frames) = &frames
            && frames.decompress_next()
        {
            continue;
        }
        let free = free.unwrap_or_else(|| lock(source));
        let Some(number) = next(free, &mut chunk) else { return };
        let mut rest: &[u8] = &[];
        let mut batch = match chunk.huge() {
            None => {
                rest = chunk.bytes();
                memory.recycle().take_more(decoder, &mut rest)
            }
            Some(line) => Batch::of_line(decoder, line),
        };
        for _ in 0..SPINS {
            if due.load(Ordering::Relaxed) >= number {
                break;
            }
            std::hint::spin_loop();
        }
        let mut turn = lock(turn);
        while turn.next != number && !turn.stopped {
            turn = turned.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        if turn.stopped {
            return;
        }
        let mut go_on = turn.sink.take(&mut batch, decoder);
        // Many short lines are decoded in several parts, which bounds the memory of decoded lines.
        while go_on && !rest.is_empty() {
            batch = batch.recycle().take_more(decoder, &mut rest);
            go_on = turn.sink.take(&mut batch, decoder);
        }
        memory = batch.recycle();
        turn.next += 1;
        due.store(turn.next, Ordering::Relaxed);
        turn.stopped = !go_on;
        drop(turn);
        turned.notify_all();
        if !go_on {
            lock(source).ended = true;
            return;
        }
    }
}

/// Stops the other workers if a worker panics: they would wait for its turn forever. The scope then
/// propagates the panic.
struct Guard<'g, 's, R, S> {
    source: &'g Mutex<Source<R>>,
    turn: &'g Mutex<Turn<'s, S>>,
    turned: &'g Condvar,
}

impl<R, S> Drop for Guard<'_, '_, R, S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(self.turn).stopped = true;
            self.turned.notify_all();
            lock(self.source).ended = true;
        }
    }
}

/// Fills the chunk with the next lines and returns its number; `None` at the end.
fn next<R: Read>(mut source: MutexGuard<Source<R>>, chunk: &mut Chunk) -> Option<u64> {
    if source.ended {
        return None;
    }
    match source.chunks.next(chunk) {
        Ok(true) => {
            source.number += 1;
            Some(source.number - 1)
        }
        Ok(false) => {
            source.ended = true;
            None
        }
        Err(error) => {
            source.error = Some(error);
            source.ended = true;
            None
        }
    }
}
