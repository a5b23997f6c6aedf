//! Checklist of the demo: steps from an alert to its note, ticked off as they are done.

use crate::views::fleet::state::{ChecklistStep, FleetFrame};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::layout::Need;
use crate::views::widgets::text::wrap;
use strum::VariantArray as _;

/// Returns the keys and the text.
fn text(step: ChecklistStep) -> (&'static str, &'static str) {
    match step {
        ChecklistStep::Find => ("e", "find a pipeline in trouble"),
        ChecklistStep::LeadUp => ("Enter W", "open its run, see what led to the error; q, q return"),
        ChecklistStep::Fix => ("f", "fix the simulated cause"),
        ChecklistStep::Canary => ("w R", "enable actions; on the heading, resume the group: a canary first"),
        ChecklistStep::Verify => ("4", "wait until a result is verified: took effect"),
        ChecklistStep::Note => ("2 a", "acknowledge an error, with a note"),
    }
}

/// Command that opens a service of the reader.
const OWN_SERVICE: &str = "your own service: synctop connect URL";

/// Columns of the keys.
const KEYS: u16 = 9;

/// Returns the lines of a step's text.
fn lines(step: ChecklistStep, width: u16) -> Vec<String> {
    wrap(text(step).1, width.saturating_sub(KEYS + 4).max(12).into())
}

/// Returns the height of the whole checklist; `None` if it is hidden.
pub(crate) fn need(screen: &FleetFrame, width: u16) -> Option<Need> {
    screen.ui.own.checklist.as_ref()?;
    let steps: usize = ChecklistStep::VARIANTS.iter().map(|step| lines(*step, width).len()).sum();
    let whole = u16::try_from(steps + 2).unwrap_or(u16::MAX);
    Some(Need { least: whole, whole })
}

/// Draws the whole checklist.
pub(crate) fn draw(pen: &mut Pen, screen: &FleetFrame) {
    let (Some(checklist), look) = (&screen.ui.own.checklist, screen.look) else { return };
    if pen.height() == 0 {
        return;
    }
    let about = format!("{} of {} done", checklist.count(), ChecklistStep::VARIANTS.len());
    pen.rule(0, false, "demo checklist", &about, "Esc hides");
    let next = ChecklistStep::VARIANTS.iter().find(|step| !checklist.is_done(**step));
    let mut row = 1;
    for step in ChecklistStep::VARIANTS {
        let done = checklist.is_done(*step);
        let (mark, style) = match (done, next == Some(step)) {
            (true, _) => (look.glyphs.good, look.dim()),
            (false, true) => (look.glyphs.next, look.accent()),
            (false, false) => (look.glyphs.pending, look.plain()),
        };
        pen.put(1, row, mark, if done { look.good() } else { style });
        pen.put(3, row, text(*step).0, style.patch(look.strong()));
        for line in lines(*step, pen.width()) {
            pen.put(3 + KEYS, row, &line, style);
            row += 1;
        }
    }
    pen.put(3, row, OWN_SERVICE, look.dim());
}

/// Draws the next step in one line, where the whole checklist has no room.
pub(crate) fn draw_line(pen: &mut Pen, screen: &FleetFrame) {
    let (Some(checklist), look) = (&screen.ui.own.checklist, screen.look) else { return };
    let next = ChecklistStep::VARIANTS.iter().find(|step| !checklist.is_done(**step));
    let column = pen.put(1, 0, &format!("demo {}/{}", checklist.count(), ChecklistStep::VARIANTS.len()), look.dim());
    let Some(step) = next else {
        pen.put(column + 2, 0, OWN_SERVICE, look.accent());
        return;
    };
    let (keys, about) = text(*step);
    let column = pen.put(column + 2, 0, keys, look.accent().patch(look.strong()));
    pen.put(column + 2, 0, about, look.accent());
}
