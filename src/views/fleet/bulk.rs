//! Bulk pane: stages, results, and the reason for a stop.

use crate::views::fleet::state::{FleetPane, FleetScreen};
use crate::views::hits::Hits;
use crate::views::run::streams::scroll_top;
use crate::views::widgets::canvas::Pen;
use ratatui::style::Style;
use synctop_core::fleet::bulk::{Bulk, BulkStep};
use synctop_core::format::age;

/// Returns the lines that the pane needs for a bulk action.
#[must_use]
pub fn height(bulk: &Bulk) -> u16 {
    u16::try_from(bulk.items.len()).unwrap_or(u16::MAX).saturating_add(2)
}

pub fn draw(pen: &mut Pen, screen: &FleetScreen, hits: &mut Hits) {
    let (look, ui) = (screen.look, screen.ui);
    let focused = ui.focus == FleetPane::Bulk;
    let Some(bulk) = screen.bulk else {
        pen.rule(0, focused, "bulk", "no bulk action", "");
        pen.put(
            3,
            1,
            "mark pipelines with space (or filter them and press *), then R resumes them: one, three, the rest",
            look.dim(),
        );
        return;
    };
    let (good, bad, held) = bulk.counts();
    let about = format!("{} {}: {}", bulk.action.as_str(), bulk.items.len(), bulk.plan());
    let right = format!("{good} took effect, {bad} did not, {held} skipped");
    pen.rule(0, focused, "bulk", &about, "");
    let (text, style) = match (&bulk.stopped, bulk.is_finished()) {
        (Some(why), _) => (format!("stopped, the rest is skipped: {why}"), look.bad()),
        (None, true) => (format!("done: {right}"), look.good()),
        (None, false) => ("running; X stops it".to_owned(), look.dim()),
    };
    pen.put(1, 1, &text, style);
    let page = usize::from(pen.height().saturating_sub(2));
    let waiting =
        bulk.items.iter().rposition(|item| !matches!(item.step, BulkStep::Waiting | BulkStep::HeldBack)).unwrap_or(0);
    let at = if focused { ui.list(FleetPane::Bulk).top.min(bulk.items.len().saturating_sub(1)) } else { waiting };
    let top = scroll_top(at, at, page, bulk.items.len());
    for (index, item) in bulk.items.iter().enumerate().skip(top).take(page) {
        let row = u16::try_from(index - top).unwrap_or(u16::MAX).saturating_add(2);
        let (glyph, style, text) = step_text(&item.step, screen);
        pen.put(1, row, &(Bulk::stage(index) + 1).to_string(), look.dim());
        pen.put(3, row, glyph, style);
        let column = pen.put(5, row, &item.id, look.plain());
        pen.put(column + 2, row, &text, style);
    }
    if let Some(pages) = hits.pages.get_mut(3) {
        *pages = page;
    }
}

fn step_text(step: &BulkStep, screen: &FleetScreen) -> (&'static str, Style, String) {
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    match step {
        BulkStep::Waiting => (glyphs.pending, look.dim(), "waits for those before it".into()),
        BulkStep::Sent(at) => {
            (glyphs.started, look.accent(), format!("sent, verifying for {}", age(screen.now.saturating_sub(*at))))
        }
        BulkStep::HeldBack => (glyphs.skipped, look.dim(), "skipped: not touched".into()),
        BulkStep::Done(verdict) => {
            let (glyph, style) = crate::views::fleet::actions::verdict(Some(verdict.as_str()), screen);
            (glyph, style, verdict.to_string())
        }
    }
}
