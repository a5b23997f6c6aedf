//! Targets of clicks, and the hit areas of a frame.

use crate::views::action::Action;
use crate::views::fleet::state::{FleetColumn, FleetPane, RowKey};
use crate::views::run::state::{Chosen, Column, Pane};
use ratatui::layout::Rect;

/// Target of a click.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClickTarget {
    Pane(Pane),
    Row(Pane, Chosen),
    Column(Column),
    Do(Action),
    /// Pane of the fleet screen.
    FleetPane(FleetPane),
    FleetRow(FleetPane, RowKey),
    FleetColumn(FleetColumn),
    /// Bar of the scrubber.
    Scrub,
    /// Inside of an overlay: hides the targets below it.
    Nothing,
}

/// Hit areas of a frame, and the scroll position of each list.
#[derive(Debug, Clone, Default)]
pub struct Hits {
    places: Vec<(Rect, ClickTarget)>,
    pub tops: [Option<usize>; 5],
    /// Rows per page of each list.
    pub pages: [usize; 5],
    /// Maximum scroll position of the topmost overlay, and its rows per page.
    pub overlay: (usize, usize),
    /// Rectangle of the scrubber bar.
    pub scrub: Option<Rect>,
}

impl Hits {
    pub fn add(&mut self, place: Rect, target: ClickTarget) {
        self.places.push((place, target));
    }

    /// Returns the topmost target at a position.
    #[must_use]
    pub fn at(&self, column: u16, row: u16) -> Option<&ClickTarget> {
        let here = |place: &Rect| place.contains(ratatui::layout::Position { x: column, y: row });
        self.places.iter().rev().find(|(place, _)| here(place)).map(|(_, target)| target)
    }
}
