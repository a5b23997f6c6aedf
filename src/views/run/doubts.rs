//! Doubts pane: claims that the evidence contradicts.

use crate::views::run::state::{Chosen, Pane, RunFrame, RunHits, RunUi};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::layout::Need;
use crate::views::widgets::list::{self, ListView};
use crate::views::widgets::text;
use synctop_core::format::count;
use synctop_core::reduce::Doubt;

/// Maximum lines of the text of one doubt.
const MAX_TEXT_LINES: usize = 8;

/// Returns the indexes of the doubts that the filter keeps.
#[must_use]
pub fn items(all: &[Doubt], ui: &RunUi) -> Vec<usize> {
    let filter = &ui.list(Pane::Doubts).filter;
    let text = |doubt: &Doubt| format!("{} {} {}", doubt.kind, doubt.streams.join(" "), doubt.finding);
    (0..).zip(all).filter(|(_, doubt)| !filter.active() || filter.keeps(&text(doubt))).map(|(at, _)| at).collect()
}

/// Returns the identity of a doubt in the list.
#[must_use]
pub fn chosen(doubt: &Doubt) -> Chosen {
    Chosen::Doubt(doubt.kind, doubt.stream.clone())
}

/// Returns the height that the pane needs: one line of text per doubt, and all text.
pub(crate) fn need(screen: &RunFrame, width: u16) -> Need {
    let width = list::row_width(width);
    let whole = screen.model.doubts().map(|doubt| lines(doubt, width)).fold(1, u16::saturating_add);
    let least = u16::try_from(screen.doubts.len().min(2) * 2 + 1).unwrap_or(u16::MAX);
    Need { least: least.min(whole), whole }
}

/// Returns the lines that a doubt takes at this width.
fn lines(doubt: &Doubt, width: u16) -> u16 {
    u16::try_from(text(doubt, width).len()).unwrap_or(u16::MAX).saturating_add(1)
}

fn text(doubt: &Doubt, width: u16) -> Vec<String> {
    let mut lines = text::wrap(&doubt.finding.to_string(), width.saturating_sub(4).max(8).into());
    if lines.len() > MAX_TEXT_LINES {
        let rest = lines.split_off(MAX_TEXT_LINES - 1).join(" ");
        lines.push(rest);
    }
    lines
}

pub(crate) fn draw(pen: &mut Pen, screen: &RunFrame, hits: &mut RunHits) {
    let look = screen.look;
    let list = screen.ui.list(Pane::Doubts);
    let mut about = count(screen.doubts.len() as u64);
    if list.filter.active() {
        about.push_str(&format!(", /{}/", list.filter.text));
    }
    let empty = "none: the engine's claims agree with the evidence";
    let view = ListView { pane: Pane::Doubts, title: "doubts", about: &about, empty, headings: 0 };
    let room = pen.height().saturating_sub(1);
    let width = list::row_width(pen.width());
    let wholes: Vec<u16> = screen.model.doubts().map(|doubt| lines(doubt, width)).collect();
    let fits = wholes.iter().copied().fold(0, u16::saturating_add) <= room;
    let height = |index: usize| {
        let whole = wholes.get(index).copied().unwrap_or(1);
        if fits { whole } else { whole.min(room.max(2)) }
    };
    list::draw(pen, *screen, &view, hits, height, |pen, index| {
        let Some(doubt) = screen.model.doubt(index) else { return };
        pen.put(1, 0, look.glyphs.doubt, look.doubt());
        let names = doubt.names();
        let streams = if names.is_empty() { "the whole run" } else { &names };
        let kind = doubt.kind.as_str().replace('_', " ");
        let room = pen.width().saturating_sub(u16::try_from(kind.len()).unwrap_or(0) + 6).max(12);
        let column = pen.put_in(3, 0, room, streams, look.strong());
        pen.put(column + 2, 0, &kind, look.dim());
        let page = usize::from(pen.height().saturating_sub(1));
        let texts = text(doubt, pen.width());
        for (row, line) in (1..).zip(texts.iter().take(page)) {
            if usize::from(row) == page && texts.len() > page {
                let rest: Vec<_> = texts.iter().skip(page - 1).map(String::as_str).collect();
                pen.put(3, row, &rest.join(" "), look.doubt());
            } else {
                pen.put(3, row, line, look.doubt());
            }
        }
    });
}
