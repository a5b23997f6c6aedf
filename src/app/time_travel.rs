//! Event-loop hooks for time travel: hold, seek, return to live.

use super::run::{RedrawReason, RunApp};
use crate::net::Snapshot;
use crate::views::action::Travel;
use std::sync::Arc;
use synctop_core::reduce::history::LogPosition;
use synctop_core::reduce::{Link, Target, target};

impl RunApp<'_> {
    /// A picture of the past came.
    pub(super) fn take_view(&mut self) {
        let playing = self.traveller.playing();
        let word = self.traveller.arrived();
        let end = self.traveller.history().end();
        if self.traveller.live && playing && self.traveller.position().bytes >= end.bytes {
            // Played up to now.
            self.back_to_now();
        }
        if self.traveller.live && self.traveller.view().is_none() {
            self.shown = self.snapshots.borrow_and_update().clone();
        }
        if let Some(view) = self.traveller.view() {
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
        self.due(RedrawReason::Key);
    }

    /// A replay that begins at some place goes there once that is known.
    pub(super) fn start_replay(&mut self) {
        let Some(start) = &mut self.options.replay else { return };
        let Some(text) = start.at.clone() else { return };
        let goes = {
            let history = self.traveller.history();
            // Of a log that is still indexed the place may be known already, or not yet.
            let found = target(&text, &history, LogPosition::default());
            // A share, and a time without a date, depend on the whole log.
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
                    Ok(target) => self.traveller.jump(target),
                    Err(why) => self.ui.toast = Some(why),
                }
            }
        }
    }

    /// Returns the view to now.
    pub(super) fn back_to_now(&mut self) {
        self.traveller.now();
        self.frozen_at = None;
        self.ui.frozen = false;
        self.shown = self.snapshots.borrow_and_update().clone();
        self.due(RedrawReason::Key);
    }

    /// Goes through time, as a key asks.
    pub(super) fn travel(&mut self, what: Travel) {
        if self.traveller.live {
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
                _ if on && self.traveller.view().is_none() => {
                    self.ui.toast = Some("this is now; left and N go back".into());
                    return;
                }
                // These are for later.
                Travel::Faster | Travel::Slower | Travel::Gaps => {}
                _ => self.hold(),
            }
        }
        if let Some(word) = self.traveller.travel(what) {
            self.ui.toast = Some(word);
        }
    }

    /// The picture is no longer of now: it stands where it stood.
    pub(super) fn hold(&mut self) {
        if self.traveller.view().is_none() {
            self.traveller.hold(&self.shown.progress, self.shown.progress.last_at);
            self.frozen_at = None;
            self.ui.frozen = false;
        }
    }
}
