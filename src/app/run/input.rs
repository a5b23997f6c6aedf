//! Maps terminal events to actions of the run screen and performs their effects.

use crate::app::effect::Effect;
use crate::app::run::app::{RedrawReason, RunApp, screen_of};
use crate::app::run::update::{sort, update};
use crate::app::term::background_query::AnswerMatch;
use crate::app::term::keys;
use crate::app::typing::{self, InputOutcome};
use crate::views::action::{ACTIONS, Action, bound};
use crate::views::hits::ClickTarget as Hit;
use crate::views::run::state::{Filter, Overlay};
use crossterm::event::{Event, KeyEvent, MouseButton, MouseEvent, MouseEventKind};
use std::io;
use std::time::Instant;
use synctop_core::reduce::history::LogPosition;
use synctop_core::reduce::{Target, target};
use tui_input::backend::crossterm::EventHandler;

impl RunApp<'_> {
    /// Handles one terminal event. Returns `Some` if it ends the program, with the signal number,
    /// if any.
    pub(crate) fn input(&mut self, event: &Event) -> io::Result<Option<Option<i32>>> {
        match self.session.background_query.as_mut().map_or(AnswerMatch::No, |query| query.classify(event)) {
            AnswerMatch::No => {}
            AnswerMatch::Part => return Ok(None),
            AnswerMatch::Answer(theme) => {
                self.session.background_query = None;
                // A theme that the user chose meanwhile has priority.
                if let Some(theme) = theme.filter(|_| self.options.ask) {
                    self.options.look.theme = theme;
                    self.session.terminal.invalidate();
                    self.request_redraw(RedrawReason::Key);
                }
                return Ok(None);
            }
        }
        match event {
            Event::Key(key) => return self.key(key, event),
            Event::Mouse(mouse) => return self.mouse(mouse),
            Event::Resize(..) => self.request_redraw(RedrawReason::Key),
            Event::Paste(text) => self.paste(text),
            Event::FocusGained | Event::FocusLost => {}
        }
        Ok(None)
    }

    fn key(&mut self, key: &KeyEvent, event: &Event) -> io::Result<Option<Option<i32>>> {
        let Some(chord) = keys::chord(key) else { return Ok(None) };
        self.request_redraw(RedrawReason::Key);
        if chord == "ctrl-c" {
            return self.act(Action::Interrupt);
        }
        let focus = self.ui.focus;
        match self.ui.overlays.last_mut() {
            Some(Overlay::Filter { input, .. }) => {
                let typed = match self.ui.lists.get_mut(focus.place()) {
                    Some(list) => typing::filter(&chord, event, input, &mut list.filter),
                    None => InputOutcome::Close,
                };
                match typed {
                    InputOutcome::Close => drop(self.ui.overlays.pop()),
                    InputOutcome::Drop => return self.act(Action::Back),
                    InputOutcome::On | InputOutcome::Do(_) => {}
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
                if !matches!(typed, InputOutcome::On) {
                    self.ui.overlays.pop();
                }
                match typed {
                    InputOutcome::Do(action) => self.act(action),
                    _ => Ok(None),
                }
            }
            Some(Overlay::ConfirmQuit) => {
                match chord.as_str() {
                    "y" | "enter" => {
                        self.ui.overlays.pop();
                        self.stop_engine_in_background();
                    }
                    "n" | "esc" | "q" => drop(self.ui.overlays.pop()),
                    _ => {}
                }
                Ok(None)
            }
            // On an overlay, q closes the overlay instead of quitting the program.
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
        self.request_redraw(RedrawReason::Key);
    }

    fn mouse(&mut self, mouse: &MouseEvent) -> io::Result<Option<Option<i32>>> {
        let target = self.hits.at(mouse.column, mouse.row).cloned();
        match mouse.kind {
            MouseEventKind::Down(MouseButton::Left) => {
                self.request_redraw(RedrawReason::Key);
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
                    // The view does not move behind an overlay.
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
                self.request_redraw(RedrawReason::Key);
                for _ in 0..3 {
                    self.act(action)?;
                }
            }
            _ => {}
        }
        Ok(None)
    }

    /// Seeks to the position of the log under this column of the scrubber.
    fn scrub(&mut self, column: u16) {
        let Some(line) = self.hits.scrub else { return };
        let within = column.clamp(line.x, line.x + line.width.saturating_sub(1)) - line.x;
        self.time_travel.jump_to_share(f64::from(within) / f64::from(line.width.saturating_sub(1).max(1)));
        self.request_redraw(RedrawReason::Key);
    }

    /// Seeks to a position that was typed. An invalid one stays in the prompt, with the error, to
    /// be corrected.
    fn go_to(&mut self, text: &str) -> Option<Option<i32>> {
        if text.trim().is_empty() {
            self.ui.overlays.pop();
            return None;
        }
        let from = match self.time_travel.view() {
            Some(view) => LogPosition { at: view.at, ..LogPosition::of(&view.progress) },
            None => LogPosition::of(&self.shown.progress),
        };
        let found = target(text, &self.time_travel.history(), from);
        match found {
            Ok(Target::End) if self.time_travel.live => {
                self.ui.overlays.pop();
                self.back_to_now();
            }
            Ok(place) => {
                self.ui.overlays.pop();
                self.hold();
                self.time_travel.jump(place);
            }
            Err(why) => {
                if let Some(Overlay::Goto { bad, .. }) = self.ui.overlays.last_mut() {
                    *bad = Some(why.to_string());
                }
            }
        }
        None
    }

    /// Performs an action. Returns `Some` if it ends the program, with the signal number, if any.
    fn act(&mut self, action: Action) -> io::Result<Option<Option<i32>>> {
        self.toast_at = None;
        let before = self.ui.clone();
        let effects = {
            let history = self.time_travel.shared();
            let history = crate::util::sys::lock(&history);
            let scrub = self.time_travel.scrub(&history, "", &self.snapshots.borrow().progress, self.options.size);
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
                Effect::Redraw => self.session.terminal.invalidate(),
                Effect::NextTheme => {
                    self.options.ask = false;
                    self.options.look.theme = self.options.look.theme.next();
                    self.ui.toast = Some(format!("theme {}", self.options.look.theme.as_str()));
                }
                Effect::ToggleMouse => {
                    self.options.mouse = !self.options.mouse;
                    self.session.terminal.set_mouse(self.options.mouse)?;
                    let whose = if self.options.mouse { "mouse on" } else { "mouse off: the terminal selects text" };
                    self.ui.toast = Some(whose.into());
                }
                Effect::Freeze(true) => self.frozen_at = Some(Instant::now()),
                Effect::Freeze(false) => {
                    self.frozen_at = None;
                    let before = self.shown.progress.input.lines;
                    self.take_feed();
                    let came = self.shown.progress.input.lines.saturating_sub(before);
                    self.ui.toast = Some(format!("{} lines arrived while frozen", synctop_core::format::count(came)));
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
