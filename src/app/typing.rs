//! Text input of filters and the palette, shared by all screens.

use crate::views::action::{Action, Binding, matching};
use crate::views::run::state::Filter;
use crossterm::event::Event;
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

/// Result of a key in a text input.
pub(super) enum InputOutcome {
    /// The input stays open.
    On,
    /// The input is closed and its text kept.
    Close,
    /// The input is closed and its text discarded.
    Drop,
    /// The input is closed and this action performed.
    Do(Action),
}

/// Handles a key in a filter's prompt; the list follows the filter. The prompt stays open while the
/// pattern is invalid.
pub(super) fn filter(chord: &str, event: &Event, input: &mut Input, kept: &mut Filter) -> InputOutcome {
    match chord {
        "enter" if kept.bad.is_some() => InputOutcome::On,
        "enter" => InputOutcome::Close,
        "esc" => InputOutcome::Drop,
        _ => {
            input.handle_event(event);
            *kept = Filter::new(input.value());
            InputOutcome::On
        }
    }
}

/// Handles a key in the palette.
pub(super) fn palette(
    table: &'static [Binding],
    chord: &str,
    event: &Event,
    input: &mut Input,
    chosen: &mut usize,
) -> InputOutcome {
    let all = matching(table, input.value());
    match chord {
        "esc" => return InputOutcome::Close,
        "down" | "ctrl-n" | "tab" => *chosen = (*chosen + 1).min(all.len().saturating_sub(1)),
        "up" | "ctrl-p" | "shift-tab" => *chosen = chosen.saturating_sub(1),
        "enter" => return all.get(*chosen).map_or(InputOutcome::Close, |binding| InputOutcome::Do(binding.action)),
        _ => {
            input.handle_event(event);
            *chosen = 0;
        }
    }
    InputOutcome::On
}

/// Appends the first line of a pasted text.
pub(super) fn paste(input: &mut Input, text: &str) {
    let line = text.lines().next().unwrap_or_default();
    *input = input.clone().with_value(format!("{}{line}", input.value()));
}
