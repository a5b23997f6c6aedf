//! Maps terminal events to actions of the fleet screen.

use crate::app::fleet::app::{FleetApp, InputEffect};
use crate::app::run::app::RedrawReason;
use crate::app::term::background_query::AnswerMatch;
use crate::app::term::keys;
use crate::app::typing::{self, InputOutcome};
use crate::views::action::{Action, FLEET_ACTIONS, bound};
use crate::views::fleet::{FleetOverlay, FleetPane, fits};
use crate::views::hits::ClickTarget as Hit;
use crate::views::run::state::Filter;
use crossterm::event::{Event, KeyEvent, MouseButton, MouseEvent, MouseEventKind};
use std::io;
use tui_input::backend::crossterm::EventHandler;

/// Notice if the terminal is too small for a confirmation.
pub(super) const TOO_SMALL: &str = "too small to show the action: enlarge the terminal";

impl FleetApp {
    pub(super) fn input(&mut self, event: &Event) -> io::Result<InputEffect> {
        match self.session.background_query.as_mut().map_or(AnswerMatch::No, |query| query.classify(event)) {
            AnswerMatch::No => {}
            AnswerMatch::Part => return Ok(InputEffect::Stay),
            AnswerMatch::Answer(theme) => {
                self.session.background_query = None;
                if let Some(theme) = theme.filter(|_| self.options.ask) {
                    self.options.look.theme = theme;
                    self.session.terminal.invalidate();
                    self.request_redraw(RedrawReason::Key);
                }
                return Ok(InputEffect::Stay);
            }
        }
        match event {
            Event::Key(key) => return self.key(key, event),
            Event::Mouse(mouse) => return self.mouse(mouse),
            Event::Resize(..) => self.request_redraw(RedrawReason::Key),
            Event::Paste(text) => self.paste(text),
            Event::FocusGained | Event::FocusLost => {}
        }
        Ok(InputEffect::Stay)
    }

    fn key(&mut self, key: &KeyEvent, event: &Event) -> io::Result<InputEffect> {
        let Some(chord) = keys::chord(key) else { return Ok(InputEffect::Stay) };
        self.request_redraw(RedrawReason::Key);
        if chord == "ctrl-c" {
            return self.act(Action::Interrupt);
        }
        let focus = self.ui.focus;
        match self.ui.overlays.last_mut() {
            Some(FleetOverlay::Filter { input, .. }) => {
                let typed = match self.ui.lists.get_mut(focus.place()) {
                    Some(list) => typing::filter(&chord, event, input, &mut list.filter),
                    None => InputOutcome::Close,
                };
                match typed {
                    InputOutcome::Close => {
                        self.ui.overlays.pop();
                        self.select_visible();
                    }
                    InputOutcome::Drop => return self.act(Action::Back),
                    InputOutcome::On | InputOutcome::Do(_) => {}
                }
                Ok(InputEffect::Stay)
            }
            Some(FleetOverlay::Palette { input, chosen }) => {
                let typed = typing::palette(FLEET_ACTIONS, &chord, event, input, chosen);
                if !matches!(typed, InputOutcome::On) {
                    self.ui.overlays.pop();
                }
                match typed {
                    InputOutcome::Do(action) => self.act(action),
                    _ => Ok(InputEffect::Stay),
                }
            }
            // A confirmation that is not visible cannot be accepted.
            Some(FleetOverlay::Confirm(_)) if !fits(self.size) && matches!(chord.as_str(), "y" | "enter") => {
                self.show_toast(TOO_SMALL);
                Ok(InputEffect::Stay)
            }
            Some(FleetOverlay::Confirm(confirm)) => {
                let word = confirm.word.clone();
                match (chord.as_str(), word) {
                    ("tab" | "shift-tab", _) => confirm.typing_why = !confirm.typing_why,
                    ("enter" | "esc", _) if confirm.typing_why => confirm.typing_why = false,
                    (_, _) if confirm.typing_why => drop(confirm.why.handle_event(event)),
                    ("esc", _) => {
                        self.ui.overlays.pop();
                        self.show_toast("nothing was done");
                    }
                    ("enter", Some(word)) if confirm.input.value() == word => self.confirmed(),
                    ("enter", Some(word)) => {
                        confirm.input = tui_input::Input::default();
                        self.show_toast(format!("that is not {word}: nothing was changed"));
                    }
                    (_, Some(_)) => drop(confirm.input.handle_event(event)),
                    ("y", None) => self.confirmed(),
                    // Enter does not confirm: it is too easily pressed by mistake.
                    ("n" | "q", None) => {
                        self.ui.overlays.pop();
                        self.show_toast("nothing was done");
                    }
                    _ => {}
                }
                Ok(InputEffect::Stay)
            }
            Some(FleetOverlay::ConfirmQuit) => {
                match chord.as_str() {
                    "y" => {
                        if let Some((_, stop)) = &self.bulk {
                            stop.send_replace(true);
                        }
                        return Ok(InputEffect::Leave(None));
                    }
                    "n" | "esc" | "q" => drop(self.ui.overlays.pop()),
                    _ => {}
                }
                Ok(InputEffect::Stay)
            }
            // On an overlay, q closes the overlay instead of quitting the program.
            Some(_) if chord == "q" => self.act(Action::Back),
            _ => match bound(FLEET_ACTIONS, &chord) {
                Some(action) => self.act(action),
                None => Ok(InputEffect::Stay),
            },
        }
    }

    /// Closes the confirmation and performs its action.
    fn confirmed(&mut self) {
        if let Some(FleetOverlay::Confirm(confirm)) = self.ui.overlays.pop() {
            self.perform(*confirm);
        }
    }

    fn paste(&mut self, text: &str) {
        let focus = self.ui.focus;
        match self.ui.overlays.last_mut() {
            Some(FleetOverlay::Filter { input, .. }) => {
                typing::paste(input, text);
                let filter = Filter::new(input.value());
                self.ui.list_mut(focus).filter = filter;
            }
            Some(FleetOverlay::Palette { input, .. }) => {
                typing::paste(input, text);
            }
            Some(FleetOverlay::Confirm(confirm)) if confirm.typing_why => {
                typing::paste(&mut confirm.why, text);
            }
            // A name that confirms an action has to be typed.
            _ => {}
        }
        self.request_redraw(RedrawReason::Key);
    }

    fn mouse(&mut self, mouse: &MouseEvent) -> io::Result<InputEffect> {
        let target = self.hits.at(mouse.column, mouse.row).cloned();
        match mouse.kind {
            MouseEventKind::Down(MouseButton::Left) => {
                self.request_redraw(RedrawReason::Key);
                match target {
                    // Nothing behind an overlay reacts to clicks.
                    Some(Hit::FleetColumn(_) | Hit::FleetPane(_) | Hit::FleetRow(..))
                        if !self.ui.overlays.is_empty() => {}
                    Some(Hit::Do(action)) => {
                        if matches!(
                            self.ui.overlays.last(),
                            Some(FleetOverlay::Palette { .. } | FleetOverlay::Help { .. })
                        ) {
                            self.ui.overlays.pop();
                        }
                        return self.act(action);
                    }
                    Some(Hit::FleetColumn(column)) => self.sort(column),
                    Some(Hit::FleetPane(pane)) => self.ui.focus = pane,
                    Some(Hit::FleetRow(pane, key)) => {
                        let again = self.ui.focus == pane && self.ui.list(pane).chosen.as_ref() == Some(&key);
                        self.ui.focus = pane;
                        self.ui.list_mut(pane).chosen = Some(key);
                        if again {
                            return self.act(Action::Open);
                        }
                    }
                    _ => {}
                }
            }
            MouseEventKind::ScrollDown | MouseEventKind::ScrollUp => {
                let action = if mouse.kind == MouseEventKind::ScrollDown { Action::Down } else { Action::Up };
                if let Some(Hit::FleetRow(pane, _) | Hit::FleetPane(pane)) = target
                    && self.ui.overlays.is_empty()
                {
                    self.ui.focus = pane;
                }
                self.request_redraw(RedrawReason::Key);
                for _ in 0..3 {
                    self.act(action)?;
                }
            }
            _ => {}
        }
        Ok(InputEffect::Stay)
    }

    /// Sorts by a column; reverses the order if the pipelines are sorted by it already.
    pub(super) fn sort(&mut self, column: crate::views::fleet::FleetColumn) {
        let ui = &mut self.ui;
        ui.reversed = ui.sort == column && !ui.reversed;
        ui.sort = column;
        let turned = if ui.reversed { ", reversed" } else { "" };
        self.show_toast(format!("sorted by {}{turned}", column.as_str()));
    }

    /// True if the focused pane can be sorted; otherwise shows a notice.
    pub(super) fn can_sort(&mut self) -> bool {
        let is_sortable = self.ui.focus == FleetPane::Pipelines;
        if !is_sortable {
            self.show_toast("only the pipelines can be sorted: 1 goes there");
        }
        is_sortable
    }
}
