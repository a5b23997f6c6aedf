//! State of the fleet screen: focus, selection, filters; and its model.

use crate::views::state::Filter;
use crate::views::theme::Look;
use std::collections::BTreeSet;
use std::sync::Arc;
use synctop_core::fleet::bulk::Bulk;
use synctop_core::fleet::verify::PipelineAction;
use synctop_core::fleet::{ActionRecord, Fleet, Inbox, PipelineGroup};
use synctop_core::protocol::Millis;
use synctop_core::protocol::clean::typed;
use tui_input::Input;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, strum::VariantArray)]
pub enum FleetPane {
    #[default]
    Pipelines,
    /// Errors of all pipelines.
    Errors,
    /// Action log.
    Actions,
    /// Bulk action.
    Bulk,
}

impl FleetPane {
    #[must_use]
    pub fn place(self) -> usize {
        self as usize
    }
}

/// Identity of a row, independent of its position.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RowKey {
    Head(PipelineGroup),
    /// A pipeline, an error by its fingerprint, an action by its number.
    Id(Arc<str>),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, strum::Display, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum FleetColumn {
    #[default]
    Name,
    Status,
    Records,
    Rate,
    #[strum(serialize = "ranges")]
    Coverage,
    #[strum(serialize = "last activity")]
    Age,
}

impl FleetColumn {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// List state: selection, scroll position, filter.
#[derive(Debug, Clone, Default)]
pub struct FleetList {
    pub chosen: Option<RowKey>,
    pub top: usize,
    pub filter: Filter,
}

/// Something that is about to be done.
#[derive(Debug, Clone)]
pub struct Confirm {
    pub action: PipelineAction,
    /// With the error that each has.
    pub targets: Vec<(Arc<str>, Option<Arc<str>>)>,
    /// Those that would refuse it, because they are parked or paused.
    pub left_out: Vec<Arc<str>>,
    /// Word to type for confirmation; without one: `y`.
    pub word: Option<String>,
    pub input: Input,
    /// Reason for the action log, and whether it is being edited.
    pub why: Input,
    pub typing_why: bool,
    /// The command that does the same.
    pub command: String,
}

impl Confirm {
    /// The command that does the same, as it is typed.
    #[must_use]
    pub fn whole(&self) -> String {
        match self.why.value().trim() {
            "" => self.command.clone(),
            why => format!("{} --why {}", self.command, typed(why)),
        }
    }
}

/// A past run, to be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    pub number: u64,
    pub text: String,
    pub good: Option<bool>,
}

/// Overlay above the panes; the last one has the keys.
#[derive(Debug, Clone)]
pub enum FleetOverlay {
    Help {
        top: usize,
    },
    Palette {
        input: Input,
        chosen: usize,
    },
    Filter {
        input: Input,
        before: Filter,
    },
    /// All that is known of a pipeline.
    Pipeline {
        id: Arc<str>,
        top: usize,
    },
    /// An error, by its fingerprint.
    Error {
        fingerprint: Arc<str>,
        top: usize,
    },
    ActionRecord {
        seq: i64,
        top: usize,
    },
    /// Past runs; none while they are asked for.
    Runs {
        id: Arc<str>,
        rows: Result<Option<Vec<RunRow>>, String>,
        chosen: usize,
    },
    Contexts {
        names: Vec<(String, String)>,
        chosen: usize,
    },
    Confirm(Box<Confirm>),
    /// Leave although something is being done?
    ConfirmQuit,
}

/// Everything of the screen that is not the fleet.
#[derive(Debug, Clone, Default)]
pub struct FleetUi {
    pub focus: FleetPane,
    pub zoomed: bool,
    pub lists: [FleetList; 4],
    pub overlays: Vec<FleetOverlay>,
    /// Groups folded or unfolded by hand.
    pub folds: [Option<bool>; 7],
    pub sort: FleetColumn,
    pub reversed: bool,
    pub marked: BTreeSet<Arc<str>>,
    /// Errors that are over are shown too.
    pub closed: bool,
    pub toast: Option<String>,
    /// A line that shows a newcomer round.
    pub tour: Option<&'static str>,
}

impl FleetUi {
    #[must_use]
    pub fn list(&self, pane: FleetPane) -> &FleetList {
        match pane {
            FleetPane::Pipelines => &self.lists[0],
            FleetPane::Errors => &self.lists[1],
            FleetPane::Actions => &self.lists[2],
            FleetPane::Bulk => &self.lists[3],
        }
    }

    pub fn list_mut(&mut self, pane: FleetPane) -> &mut FleetList {
        match pane {
            FleetPane::Pipelines => &mut self.lists[0],
            FleetPane::Errors => &mut self.lists[1],
            FleetPane::Actions => &mut self.lists[2],
            FleetPane::Bulk => &mut self.lists[3],
        }
    }

    /// True if a group is folded; initially none is.
    #[must_use]
    pub fn folded(&self, group: PipelineGroup) -> bool {
        self.folds.get(group as usize).copied().flatten().unwrap_or(false)
    }
}

/// Armed state of actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Armed {
    /// The context is to be looked at only.
    Never,
    /// Not before it is armed.
    Locked,
    /// For so many milliseconds more.
    For(u64),
    Always,
}

impl Armed {
    #[must_use]
    pub fn armed(self) -> bool {
        matches!(self, Self::For(_) | Self::Always)
    }
}

/// Link state of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceLink<'a> {
    /// Nothing came yet.
    Waiting,
    Live,
    /// It does not answer, or not to us.
    Down {
        why: &'a str,
        /// Next step.
        next: &'a str,
        /// The service refuses.
        denied: bool,
        /// Time of the next attempt.
        again_at: Millis,
    },
}

/// All that one picture is drawn from.
#[derive(Clone, Copy)]
pub struct FleetScreen<'a> {
    pub fleet: &'a Fleet,
    pub inbox: &'a Inbox,
    pub actions: &'a [ActionRecord],
    pub bulk: Option<&'a Bulk>,
    pub ui: &'a FleetUi,
    pub look: &'a Look,
    /// Its context, or its host.
    pub name: &'a str,
    pub address: &'a str,
    pub colour: Option<&'a str>,
    pub now: Millis,
    pub link: ServiceLink<'a>,
    /// `polling every 5 s`.
    pub how: &'a str,
    /// Requests a second, and how many there may be.
    pub rate: (f64, f64),
    /// Interval of list reads in milliseconds.
    pub every: Millis,
    pub armed: Armed,
    /// Actions on single pipelines under verification: action, pipeline, start.
    pub acting: &'a [(PipelineAction, Arc<str>, Millis)],
    /// Data that could not be stored, and the reason.
    pub unkept: Option<&'a str>,
}

/// Intervals after which data are late, and the minimum in milliseconds.
const LATE: Millis = 3;
const LATE_MS: Millis = 5_000;

impl FleetScreen<'_> {
    /// True if the data are current: rates are valid.
    #[must_use]
    pub fn fresh(&self) -> bool {
        let late = self.every.saturating_mul(LATE).max(LATE_MS);
        self.link == ServiceLink::Live && self.fleet.listed_at.is_some_and(|at| self.now.saturating_sub(at) <= late)
    }
}
