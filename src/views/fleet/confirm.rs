//! Confirmation of an action: pipelines, effect, plan and equivalent command.

use crate::views::fleet::state::{Confirm, FleetScreen};
use crate::views::hits::{ClickTarget, Hits};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::palette::field;
use crate::views::widgets::text::wrap;
use ratatui::layout::Rect;
use synctop_core::fleet::bulk::Bulk;
use synctop_core::fleet::verify::PipelineAction;
use synctop_core::format::plural;

/// Minimum lines reserved for the command.
const MIN_COMMAND_LINES: usize = 3;

/// Maximum number of pipeline names listed.
const MAX_NAMES: usize = 6;

/// Minimum screen size of the confirmation. On smaller screens actions are refused, because their
/// effect would not be visible.
const MIN_SIZE: (u16, u16) = (36, 11);

/// True if a screen of this size can show the confirmation.
#[must_use]
pub fn fits((width, height): (u16, u16)) -> bool {
    width >= MIN_SIZE.0 && height >= MIN_SIZE.1
}

pub fn draw(pen: &mut Pen, screen: &FleetScreen, confirm: &Confirm, hits: &mut Hits) {
    let look = screen.look;
    // On a narrow screen the box takes the full width, instead of leaving a few columns visible.
    let width = if pen.width() < 84 { pen.width() } else { 76 };
    let inner = usize::from(width.saturating_sub(4));
    let many = confirm.targets.len() > 1;
    let mut lines: Vec<(String, ratatui::style::Style)> = Vec::new();
    let what = match confirm.targets.as_slice() {
        [(only, _)] => format!("{} {only}", confirm.action.as_str()),
        all => format!("{} {}", confirm.action.as_str(), plural(all.len(), "pipeline")),
    };
    lines.push((format!("{what} of {}", screen.name), look.strong()));
    if many {
        let ordered = Bulk::new(confirm.action, confirm.targets.clone());
        let names: Vec<_> = ordered.items.iter().take(MAX_NAMES).map(|item| item.id.as_ref()).collect();
        let more = confirm.targets.len().saturating_sub(MAX_NAMES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.extend(
            wrap(&format!("first {}{more}", names.join(", then ")), inner)
                .into_iter()
                .take(3)
                .map(|line| (line, look.plain())),
        );
    }
    if !confirm.left_out.is_empty() {
        let names: Vec<_> = confirm.left_out.iter().take(MAX_NAMES).map(AsRef::as_ref).collect();
        let more = confirm.left_out.len().saturating_sub(MAX_NAMES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let text = format!("left out, as parked or paused (R resumes): {}{more}", names.join(", "));
        lines.extend(wrap(&text, inner).into_iter().take(2).map(|line| (line, look.dim())));
    }
    let danger = if confirm.action == PipelineAction::Delete { look.bad() } else { look.warn() };
    lines.extend(wrap(confirm.action.consequence(), inner).into_iter().map(|line| (line, danger)));
    if many {
        let plan = Bulk::new(confirm.action, confirm.targets.clone()).plan();
        let text = format!("{plan}; stops when the first fails or the same error returns twice.");
        lines.extend(wrap(&text, inner).into_iter().map(|line| (line, look.plain())));
    } else if confirm.action != PipelineAction::Delete {
        lines.push(("The result is verified (up to 60 s).".into(), look.plain()));
    }
    lines.push((String::new(), look.plain()));
    let command = wrap(&confirm.whole(), inner.saturating_sub(4));
    // The command is shown completely if there is room.
    let room = usize::from(pen.height()).saturating_sub(lines.len() + 5).max(MIN_COMMAND_LINES);
    for (at, line) in command.iter().take(room).enumerate() {
        let cut = if at + 1 == room && command.len() > room { look.glyphs.ellipsis } else { "" };
        lines.push((format!("{}{line} {cut}", if at == 0 { "$ " } else { "  " }), look.dim()));
    }
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(5);
    let area = pen.middle(width, height);
    let mut pen = pen.at(area);
    hits.add(area, ClickTarget::Nothing);
    pen.frame(confirm.action.as_str(), screen.name);

    let last = pen.height().saturating_sub(2);
    for (at, (text, style)) in lines.iter().enumerate() {
        let row = u16::try_from(at).unwrap_or(u16::MAX).saturating_add(1);
        if row + 1 < last {
            pen.put_in(2, row, width.saturating_sub(4), text, *style);
        }
    }
    let room = Rect { width: area.width.saturating_sub(2), ..area };
    let above = last.saturating_sub(1);
    if !confirm.typing_why && confirm.why.value().is_empty() {
        pen.put(2, above, "Reason (Tab to edit; kept in the action log)", look.dim());
    } else {
        let column = pen.put(2, above, "Reason: ", if confirm.typing_why { look.strong() } else { look.dim() });
        if confirm.typing_why {
            field(&mut pen.at(room), column, above, &confirm.why);
        } else {
            pen.put(column, above, confirm.why.value(), look.plain());
        }
    }
    if let Some(word) = &confirm.word {
        let column = pen.put(2, last, &format!("Type {word} to confirm, Esc cancels: "), look.strong());
        if confirm.typing_why {
            pen.put(column, last, confirm.input.value(), look.plain());
        } else {
            field(&mut pen.at(room), column, last, &confirm.input);
        }
    } else {
        pen.answers(last, &[("y", "confirm"), ("n", "cancel")]);
    }
}

/// Draws the confirmation of leaving while an action is being verified.
pub fn quit(pen: &mut Pen, screen: &FleetScreen, hits: &mut Hits) {
    let area = pen.middle(66, 7);
    let mut pen = pen.at(area);
    let look = pen.look;
    hits.add(area, ClickTarget::Nothing);
    pen.frame("quit", "");
    pen.put(2, 1, "An action is still being verified.", look.plain());
    let waiting = screen.bulk.map_or(0, |bulk| bulk.items.len() - bulk.counts().0 - bulk.counts().1);
    let many = if waiting > 0 {
        format!(" Of the bulk action, {waiting} have no result yet: no more are sent.")
    } else {
        String::new()
    };
    let text = format!("Sent actions continue.{many}");
    for (row, line) in (2..4).zip(wrap(&text, usize::from(area.width.saturating_sub(4)))) {
        pen.put(2, row, &line, look.warn());
    }
    pen.answers(area.height.saturating_sub(2), &[("y", "leave"), ("n", "stay")]);
}
