//! State of the run screen: focus, selection, filters, overlays. Below everything drawn.

use super::action::Action;
use super::rows::StreamGroup;
use ratatui::layout::Rect;
use regex::{Regex, RegexBuilder};
use std::sync::Arc;
use strum::VariantArray as _;
use synctop_core::protocol::{Level, Millis};
use synctop_core::reduce::history::{History, LogPosition};
use synctop_core::reduce::{Link, Progress};
use synctop_core::report::{resumed, unreadable_feed_warning, verdict_remedy};
use tui_input::Input;
use tui_logger::TuiWidgetState;

/// Time without another line after which the input so far is judged.
const UNREADABLE_MS: u64 = 900;

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
    /// A stream, by its key.
    Stream(String),
    /// An error group, by its id.
    Error(u64),
    /// A doubt, by its kind and stream.
    Doubt(synctop_core::reduce::DoubtKind, Option<Arc<str>>),
    /// A feed line, by its number among all of them.
    Line(u64),
}

/// List state: selection, scroll position, filter.
#[derive(Debug, Clone, Default)]
pub struct List {
    pub chosen: Option<Chosen>,
    pub top: usize,
    pub filter: Filter,
}

/// A pattern; empty lets everything through.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub text: String,
    pattern: Option<Regex>,
    negated: bool,
    /// Error of the pattern.
    pub bad: Option<String>,
}

impl Filter {
    /// A regular expression, without regard to case unless it has a capital; `!` before it negates.
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

    /// True if the filter matches one of these texts, so that `^` and `$` anchor each of them.
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

/// Overlay above the panes; the last one has the keys.
#[derive(Debug, Clone)]
pub enum Overlay {
    Help {
        top: usize,
    },
    Palette {
        input: Input,
        chosen: usize,
    },
    /// Filter being edited, and its former value.
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
    /// Place being typed, and its error.
    Goto {
        input: Input,
        bad: Option<String>,
    },
    /// Quit although our engine runs?
    ConfirmQuit,
}

/// Everything of the screen that is not the feed.
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
    pub frozen: bool,
    /// It was opened from the fleet, and goes back there.
    pub nested: bool,
    /// Notice about the last action.
    pub toast: Option<String>,
    /// The diagnostics show their list of targets.
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

/// All that one picture is drawn from.
#[derive(Clone, Copy)]
pub struct Screen<'a> {
    pub progress: &'a Progress,
    pub link: &'a Link,
    pub ui: &'a Ui,
    pub look: &'a super::theme::Look,
    /// Source in the user's words.
    pub source: &'a str,
    /// An engine of ours runs.
    pub engine_runs: bool,
    /// Engine's clock at this moment: the last message's time and the time passed since.
    pub now: Option<Millis>,
    /// Milliseconds since the last line came.
    pub age: Option<u64>,
    /// Milliseconds that synctop has watched.
    pub watched: u64,
    /// Position of the picture in its log; `None`: now.
    pub scrub: Option<Scrub<'a>>,
}

/// A picture of some instant of a log.
#[derive(Clone, Copy)]
pub struct Scrub<'a> {
    pub history: &'a History,
    /// The clock goes, so fast.
    pub playing: bool,
    pub speed: &'a str,
    /// Silences are passed over.
    pub skip: bool,
    pub position: LogPosition,
    /// The instant; it may lie after the last message.
    pub at: Option<Millis>,
    /// It is the end.
    pub ended: bool,
    /// Of a feed that goes on: how far it is behind, in milliseconds and in lines.
    pub behind: Option<(Option<Millis>, u64)>,
    /// Indexed share of the log, 0 to 1, during indexing; 0: unknown.
    pub indexing: Option<f64>,
    /// The log cannot be read where it lies: it is unpacked into a temporary file.
    pub spooled: bool,
}

impl Screen<'_> {
    /// Advice: the run of a pipeline is not started again, its pipeline is resumed.
    #[must_use]
    pub fn advised(&self, advice: String) -> String {
        if self.ui.nested { resumed(&advice) } else { advice }
    }

    /// Next step for an error.
    #[must_use]
    pub fn remedy(&self, error: &synctop_core::reduce::ErrorGroup) -> String {
        self.advised(verdict_remedy(self.progress, error))
    }

    /// Neither ended nor closed: time goes on.
    #[must_use]
    pub fn running(&self) -> bool {
        !self.progress.closed && self.progress.attempt.end.is_none()
    }

    /// Nothing that came was understood, and for a moment nothing more came.
    #[must_use]
    pub fn unreadable(&self) -> Option<String> {
        unreadable_feed_warning(self.progress, self.age.is_some_and(|age| age >= UNREADABLE_MS))
    }

    /// For how long the whole feed has been silent, once that is no longer a pause.
    #[must_use]
    pub fn silent(&self) -> Option<u64> {
        self.age.filter(|age| *age >= synctop_core::report::text::SILENT_MS && self.running())
    }

    /// The clock by which streams are judged to stand still; none once it is over.
    #[must_use]
    pub fn judged_at(&self) -> Option<Millis> {
        self.now.filter(|_| self.running())
    }
}

/// Target of a click.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClickTarget {
    Pane(Pane),
    Row(Pane, Chosen),
    Column(Column),
    Do(Action),
    /// A pane, a row and a column of the fleet.
    FleetPane(super::fleet::FleetPane),
    FleetRow(super::fleet::FleetPane, super::fleet::RowKey),
    FleetColumn(super::fleet::FleetColumn),
    /// The line of the scrubber.
    Scrub,
    /// Inside an overlay: no target, but not the one below it either.
    Nothing,
}

/// Hit areas of the picture, and the scroll position of each list.
#[derive(Debug, Clone, Default)]
pub struct Hits {
    places: Vec<(Rect, ClickTarget)>,
    pub tops: [Option<usize>; 5],
    /// Rows a page of each list has.
    pub pages: [usize; 5],
    /// Scroll range of the topmost overlay, and its page.
    pub overlay: (usize, usize),
    /// The line of the scrubber.
    pub scrub: Option<Rect>,
}

impl Hits {
    pub fn add(&mut self, place: Rect, target: ClickTarget) {
        self.places.push((place, target));
    }

    /// Topmost hit area at a position.
    #[must_use]
    pub fn at(&self, column: u16, row: u16) -> Option<&ClickTarget> {
        let here = |place: &Rect| place.contains(ratatui::layout::Position { x: column, y: row });
        self.places.iter().rev().find(|(place, _)| here(place)).map(|(_, target)| target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_negate_ignore_case_and_say_what_is_bad() {
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
