//! State of the run screen: focus, selection, filters, overlays. All views depend on this module.

use crate::views::run::stream_group::StreamGroup;
use regex::{Regex, RegexBuilder};
use std::sync::Arc;
use strum::VariantArray as _;
use synctop_core::protocol::{Level, Millis};
use synctop_core::reduce::history::{History, LogPosition};
use synctop_core::reduce::{Link, Progress};
use synctop_core::report::{Advice, Audience, unreadable_feed_warning};
use tui_input::Input;
use tui_logger::TuiWidgetState;

/// Time without a new line after which input without any message counts as unreadable, in
/// milliseconds.
const UNREADABLE_AFTER_MS: u64 = 900;

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

    #[must_use]
    pub fn place(self) -> usize {
        Self::VARIANTS.iter().position(|pane| *pane == self).unwrap_or(0)
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

/// List state: selection, scroll position, filter.
#[derive(Debug, Clone, Default)]
pub struct List {
    pub chosen: Option<Chosen>,
    pub top: usize,
    pub filter: Filter,
}

/// Filter of a list. An empty filter keeps everything.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub text: String,
    pattern: Option<Regex>,
    negated: bool,
    /// Error of the pattern.
    pub bad: Option<String>,
}

impl Filter {
    /// Compiles a regular expression. It ignores case unless it has a capital letter; a leading `!`
    /// negates it. If the expression is invalid, `bad` has the error and everything is kept.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let (negated, body) = match text.strip_prefix('!') {
            Some(body) => (true, body),
            None => (false, text),
        };
        let mut filter = Self { text: text.to_owned(), negated, ..Self::default() };
        if body.is_empty() {
            return filter;
        }
        let any_case = !body.chars().any(char::is_uppercase);
        match RegexBuilder::new(body).case_insensitive(any_case).size_limit(1 << 20).build() {
            Ok(pattern) => filter.pattern = Some(pattern),
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                filter.bad = Some(last);
            }
        }
        filter
    }

    #[must_use]
    pub fn active(&self) -> bool {
        self.pattern.is_some()
    }

    #[must_use]
    pub fn keeps(&self, text: &str) -> bool {
        self.keeps_any([text])
    }

    /// True if the filter matches at least one of the texts (none if negated). `^` and `$` anchor
    /// at each text.
    #[must_use]
    pub fn keeps_any<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| texts.into_iter().any(|text| pattern.is_match(text)) != self.negated)
    }
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

/// Overlay above the panes. The topmost overlay receives the keys.
#[derive(Debug, Clone)]
pub enum Overlay {
    Help {
        top: usize,
    },
    Palette {
        input: Input,
        chosen: usize,
    },
    /// Filter being edited, and its previous value.
    Filter {
        input: Input,
        before: Filter,
    },
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
    /// Position being typed, and its error.
    Goto {
        input: Input,
        bad: Option<String>,
    },
    /// Confirmation of quitting while an engine that synctop started still runs.
    ConfirmQuit,
}

/// State of the screen that does not come from the feed.
#[derive(Clone)]
pub struct Ui {
    pub focus: Pane,
    pub zoomed: bool,
    pub lists: [List; 5],
    pub overlays: Vec<Overlay>,
    /// Groups folded or unfolded by hand.
    pub folds: [Option<bool>; 6],
    pub sort: Column,
    pub reversed: bool,
    /// Lowest level shown in the feed's log.
    pub level: Level,
    /// True while the frame is frozen and counting continues.
    pub frozen: bool,
    /// True if the screen was opened from the fleet screen and returns to it.
    pub nested: bool,
    /// Notice about the last action.
    pub toast: Option<String>,
    /// True if the diagnostics pane shows its list of targets.
    pub targets: bool,
    pub diagnostics: Arc<TuiWidgetState>,
}

impl std::fmt::Debug for Ui {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self { focus, zoomed, lists, overlays, sort, .. } = self;
        f.debug_struct("Ui")
            .field("focus", focus)
            .field("zoomed", zoomed)
            .field("lists", lists)
            .field("overlays", overlays)
            .field("sort", sort)
            .finish_non_exhaustive()
    }
}

impl Default for Ui {
    fn default() -> Self {
        Self {
            focus: Pane::Streams,
            zoomed: false,
            lists: Default::default(),
            overlays: Vec::new(),
            folds: [None; 6],
            sort: Column::Name,
            reversed: false,
            level: Level::Info,
            frozen: false,
            nested: false,
            toast: None,
            targets: false,
            diagnostics: Arc::new(TuiWidgetState::new()),
        }
    }
}

impl Ui {
    #[must_use]
    pub fn list(&self, pane: Pane) -> &List {
        match pane {
            Pane::Streams => &self.lists[0],
            Pane::Errors => &self.lists[1],
            Pane::Doubts => &self.lists[2],
            Pane::Log => &self.lists[3],
            Pane::Diagnostics => &self.lists[4],
        }
    }

    pub fn list_mut(&mut self, pane: Pane) -> &mut List {
        match pane {
            Pane::Streams => &mut self.lists[0],
            Pane::Errors => &mut self.lists[1],
            Pane::Doubts => &mut self.lists[2],
            Pane::Log => &mut self.lists[3],
            Pane::Diagnostics => &mut self.lists[4],
        }
    }

    #[must_use]
    pub fn folded(&self, group: StreamGroup) -> bool {
        self.folds.get(group as usize).copied().flatten().unwrap_or(group == StreamGroup::Pending)
    }
}

/// Input of one frame.
#[derive(Clone, Copy)]
pub struct Screen<'a> {
    pub progress: &'a Progress,
    pub link: &'a Link,
    pub ui: &'a Ui,
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
    /// True if the log is copied into a temporary file, because it cannot be read in place.
    pub spooled: bool,
}

impl Screen<'_> {
    /// Returns the audience of advice: the run of a pipeline, if the screen was opened from the
    /// fleet.
    #[must_use]
    pub fn audience(&self) -> Audience {
        if self.ui.nested { Audience::Pipeline } else { Audience::Screen }
    }

    /// Returns the next step for an error.
    #[must_use]
    pub fn remedy(&self, error: &synctop_core::reduce::ErrorGroup) -> String {
        Advice::for_error(self.progress, error).text(self.audience())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_negate_ignore_case_and_report_errors() {
        assert!(Filter::new("char").keeps("Charges"));
        assert!(!Filter::new("Char").keeps("charges"));
        assert!(!Filter::new("!char").keeps("charges"));
        assert!(Filter::new("!char").keeps("refunds"));
        assert!(Filter::new("").keeps("x") && Filter::new("!").keeps("x"));
        let bad = Filter::new("a(b");
        assert!(bad.bad.as_deref().is_some_and(|why| why.contains("unclosed")), "{:?}", bad.bad);
        assert!(bad.keeps("anything") && !bad.active());
    }
}
