//! Text input of filters and the palette, shared by all screens.

use crate::views::action::{Action, Binding, matching};
use crate::views::state::Filter;
use crossterm::event::Event;
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

/// Result of a key.
pub(super) enum Typed {
    /// It goes on being typed.
    On,
    /// It is closed; as it is.
    Close,
    /// The input is closed and its text dropped.
    Drop,
    Do(Action),
}

/// A key in a filter's prompt; the list follows the filter. An invalid pattern stays for
/// correction.
pub(super) fn filter(chord: &str, event: &Event, input: &mut Input, kept: &mut Filter) -> Typed {
    match chord {
        "enter" if kept.bad.is_some() => Typed::On,
        "enter" => Typed::Close,
        "esc" => Typed::Drop,
        _ => {
            input.handle_event(event);
            *kept = Filter::new(input.value());
            Typed::On
        }
    }
}

/// A key in the palette.
pub(super) fn palette(
    table: &'static [Binding],
    chord: &str,
    event: &Event,
    input: &mut Input,
    chosen: &mut usize,
) -> Typed {
    let all = matching(table, input.value());
    match chord {
        "esc" => return Typed::Close,
        "down" | "ctrl-n" | "tab" => *chosen = (*chosen + 1).min(all.len().saturating_sub(1)),
        "up" | "ctrl-p" | "shift-tab" => *chosen = chosen.saturating_sub(1),
        "enter" => return all.get(*chosen).map_or(Typed::Close, |binding| Typed::Do(binding.action)),
        _ => {
            input.handle_event(event);
            *chosen = 0;
        }
    }
    Typed::On
}

/// Inserts pasted text: its first line.
pub(super) fn paste(input: &mut Input, text: &str) {
    let line = text.lines().next().unwrap_or_default();
    *input = input.clone().with_value(format!("{}{line}", input.value()));
}
