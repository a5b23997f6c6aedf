//! Confirmation of an action: pipelines, effect, plan and equivalent command.

use crate::views::action::Action;
use crate::views::fleet::state::{Confirm, FleetFrame, FleetHits, FleetTypes};
use crate::views::hits::ClickTarget;
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::footer::{answers, question};
use crate::views::widgets::palette::field;
use crate::views::widgets::text::wrap;
use ratatui::layout::Rect;
use ratatui::style::Style;
use synctop_core::fleet::bulk::Bulk;
use synctop_core::fleet::verify::PipelineAction;
use synctop_core::format::plural;

/// Minimum screen size of the confirmation. On smaller screens actions are refused, because their
/// effect would not be visible.
const MIN_SIZE: (u16, u16) = (36, 11);

/// True if a screen of this size can show the confirmation.
#[must_use]
pub fn fits((width, height): (u16, u16)) -> bool {
    width >= MIN_SIZE.0 && height >= MIN_SIZE.1
}

/// Returns the text of the confirmation: the action, its effect, all pipelines, the command.
fn lines(screen: &FleetFrame, confirm: &Confirm, inner: usize) -> Vec<(String, Style)> {
    let look = screen.look;
    let many = confirm.targets.len() > 1;
    let mut lines: Vec<(String, Style)> = Vec::new();
    let mut add = |text: &str, style: Style| lines.extend(wrap(text, inner).into_iter().map(|line| (line, style)));
    let what = match confirm.targets.as_slice() {
        [(only, _)] => format!("{} {only}", confirm.action.as_str()),
        all => format!("{} {}", confirm.action.as_str(), plural(all.len(), "pipeline")),
    };
    add(&format!("{what} on {}", screen.name), look.strong());
    let danger = if confirm.action == PipelineAction::Delete { look.bad() } else { look.warn() };
    add(confirm.action.consequence(), danger);
    let ordered = Bulk::new(confirm.action, confirm.targets.clone());
    if let Some(cause) = open_cause(screen, confirm) {
        add(&format!("It parks again while this stands: {cause}"), look.warn());
    }
    if many {
        add(&format!("{}. Stops when the first fails or the same error returns twice.", ordered.plan()), look.plain());
    } else if confirm.action != PipelineAction::Delete {
        add("The result is verified (up to 60 s).", look.plain());
    }
    if many {
        let names: Vec<_> = ordered.items.iter().map(|item| item.id.as_ref()).collect();
        add(&format!("In this order: {}", names.join(", ")), look.plain());
    }
    if !confirm.left_out.is_empty() {
        let names: Vec<_> = confirm.left_out.iter().map(AsRef::as_ref).collect();
        add(
            &format!("Skipped, because {} impossible there: {}", confirm.action.as_str(), names.join(", ")),
            look.dim(),
        );
    }
    add("", look.plain());
    add(&format!("$ {}", confirm.whole()), look.dim());
    lines
}

/// Returns the error that parked the only pipeline to resume.
fn open_cause(screen: &FleetFrame, confirm: &Confirm) -> Option<String> {
    let [(only, _)] = confirm.targets.as_slice() else { return None };
    let fault = screen.fleet.pipelines.get(only)?.pipeline.reason.as_ref();
    fault.filter(|_| confirm.action == PipelineAction::Resume).map(synctop_core::fleet::PipelineFault::core)
}

pub(crate) fn draw(pen: &mut Pen, screen: &FleetFrame, confirm: &Confirm, hits: &mut FleetHits) {
    let look = screen.look;
    // On a narrow screen the box takes the full width, instead of leaving a few columns visible.
    let width = if pen.width() < 84 { pen.width() } else { 80 };
    let lines = lines(screen, confirm, usize::from(width.saturating_sub(5)));
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(5);
    let area = pen.middle(width, height);
    let mut pen = pen.at(area);
    hits.add(area, ClickTarget::Nothing);
    pen.frame("confirm", "");
    // The text scrolls; reason and answers always stay.
    let last = pen.height().saturating_sub(2);
    let page = last.saturating_sub(2);
    let most = lines.len().saturating_sub(page.into());
    let top = confirm.top.min(most);
    for (row, (text, style)) in (1..=page).zip(lines.iter().skip(top)) {
        pen.put_in(2, row, width.saturating_sub(4), text, *style);
    }
    if most > 0 {
        let shown = (top, (top + usize::from(page)).min(lines.len()), lines.len());
        pen.scrollbar(width.saturating_sub(1), 1, page, shown, true);
    }
    hits.overlay = (most, page.into());
    let room = Rect { width: area.width.saturating_sub(2), ..area };
    let above = last.saturating_sub(1);
    if !confirm.typing_why && confirm.why.value().is_empty() {
        let long = "Reason (Tab to edit; kept in the action log)";
        let text = if usize::from(width) > long.len() + 4 { long } else { "Reason: Tab to edit" };
        pen.put(2, above, text, look.dim());
    } else {
        let column = pen.put(2, above, "Reason: ", if confirm.typing_why { look.strong() } else { look.dim() });
        if confirm.typing_why {
            field(&mut pen.at(room), column, above, &confirm.why);
        } else {
            pen.put(column, above, confirm.why.value(), look.plain());
        }
    }
    if let Some(word) = &confirm.word {
        let long = format!("Type {word} to confirm, Esc cancels: ");
        let text = if usize::from(width) > long.len() + 14 { long } else { format!("Type {word}, or Esc: ") };
        let column = pen.put_in(2, last, width.saturating_sub(14), &text, look.strong());
        if confirm.typing_why {
            pen.put(column, last, confirm.input.value(), look.plain());
        } else {
            field(&mut pen.at(room), column, last, &confirm.input);
        }
    } else {
        answers::<FleetTypes>(&mut pen, last, &[(Action::Confirm, "confirm"), (Action::Cancel, "cancel")], hits);
    }
}

/// Draws the confirmation of leaving while an action is being verified.
pub(crate) fn quit(pen: &mut Pen, screen: &FleetFrame, hits: &mut FleetHits) {
    let look = pen.look;
    let waiting = screen.bulk.map_or(0, |bulk| bulk.items.len() - bulk.counts().0 - bulk.counts().1);
    let mut lines = vec![
        ("An action is still being verified.".to_owned(), look.plain()),
        ("Sent actions continue.".to_owned(), look.warn()),
    ];
    if waiting > 0 {
        let text = format!("Of the bulk action, {waiting} have no result yet: no more are sent.");
        let inner = usize::from(pen.width().saturating_sub(4)).clamp(8, 62);
        lines.extend(wrap(&text, inner).into_iter().map(|line| (line, look.warn())));
    }
    question::<FleetTypes>(pen, "quit", &lines, ["leave", "stay"], hits);
}
