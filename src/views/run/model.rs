//! Everything that one frame of the run screen derives from its input, computed once.

use crate::views::action::Binding;
use crate::views::run::action::{ACTIONS, RunAction, Travel};
use crate::views::run::errors::{self, ErrorItem};
use crate::views::run::rows::{Row, Rows, rows};
use crate::views::run::state::{Chosen, Column, Pane, RunInput, RunSheet, RunTypes, RunUi, RunUiState};
use crate::views::run::stream_group::StreamGroup;
use crate::views::run::{doubts, log};
use crate::views::ui::{ListModel, ScreenTypes};
use std::borrow::Cow;
use std::sync::Arc;
use synctop_core::reduce::{Doubt, ErrorGroup, FeedLine};
use synctop_core::report::Assessment;

/// Input of a frame with its rows, verdict and headline.
pub struct RunModel<'a> {
    pub input: RunInput<'a>,
    pub rows: Rows,
    pub errors: Vec<ErrorItem<'a>>,
    pub assessment: Cow<'a, Assessment>,
    /// Indexes of the assessment's doubts that the filter keeps.
    pub doubts: Vec<usize>,
    /// Log lines that level and filter keep, with their numbers.
    pub log: Vec<(u64, &'a Arc<FeedLine>)>,
}

impl<'a> std::ops::Deref for RunModel<'a> {
    type Target = RunInput<'a>;

    fn deref(&self) -> &Self::Target {
        &self.input
    }
}

impl<'a> RunModel<'a> {
    /// Assesses the input and derives the frame.
    #[must_use]
    pub fn new(input: RunInput<'a>, ui: &RunUi) -> Self {
        Self::assessed(input, Cow::Owned(Assessment::of(input.progress)), ui)
    }

    /// Derives the frame of an input with its assessment.
    #[must_use]
    pub fn assessed(input: RunInput<'a>, assessment: Cow<'a, Assessment>, ui: &RunUi) -> Self {
        Self {
            rows: rows(&input, ui, &assessment.digest),
            errors: errors::items(&input, ui, &assessment.digest),
            doubts: doubts::items(&assessment.doubts, ui),
            log: log::items(&input, ui),
            assessment,
            input,
        }
    }
}

impl ScreenTypes for RunTypes {
    type Action = RunAction;
    type Pane = Pane;
    type Key = Chosen;
    type Column = Column;
    type Group = StreamGroup;
    type Sheet = RunSheet;
    type State = RunUiState;
    type Model<'a> = RunModel<'a>;

    const ACTIONS: &'static [Binding<RunAction>] = ACTIONS;

    fn starts_folded(group: StreamGroup) -> bool {
        group == StreamGroup::Pending
    }

    fn seek(share: u16) -> Option<RunAction> {
        Some(RunAction::Travel(Travel::Share(share)))
    }
}

impl ListModel<RunTypes> for RunModel<'_> {
    fn len(&self, pane: Pane) -> usize {
        match pane {
            Pane::Streams => self.rows.rows.len(),
            Pane::Errors => self.errors.len(),
            Pane::Doubts => self.doubts.len(),
            Pane::Log => self.log.len(),
            Pane::Diagnostics => 0,
        }
    }

    fn key(&self, pane: Pane, index: usize) -> Option<Chosen> {
        match pane {
            Pane::Streams if matches!(self.rows.rows.get(index)?, Row::Note(..)) => None,
            Pane::Streams => self.rows.chosen(&self.input, index),
            Pane::Errors => self.errors.get(index).map(ErrorItem::chosen),
            Pane::Doubts => self.doubt(index).map(doubts::chosen),
            Pane::Log => self.log.get(index).map(|(number, _)| Chosen::Line(*number)),
            Pane::Diagnostics => None,
        }
    }

    fn place(&self, pane: Pane, chosen: Option<&Chosen>) -> usize {
        match pane {
            Pane::Streams => self.rows.place(&self.input, chosen),
            Pane::Log => log::place(&self.log, chosen),
            Pane::Errors => self.errors.iter().position(|item| Some(&item.chosen()) == chosen).unwrap_or(0),
            Pane::Doubts => self.doubts().position(|doubt| Some(&doubts::chosen(doubt)) == chosen).unwrap_or(0),
            Pane::Diagnostics => 0,
        }
    }

    fn group(&self, index: usize) -> Option<(StreamGroup, Chosen)> {
        let (Row::Head(group) | Row::Stream(_, group) | Row::Note(_, group)) = *self.rows.rows.get(index)?;
        Some((group, Chosen::Head(group)))
    }

    fn follows(&self, pane: Pane) -> bool {
        pane == Pane::Log
    }
}

impl RunModel<'_> {
    /// Returns the next step for an error.
    #[must_use]
    pub fn remedy(&self, error: &ErrorGroup) -> String {
        self.assessment.advice(self.progress, error).text(self.audience())
    }

    /// Returns the selected row of a pane.
    #[must_use]
    pub fn chosen(&self, ui: &RunUi, pane: Pane) -> Option<Chosen> {
        self.key(pane, self.place(pane, ui.list(pane).chosen.as_ref()))
    }

    /// Returns the doubts that the filter keeps.
    pub fn doubts(&self) -> impl Iterator<Item = &Doubt> {
        self.doubts.iter().filter_map(|at| self.assessment.doubts.get(*at))
    }

    /// Returns a doubt by its row.
    #[must_use]
    pub fn doubt(&self, index: usize) -> Option<&Doubt> {
        self.assessment.doubts.get(*self.doubts.get(index)?)
    }

    /// Returns the error of the selected stream if the streams have the focus, otherwise the selected
    /// error.
    #[must_use]
    pub fn related_error(&self, ui: &RunUi) -> Option<&ErrorGroup> {
        let of_stream = || {
            let Some(Chosen::Stream(key)) = self.chosen(ui, Pane::Streams) else { return None };
            self.progress.errors.get(self.progress.stream(&key)?.details.failed_group?).map(AsRef::as_ref)
        };
        let of_list = || match self.chosen_error(ui)? {
            ErrorItem::Error(group) => Some(group.as_ref()),
            ErrorItem::Retry(_) => None,
        };
        if ui.focus == Pane::Streams { of_stream().or_else(of_list) } else { of_list() }
    }

    /// Returns the selected error.
    #[must_use]
    pub fn chosen_error(&self, ui: &RunUi) -> Option<&ErrorItem<'_>> {
        self.errors.get(self.place(Pane::Errors, ui.list(Pane::Errors).chosen.as_ref()))
    }
}
