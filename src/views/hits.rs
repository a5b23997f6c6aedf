//! Targets of clicks, and the hit areas of a frame.

use crate::views::action::Action;
use crate::views::ui::{MAX_PANES, ScreenTypes, Ui, position};
use ratatui::layout::{Position, Rect};
use strum::VariantArray as _;

/// Target of a click.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClickTarget<S: ScreenTypes> {
    Pane(S::Pane),
    Row(S::Pane, S::Key),
    Column(S::Column),
    Do(Action<S::Action>),
    /// Row of a list in an overlay.
    Entry(usize),
    /// Bar of the scrubber.
    Scrub,
    /// Rule between the columns, or above the preview: dragging resizes.
    Divider(Divider),
    /// Inside of an overlay: hides the targets below it.
    Nothing,
}

/// Rule that can be dragged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Divider {
    Left,
    Preview,
}

/// Hit areas of a frame, and the scroll position of each list.
#[derive(Debug, Clone)]
pub struct Hits<S: ScreenTypes> {
    places: Vec<(Rect, ClickTarget<S>)>,
    /// First visible row and rows per page of each pane.
    pages: [Option<(usize, usize)>; MAX_PANES],
    /// Maximum scroll position of the topmost overlay, and its rows per page.
    pub overlay: (usize, usize),
    /// Rectangle of the scrubber bar.
    pub scrub: Option<Rect>,
    /// Rectangle of all panes, and that of the column with the preview.
    pub body: Rect,
    pub left: Rect,
    /// Height of the preview.
    pub preview: u16,
    /// Columns and rows of the frame.
    pub size: (u16, u16),
}

impl<S: ScreenTypes> Default for Hits<S> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            pages: [None; MAX_PANES],
            overlay: (0, 0),
            scrub: None,
            body: Rect::ZERO,
            left: Rect::ZERO,
            preview: 0,
            size: (u16::MAX, u16::MAX),
        }
    }
}

impl<S: ScreenTypes> Hits<S> {
    pub fn add(&mut self, place: Rect, target: ClickTarget<S>) {
        self.places.push((place, target));
    }

    /// Returns the topmost target at a position.
    #[must_use]
    pub fn at(&self, column: u16, row: u16) -> Option<&ClickTarget<S>> {
        let here = |place: &Rect| place.contains(Position { x: column, y: row });
        self.places.iter().rev().find(|(place, _)| here(place)).map(|(_, target)| target)
    }

    /// Records the first visible row of a pane, and its rows per page.
    pub fn page(&mut self, pane: S::Pane, top: usize, page: usize) {
        if let Some(slot) = self.pages.get_mut(position(pane)) {
            *slot = Some((top, page));
        }
    }

    /// Returns the first visible row of a pane; `None` if the frame does not show the pane.
    #[must_use]
    pub fn top(&self, pane: S::Pane) -> Option<usize> {
        self.pages.get(position(pane)).copied().flatten().map(|(top, _)| top)
    }

    /// Takes over the scroll positions that the frame has corrected.
    pub fn keep_tops(&self, ui: &mut Ui<S>) {
        for &pane in S::Pane::VARIANTS {
            if let Some(top) = self.top(pane) {
                ui.list_mut(pane).top = top;
            }
        }
    }

    /// Returns the rows per page of a pane, at least 1.
    #[must_use]
    pub fn rows(&self, pane: S::Pane) -> usize {
        self.pages.get(position(pane)).copied().flatten().map_or(1, |(_, page)| page.max(1))
    }
}
