//! Footer: the most useful keys, a text input, or a notice.

use crate::views::action::{ACTIONS, Action, Binding, TargetKey, Travel, binding};
use crate::views::hits::{ClickTarget, Hits};
use crate::views::run::rows::rows;
use crate::views::run::state::{Overlay, Pane, Screen};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::palette::field;
use ratatui::layout::Rect;
use synctop_core::reduce::history::Mark;

pub fn draw(pen: &mut Pen, screen: &Screen, hits: &mut Hits) {
    let (look, ui) = (screen.look, screen.ui);
    if prompt(pen, screen) {
        return;
    }
    if let Some(toast) = &ui.toast {
        pen.put(1, 0, toast, look.accent());
        return;
    }
    let filtered = ui.list(ui.focus).filter.active();
    let shown: &[Action] = match ui.overlays.last() {
        Some(Overlay::Help { .. } | Overlay::Stream { .. } | Overlay::Error { .. } | Overlay::Line { .. }) => {
            &[Action::Back, Action::Down, Action::Up, Action::Copy, Action::NextError, Action::Quit]
        }
        Some(_) => &[Action::Back],
        None if ui.focus == Pane::Diagnostics => &[
            Action::Help,
            Action::Target(TargetKey::Show),
            Action::Target(TargetKey::Focus),
            Action::LevelMore,
            Action::LevelLess,
            Action::NextPane,
            Action::Back,
            Action::Quit,
        ],
        None if screen.scrub.is_some() => &[
            Action::Help,
            Action::Freeze,
            Action::Travel(Travel::Mark(Mark::Error, true)),
            Action::Travel(Travel::Goto),
            Action::Travel(Travel::Second(true)),
            Action::Travel(Travel::Faster),
            Action::Travel(Travel::Now),
            Action::Open,
            Action::NextPane,
            Action::Filter,
            Action::Palette,
            Action::Quit,
        ],
        None if filtered => &[Action::Help, Action::Filter, Action::Back, Action::Open, Action::NextPane, Action::Quit],
        None => &[
            Action::Help,
            Action::Filter,
            Action::NextError,
            Action::Open,
            Action::NextPane,
            Action::SortNext,
            Action::Travel(Travel::Second(false)),
            Action::Zoom,
            Action::Freeze,
            Action::Palette,
            Action::Quit,
        ],
    };
    let name = |action: Action, binding: &'static Binding| match (action, &screen.scrub) {
        (Action::Back, _) if filtered && ui.overlays.is_empty() => "drop filter",
        (Action::Freeze, Some(scrub)) if scrub.playing => "pause",
        (Action::Freeze, Some(_)) => "play",
        (Action::Quit, _) if ui.nested => "fleet",
        _ => binding.name.strip_prefix("time: ").unwrap_or(binding.name),
    };
    keys(pen, ACTIONS, shown, name, hits);
}

/// Draws the keys of these actions, as many as fit.
pub(crate) fn keys(
    pen: &mut Pen,
    table: &'static [Binding],
    shown: &[Action],
    name: impl Fn(Action, &'static Binding) -> &'static str,
    hits: &mut Hits,
) {
    let look = pen.look;
    let mut bound: Vec<_> = shown.iter().filter_map(|action| Some((*action, binding(table, *action)?))).collect();
    let wide = |(action, binding): &(Action, &'static Binding)| {
        let key = binding.keys.first().map_or(0, |key| key.len());
        u16::try_from(key + name(*action, binding).len() + 3).unwrap_or(u16::MAX)
    };
    // If not all fit, the third from the end is dropped repeatedly: the last two lead to all other
    // actions and quit.
    while bound.len() > 2 && bound.iter().map(wide).sum::<u16>() > pen.width() {
        bound.remove(bound.len() - 3);
    }
    let mut column = 1;
    for (action, binding) in bound {
        let begin = column;
        let key = binding.keys.first().copied().unwrap_or_default();
        column = pen.put(column, 0, key, look.accent().patch(look.strong()));
        column = pen.put(column + 1, 0, name(action, binding), look.dim());
        let place = Rect { x: pen.area.x + begin, width: column - begin, ..pen.area };
        hits.add(place, ClickTarget::Do(action));
        column += 2;
    }
}

/// Draws the text input of the topmost overlay. Returns true if there is one.
fn prompt(pen: &mut Pen, screen: &Screen) -> bool {
    let (look, ui) = (screen.look, screen.ui);
    if let Some(Overlay::Filter { input, .. }) = ui.overlays.last() {
        let column = pen.put(1, 0, "/", look.accent().patch(look.strong()));
        let end = field(pen, column, 0, input);
        let filter = &ui.list(ui.focus).filter;
        match &filter.bad {
            Some(why) => pen.put(end + 2, 0, &format!("bad pattern: {why}"), look.bad()),
            None if ui.focus == Pane::Streams => {
                let about = format!(
                    "{} of {}  Enter keeps, Esc drops, ! negates",
                    rows(screen).kept,
                    screen.progress.streams.len()
                );
                pen.put(end + 2, 0, &about, look.dim())
            }
            None => pen.put(end + 2, 0, "Enter keeps, Esc drops, ! negates", look.dim()),
        };
        return true;
    }
    if let Some(Overlay::Goto { input, bad }) = ui.overlays.last() {
        let column = pen.put(1, 0, "go to ", look.accent().patch(look.strong()));
        let room = if bad.is_some() { 24 } else { 40 };
        let area = Rect { width: (column + room).min(pen.width()), ..pen.area };
        let end = field(&mut pen.at(area), column, 0, input);
        match bad {
            Some(why) => pen.put(end + 2, 0, why, look.bad()),
            None => pen.put(end + 2, 0, "08:31:20  +10m  -30s  50%  line 1200  end", look.dim()),
        };
        return true;
    }
    false
}

/// Draws the confirmation of quitting while an engine that synctop started still runs.
pub fn confirm(pen: &mut Pen, hits: &mut Hits) {
    let area = pen.middle(64, 6);
    let mut pen = pen.at(area);
    let look = pen.look;
    hits.add(area, ClickTarget::Nothing);
    pen.frame("quit", "");
    pen.put(2, 1, "The engine that synctop started is still running.", look.plain());
    pen.put(2, 2, "Leaving stops it: TERM, and KILL after 5 seconds.", look.warn());
    pen.answers(4, &[("y", "stop it and leave"), ("n", "stay")]);
}
