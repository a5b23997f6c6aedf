//! Types and data of the run screen. All its views depend on this module.

use crate::views::action::KeyContext;
use crate::views::run::stream_group::StreamGroup;
use crate::views::ui::{ScreenFrame, SheetState, Ui};
use std::sync::Arc;
use synctop_core::protocol::{Level, Millis};
use synctop_core::reduce::history::{History, LogPosition};
use synctop_core::reduce::lead_up::LeadUp;
use synctop_core::reduce::{Link, Progress};
use synctop_core::report::lead_up::LeadRow;
use synctop_core::report::{Audience, unreadable_feed_warning};
use tui_input::Input;
use tui_logger::TuiWidgetState;

/// Time without a new line after which input without any message counts as unreadable, in
/// milliseconds.
const UNREADABLE_AFTER_MS: u64 = 900;

/// Types of the run screen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunTypes;

pub type RunUi = Ui<RunTypes>;
pub type RunFrame<'a, 'm> = ScreenFrame<'a, 'm, RunTypes>;
pub type RunHits = crate::views::hits::Hits<RunTypes>;
pub type RunOverlay = crate::views::ui::Overlay<RunTypes>;

#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr, strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum Pane {
    #[default]
    Streams,
    Errors,
    Doubts,
    Log,
    Diagnostics,
}

impl Pane {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Identity of a row, independent of its position.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Chosen {
    Head(StreamGroup),
    /// Stream, identified by its key.
    Stream(String),
    /// Error group, identified by its id.
    Error(u64),
    /// Doubt, identified by its kind and stream.
    Doubt(synctop_core::reduce::DoubtKind, Option<Arc<str>>),
    /// Log line, identified by its number among all log lines of the feed.
    Line(u64),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, strum::Display, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Column {
    #[default]
    Name,
    Records,
    #[strum(serialize = "records in this attempt")]
    Attempt,
    Rate,
    #[strum(serialize = "last checkpoint")]
    Checkpoint,
    #[strum(serialize = "ranges")]
    Coverage,
    Errors,
}

impl Column {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Lead-up of an error, which is read from the log when its overlay opens.
#[derive(Debug, Clone)]
pub enum LeadUpState {
    Loading,
    Loaded(Arc<LeadUp>, Arc<[LeadRow]>),
    /// Reason that it cannot be shown.
    Failed(String),
}

/// Overlay of the run screen alone.
#[derive(Debug, Clone)]
pub enum RunSheet {
    Stream {
        key: String,
        top: usize,
    },
    Error {
        id: u64,
        top: usize,
    },
    Line {
        number: u64,
        top: usize,
    },
    /// Lead-up of an error, and the selected row.
    LeadUp {
        state: LeadUpState,
        chosen: usize,
    },
    /// Position being typed, and its error.
    Goto {
        input: Input,
        bad: Option<String>,
    },
}

impl SheetState for RunSheet {
    fn scroll(&mut self) -> Option<&mut usize> {
        match self {
            Self::Stream { top, .. } | Self::Error { top, .. } | Self::Line { top, .. } => Some(top),
            Self::Goto { .. } | Self::LeadUp { .. } => None,
        }
    }

    fn selection(&mut self) -> Option<(&mut usize, usize)> {
        match self {
            Self::LeadUp { state: LeadUpState::Loaded(_, rows), chosen } => {
                let count = rows.len();
                Some((chosen, count))
            }
            _ => None,
        }
    }

    fn input(&mut self) -> Option<&mut Input> {
        match self {
            Self::Goto { input, .. } => Some(input),
            _ => None,
        }
    }

    fn context(&self) -> KeyContext {
        if matches!(self, Self::Goto { .. }) { KeyContext::Prompt } else { KeyContext::Panes }
    }
}

/// State of the run screen alone.
#[derive(Clone)]
pub struct RunUiState {
    /// Lowest level shown in the feed's log.
    pub level: Level,
    /// True while the frame is frozen and counting continues.
    pub frozen: bool,
    /// True if the screen was opened from the fleet screen and returns to it.
    pub nested: bool,
    /// True if the diagnostics pane shows its list of targets.
    pub targets: bool,
    pub diagnostics: Arc<TuiWidgetState>,
    /// Lead-up that was shown last, and its selected row: it is shown again at an earlier instant.
    pub lead_up: Option<(Arc<LeadUp>, Arc<[LeadRow]>, usize)>,
}

impl std::fmt::Debug for RunUiState {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("RunUiState").field("level", &self.level).field("frozen", &self.frozen).finish_non_exhaustive()
    }
}

impl Default for RunUiState {
    fn default() -> Self {
        Self {
            level: Level::Info,
            frozen: false,
            nested: false,
            targets: false,
            diagnostics: Arc::new(TuiWidgetState::new()),
            lead_up: None,
        }
    }
}

/// Data of one frame as they come from outside.
#[derive(Clone, Copy)]
pub struct RunInput<'a> {
    pub progress: &'a Progress,
    pub link: &'a Link,
    pub look: &'a crate::views::widgets::theme::Look,
    /// Source as the user named it.
    pub source: &'a str,
    /// True if an engine that synctop started still runs.
    pub engine_runs: bool,
    /// Current time by the engine's clock: the time of the last message plus the time since then.
    pub now: Option<Millis>,
    /// Milliseconds since the last line arrived.
    pub age: Option<u64>,
    /// Milliseconds since synctop started to watch the feed.
    pub watched: u64,
    /// Position of the frame in its log; `None` for a live frame.
    pub scrub: Option<Scrub<'a>>,
    /// Rewind index of the feed or log.
    pub history: Option<&'a History>,
    /// True if the screen was opened from the fleet screen and returns to it.
    pub nested: bool,
}

/// Position in a log, and the state of its playback.
#[derive(Clone, Copy)]
pub struct Scrub<'a> {
    pub history: &'a History,
    /// True while the log plays, at `speed`.
    pub playing: bool,
    pub speed: &'a str,
    /// True if silences are skipped.
    pub skip: bool,
    pub position: LogPosition,
    /// Time of the frame; may be later than that of the last message.
    pub at: Option<Millis>,
    /// True at the end of the log.
    pub ended: bool,
    /// Distance from the live end of a rewound feed, in milliseconds (`None` without times) and in
    /// lines.
    pub behind: Option<(Option<Millis>, u64)>,
    /// Indexed share of the log, 0 to 1, while it is indexed; 0 if unknown.
    pub indexing: Option<f64>,
}

impl RunInput<'_> {
    /// Returns the audience of advice: the run of a pipeline, if the screen was opened from the
    /// fleet.
    #[must_use]
    pub fn audience(&self) -> Audience {
        if self.nested { Audience::Pipeline } else { Audience::Screen }
    }

    /// True if the feed has neither ended nor been closed.
    #[must_use]
    pub fn running(&self) -> bool {
        !self.progress.closed && self.progress.attempt.end.is_none()
    }

    /// Returns an explanation if no line was understood and no new line arrived for a moment.
    #[must_use]
    pub fn unreadable(&self) -> Option<String> {
        unreadable_feed_warning(self.progress, self.age.is_some_and(|age| age >= UNREADABLE_AFTER_MS))
    }

    /// Returns the milliseconds since the last line, if the feed has been silent for too long.
    #[must_use]
    pub fn silent(&self) -> Option<u64> {
        self.age.filter(|age| *age >= synctop_core::report::text::SILENT_MS && self.running())
    }

    /// Returns the time by which stalls are detected, or `None` after the end.
    #[must_use]
    pub fn stall_clock(&self) -> Option<Millis> {
        self.now.filter(|_| self.running())
    }
}
