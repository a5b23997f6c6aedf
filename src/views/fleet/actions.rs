//! Action log pane: action, pipeline and result of each record. The log is append-only.

use crate::views::fleet::state::{FleetFrame, FleetHits, FleetInput, FleetPane, FleetUi, RowKey};
use crate::views::ui::ListModel as _;
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::layout::Need;
use crate::views::widgets::list::{self, ListView};
use crate::views::widgets::paragraphs::Paragraphs;
use ratatui::style::Style;
use synctop_core::fleet::ActionRecord;
use synctop_core::format::{age, count};

/// Maximum lines of a record.
const MAX_LINES: u16 = 6;

/// Returns the actions that the filter keeps, newest first.
#[must_use]
pub fn items<'a>(input: &FleetInput<'a>, ui: &FleetUi) -> Vec<&'a ActionRecord> {
    let filter = &ui.list(FleetPane::Actions).filter;
    let is_match = |record: &ActionRecord| {
        let texts = [record.who.as_str(), &record.action, &record.pipeline];
        let more = [&record.why, &record.sentence, &record.verdict].into_iter().flatten().map(String::as_str);
        filter.keeps_any(texts.into_iter().chain(more))
    };
    input.actions.iter().filter(|record| is_match(record)).collect()
}

#[must_use]
pub fn key(record: &ActionRecord) -> RowKey {
    RowKey::Id(record.seq.to_string().into())
}

/// Maximum time that an action is verified, in milliseconds.
const WATCHED_MS: i64 = 600_000;

/// Returns the result of an action, as far as it is known.
pub(super) fn result_text(record: &ActionRecord, now: i64) -> &str {
    match &record.sentence {
        Some(sentence) => sentence,
        None if now.saturating_sub(record.at) < WATCHED_MS => "Sent, verifying",
        None => "Sent, not verified",
    }
}

/// Returns glyph and style of a result; `None` is a result that is not known yet.
pub(super) fn verdict(word: Option<&str>, screen: &FleetInput) -> (&'static str, Style) {
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    match word {
        None => (glyphs.started, look.accent()),
        Some("took_effect") => (glyphs.good, look.good()),
        Some("unknown") => (glyphs.doubt, look.doubt()),
        Some(_) => (glyphs.bad, look.bad()),
    }
}

/// Returns the height that the pane needs, at most 20 records.
pub(crate) fn need(screen: &FleetFrame, width: u16) -> Need {
    let width = list::row_width(width);
    let shown = screen.records.iter().take(20);
    let whole = shown.map(|record| height(record, screen, width)).fold(1, u16::saturating_add).max(2);
    Need { least: whole.min(3), whole }
}

fn height(record: &ActionRecord, screen: &FleetFrame, width: u16) -> u16 {
    (1 + result_lines(record, screen, width, screen.look.plain()).height()).min(MAX_LINES)
}

fn result_lines(record: &ActionRecord, screen: &FleetFrame, width: u16, style: Style) -> Paragraphs {
    let mut lines = Paragraphs::new(width.saturating_sub(4));
    lines.add(result_text(record, screen.now), style);
    lines
}

pub(crate) fn draw(pen: &mut Pen, screen: &FleetFrame, hits: &mut FleetHits) {
    let look = screen.look;
    let list = screen.ui.list(FleetPane::Actions);
    let all = &screen.records;
    let mut about = count(all.len() as u64);
    if list.filter.active() {
        about.push_str(&format!(", /{}/", list.filter.text));
    }
    let view = ListView {
        pane: FleetPane::Actions,
        title: "actions",
        about: &about,
        empty: "no action yet (w enables actions)",
        headings: 0,
    };
    let width = list::row_width(pen.width());
    let place = screen.model.place(FleetPane::Actions, list.chosen.as_ref());
    let whole = |index: usize| all.get(index).map_or(1, |record| height(record, screen, width));
    let heights = list::card_heights(2, all.len(), place, pen.height().saturating_sub(1), whole);
    let height = |index: usize| heights.get(index).copied().unwrap_or(2);
    list::draw(pen, *screen, &view, hits, height, |pen, index| {
        let Some(record) = all.get(index) else { return };
        let (glyph, style) = verdict(record.verdict.as_deref(), screen);
        pen.put(1, 0, glyph, style);
        let column = pen.put(3, 0, &record.action, look.strong());
        let when = format!("{} ago", age(screen.now.saturating_sub(record.at).max(0)));
        let end = pen.put_right(pen.width().saturating_sub(1), 0, &when, look.dim());
        pen.put_in(column + 1, 0, end.saturating_sub(column + 2), &record.pipeline, look.plain());
        result_lines(record, screen, pen.width(), style).draw(pen, 3, 1);
    });
}
