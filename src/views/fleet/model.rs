//! Everything that one frame of the fleet screen derives from its input, computed once.

use crate::views::action::Binding;
use crate::views::fleet::action::{FLEET_ACTIONS, FleetAction};
use crate::views::fleet::rows::{FleetRow, FleetRows, rows};
use crate::views::fleet::state::{
    FleetColumn, FleetInput, FleetPane, FleetSheet, FleetTypes, FleetUi, FleetUiState, RowKey,
};
use crate::views::fleet::{actions, inbox};
use crate::views::ui::{ListModel, ScreenTypes};
use std::sync::Arc;
use synctop_core::fleet::inbox::InboxItem;
use synctop_core::fleet::{ActionRecord, PipelineGroup, Watched};

/// Input of a frame with its rows.
pub struct FleetModel<'a> {
    pub input: FleetInput<'a>,
    pub rows: FleetRows<'a>,
    /// Errors that the filter keeps.
    pub errors: Vec<&'a Arc<InboxItem>>,
    /// Actions that the filter keeps, newest first.
    pub records: Vec<&'a ActionRecord>,
}

impl<'a> std::ops::Deref for FleetModel<'a> {
    type Target = FleetInput<'a>;

    fn deref(&self) -> &Self::Target {
        &self.input
    }
}

impl ScreenTypes for FleetTypes {
    type Action = FleetAction;
    type Pane = FleetPane;
    type Key = RowKey;
    type Column = FleetColumn;
    type Group = PipelineGroup;
    type Sheet = FleetSheet;
    type State = FleetUiState;
    type Model<'a> = FleetModel<'a>;

    const ACTIONS: &'static [Binding<FleetAction>] = FLEET_ACTIONS;
}

impl ListModel<FleetTypes> for FleetModel<'_> {
    fn len(&self, pane: FleetPane) -> usize {
        match pane {
            FleetPane::Pipelines => self.rows.rows.len(),
            FleetPane::Errors => self.errors.len(),
            FleetPane::Actions => self.records.len(),
            FleetPane::Bulk => self.bulk.map_or(0, |bulk| bulk.items.len()),
        }
    }

    fn key(&self, pane: FleetPane, index: usize) -> Option<RowKey> {
        match pane {
            FleetPane::Pipelines => match self.rows.rows.get(index)? {
                FleetRow::Note(..) => None,
                row => Some(row.key()),
            },
            FleetPane::Errors => self.errors.get(index).map(|item| inbox::key(item)),
            FleetPane::Actions => self.records.get(index).map(|record| actions::key(record)),
            FleetPane::Bulk => self.bulk?.items.get(index).map(|item| RowKey::Id(Arc::clone(&item.id))),
        }
    }

    fn place(&self, pane: FleetPane, chosen: Option<&RowKey>) -> usize {
        if pane == FleetPane::Pipelines {
            return self.rows.place(chosen);
        }
        let found =
            chosen.and_then(|chosen| (0..self.len(pane)).find(|at| self.key(pane, *at).as_ref() == Some(chosen)));
        // A running bulk action shows its newest step.
        found.unwrap_or_else(|| if pane == FleetPane::Bulk { self.newest_step() } else { 0 })
    }

    fn group(&self, index: usize) -> Option<(PipelineGroup, RowKey)> {
        let group = self.rows.rows.get(index)?.group();
        Some((group, RowKey::Head(group)))
    }
}

impl<'a> FleetModel<'a> {
    #[must_use]
    pub fn new(input: FleetInput<'a>, ui: &FleetUi) -> Self {
        Self { rows: rows(&input, ui), errors: inbox::items(&input, ui), records: actions::items(&input, ui), input }
    }

    fn newest_step(&self) -> usize {
        use synctop_core::fleet::bulk::BulkStep;
        let begun = |step: &BulkStep| !matches!(step, BulkStep::Waiting | BulkStep::HeldBack);
        self.bulk.and_then(|bulk| bulk.items.iter().rposition(|item| begun(&item.step))).unwrap_or(0)
    }

    /// Returns the selected row of the pipelines.
    #[must_use]
    pub fn chosen_row(&self, ui: &FleetUi) -> Option<FleetRow<'a>> {
        self.rows.rows.get(self.place(FleetPane::Pipelines, ui.list(FleetPane::Pipelines).chosen.as_ref())).copied()
    }

    /// Returns the selected pipeline; `None` if a group is selected.
    #[must_use]
    pub fn chosen_pipeline(&self, ui: &FleetUi) -> Option<&'a Arc<Watched>> {
        self.chosen_row(ui).and_then(FleetRow::pipeline)
    }

    /// Returns the selected error.
    #[must_use]
    pub fn chosen_error(&self, ui: &FleetUi) -> Option<&'a Arc<InboxItem>> {
        self.errors.get(self.place(FleetPane::Errors, ui.list(FleetPane::Errors).chosen.as_ref())).copied()
    }

    /// Returns the selected action.
    #[must_use]
    pub fn chosen_record(&self, ui: &FleetUi) -> Option<&'a ActionRecord> {
        self.records.get(self.place(FleetPane::Actions, ui.list(FleetPane::Actions).chosen.as_ref())).copied()
    }

    /// Returns the pipeline of the open overlay or of the selected row; `None` if there is none.
    #[must_use]
    pub fn subject(&self, ui: &FleetUi) -> Option<Arc<str>> {
        let of_record = |pipeline: &str| self.fleet.pipelines.get_key_value(pipeline).map(|(id, _)| Arc::clone(id));
        match ui.sheet() {
            Some(FleetSheet::Pipeline { id, .. } | FleetSheet::Runs { id, .. }) => return Some(Arc::clone(id)),
            Some(FleetSheet::ActionRecord { seq, .. }) => {
                let record = self.actions.iter().find(|record| record.seq == *seq)?;
                return of_record(&record.pipeline);
            }
            _ => {}
        }
        match ui.focus {
            FleetPane::Actions => of_record(&self.chosen_record(ui)?.pipeline),
            FleetPane::Pipelines => self.chosen_pipeline(ui).map(|it| Arc::clone(&it.pipeline.id)),
            FleetPane::Errors | FleetPane::Bulk => None,
        }
    }

    /// Returns the pipelines of a group that the filter keeps.
    #[must_use]
    pub fn of_group(&self, group: PipelineGroup) -> Vec<Arc<str>> {
        self.rows.kept_in.iter().filter(|(of, _)| *of == group).map(|(_, id)| Arc::clone(id)).collect()
    }
}
