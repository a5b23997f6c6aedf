//! Inline view of a feed beside a pipeline: the header of the full screen, and the last line of the
//! log.

use super::pen::Pen;
use super::state::{Hits, Screen};
use super::{header, log};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Height that the head is made for: short enough for a cause of one or two lines.
const AS_IF: u16 = 23;

/// The picture, as wide as asked and as high as it needs.
#[must_use]
pub fn inline(screen: &Screen, width: u16) -> Buffer {
    let facts = header::RunHeader::new(screen, Rect { width, height: AS_IF, ..Rect::ZERO }, false);
    let head = facts.height();
    let last = u16::from(!screen.progress.feed.lines().is_empty());
    let area = Rect { width, height: head + last, ..Rect::ZERO };
    let mut buffer = Buffer::empty(area);
    let mut pen = Pen::new(&mut buffer, area, screen.look);
    header::draw(&mut pen.at(Rect { height: head, ..area }), screen, &facts);
    if last > 0 {
        log::last_line(&mut pen.at(Rect { y: head, height: 1, ..area }), screen, &mut Hits::default());
    }
    super::screen::harmless(&mut buffer, area);
    buffer
}
