//! State of the fleet screen: focus, selection, filters, overlays; and the input of a frame.

use crate::views::run::state::Filter;
use crate::views::widgets::theme::Look;
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
    /// Id of a pipeline, fingerprint of an error, or number of an action.
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

/// Action that awaits confirmation.
#[derive(Debug, Clone)]
pub struct Confirm {
    pub action: PipelineAction,
    /// Pipelines, with the fingerprint of the error of each.
    pub targets: Vec<(Arc<str>, Option<Arc<str>>)>,
    /// Pipelines that would refuse the action because they are parked or paused.
    pub left_out: Vec<Arc<str>>,
    /// Word to type for confirmation; `None` if the key `y` is enough.
    pub word: Option<String>,
    pub input: Input,
    /// Reason for the action log; `typing_why` is true while it is edited.
    pub why: Input,
    pub typing_why: bool,
    /// Equivalent command without the reason.
    pub command: String,
}

impl Confirm {
    /// Returns the equivalent command with the reason.
    #[must_use]
    pub fn whole(&self) -> String {
        match self.why.value().trim() {
            "" => self.command.clone(),
            why => format!("{} --why {}", self.command, typed(why)),
        }
    }
}

/// Past run that can be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    pub number: u64,
    pub text: String,
    pub good: Option<bool>,
}

/// Past runs of a pipeline, which are requested when their overlay opens.
#[derive(Debug, Clone)]
pub enum RunRows {
    Loading,
    Loaded(Vec<RunRow>),
    /// Reason that they cannot be shown.
    Failed(String),
}

/// Overlay above the panes. The topmost overlay receives the keys.
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
    /// Details of a pipeline.
    Pipeline {
        id: Arc<str>,
        top: usize,
    },
    /// Details of an error.
    Error {
        fingerprint: Arc<str>,
        top: usize,
    },
    ActionRecord {
        seq: i64,
        top: usize,
    },
    /// Past runs.
    Runs {
        id: Arc<str>,
        rows: RunRows,
        chosen: usize,
    },
    Contexts {
        names: Vec<(String, String)>,
        chosen: usize,
    },
    Confirm(Box<Confirm>),
    /// Confirmation of leaving while an action is being verified.
    ConfirmQuit,
}

/// State of the screen that does not come from the service.
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
    /// True if resolved errors are shown too.
    pub closed: bool,
    pub toast: Option<String>,
    /// Hint of the tour of the demo.
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

    /// True if a group is folded; groups start unfolded.
    #[must_use]
    pub fn folded(&self, group: PipelineGroup) -> bool {
        self.folds.get(group as usize).copied().flatten().unwrap_or(false)
    }
}

/// Permission state of actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Armed {
    /// The context is read-only.
    Never,
    /// Actions are disabled until they are armed.
    Locked,
    /// Actions are enabled for this many more milliseconds.
    For(u64),
    /// Actions are always enabled.
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
    /// No data have arrived yet.
    Waiting,
    Live,
    /// The service does not answer, or refuses access.
    Down {
        why: &'a str,
        /// Next step.
        next: &'a str,
        /// True if the service refuses access.
        denied: bool,
        /// Time of the next attempt.
        again_at: Millis,
    },
}

/// Input of one frame.
#[derive(Clone, Copy)]
pub struct FleetScreen<'a> {
    pub fleet: &'a Fleet,
    pub inbox: &'a Inbox,
    pub actions: &'a [ActionRecord],
    pub bulk: Option<&'a Bulk>,
    pub ui: &'a FleetUi,
    pub look: &'a Look,
    /// Name of the context, or the host.
    pub name: &'a str,
    pub address: &'a str,
    pub color: Option<&'a str>,
    pub now: Millis,
    pub link: ServiceLink<'a>,
    /// Description of the reads, such as `polling every 5 s`.
    pub link_text: &'a str,
    /// Requests per second, and their limit.
    pub rate: (f64, f64),
    /// Interval of reads of the list, in milliseconds.
    pub list_interval: Millis,
    pub armed: Armed,
    /// Actions on single pipelines under verification: action, pipeline, start.
    pub acting: &'a [(PipelineAction, Arc<str>, Millis)],
    /// Error of the state database, if errors and actions cannot be stored.
    pub store_error: Option<&'a str>,
}

/// Read intervals after which data count as late.
const LATE_INTERVALS: Millis = 3;
/// Minimum age of late data, in milliseconds.
const LATE_MS: Millis = 5_000;

impl FleetScreen<'_> {
    /// True if the link is live and the data are not late.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let late = self.list_interval.saturating_mul(LATE_INTERVALS).max(LATE_MS);
        self.link == ServiceLink::Live && self.fleet.listed_at.is_some_and(|at| self.now.saturating_sub(at) <= late)
    }
}
