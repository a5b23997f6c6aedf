//! Event-loop hooks for time travel: hold, seek, return to the live view.

use crate::app::run::screen::RunScreen;
use crate::app::run::update::select_error;
use crate::app::shell::{RedrawReason, Shell};
use crate::net::source::ingest::Snapshot;
use crate::views::run::action::Travel;
use crate::views::run::errors::{self, ErrorItem};
use crate::views::run::state::RunSheet;
use std::sync::Arc;
use synctop_core::reduce::history::{LogPosition, Mark};
use synctop_core::reduce::{Link, Target, target};

impl RunScreen {
    /// Takes a new earlier view and shows it.
    pub(crate) fn take_view(&mut self, shell: &mut Shell) {
        let playing = self.time_travel.playing();
        let word = self.time_travel.take_view();
        let end = self.time_travel.history().end();
        if self.time_travel.live && playing && self.time_travel.position().bytes >= end.bytes {
            // Playback reached the live end.
            self.back_to_now();
        }
        if self.time_travel.live && self.time_travel.view().is_none() {
            self.shown.set(self.snapshots.borrow_and_update().clone());
        }
        if let Some(view) = self.time_travel.view() {
            let latest = self.snapshots.borrow().link.clone();
            let link = match (view.ended, latest) {
                (true, Link::Live | Link::Waiting) => Link::Ended(None),
                (true, latest) => latest,
                (false, _) => Link::Live,
            };
            self.shown.set(Snapshot { progress: Arc::clone(&view.progress), link, last_line: None });
        }
        if self.select_reached && self.time_travel.has_arrived() {
            self.select_reached = false;
            if self.time_travel.view().is_some_and(|view| !view.failed) {
                self.select_newest_error();
            }
        }
        if self.select_first && self.time_travel.view().is_some_and(|view| view.ended) {
            self.select_first = false;
            self.select_first_error();
        }
        if let Some(word) = word {
            shell.notice(&mut self.ui, word);
        }
        shell.request_redraw(RedrawReason::Key);
    }

    /// Selects the first error of the list. An error of the whole run has no stream to select, so its
    /// pane gets the focus.
    fn select_first_error(&mut self) {
        let progress = Arc::clone(&self.shown.progress);
        let Some(group) = progress.errors.groups().iter().min_by_key(|group| errors::order(group)) else { return };
        let item = ErrorItem::Error(group);
        select_error(&mut self.ui, &item);
        if item.stream().is_none() {
            self.ui.focus = crate::views::Pane::Errors;
        }
    }

    /// Selects the error that the last line of the view reports, and its stream.
    fn select_newest_error(&mut self) {
        let progress = Arc::clone(&self.shown.progress);
        let newest = |group: &&Arc<synctop_core::reduce::ErrorGroup>| group.places.back().map(|place| place.line);
        let Some(group) = progress.errors.groups().iter().max_by_key(newest) else { return };
        let item = ErrorItem::Error(group);
        if let Some(open @ RunSheet::Error { .. }) = self.ui.sheet_mut() {
            *open = RunSheet::Error { id: group.id, top: 0 };
        }
        select_error(&mut self.ui, &item);
        // The stream that this occurrence names, of the many that the group may have.
        let stream = group.places.back().and_then(|place| place.stream.as_ref());
        if let Some(stream) = stream {
            let chosen = crate::views::run::state::Chosen::Stream(stream.to_string());
            self.ui.list_mut(crate::views::Pane::Streams).chosen = Some(chosen);
        }
    }

    /// Seeks to a position that was typed. An invalid one stays in the prompt, with the error, to
    /// be corrected.
    pub(crate) fn go_to(&mut self, text: &str, shell: &mut Shell) {
        if text.trim().is_empty() {
            self.ui.overlays.pop();
            return;
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
                if let Some(RunSheet::Goto { bad, .. }) = self.ui.sheet_mut() {
                    *bad = Some(why.to_string());
                }
            }
        }
        shell.request_redraw(RedrawReason::Key);
    }

    /// Seeks to the start position of a replay once the index contains it.
    pub(crate) fn start_replay(&mut self) {
        let Some(start) = &mut self.options.replay else { return };
        let Some(text) = start.at.clone() else { return };
        let goes = {
            let history = self.time_travel.history();
            // The log may still be indexed: its start position is known, or not yet.
            let found = target(&text, &history, LogPosition::default());
            // A share and a time without a date depend on the complete log.
            let fixed =
                !text.contains('%') && (text.starts_with(['+', 'l', 'L', '#']) || text.len() >= "2026-11-20".len());
            let behind = match found {
                Ok(Target::Time(at)) => fixed && history.end().at.is_some_and(|end| end > at),
                Ok(Target::Line(line)) => fixed && history.end().lines > line,
                Ok(Target::Begin) => true,
                _ => false,
            };
            (history.complete || behind).then_some(found)
        };
        match goes {
            None => {}
            Some(found) => {
                start.at = None;
                match found {
                    Ok(target) => self.time_travel.jump(target),
                    Err(why) => self.ui.toast = Some(why.to_string()),
                }
            }
        }
    }

    /// Returns to the live view.
    pub(crate) fn back_to_now(&mut self) {
        self.time_travel.return_to_live();
        self.frozen_at = None;
        self.ui.own.frozen = false;
        self.shown.set(self.snapshots.borrow_and_update().clone());
    }

    /// Performs a time travel action.
    pub(crate) fn travel(&mut self, what: Travel) {
        if self.time_travel.live {
            let on = matches!(
                what,
                Travel::Line(true)
                    | Travel::Second(true)
                    | Travel::Ten(true)
                    | Travel::Minute(true)
                    | Travel::Mark(_, true)
                    | Travel::Share(u16::MAX)
            );
            match what {
                Travel::Now => return self.back_to_now(),
                _ if on && self.time_travel.view().is_none() => {
                    self.ui.toast = Some("the view is live; left and N go back".into());
                    return;
                }
                // These change settings of a later playback and keep the live view.
                Travel::Faster | Travel::Slower | Travel::Gaps => {}
                _ => self.hold(),
            }
        }
        // `n` and `N` select the error that they reach.
        self.select_reached = matches!(what, Travel::Mark(Mark::Error, _));
        if let Some(word) = self.time_travel.travel(what) {
            self.ui.toast = Some(word);
        }
    }

    /// Holds the view on screen instead of following the feed.
    pub(crate) fn hold(&mut self) {
        if self.time_travel.view().is_none() {
            self.time_travel.hold(&self.shown.progress, self.shown.progress.last_at);
            self.frozen_at = None;
            self.ui.own.frozen = false;
        }
    }
}
