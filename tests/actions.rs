//! Effects of keys: actions on a real log's screen, without a terminal.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use common::{bytes, open_after, reduced};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use strum::VariantArray as _;
use synctop::app::{Effect, update};
use synctop::views::action::Action;
use synctop::views::rows::StreamGroup;
use synctop::views::state::{Chosen, Column, Filter, Overlay};
use synctop::views::{Hits, Look, Pane, Screen, Ui, draw};
use synctop_core::reduce::{Link, Progress};

const AREA: Rect = Rect { x: 0, y: 0, width: 100, height: 30 };

/// A screen and its state; `act` does what a key would.
struct FleetApp {
    progress: Progress,
    ui: Ui,
    look: Look,
    hits: Hits,
}

impl FleetApp {
    fn new(progress: Progress) -> Self {
        let mut desk = Self { progress, ui: Ui::default(), look: Look::default(), hits: Hits::default() };
        desk.draw();
        desk
    }

    fn screen<'a>(&'a self, ui: &'a Ui) -> Screen<'a> {
        let progress = &self.progress;
        let link = &Link::Live;
        Screen {
            progress,
            link,
            ui,
            look: &self.look,
            source: "x",
            engine_runs: false,
            now: progress.last_at,
            age: Some(1),
            watched: 1,
            scrub: None,
        }
    }

    fn draw(&mut self) -> String {
        let mut buffer = Buffer::empty(AREA);
        let hits = draw(&mut buffer, AREA, &self.screen(&self.ui));
        for (list, top) in self.ui.lists.iter_mut().zip(hits.tops) {
            list.top = top.unwrap_or(list.top);
        }
        self.hits = hits;
        buffer
            .content
            .chunks(100)
            .map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>() + "\n")
            .collect()
    }

    fn act(&mut self, action: Action) -> Vec<Effect> {
        let before = self.ui.clone();
        let mut after = self.ui.clone();
        let effects = update(&mut after, &self.screen(&before), &self.hits, action);
        self.ui = after;
        self.draw();
        effects
    }

    fn chosen(&self, pane: Pane) -> Option<Chosen> {
        self.ui.list(pane).chosen.clone()
    }

    /// The row with the mark.
    fn marked(&mut self) -> String {
        let picture = self.draw();
        picture.lines().find(|line| line.starts_with('▌')).unwrap_or_default().to_owned()
    }
}

fn eventful(length: usize) -> Progress {
    open_after(&bytes("stripe-progress/20-eventful-all.ndjson.zst"), length)
}

#[test]
fn the_selection_follows_the_stream_and_not_the_row() {
    let mut desk = FleetApp::new(eventful(4_000_000));
    while !desk.marked().contains("invoice") {
        desk.act(Action::Down);
    }
    for column in 0..Column::VARIANTS.len() * 2 {
        desk.act(if column % 2 == 0 { Action::SortNext } else { Action::SortReverse });
        let marked = desk.marked();
        assert!(marked.contains("invoice"), "{:?}: {marked}", desk.ui.sort);
    }
    desk.progress = eventful(40_000_000);
    assert!(desk.marked().contains("invoice"), "it moved to another group: {}", desk.marked());
    desk.ui.list_mut(Pane::Streams).filter = Filter::new("!invoice");
    assert!(!desk.marked().is_empty(), "hidden by a filter, its neighbour is marked");
    assert_eq!(desk.chosen(Pane::Streams), Some(Chosen::Stream("invoice".into())));
}

#[test]
fn every_column_sorts() {
    let mut desk = FleetApp::new(eventful(12_000_000));
    for &column in Column::VARIANTS {
        desk.ui.sort = column;
        let order = |desk: &mut FleetApp| {
            let picture = desk.draw();
            picture
                .lines()
                .filter(|line| line.contains('▸') && !line.contains("STARTED"))
                .map(|line| line[4..24].trim().to_owned())
                .collect::<Vec<_>>()
        };
        let there = order(&mut desk);
        desk.ui.reversed = true;
        let mut back = order(&mut desk);
        desk.ui.reversed = false;
        assert!(there.len() >= 4, "{column:?}: {there:?}");
        back.sort();
        let mut sorted = there.clone();
        sorted.sort();
        assert_eq!(back, sorted, "{column:?}");
        if column == Column::Records {
            assert_eq!(there.first().map(String::as_str), Some("payment_intent"), "{there:?}");
        }
    }
}

#[test]
fn groups_fold_and_unfold() {
    let mut desk = FleetApp::new(eventful(12_000_000));
    assert!(desk.draw().contains("✓ coupon"));
    desk.ui.list_mut(Pane::Streams).chosen = Some(Chosen::Head(StreamGroup::Completed));
    desk.act(Action::Open);
    let folded = desk.draw();
    assert!(!folded.contains("✓ coupon") && folded.contains("coupon, price, product"), "{folded}");
    desk.act(Action::Fold);
    assert!(desk.draw().contains("✓ coupon"));
    desk.act(Action::FoldAll);
    assert!(!desk.draw().contains("▸ customer"));
}

#[test]
fn errors_are_stepped_through_and_their_streams_with_them() {
    let mut desk = FleetApp::new(reduced(&bytes("stripe-progress/04-stream-fail.ndjson.zst")));
    let mut seen = Vec::new();
    for _ in 0..3 {
        desk.act(Action::NextError);
        assert_eq!(desk.ui.focus, Pane::Errors);
        let Some(Chosen::Stream(stream)) = desk.chosen(Pane::Streams) else { panic!("no stream") };
        seen.push(stream);
    }
    seen.sort();
    assert_eq!(seen, ["coupon", "dispute", "order_return"]);
    let third = desk.chosen(Pane::Errors);
    desk.act(Action::NextError);
    assert_ne!(desk.chosen(Pane::Errors), third, "round to the first");
    desk.act(Action::PreviousError);
    assert_eq!(desk.chosen(Pane::Errors), third);
    desk.act(Action::Open);
    assert!(matches!(desk.ui.overlays.as_slice(), [Overlay::Error { .. }]));
    for words in ["where it occurred", "fingerprint", "line "] {
        assert!(
            desk.draw().contains(words) || {
                desk.act(Action::Bottom);
                desk.draw().contains(words)
            },
            "{words}"
        );
    }
    desk.act(Action::Back);
    assert!(desk.ui.overlays.is_empty());
}

#[test]
fn what_is_marked_in_the_log_is_what_opens_and_is_copied() {
    let mut desk = FleetApp::new(eventful(12_000_000));
    desk.act(Action::Go(Pane::Log));
    desk.act(Action::Top);
    desk.ui.list_mut(Pane::Log).filter = Filter::new("payout");
    desk.draw();
    let Effect::Copy(text, _) = desk.act(Action::Copy).remove(0) else { panic!("nothing copied") };
    assert!(text.contains("payout"), "{text}");
    desk.act(Action::Open);
    assert!(desk.draw().contains("payout"));
    desk.act(Action::Back);
    desk.act(Action::Bottom);
    assert_eq!(desk.chosen(Pane::Log), None, "at the bottom it follows");
}

#[test]
fn copies_hold_no_sequences() {
    let line = "\u{1b}[31mred\u{202e} sk_live_0123456789abcdef \u{7}bell\n";
    let mut desk = FleetApp::new(open_after(line.repeat(2).as_bytes(), usize::MAX));
    desk.act(Action::Go(Pane::Log));
    let Effect::Copy(text, _) = desk.act(Action::Copy).remove(0) else { panic!("nothing copied") };
    assert_eq!(text, "red sk_live_*** bell");
}

#[test]
fn esc_goes_back_one_step_at_a_time() {
    let mut desk = FleetApp::new(eventful(12_000_000));
    desk.act(Action::Go(Pane::Errors));
    desk.act(Action::Zoom);
    desk.ui.list_mut(Pane::Errors).filter = Filter::new("rate");
    desk.act(Action::Open);
    assert_eq!(desk.ui.overlays.len(), 1);
    desk.act(Action::Back);
    assert!(desk.ui.overlays.is_empty() && desk.ui.list(Pane::Errors).filter.active());
    desk.act(Action::Back);
    assert!(!desk.ui.list(Pane::Errors).filter.active() && desk.ui.zoomed);
    desk.act(Action::Back);
    assert!(!desk.ui.zoomed && desk.ui.focus == Pane::Errors);
    desk.act(Action::Back);
    assert_eq!(desk.ui.focus, Pane::Streams);
}

#[test]
fn every_action_can_be_done_anywhere() {
    for state in
        [eventful(0), eventful(12_000_000), reduced(&bytes("stripe-progress/12-destination-fails-midway.ndjson.zst"))]
    {
        for &pane in Pane::VARIANTS {
            let mut desk = FleetApp::new(state.clone());
            for binding in synctop::views::action::ACTIONS {
                desk.ui.overlays.clear();
                desk.act(Action::Go(pane));
                desk.act(binding.action);
                desk.act(Action::Down);
                desk.act(Action::PageUp);
            }
        }
    }
}
