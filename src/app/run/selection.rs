//! Selected row of the streams pane.

use crate::views::run::rows::{Rows, rows};
use crate::views::{Pane, Screen};

/// Returns the rows of the streams pane and the index of the selected one.
pub(crate) fn chosen_row(screen: &Screen) -> (Rows, usize) {
    let all = rows(screen);
    let place = all.place(screen, screen.ui.list(Pane::Streams).chosen.as_ref());
    (all, place)
}
