//! Bulk pane: progress, stages, results, and the reason for a stop.

use crate::views::fleet::state::{FleetFrame, FleetHits, FleetPane};
use crate::views::ui::ListModel as _;
use crate::views::widgets::bars::bar;
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::layout::Need;
use crate::views::widgets::list::{self, ListView};
use crate::views::widgets::paragraphs::Paragraphs;
use crate::views::widgets::text::wrap;
use ratatui::layout::Rect;
use ratatui::style::Style;
use synctop_core::fleet::bulk::{Bulk, BulkStep};
use synctop_core::format::age;

/// Maximum lines of an item.
const MAX_LINES: u16 = 5;

/// Returns the height that the pane needs.
pub(crate) fn need(screen: &FleetFrame, width: u16) -> Need {
    let width = list::row_width(width);
    let Some(bulk) = screen.bulk else { return Need { least: 3, whole: 3 } };
    let items = bulk.items.iter().take(40).map(|item| height(&item.step, screen, width));
    let whole = items.fold(4, u16::saturating_add);
    Need { least: whole.min(8), whole }
}

fn height(step: &BulkStep, screen: &FleetFrame, width: u16) -> u16 {
    let (.., text) = step_text(step, screen);
    let lines = wrap(&text, usize::from(width.saturating_sub(6)).max(8)).len();
    // Only a result is worth lines of its own.
    if matches!(step, BulkStep::Done(_)) { u16::try_from(1 + lines).unwrap_or(u16::MAX).min(MAX_LINES) } else { 1 }
}

/// Returns the numbers of a bulk action: `3 took effect, 1 did not`, and those skipped if there are
/// any.
#[must_use]
pub fn counts_text(bulk: &Bulk) -> String {
    let (good, bad, held) = bulk.counts();
    let mut text = format!("{good} took effect, {bad} did not");
    if held > 0 {
        text.push_str(&format!(", {held} skipped"));
    }
    text
}

pub(crate) fn draw(pen: &mut Pen, screen: &FleetFrame, hits: &mut FleetHits) {
    let look = screen.look;
    let Some(bulk) = screen.bulk else {
        let view = ListView {
            pane: FleetPane::Bulk,
            title: "bulk",
            about: "no bulk action",
            empty: "space marks pipelines, * all filtered ones; then R resumes them in stages",
            headings: 0,
        };
        return list::draw(pen, *screen, &view, hits, |_| 1, |_, _| {});
    };
    let about = format!("{} {}", bulk.action.as_str(), bulk.items.len());
    let view = ListView { pane: FleetPane::Bulk, title: "bulk", about: &about, empty: "", headings: 3 };
    let width = list::row_width(pen.width());
    let whole = |index: usize| bulk.items.get(index).map_or(1, |item| height(&item.step, screen, width));
    let place = screen.model.place(FleetPane::Bulk, screen.ui.list(FleetPane::Bulk).chosen.as_ref());
    let page = pen.height().saturating_sub(4);
    let heights = list::card_heights(1, bulk.items.len(), place, page, whole);
    let height = |index: usize| heights.get(index).copied().unwrap_or(1);
    list::draw(pen, *screen, &view, hits, height, |pen, index| {
        let Some(item) = bulk.items.get(index) else { return };
        let (glyph, style, text) = step_text(&item.step, screen);
        pen.put(1, 0, &(Bulk::stage(index) + 1).to_string(), look.dim());
        pen.put(3, 0, glyph, style);
        let column = pen.put(5, 0, &item.id, look.plain());
        if pen.height() == 1 {
            pen.put(column + 2, 0, &text, style);
            return;
        }
        let mut lines = Paragraphs::new(pen.width().saturating_sub(6));
        lines.add(&text, style);
        lines.draw(pen, 5, 1);
    });
    // Progress: sent and verified of all, with a bar.
    let (good, bad, _) = bulk.counts();
    let (done, all) = (good + bad, bulk.items.len());
    let numbers = format!("{done}/{all}");
    let column = pen.put(1, 1, &numbers, look.strong()) + 1;
    let text = counts_text(bulk);
    let wide = u16::try_from(text.len()).unwrap_or(u16::MAX);
    let room = pen.width().saturating_sub(column + wide + 3);
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let share = done as f64 / all.max(1) as f64;
    let style = if bad > 0 { look.warn() } else { look.good() };
    bar(pen, column, 1, room.min(40), share, style);
    pen.put(column + room.min(40) + 1, 1, &text, look.plain());
    let (text, style) = match (&bulk.stopped, bulk.is_finished()) {
        (Some(why), _) => (format!("stopped, the rest is skipped: {why}"), look.bad()),
        (None, true) => ("done".to_owned(), look.good()),
        (None, false) => (format!("{} (X stops it)", bulk.plan()), look.dim()),
    };
    let width = pen.width().saturating_sub(2);
    let mut reason = Paragraphs::new(width);
    reason.add(&text, style);
    reason.draw(&mut pen.at(Rect { height: pen.area.height.min(4), ..pen.area }), 1, 2);
}

fn step_text(step: &BulkStep, screen: &FleetFrame) -> (&'static str, Style, String) {
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    match step {
        BulkStep::Waiting => (glyphs.pending, look.dim(), "waiting".into()),
        BulkStep::Sent(at) => {
            (glyphs.started, look.accent(), format!("sent, verifying for {}", age(screen.now.saturating_sub(*at))))
        }
        BulkStep::HeldBack => (glyphs.skipped, look.dim(), "skipped: not sent".into()),
        BulkStep::Done(verdict) => {
            let (glyph, style) = crate::views::fleet::actions::verdict(Some(verdict.as_str()), screen);
            (glyph, style, verdict.to_string())
        }
    }
}
