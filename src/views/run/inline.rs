//! Inline view of a feed for `tee`, `run` and `backfill`: the header of the run screen and the last
//! log line.

use crate::views::run::model::RunModel;
use crate::views::run::state::{RunFrame, RunHits, RunInput, RunUi};
use crate::views::run::{header, log};
use crate::views::widgets::canvas::{Pen, blank_hidden_characters};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Screen height assumed for the header: it limits the cause to two lines.
const ASSUMED_HEIGHT: u16 = 23;

/// Draws the inline view into a new buffer of this width and the height it needs.
#[must_use]
pub fn inline(input: RunInput, width: u16) -> Buffer {
    let (ui, look) = (RunUi::default(), *input.look);
    let model = RunModel::new(input, &ui);
    let screen = RunFrame { model: &model, ui: &ui };
    let facts = header::RunHeader::new(&screen, Rect { width, height: ASSUMED_HEIGHT, ..Rect::ZERO }, false);
    let head = facts.height();
    let last = u16::from(!screen.progress.feed.lines().is_empty());
    let area = Rect { width, height: head + last, ..Rect::ZERO };
    let mut buffer = Buffer::empty(area);
    let mut pen = Pen::new(&mut buffer, area, &look);
    header::draw(&mut pen.at(Rect { height: head, ..area }), &screen, &facts);
    if last > 0 {
        log::last_line(&mut pen.at(Rect { y: head, height: 1, ..area }), &screen, &mut RunHits::default());
    }
    blank_hidden_characters(&mut buffer, area);
    buffer
}
