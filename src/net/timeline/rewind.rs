//! Seek thread: computes the progress at other instants while the screen and the feed continue.

use crate::net::timeline::byte_store::ByteStore;
use crate::net::timeline::keep::SharedHistory;
use crate::net::timeline::seek::{Seeker, Step};
use std::collections::VecDeque;
use std::sync::{Arc, mpsc};
use synctop_core::protocol::{Decoder, Millis, time};
use synctop_core::reduce::lead_up::LeadUp;
use synctop_core::reduce::{Progress, Target};
use tokio::sync::watch;

/// Maximum pending requests.
const MAX_PENDING: usize = 1_024;

/// Request to the seek thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    Go(Target),
    Step(Step),
}

/// Progress at an instant of the log.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Number of the last request that was answered.
    pub served: u64,
    pub progress: Arc<Progress>,
    /// The instant: the time of the last applied message, or a later one in a silence.
    pub at: Option<Millis>,
    /// True at the end of a log that was read to its end.
    pub ended: bool,
    /// Message about the request: an error, or a limit of the log.
    pub note: Option<String>,
    /// True if the request failed or there was nothing to step to.
    pub failed: bool,
}

/// Handle of the seek thread.
#[derive(Debug)]
pub struct Rewind {
    requests: mpsc::SyncSender<(u64, Request)>,
    sent: u64,
    pub views: watch::Receiver<View>,
    pub history: SharedHistory,
    pub store: Arc<ByteStore>,
    decoder: Decoder,
}

impl Rewind {
    /// Starts the seek thread.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started.
    pub fn spawn(store: Arc<ByteStore>, history: SharedHistory, decoder: Decoder) -> std::io::Result<Self> {
        let (requests, wanted) = mpsc::sync_channel(MAX_PENDING);
        let (sender, views) = watch::channel(View::default());
        let seeker = Seeker::new(Arc::clone(&store), Arc::clone(&history), decoder);
        let shared = Arc::clone(&history);
        std::thread::Builder::new().name("rewind".into()).spawn(move || run(seeker, &shared, &wanted, &sender))?;
        Ok(Self { requests, sent: 0, views, history, store, decoder })
    }

    /// Sends a request. Returns its number; the view that answers it has this or a later number.
    pub fn ask(&mut self, request: Request) -> u64 {
        // If the thread ended or the queue is full, the request is dropped and the view stays.
        if self.requests.try_send((self.sent + 1, request)).is_ok() {
            self.sent += 1;
        }
        self.sent
    }

    /// Reads the lead-up of an instant in a thread of its own and passes it to `done`.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started.
    pub fn lead_up(
        &self,
        place: Target,
        stream: Option<Arc<str>>,
        done: impl FnOnce(std::io::Result<LeadUp>) + Send + 'static,
    ) -> std::io::Result<()> {
        let mut seeker = Seeker::new(Arc::clone(&self.store), Arc::clone(&self.history), self.decoder);
        let read = move || done(seeker.lead_up(place, stream));
        std::thread::Builder::new().name("lead-up".into()).spawn(read).map(drop)
    }

    /// True while a request is not answered.
    #[must_use]
    pub fn busy(&self) -> bool {
        self.views.borrow().served < self.sent
    }
}

fn run(
    mut seeker: Seeker,
    history: &SharedHistory,
    wanted: &mpsc::Receiver<(u64, Request)>,
    views: &watch::Sender<View>,
) {
    let mut queue: VecDeque<(u64, Request)> = VecDeque::new();
    loop {
        if queue.is_empty() {
            let Ok(next) = wanted.recv() else { return };
            queue.push_back(next);
        }
        queue.extend(wanted.try_iter());
        // Consecutive jumps are merged into the last one: dragging the mouse requests many.
        while matches!((queue.front(), queue.get(1)), (Some(_), Some((_, Request::Go(_))))) {
            queue.pop_front();
        }
        let Some((number, request)) = queue.pop_front() else { continue };
        let mut note = None;
        let mut stayed = false;
        let went = match request {
            Request::Go(target) => seeker.go(target),
            Request::Step(step) => seeker.step(step).map(|found| {
                if !found {
                    stayed = true;
                    note = Some(dead_end_message(step));
                }
            }),
        };
        let progress = seeker.progress();
        let before = views.borrow().clone();
        let (end, complete, span, exit) = {
            let history = history.lock();
            (history.end(), history.complete, history.span(), history.exit)
        };
        if let Err(error) = went {
            tracing::warn!(target: "synctop::rewind", "{error}");
            // The view before stays on the screen.
            let view = View { served: number, note: Some(error.to_string()), failed: true, ..before };
            if views.send(view).is_err() {
                return;
            }
            continue;
        }
        let at = match (request, span) {
            (Request::Go(Target::Time(at)), Some((first, last))) => {
                if at < first {
                    note = Some(format!("the log starts at {}", time::stamp(first, "%H:%M:%S%.3f")));
                } else if at > last && complete {
                    note = Some(format!("the log ends at {}", time::stamp(last, "%H:%M:%S%.3f")));
                }
                Some(at.clamp(first, last)).max(progress.last_at)
            }
            // A step that found nothing keeps the instant.
            (Request::Step(_), _) if stayed && before.progress.input.bytes == progress.input.bytes => before.at,
            _ => progress.last_at,
        };
        if seeker.fell_short() {
            note = Some("the earlier part is not stored any more".to_owned());
        }
        let progress = seeker.progress();
        let ended = complete && progress.input.bytes == end.bytes && at >= end.at;
        let mut progress = progress.clone();
        if ended {
            progress.close(exit);
        }
        let view = View { served: number, progress: Arc::new(progress), at, ended, note, failed: stayed };
        if views.send(view).is_err() {
            return;
        }
    }
}

/// Describes a step that found nothing.
fn dead_end_message(step: Step) -> String {
    match step {
        Step::Lines(1..) => "this is the end of the log".into(),
        Step::Lines(_) => "this is the start of the log".into(),
        Step::Mark(kind, true) => format!("no {} after this", kind.as_str()),
        Step::Mark(kind, false) => format!("no {} before this", kind.as_str()),
    }
}
