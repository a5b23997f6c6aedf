//! Terminal events to actions, and the execution of their effects.

use super::background::Taken;
use super::keys;
use super::run::{RedrawReason, RunApp, screen_of};
use super::typing::{self, Typed};
use super::update::{Effect, sort, update};
use crate::views::action::{ACTIONS, Action, bound};
use crate::views::state::{ClickTarget as Hit, Filter, Overlay};
use crossterm::event::{Event, KeyEvent, MouseButton, MouseEvent, MouseEventKind};
use std::io;
use std::time::Instant;
use synctop_core::reduce::history::LogPosition;
use synctop_core::reduce::{Target, target};
use tui_input::backend::crossterm::EventHandler;

impl RunApp<'_> {
    /// Takes one event; `Some` when it ends the program.
    pub(super) fn input(&mut self, event: &Event) -> io::Result<Option<Option<i32>>> {
        match self.session.asked.as_mut().map_or(Taken::No, |asked| asked.take(event)) {
            Taken::No => {}
            Taken::Part => return Ok(None),
            Taken::Answer(theme) => {
                self.session.asked = None;
                // The user's own choice meanwhile stands.
                if let Some(theme) = theme.filter(|_| self.options.ask) {
                    self.options.look.theme = theme;
                    self.session.terminal.forget();
                    self.due(RedrawReason::Key);
                }
                return Ok(None);
            }
        }
        match event {
            Event::Key(key) => return self.key(key, event),
            Event::Mouse(mouse) => return self.mouse(mouse),
            Event::Resize(..) => self.due(RedrawReason::Key),
            Event::Paste(text) => self.paste(text),
            Event::FocusGained | Event::FocusLost => {}
        }
        Ok(None)
    }

    fn key(&mut self, key: &KeyEvent, event: &Event) -> io::Result<Option<Option<i32>>> {
        let Some(chord) = keys::chord(key) else { return Ok(None) };
        self.due(RedrawReason::Key);
        if chord == "ctrl-c" {
            return self.act(Action::Interrupt);
        }
        let focus = self.ui.focus;
        match self.ui.overlays.last_mut() {
            Some(Overlay::Filter { input, .. }) => {
                let typed = match self.ui.lists.get_mut(focus.place()) {
                    Some(list) => typing::filter(&chord, event, input, &mut list.filter),
                    None => Typed::Close,
                };
                match typed {
                    Typed::Close => drop(self.ui.overlays.pop()),
                    Typed::Drop => return self.act(Action::Back),
                    Typed::On | Typed::Do(_) => {}
                }
                Ok(None)
            }
            Some(Overlay::Goto { input, bad }) => {
                match chord.as_str() {
                    "esc" => drop(self.ui.overlays.pop()),
                    "enter" => {
                        let text = input.value().to_owned();
                        return Ok(self.go_to(&text));
                    }
                    _ => {
                        input.handle_event(event);
                        *bad = None;
                    }
                }
                Ok(None)
            }
            Some(Overlay::Palette { input, chosen }) => {
                let typed = typing::palette(ACTIONS, &chord, event, input, chosen);
                if !matches!(typed, Typed::On) {
                    self.ui.overlays.pop();
                }
                match typed {
                    Typed::Do(action) => self.act(action),
                    _ => Ok(None),
                }
            }
            Some(Overlay::ConfirmQuit) => {
                match chord.as_str() {
                    "y" | "enter" => {
                        self.ui.overlays.pop();
                        self.begin_stop();
                    }
                    "n" | "esc" | "q" => drop(self.ui.overlays.pop()),
                    _ => {}
                }
                Ok(None)
            }
            // On a sheet, left and q close it: they never leave the program from inside.
            Some(_) if chord == "q" => self.act(Action::Back),
            _ => match bound(ACTIONS, &chord) {
                Some(action) => self.act(action),
                None => Ok(None),
            },
        }
    }

    fn paste(&mut self, text: &str) {
        let focus = self.ui.focus;
        match self.ui.overlays.last_mut() {
            Some(Overlay::Filter { input, .. }) => {
                typing::paste(input, text);
                let filter = Filter::new(input.value());
                self.ui.list_mut(focus).filter = filter;
            }
            Some(Overlay::Palette { input, .. } | Overlay::Goto { input, .. }) => {
                typing::paste(input, text);
            }
            _ => {}
        }
        self.due(RedrawReason::Key);
    }

    fn mouse(&mut self, mouse: &MouseEvent) -> io::Result<Option<Option<i32>>> {
        let target = self.hits.at(mouse.column, mouse.row).cloned();
        match mouse.kind {
            MouseEventKind::Down(MouseButton::Left) => {
                self.due(RedrawReason::Key);
                match target {
                    Some(Hit::Do(action)) => {
                        if matches!(self.ui.overlays.last(), Some(Overlay::Palette { .. } | Overlay::Help { .. })) {
                            self.ui.overlays.pop();
                        }
                        return self.act(action);
                    }
                    Some(Hit::Column(column)) => sort(&mut self.ui, column),
                    Some(Hit::Pane(pane)) => self.ui.focus = pane,
                    Some(Hit::Row(pane, chosen)) => {
                        let again = self.ui.focus == pane && self.ui.list(pane).chosen.as_ref() == Some(&chosen);
                        self.ui.focus = pane;
                        self.ui.list_mut(pane).chosen = Some(chosen);
                        if again {
                            return self.act(Action::Open);
                        }
                    }
                    // Nothing moves behind a text input.
                    Some(Hit::Scrub) if !self.ui.overlays.is_empty() => {}
                    Some(Hit::Scrub) => {
                        self.dragging = true;
                        self.scrub(mouse.column);
                    }
                    Some(Hit::Nothing | Hit::FleetPane(_) | Hit::FleetRow(..) | Hit::FleetColumn(_)) | None => {}
                }
            }
            MouseEventKind::Drag(MouseButton::Left) if self.dragging => self.scrub(mouse.column),
            MouseEventKind::Up(MouseButton::Left) => self.dragging = false,
            MouseEventKind::ScrollDown | MouseEventKind::ScrollUp => {
                let action = if mouse.kind == MouseEventKind::ScrollDown { Action::Down } else { Action::Up };
                if let Some(Hit::Row(pane, _) | Hit::Pane(pane)) = target
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
        Ok(None)
    }

    /// The place of the log that this column of the scrubber stands for.
    fn scrub(&mut self, column: u16) {
        let Some(line) = self.hits.scrub else { return };
        let within = column.clamp(line.x, line.x + line.width.saturating_sub(1)) - line.x;
        self.traveller.share(f64::from(within) / f64::from(line.width.saturating_sub(1).max(1)));
        self.due(RedrawReason::Key);
    }

    /// Goes to a place that was typed; one that cannot be understood stays to be mended.
    fn go_to(&mut self, text: &str) -> Option<Option<i32>> {
        if text.trim().is_empty() {
            self.ui.overlays.pop();
            return None;
        }
        let from = match self.traveller.view() {
            Some(view) => LogPosition { at: view.at, ..LogPosition::of(&view.progress) },
            None => LogPosition::of(&self.shown.progress),
        };
        let found = target(text, &self.traveller.history(), from);
        match found {
            Ok(Target::End) if self.traveller.live => {
                self.ui.overlays.pop();
                self.back_to_now();
            }
            Ok(place) => {
                self.ui.overlays.pop();
                self.hold();
                self.traveller.jump(place);
            }
            Err(why) => {
                if let Some(Overlay::Goto { bad, .. }) = self.ui.overlays.last_mut() {
                    *bad = Some(why);
                }
            }
        }
        None
    }

    /// Executes an action; `Some` when it ends the program.
    fn act(&mut self, action: Action) -> io::Result<Option<Option<i32>>> {
        self.toast_at = None;
        let before = self.ui.clone();
        let effects = {
            let history = self.traveller.shared();
            let history = crate::net::lock(&history);
            let scrub = self.traveller.scrub(&history, "", &self.snapshots.borrow().progress, self.options.size);
            let screen = screen_of(&self.shown, &before, &self.options, self.began, self.frozen_at, scrub);
            update(&mut self.ui, &screen, &self.hits, action)
        };
        for effect in effects {
            match effect {
                Effect::Quit if self.engine_runs() => {
                    if self.stopping {
                        return Ok(Some(None));
                    }
                    self.ui.overlays.push(Overlay::ConfirmQuit);
                }
                Effect::Quit => return Ok(Some(None)),
                Effect::Interrupt => return Ok(Some(Some(2))),
                Effect::Suspend => self.suspend()?,
                Effect::Redraw => self.session.terminal.forget(),
                Effect::NextTheme => {
                    self.options.ask = false;
                    self.options.look.theme = self.options.look.theme.next();
                    self.ui.toast = Some(format!("theme {}", self.options.look.theme.as_str()));
                }
                Effect::ToggleMouse => {
                    self.options.mouse = !self.options.mouse;
                    self.session.terminal.set_mouse(self.options.mouse)?;
                    let whose = if self.options.mouse {
                        "synctop has the mouse"
                    } else {
                        "the terminal has the mouse: select text"
                    };
                    self.ui.toast = Some(whose.into());
                }
                Effect::Freeze(true) => self.frozen_at = Some(Instant::now()),
                Effect::Freeze(false) => {
                    self.frozen_at = None;
                    let before = self.shown.progress.input.lines;
                    self.take_feed();
                    let came = self.shown.progress.input.lines.saturating_sub(before);
                    self.ui.toast =
                        Some(format!("{} lines came while the picture was frozen", synctop_core::format::count(came)));
                }
                Effect::Travel(what) => self.travel(what),
                Effect::Copy(text, what) => {
                    self.session.terminal.copy(&text)?;
                    self.ui.toast = Some(format!("copied {what}"));
                }
            }
        }
        Ok(None)
    }
}
