//! Performs actions: changes of the fleet screen, and effects outside it.

use crate::app::fleet::app::{BackgroundResult, FleetApp, InputEffect, screen_of};
use crate::net::client::poller::Watcher;
use crate::util::sys::now;
use crate::views::action::{Action, FLEET_ACTIONS, FleetAction, matching};
use crate::views::fleet::rows::{self, FleetRow};
use crate::views::fleet::{FleetColumn, FleetOverlay, FleetPane, FleetScreen, RowKey, RunRows, actions, inbox};
use crate::views::run::state::Filter;
use std::io;
use std::sync::Arc;
use strum::VariantArray as _;
use synctop_core::fleet::PipelineGroup;
use synctop_core::protocol::clean;
use tui_input::Input;

impl FleetApp {
    /// Calls `look` with the model of the screen.
    pub(super) fn with_screen<R>(&self, look: impl FnOnce(&FleetScreen) -> R) -> R {
        let place = Arc::clone(&self.options.watcher.client.place);
        let (name, address) = (place.name(), place.shown());
        let armed = self.armed();
        let whose = (name.as_str(), address.as_str(), place.color.as_deref(), self.how.as_str());
        let bulk = self.bulk_shown.as_ref();
        look(&screen_of(&self.shown, &self.ui, &self.options.look, whose, armed, &self.acting, bulk))
    }

    /// Performs an action of any screen.
    pub(super) fn act(&mut self, action: Action) -> io::Result<InputEffect> {
        self.ui.toast = None;
        self.toast_at = None;
        match action {
            Action::Quit if self.has_pending_actions() => self.ui.overlays.push(FleetOverlay::ConfirmQuit),
            Action::Quit => return Ok(InputEffect::Leave(None)),
            Action::Interrupt => return Ok(InputEffect::Leave(Some(2))),
            Action::Suspend => self.suspend()?,
            Action::Redraw => self.session.terminal.invalidate(),
            Action::Theme => {
                self.options.ask = false;
                self.options.look.theme = self.options.look.theme.next();
                let word = self.options.look.theme.as_str();
                self.show_toast(format!("theme {word}"));
            }
            Action::Mouse => {
                self.options.mouse = !self.options.mouse;
                self.session.terminal.set_mouse(self.options.mouse)?;
                let whose = if self.options.mouse { "mouse on" } else { "mouse off: the terminal selects text" };
                self.show_toast(whose);
            }
            Action::Help => {
                if matches!(self.ui.overlays.last(), Some(FleetOverlay::Help { .. })) {
                    self.ui.overlays.pop();
                } else {
                    self.ui.overlays.push(FleetOverlay::Help { top: 0 });
                }
            }
            Action::Palette => self.ui.overlays.push(FleetOverlay::Palette { input: Input::default(), chosen: 0 }),
            Action::Filter if matches!(self.ui.overlays.last(), Some(FleetOverlay::Help { .. })) => {
                self.ui.overlays.pop();
                self.ui.overlays.push(FleetOverlay::Palette { input: Input::default(), chosen: 0 });
            }
            Action::Filter if !self.ui.overlays.is_empty() => {
                self.show_toast("Esc closes this; then / filters the list");
            }
            Action::Filter => {
                let before = self.ui.list(self.ui.focus).filter.clone();
                let input = Input::new(before.text.clone());
                self.ui.overlays.push(FleetOverlay::Filter { input, before });
            }
            Action::Back => self.back(),
            Action::Open => return Ok(self.open()),
            Action::NextPane | Action::PreviousPane => {
                let all = FleetPane::VARIANTS.len() - usize::from(self.bulk_shown.is_none());
                let step = if action == Action::NextPane { 1 } else { all - 1 };
                let next = FleetPane::VARIANTS.get((self.ui.focus.place() + step) % all).copied().unwrap_or_default();
                self.focus(next);
            }
            Action::Zoom => self.ui.zoomed = !self.ui.zoomed,
            Action::Down | Action::Up | Action::PageDown | Action::PageUp | Action::Top | Action::Bottom => {
                self.movement(action);
            }
            Action::SortNext | Action::SortPrevious if self.can_sort() => {
                let all = FleetColumn::VARIANTS;
                let at = all.iter().position(|column| *column == self.ui.sort).unwrap_or(0);
                let step = if action == Action::SortNext { 1 } else { all.len() - 1 };
                self.sort(all.get((at + step) % all.len()).copied().unwrap_or_default());
            }
            Action::SortReverse if self.can_sort() => {
                self.ui.reversed = !self.ui.reversed;
            }
            Action::Fold => {
                let group = self.with_screen(|screen| rows::chosen(screen).map(FleetRow::group));
                if let Some(group) = group {
                    self.toggle(group);
                    self.ui.list_mut(FleetPane::Pipelines).chosen = Some(RowKey::Head(group));
                }
            }
            Action::FoldAll => {
                let fold = PipelineGroup::VARIANTS.iter().copied().any(|group| !self.ui.folded(group));
                self.ui.folds = [Some(fold); 7];
            }
            Action::Copy => self.copy()?,
            // The open overlay is the target, not the row behind it.
            Action::Fleet(_)
                if self.ui.overlays.last().is_some_and(|it| {
                    !matches!(
                        it,
                        FleetOverlay::Pipeline { .. } | FleetOverlay::Error { .. } | FleetOverlay::ActionRecord { .. }
                    )
                }) =>
            {
                self.show_toast("Esc closes this first");
            }
            Action::Fleet(what) => return Ok(self.fleet_act(what)),
            // Action of the run screen.
            _ => {}
        }
        Ok(InputEffect::Stay)
    }

    /// Performs an action of the fleet screen.
    fn fleet_act(&mut self, what: FleetAction) -> InputEffect {
        match what {
            FleetAction::Go(pane) => self.focus(pane),
            FleetAction::Describe => match self.chosen_pipeline() {
                Some(id) => self.ui.overlays.push(FleetOverlay::Pipeline { id, top: 0 }),
                None => return self.open(),
            },
            FleetAction::Runs => match self.chosen_pipeline() {
                Some(id) => self.fetch_runs(id),
                None => self.show_toast("choose a pipeline first"),
            },
            FleetAction::Mark => self.mark_chosen(),
            FleetAction::MarkAll => self.mark_all(),
            FleetAction::Arm => self.arm(),
            FleetAction::Do(action) => {
                let targets = self.with_screen(|screen| self.targets(screen));
                self.confirm_action(action, targets);
            }
            FleetAction::Stop => self.stop_bulk(),
            FleetAction::Acknowledge => self.acknowledge(),
            FleetAction::Closed => {
                self.ui.closed = !self.ui.closed;
                let words = if self.ui.closed { "fixed errors are shown too" } else { "only open errors are shown" };
                self.show_toast(words);
            }
            FleetAction::Refresh => {
                self.options.watcher.refresh();
                self.show_toast("reading the list");
            }
            FleetAction::Contexts if self.options.watcher.client.place.title.is_some() => {
                self.show_toast("the demo has no contexts: quit, then synctop connect NAME opens one of yours");
            }
            FleetAction::Contexts if self.options.contexts.is_empty() => {
                self.show_toast("no contexts yet: synctop config init creates a configuration");
            }
            FleetAction::Contexts => {
                let names = self.options.contexts.clone();
                self.ui.overlays.push(FleetOverlay::Contexts { names, chosen: 0 });
            }
            FleetAction::NextTrouble | FleetAction::PreviousTrouble => {
                self.step_trouble(what == FleetAction::NextTrouble);
            }
        }
        InputEffect::Stay
    }

    fn focus(&mut self, pane: FleetPane) {
        self.ui.overlays.clear();
        self.ui.focus = pane;
    }

    /// Moves the selection to a visible row if the filter hides the selected one.
    pub(super) fn select_visible(&mut self) {
        if let Some(seen) = self.row_at(|at, _| at) {
            self.ui.list_mut(self.ui.focus).chosen = Some(seen);
        }
    }

    /// Returns the key of a row of the focused pane. `place` computes its index from the selected
    /// and the last index.
    fn row_at(&self, place: impl Fn(usize, usize) -> usize) -> Option<RowKey> {
        self.with_screen(|screen| {
            let chosen = screen.ui.list(self.ui.focus).chosen.as_ref();
            let to = |at: usize, count: usize| place(at, count.saturating_sub(1));
            match self.ui.focus {
                FleetPane::Pipelines => {
                    let all = rows::rows(screen);
                    let at = all.place(chosen);
                    let mut next = to(at, all.rows.len());
                    // A note cannot be selected.
                    if matches!(all.rows.get(next), Some(FleetRow::Note(..))) {
                        next = if next > at && next + 1 < all.rows.len() { next + 1 } else { next.saturating_sub(1) };
                    }
                    all.rows.get(next).map(|row| row.key())
                }
                FleetPane::Errors => {
                    let all = inbox::items(screen);
                    all.get(to(inbox::place(&all, chosen), all.len())).map(|item| inbox::key(item))
                }
                FleetPane::Actions => {
                    let all = actions::items(screen);
                    all.get(to(actions::place(&all, chosen), all.len())).map(|record| actions::key(record))
                }
                FleetPane::Bulk => None,
            }
        })
    }

    /// Folds or unfolds a group.
    fn toggle(&mut self, group: PipelineGroup) {
        let folded = self.ui.folded(group);
        if let Some(fold) = self.ui.folds.get_mut(group as usize) {
            *fold = Some(!folded);
        }
    }

    /// Closes the topmost overlay, otherwise the filter, otherwise the marks, otherwise the zoom,
    /// otherwise the tour.
    fn back(&mut self) {
        let focus = self.ui.focus;
        match self.ui.overlays.pop() {
            Some(FleetOverlay::Filter { before, .. }) => {
                let list = self.ui.list_mut(focus);
                list.filter = if list.filter.text == before.text { Filter::default() } else { before };
            }
            Some(_) => {}
            None if !self.ui.list(focus).filter.text.is_empty() => self.ui.list_mut(focus).filter = Filter::default(),
            None if !self.ui.marked.is_empty() => self.ui.marked.clear(),
            None if self.ui.zoomed => self.ui.zoomed = false,
            None if self.ui.tour.is_some() && focus == FleetPane::Pipelines => {
                self.options.tour = false;
                self.ui.tour = None;
            }
            None => self.ui.focus = FleetPane::Pipelines,
        }
    }

    /// Returns the pipeline of the open overlay or of the selected row; `None` if there is none.
    pub(super) fn chosen_pipeline(&self) -> Option<Arc<str>> {
        if let Some(FleetOverlay::Pipeline { id, .. }) = self.ui.overlays.last() {
            return Some(Arc::clone(id));
        }
        let open = match self.ui.overlays.last() {
            Some(FleetOverlay::ActionRecord { seq, .. }) => Some(*seq),
            _ => None,
        };
        if open.is_some() || self.ui.focus == FleetPane::Actions {
            return self.with_screen(|screen| {
                let record = match open {
                    Some(seq) => screen.actions.iter().find(|record| record.seq == seq),
                    None => actions::chosen(screen),
                };
                let pipeline = record.map(|record| record.pipeline.clone())?;
                screen.fleet.pipelines.get_key_value(pipeline.as_str()).map(|(id, _)| Arc::clone(id))
            });
        }
        if self.ui.focus != FleetPane::Pipelines {
            return None;
        }
        let chosen = self.with_screen(|screen| rows::chosen(screen).and_then(FleetRow::pipeline).map(Arc::clone));
        chosen.map(|it| Arc::clone(&it.pipeline.id))
    }

    /// Opens the selected row: a run, the details of an error or action, or the chosen entry of the
    /// overlay.
    fn open(&mut self) -> InputEffect {
        match self.ui.overlays.last() {
            Some(FleetOverlay::Pipeline { id, .. }) => return InputEffect::OpenRun(Arc::clone(id)),
            Some(FleetOverlay::Runs { id, rows: RunRows::Loaded(rows), chosen }) => {
                let (id, number) = (Arc::clone(id), rows.get(*chosen).map(|row| row.number));
                if let Some(number) = number {
                    self.fetch_log(id, number);
                }
                return InputEffect::Stay;
            }
            Some(FleetOverlay::Contexts { names, chosen }) => {
                let name = names.get(*chosen).map(|(name, _)| name.clone());
                self.ui.overlays.pop();
                if let Some(name) = name {
                    self.go(&name);
                }
                return InputEffect::Stay;
            }
            Some(_) => return InputEffect::Stay,
            None => {}
        }
        match self.ui.focus {
            FleetPane::Pipelines => match self.row_at(|at, _| at) {
                Some(RowKey::Head(group)) => self.toggle(group),
                Some(RowKey::Id(id)) => return InputEffect::OpenRun(id),
                None => {}
            },
            FleetPane::Errors => {
                let found = self.with_screen(|screen| inbox::chosen(screen).map(|item| Arc::clone(&item.fingerprint)));
                if let Some(fingerprint) = found {
                    self.ui.overlays.push(FleetOverlay::Error { fingerprint, top: 0 });
                }
            }
            FleetPane::Actions => {
                let found = self.with_screen(|screen| actions::chosen(screen).map(|record| record.seq));
                if let Some(seq) = found {
                    self.ui.overlays.push(FleetOverlay::ActionRecord { seq, top: 0 });
                }
            }
            FleetPane::Bulk => {}
        }
        InputEffect::Stay
    }

    /// Switches to another context. Refused while an action is pending, because its result would
    /// not be shown.
    fn go(&mut self, name: &str) {
        if self.has_pending_actions() {
            return self.show_toast("an action is still being verified: wait for its result, or quit");
        }
        // Runs in the background: the command that supplies the token may take time.
        self.show_toast(format!("connecting to {name} ..."));
        let (go, send, name) = (Arc::clone(&self.options.go), self.send.clone(), name.to_owned());
        self.options.background.spawn_blocking(move || {
            let opened = go(&name);
            let _ = send.blocking_send(BackgroundResult::Context(name, opened));
        });
    }

    /// Shows the service of another context.
    pub(super) fn show_context(&mut self, name: &str, watcher: Arc<Watcher>) {
        if self.has_pending_actions() {
            return self.show_toast("an action is still being verified: wait for its result, or quit");
        }
        self.seen = watcher.seen();
        self.options.watcher = watcher;
        // Arming applies to one service and does not carry over.
        (self.armed_until, self.options.write) = (None, self.options.watcher.client.place.write);
        (self.bulk, self.bulk_shown, self.fetching) = (None, None, None);
        self.ui.marked.clear();
        self.ui.overlays.clear();
        self.ui.lists = Default::default();
        self.take_seen();
        self.show_toast(format!("context {name}"));
    }

    /// Marks or unmarks the selected pipeline, or all of the selected group.
    fn mark_chosen(&mut self) {
        if self.ui.focus != FleetPane::Pipelines {
            return self.show_toast("only pipelines are marked: 1 goes there");
        }
        let (ids, head) = self.with_screen(|screen| match rows::chosen(screen) {
            Some(FleetRow::Head(group)) => {
                let of = screen.fleet.pipelines.values().filter(|it| it.group(screen.now) == group);
                (of.map(|it| Arc::clone(&it.pipeline.id)).collect::<Vec<_>>(), true)
            }
            Some(FleetRow::Pipeline(it, _) | FleetRow::Note(it, _)) => (vec![Arc::clone(&it.pipeline.id)], false),
            None => (Vec::new(), false),
        });
        let all = ids.iter().all(|id| self.ui.marked.contains(id));
        for id in ids {
            if all {
                self.ui.marked.remove(&id);
            } else {
                self.ui.marked.insert(id);
            }
        }
        // Selects the next pipeline, as file managers do; a selected group stays selected.
        if !head {
            self.movement(Action::Down);
        }
    }

    /// Marks all visible pipelines, or clears the marks if all are marked.
    fn mark_all(&mut self) {
        let ids: Vec<_> = self.with_screen(|screen| {
            let all = rows::rows(screen);
            // Pipelines of a folded group are not marked.
            let shown = all.rows.iter().filter_map(|row| match row {
                FleetRow::Pipeline(it, _) => Some(Arc::clone(&it.pipeline.id)),
                _ => None,
            });
            shown.collect()
        });
        if ids.iter().all(|id| self.ui.marked.contains(id)) {
            self.ui.marked.clear();
        } else {
            self.ui.marked.extend(ids);
        }
    }

    /// Acknowledges the selected error, or withdraws its acknowledgment.
    fn acknowledge(&mut self) {
        let in_inbox = self.ui.overlays.is_empty() && self.ui.focus == FleetPane::Errors;
        let fingerprint = match self.ui.overlays.last() {
            Some(FleetOverlay::Error { fingerprint, .. }) => Some(Arc::clone(fingerprint)),
            _ if in_inbox => self.with_screen(|screen| inbox::chosen(screen).map(|item| Arc::clone(&item.fingerprint))),
            // The first error of the selected pipeline.
            _ => self.chosen_pipeline().and_then(|id| {
                let known = self.shown.fleet.pipelines.get(&id)?;
                known.pipeline.faults.first().map(|fault| Arc::clone(&fault.fingerprint))
            }),
        };
        let Some(fingerprint) = fingerprint else { return self.show_toast("choose an error first: 2 goes there") };
        let acked = self.shown.inbox.items.get(&fingerprint).is_some_and(|item| item.acked.is_some());
        if in_inbox {
            // The item moves to another row; the selection follows it.
            self.ui.list_mut(FleetPane::Errors).chosen = Some(RowKey::Id(Arc::clone(&fingerprint)));
        }
        let (watcher, who) = (Arc::clone(&self.options.watcher), self.options.who.clone());
        self.options.background.spawn_blocking(move || watcher.acknowledge(&fingerprint, &who));
        self.show_toast(if acked {
            "acknowledgment withdrawn"
        } else {
            "acknowledged; it closes when its pipelines succeed"
        });
    }

    /// Selects the next or previous pipeline that is parked, failing or stale.
    fn step_trouble(&mut self, forward: bool) {
        let found = self.with_screen(|screen| {
            let all = rows::rows(screen);
            let at = all.place(screen.ui.list(FleetPane::Pipelines).chosen.as_ref());
            let chosen = screen.ui.list(FleetPane::Pipelines).chosen.is_some();
            let trouble: Vec<usize> = all
                .rows
                .iter()
                .enumerate()
                .filter(|(_, row)| {
                    matches!(
                        row,
                        FleetRow::Pipeline(_, PipelineGroup::Parked | PipelineGroup::Failing | PipelineGroup::Stale)
                    )
                })
                .map(|(place, _)| place)
                .collect();
            let next = match (chosen, forward) {
                (false, _) => trouble.first().copied(),
                (true, true) => trouble.iter().copied().find(|place| *place > at).or(trouble.first().copied()),
                (true, false) => trouble.iter().rev().copied().find(|place| *place < at).or(trouble.last().copied()),
            };
            next.and_then(|place| all.rows.get(place)).map(|row| row.key())
        });
        match found {
            None => self.show_toast("no pipeline is in trouble"),
            Some(key) => {
                self.ui.focus = FleetPane::Pipelines;
                if let (Some(FleetOverlay::Pipeline { id, top }), RowKey::Id(next)) =
                    (self.ui.overlays.last_mut(), &key)
                {
                    (*id, *top) = (Arc::clone(next), 0);
                }
                self.ui.list_mut(FleetPane::Pipelines).chosen = Some(key);
            }
        }
    }

    /// Moves the selection of the focused pane, or scrolls the topmost overlay.
    fn movement(&mut self, action: Action) {
        let (most, overlay_page) = self.hits.overlay;
        let to = |at: usize, last: usize, page: usize| match action {
            Action::Down => (at + 1).min(last),
            Action::Up => at.min(last).saturating_sub(1),
            Action::PageDown => (at + page).min(last),
            Action::PageUp => at.min(last).saturating_sub(page),
            Action::Bottom => last,
            _ => 0,
        };
        match self.ui.overlays.last_mut() {
            Some(
                FleetOverlay::Help { top }
                | FleetOverlay::Pipeline { top, .. }
                | FleetOverlay::Error { top, .. }
                | FleetOverlay::ActionRecord { top, .. },
            ) => return *top = to(*top, most, overlay_page),
            Some(FleetOverlay::Palette { input, chosen }) => {
                return *chosen = to(*chosen, matching(FLEET_ACTIONS, input.value()).len().saturating_sub(1), 10);
            }
            Some(FleetOverlay::Runs { rows, chosen, .. }) => {
                let RunRows::Loaded(rows) = rows else { return };
                return *chosen = to(*chosen, rows.len().saturating_sub(1), 10);
            }
            Some(FleetOverlay::Contexts { names, chosen }) => {
                return *chosen = to(*chosen, names.len().saturating_sub(1), 10);
            }
            Some(_) => return,
            None => {}
        }
        let focus = self.ui.focus;
        let page = self.hits.pages.get(focus.place()).copied().unwrap_or(1).max(1);
        if focus == FleetPane::Bulk {
            let all = self.bulk_shown.as_ref().map_or(0, |bulk| bulk.items.len());
            let list = self.ui.list_mut(FleetPane::Bulk);
            list.top = to(list.top, all.saturating_sub(1), page);
            return;
        }
        self.ui.list_mut(focus).chosen = self.row_at(|at, last| to(at, last, page));
    }

    /// Copies the text of the open overlay or of the selected row.
    fn copy(&mut self) -> io::Result<()> {
        let (text, what) = self.with_screen(|screen| match (screen.ui.overlays.last(), screen.ui.focus) {
            (Some(FleetOverlay::Confirm(confirm)), _) => (Some(confirm.whole()), "the command"),
            (Some(FleetOverlay::Error { fingerprint, .. }), _) => {
                (screen.inbox.items.get(fingerprint).map(|item| item.message.to_string()), "the error")
            }
            (_, FleetPane::Errors) => (inbox::chosen(screen).map(|item| item.message.to_string()), "the error"),
            (_, FleetPane::Actions) => {
                (actions::chosen(screen).and_then(|record| serde_json::to_string(record).ok()), "the action")
            }
            _ => {
                let id = self.chosen_pipeline();
                let known = id.and_then(|id| screen.fleet.pipelines.get(&id));
                let text = known.map(|it| {
                    let fault =
                        it.pipeline.faults.first().map(|fault| format!("  {}: {}", fault.kind(), fault.message));
                    let group = it.group(now()).as_str().to_lowercase();
                    format!("{}  {group}, {}{}", it.pipeline.id, it.pipeline.status.as_str(), fault.unwrap_or_default())
                });
                (text, "the pipeline")
            }
        });
        match text {
            None => self.show_toast("nothing to copy here"),
            Some(text) => {
                self.session.terminal.copy(&clean::line(&text))?;
                self.show_toast(format!("copied {what}"));
            }
        }
        Ok(())
    }
}
