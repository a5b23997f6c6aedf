//! Events from the terminal -> actions on the screen of many pipelines.

use super::super::background::Taken;
use super::super::keys;
use super::super::run::RedrawReason;
use super::super::typing::{self, Typed};
use super::{FleetApp, Turned};
use crate::views::action::{Action, FLEET_ACTIONS, bound};
use crate::views::fleet::{FleetOverlay, FleetPane, fits};
use crate::views::state::{ClickTarget as Hit, Filter};
use crossterm::event::{Event, KeyEvent, MouseButton, MouseEvent, MouseEventKind};
use std::io;
use tui_input::backend::crossterm::EventHandler;

/// Text shown if the question does not fit.
pub(super) const TOO_SMALL: &str = "too small to show the action: enlarge the terminal";

impl FleetApp {
    pub(super) fn input(&mut self, event: &Event) -> io::Result<Turned> {
        match self.session.asked.as_mut().map_or(Taken::No, |asked| asked.take(event)) {
            Taken::No => {}
            Taken::Part => return Ok(Turned::Stay),
            Taken::Answer(theme) => {
                self.session.asked = None;
                if let Some(theme) = theme.filter(|_| self.options.ask) {
                    self.options.look.theme = theme;
                    self.session.terminal.forget();
                    self.due(RedrawReason::Key);
                }
                return Ok(Turned::Stay);
            }
        }
        match event {
            Event::Key(key) => return self.key(key, event),
            Event::Mouse(mouse) => return self.mouse(mouse),
            Event::Resize(..) => self.due(RedrawReason::Key),
            Event::Paste(text) => self.paste(text),
            Event::FocusGained | Event::FocusLost => {}
        }
        Ok(Turned::Stay)
    }

    fn key(&mut self, key: &KeyEvent, event: &Event) -> io::Result<Turned> {
        let Some(chord) = keys::chord(key) else { return Ok(Turned::Stay) };
        self.due(RedrawReason::Key);
        if chord == "ctrl-c" {
            return self.act(Action::Interrupt);
        }
        let focus = self.ui.focus;
        match self.ui.overlays.last_mut() {
            Some(FleetOverlay::Filter { input, .. }) => {
                let typed = match self.ui.lists.get_mut(focus.place()) {
                    Some(list) => typing::filter(&chord, event, input, &mut list.filter),
                    None => Typed::Close,
                };
                match typed {
                    Typed::Close => {
                        self.ui.overlays.pop();
                        self.settle();
                    }
                    Typed::Drop => return self.act(Action::Back),
                    Typed::On | Typed::Do(_) => {}
                }
                Ok(Turned::Stay)
            }
            Some(FleetOverlay::Palette { input, chosen }) => {
                let typed = typing::palette(FLEET_ACTIONS, &chord, event, input, chosen);
                if !matches!(typed, Typed::On) {
                    self.ui.overlays.pop();
                }
                match typed {
                    Typed::Do(action) => self.act(action),
                    _ => Ok(Turned::Stay),
                }
            }
            // An invisible question cannot be confirmed.
            Some(FleetOverlay::Confirm(_)) if !fits(self.size) && matches!(chord.as_str(), "y" | "enter") => {
                self.say(TOO_SMALL);
                Ok(Turned::Stay)
            }
            Some(FleetOverlay::Confirm(asked)) => {
                let typed = asked.word.clone();
                match (chord.as_str(), typed) {
                    ("tab" | "shift-tab", _) => asked.typing_why = !asked.typing_why,
                    ("enter" | "esc", _) if asked.typing_why => asked.typing_why = false,
                    (_, _) if asked.typing_why => drop(asked.why.handle_event(event)),
                    ("esc", _) => {
                        self.ui.overlays.pop();
                        self.say("nothing was done");
                    }
                    ("enter", Some(word)) if asked.input.value() == word => self.confirmed(),
                    ("enter", Some(word)) => {
                        asked.input = tui_input::Input::default();
                        self.say(format!("that is not {word}: nothing was changed"));
                    }
                    (_, Some(_)) => drop(asked.input.handle_event(event)),
                    ("y", None) => self.confirmed(),
                    // Enter alone is too easily pressed.
                    ("n" | "q", None) => {
                        self.ui.overlays.pop();
                        self.say("nothing was done");
                    }
                    _ => {}
                }
                Ok(Turned::Stay)
            }
            Some(FleetOverlay::ConfirmQuit) => {
                match chord.as_str() {
                    "y" => {
                        if let Some((_, stop)) = &self.bulk {
                            stop.send_replace(true);
                        }
                        return Ok(Turned::Leave(None));
                    }
                    "n" | "esc" | "q" => drop(self.ui.overlays.pop()),
                    _ => {}
                }
                Ok(Turned::Stay)
            }
            // On a sheet, q closes it: it never leaves the program from inside.
            Some(_) if chord == "q" => self.act(Action::Back),
            _ => match bound(FLEET_ACTIONS, &chord) {
                Some(action) => self.act(action),
                None => Ok(Turned::Stay),
            },
        }
    }

    fn confirmed(&mut self) {
        if let Some(FleetOverlay::Confirm(confirm)) = self.ui.overlays.pop() {
            self.do_it(*confirm);
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
            Some(FleetOverlay::Confirm(asked)) if asked.typing_why => {
                typing::paste(&mut asked.why, text);
            }
            // A name that is to be typed is not pasted.
            _ => {}
        }
        self.due(RedrawReason::Key);
    }

    fn mouse(&mut self, mouse: &MouseEvent) -> io::Result<Turned> {
        let target = self.hits.at(mouse.column, mouse.row).cloned();
        match mouse.kind {
            MouseEventKind::Down(MouseButton::Left) => {
                self.due(RedrawReason::Key);
                match target {
                    // Nothing moves behind an overlay.
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
                self.due(RedrawReason::Key);
                for _ in 0..3 {
                    self.act(action)?;
                }
            }
            _ => {}
        }
        Ok(Turned::Stay)
    }

    pub(super) fn sort(&mut self, column: crate::views::fleet::FleetColumn) {
        let ui = &mut self.ui;
        ui.reversed = ui.sort == column && !ui.reversed;
        ui.sort = column;
        let turned = if ui.reversed { ", turned round" } else { "" };
        self.say(format!("sorted by {}{turned}", column.as_str()));
    }

    /// Only the pipelines have an order to choose.
    pub(super) fn on_pipelines(&mut self) -> bool {
        let there = self.ui.focus == FleetPane::Pipelines;
        if !there {
            self.say("only the pipelines are sorted: 1 goes there");
        }
        there
    }
}
