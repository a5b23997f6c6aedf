//! Action log pane: action, pipeline and result of each record. The log is append-only.

use crate::views::fleet::state::{FleetPane, FleetScreen, RowKey};
use crate::views::hits::{ClickTarget, Hits};
use crate::views::run::streams::scroll_top;
use crate::views::widgets::canvas::Pen;
use ratatui::layout::Rect;
use ratatui::style::Style;
use synctop_core::fleet::ActionRecord;
use synctop_core::format::clock;

/// Returns the actions that the filter keeps, newest first.
#[must_use]
pub fn items<'a>(screen: &FleetScreen<'a>) -> Vec<&'a ActionRecord> {
    let filter = &screen.ui.list(FleetPane::Actions).filter;
    let is_match = |record: &ActionRecord| {
        let texts = [record.who.as_str(), &record.action, &record.pipeline];
        let more = [&record.why, &record.sentence, &record.verdict].into_iter().flatten().map(String::as_str);
        filter.keeps_any(texts.into_iter().chain(more))
    };
    screen.actions.iter().filter(|record| is_match(record)).collect()
}

#[must_use]
pub fn key(record: &ActionRecord) -> RowKey {
    RowKey::Id(record.seq.to_string().into())
}

#[must_use]
pub fn place(items: &[&ActionRecord], chosen: Option<&RowKey>) -> usize {
    items.iter().position(|record| chosen == Some(&key(record))).unwrap_or(0)
}

/// Returns the selected action.
#[must_use]
pub fn chosen<'a>(screen: &FleetScreen<'a>) -> Option<&'a ActionRecord> {
    let all = items(screen);
    all.get(place(&all, screen.ui.list(FleetPane::Actions).chosen.as_ref())).copied()
}

/// Maximum time that an action is verified, in milliseconds.
const WATCHED_MS: i64 = 600_000;

/// Returns the result of an action, as far as it is known.
pub(super) fn result_text(record: &ActionRecord, now: i64) -> &str {
    match &record.sentence {
        Some(sentence) => sentence,
        None if now.saturating_sub(record.at) < WATCHED_MS => "Sent, verifying...",
        None => "Sent, not verified",
    }
}

/// Returns glyph and style of a result; `None` is a result that is not known yet.
pub(super) fn verdict(word: Option<&str>, screen: &FleetScreen) -> (&'static str, Style) {
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    match word {
        None => (glyphs.started, look.accent()),
        Some("took_effect") => (glyphs.good, look.good()),
        Some("unknown") => (glyphs.doubt, look.doubt()),
        Some(_) => (glyphs.bad, look.bad()),
    }
}

pub fn draw(pen: &mut Pen, screen: &FleetScreen, hits: &mut Hits) {
    let (look, ui) = (screen.look, screen.ui);
    let list = ui.list(FleetPane::Actions);
    let focused = ui.focus == FleetPane::Actions;
    let all = items(screen);
    let two = pen.width() < 64;
    let each: u16 = if two { 2 } else { 1 };
    let page = usize::from(pen.height().saturating_sub(1) / each).max(1);
    let at = place(&all, list.chosen.as_ref());
    let top = scroll_top(list.top, at, page, all.len());
    let right = if all.len() > page {
        format!("{}-{}/{}", top + 1, (top + page).min(all.len()), all.len())
    } else {
        String::new()
    };
    pen.rule(0, focused, "actions", &all.len().to_string(), &right);
    if all.is_empty() {
        pen.put(3, 1, "no action yet", look.dim());
    }
    for (index, record) in all.iter().enumerate().skip(top).take(page) {
        let row = u16::try_from(index - top).unwrap_or(u16::MAX).saturating_mul(each).saturating_add(1);
        let (glyph, style) = verdict(record.verdict.as_deref(), screen);
        pen.put(1, row, glyph, style);
        let column = pen.put(3, row, &clock(record.at, Some(screen.now)), look.dim());
        let column = pen.put(column + 1, row, &record.action, look.strong());
        let column = pen.put(column + 1, row, &record.pipeline, look.plain());
        let sentence = result_text(record, screen.now);
        if two {
            pen.put(3, row + 1, sentence, style);
        } else {
            pen.put(column + 2, row, sentence, style);
        }
        if index == at {
            for line in row..row + each {
                pen.choose(line, focused);
            }
        }
        let area = Rect { y: pen.area.y + row, height: each, ..pen.area }.intersection(pen.area);
        hits.add(area, ClickTarget::FleetRow(FleetPane::Actions, key(record)));
    }
    if let (Some(slot), Some(pages)) = (hits.tops.get_mut(2), hits.pages.get_mut(2)) {
        (*slot, *pages) = (Some(top), page);
    }
}
