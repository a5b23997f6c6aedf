//! Event-loop hooks for time travel: hold, seek, return to the live view.

use crate::app::run::app::{RedrawReason, RunApp};
use crate::net::source::ingest::Snapshot;
use crate::views::action::Travel;
use std::sync::Arc;
use synctop_core::reduce::history::LogPosition;
use synctop_core::reduce::{Link, Target, target};

impl RunApp<'_> {
    /// Takes a new earlier view and shows it.
    pub(crate) fn take_view(&mut self) {
        let playing = self.time_travel.playing();
        let word = self.time_travel.take_view();
        let end = self.time_travel.history().end();
        if self.time_travel.live && playing && self.time_travel.position().bytes >= end.bytes {
            // Playback reached the live end.
            self.back_to_now();
        }
        if self.time_travel.live && self.time_travel.view().is_none() {
            self.shown = self.snapshots.borrow_and_update().clone();
        }
        if let Some(view) = self.time_travel.view() {
            let latest = self.snapshots.borrow().link.clone();
            let link = match (view.ended, latest) {
                (true, Link::Live | Link::Waiting) => Link::Ended(None),
                (true, latest) => latest,
                (false, _) => Link::Live,
            };
            self.shown = Snapshot { progress: Arc::clone(&view.progress), link, last_line: None };
        }
        if let Some(word) = word {
            self.ui.toast = Some(word);
            self.toast_at = None;
        }
        self.request_redraw(RedrawReason::Key);
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
        self.ui.frozen = false;
        self.shown = self.snapshots.borrow_and_update().clone();
        self.request_redraw(RedrawReason::Key);
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
        if let Some(word) = self.time_travel.travel(what) {
            self.ui.toast = Some(word);
        }
    }

    /// Holds the view on screen instead of following the feed.
    pub(crate) fn hold(&mut self) {
        if self.time_travel.view().is_none() {
            self.time_travel.hold(&self.shown.progress, self.shown.progress.last_at);
            self.frozen_at = None;
            self.ui.frozen = false;
        }
    }
}
