//! Types and data of the fleet screen. All its views depend on this module.

use crate::views::action::KeyContext;
use crate::views::ui::{ScreenFrame, SheetState, Ui};
use crate::views::widgets::theme::Look;
use std::collections::BTreeSet;
use std::sync::Arc;
use strum::VariantArray as _;
use synctop_core::fleet::bulk::Bulk;
use synctop_core::fleet::verify::PipelineAction;
use synctop_core::fleet::wire::NodeBody;
use synctop_core::fleet::{ActionRecord, Fleet, Inbox, PipelineGroup};
use synctop_core::protocol::Millis;
use synctop_core::protocol::clean::typed;
use tui_input::Input;

/// Types of the fleet screen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FleetTypes;

pub type FleetUi = Ui<FleetTypes>;
pub type FleetFrame<'a, 'm> = ScreenFrame<'a, 'm, FleetTypes>;
pub type FleetHits = crate::views::hits::Hits<FleetTypes>;
pub type FleetOverlay = crate::views::ui::Overlay<FleetTypes>;

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
    /// First visible line of the list of pipelines.
    pub top: usize,
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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunRow {
    pub number: u64,
    pub started_at: Option<Millis>,
    pub elapsed_ms: Option<u64>,
    pub records: Option<u64>,
    /// State of the task and outcome of the run, in lower case.
    pub outcome: String,
    /// Cause of a run that did not succeed.
    pub message: Option<String>,
    /// `None` while it runs.
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

/// Nodes of the service, which are requested while their overlay is open.
#[derive(Debug, Clone)]
pub enum NodeRows {
    Loading,
    Loaded(Vec<NodeBody>),
    /// Reason that they cannot be shown.
    Failed(String),
}

/// Overlay of the fleet screen alone.
#[derive(Debug, Clone)]
pub enum FleetSheet {
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
    Nodes {
        rows: NodeRows,
        top: usize,
    },
    Contexts {
        names: Vec<(String, String)>,
        chosen: usize,
    },
    Confirm(Box<Confirm>),
    /// Note of an acknowledgment, being typed.
    Note {
        fingerprint: Arc<str>,
        input: Input,
    },
}

impl SheetState for FleetSheet {
    fn scroll(&mut self) -> Option<&mut usize> {
        match self {
            Self::Pipeline { top, .. }
            | Self::Error { top, .. }
            | Self::ActionRecord { top, .. }
            | Self::Nodes { top, .. } => Some(top),
            Self::Confirm(confirm) => Some(&mut confirm.top),
            Self::Runs { .. } | Self::Contexts { .. } | Self::Note { .. } => None,
        }
    }

    fn selection(&mut self) -> Option<(&mut usize, usize)> {
        match self {
            Self::Runs { rows, chosen, .. } => {
                let count = if let RunRows::Loaded(rows) = rows { rows.len() } else { 0 };
                Some((chosen, count))
            }
            Self::Contexts { names, chosen } => {
                let count = names.len();
                Some((chosen, count))
            }
            _ => None,
        }
    }

    fn input(&mut self) -> Option<&mut Input> {
        match self {
            Self::Note { input, .. } => Some(input),
            Self::Confirm(confirm) => {
                let Confirm { why, input, word, typing_why, .. } = &mut **confirm;
                if *typing_why { Some(why) } else { word.is_some().then_some(input) }
            }
            _ => None,
        }
    }

    /// A name that confirms an action has to be typed.
    fn accepts_paste(&self) -> bool {
        !matches!(self, Self::Confirm(confirm) if !confirm.typing_why)
    }

    fn context(&self) -> KeyContext {
        match self {
            Self::Note { .. } => KeyContext::Prompt,
            Self::Confirm(confirm) if confirm.typing_why || confirm.word.is_some() => KeyContext::Prompt,
            Self::Confirm(_) => KeyContext::Dialog,
            _ => KeyContext::Panes,
        }
    }
}

/// Step of the checklist, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray)]
pub enum ChecklistStep {
    Find,
    LeadUp,
    Fix,
    Canary,
    Verify,
    Note,
}

/// Steps that are done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checklist {
    done: [bool; ChecklistStep::VARIANTS.len()],
}

impl Checklist {
    pub fn tick(&mut self, step: ChecklistStep) {
        if let Some(done) = self.done.get_mut(step as usize) {
            *done = true;
        }
    }

    #[must_use]
    pub fn is_done(&self, step: ChecklistStep) -> bool {
        self.done.get(step as usize).copied().unwrap_or(false)
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.done.iter().filter(|done| **done).count()
    }
}

/// State of the fleet screen alone.
#[derive(Debug, Clone, Default)]
pub struct FleetUiState {
    pub marked: BTreeSet<Arc<str>>,
    /// True if resolved errors are shown too.
    pub closed: bool,
    /// Checklist of the demo; `None` for other services, and once it is hidden.
    pub checklist: Option<Checklist>,
}

impl FleetUiState {
    /// Ticks off a step of the checklist, if it is shown.
    pub fn tick(&mut self, step: ChecklistStep) {
        if let Some(checklist) = &mut self.checklist {
            checklist.tick(step);
        }
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

/// Data of one frame as they come from outside.
#[derive(Clone, Copy)]
pub struct FleetInput<'a> {
    pub fleet: &'a Fleet,
    pub inbox: &'a Inbox,
    pub actions: &'a [ActionRecord],
    pub bulk: Option<&'a Bulk>,
    pub look: &'a Look,
    /// Name of the context, or the host.
    pub name: &'a str,
    pub address: &'a str,
    /// Arguments that select the service in a command.
    pub argument: &'a str,
    pub color: Option<&'a str>,
    /// Name and address of each configured context.
    pub contexts: &'a [(String, String)],
    pub is_demo: bool,
    pub now: Millis,
    pub link: ServiceLink<'a>,
    /// Description of the reads, such as `polling every 5 s`.
    pub link_text: &'a str,
    /// Requests per second, and their limit.
    pub rate: (f64, f64),
    /// Interval of reads of the list, in milliseconds.
    pub list_interval: Millis,
    pub armed: Armed,
    /// True if the service has tasks: past runs, runs on request, retries of failed streams.
    pub tasks: bool,
    /// Actions on single pipelines under verification: action, pipeline, start.
    pub acting: &'a [(PipelineAction, Arc<str>, Millis)],
    /// Error of the state database, if errors and actions cannot be stored.
    pub store_error: Option<&'a str>,
}

/// Read intervals after which data count as late.
const LATE_INTERVALS: Millis = 3;
/// Minimum age of late data, in milliseconds.
const LATE_MS: Millis = 5_000;

impl FleetInput<'_> {
    /// True while an action has no result.
    #[must_use]
    pub fn has_pending_actions(&self) -> bool {
        !self.acting.is_empty() || self.bulk.is_some_and(|bulk| !bulk.is_finished())
    }

    /// True if the link is live and the data are not late.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let late = self.list_interval.saturating_mul(LATE_INTERVALS).max(LATE_MS);
        self.link == ServiceLink::Live && self.fleet.listed_at.is_some_and(|at| self.now.saturating_sub(at) <= late)
    }
}
