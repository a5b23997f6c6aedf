//! Effects of keys: actions on a real log's screen, without a terminal.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use common::{bytes, open_after, reduced};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use strum::VariantArray as _;
use synctop::app::{Effect, RunEffect, update};
use synctop::views::action::{Action as AnyAction, Move};
use synctop::views::filter::Filter;
use synctop::views::run::action::{ACTIONS, RunAction};
use synctop::views::run::state::{Chosen, Column, RunHits, RunOverlay, RunSheet};
use synctop::views::run::stream_group::StreamGroup;
use synctop::views::{Look, Pane, RunFrame, RunInput, RunModel, RunUi as Ui, draw};
use synctop_core::reduce::{Link, Progress};

type Action = AnyAction<RunAction>;

const fn go(pane: Pane) -> Action {
    Action::Own(RunAction::Go(pane))
}

const AREA: Rect = Rect { x: 0, y: 0, width: 100, height: 60 };

/// Run screen with its state. `act` applies the action of a key.
struct ScreenHarness {
    progress: Progress,
    ui: Ui,
    look: Look,
    hits: RunHits,
}

impl ScreenHarness {
    fn new(progress: Progress) -> Self {
        let mut harness = Self { progress, ui: Ui::default(), look: Look::default(), hits: RunHits::default() };
        harness.draw();
        harness
    }

    fn model(&self) -> RunModel<'_> {
        let progress = &self.progress;
        let link = &Link::Live;
        let input = RunInput {
            progress,
            link,
            look: &self.look,
            source: "x",
            engine_runs: false,
            now: progress.last_at,
            age: Some(1),
            watched: 1,
            scrub: None,
            history: None,
            nested: false,
        };
        RunModel::new(input, &self.ui)
    }

    fn draw(&mut self) -> String {
        let mut buffer = Buffer::empty(AREA);
        let hits = draw(&mut buffer, AREA, &RunFrame { model: &self.model(), ui: &self.ui });
        hits.keep_tops(&mut self.ui);
        self.hits = hits;
        buffer
            .content
            .chunks(100)
            .map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>() + "\n")
            .collect()
    }

    fn act(&mut self, action: Action) -> Vec<Effect<RunEffect>> {
        let mut ui = self.ui.clone();
        let effects = update(&mut ui, &self.model(), &self.hits, action);
        self.ui = ui;
        self.draw();
        effects
    }

    fn chosen(&self, pane: Pane) -> Option<Chosen> {
        self.ui.list(pane).chosen.clone()
    }

    /// Returns the selected row.
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
    let mut harness = ScreenHarness::new(eventful(4_000_000));
    while !harness.marked().contains("invoice") {
        harness.act(Action::Move(Move::Down));
    }
    for column in 0..Column::VARIANTS.len() * 2 {
        harness.act(if column % 2 == 0 { Action::SortNext } else { Action::SortReverse });
        let marked = harness.marked();
        assert!(marked.contains("invoice"), "{:?}: {marked}", harness.ui.sort);
    }
    harness.progress = eventful(40_000_000);
    assert!(harness.marked().contains("invoice"), "the selection is lost in another group: {}", harness.marked());
    harness.ui.list_mut(Pane::Streams).filter = Filter::new("!invoice");
    assert!(!harness.marked().is_empty(), "a filter that hides the selected row selects its neighbor");
    assert_eq!(harness.chosen(Pane::Streams), Some(Chosen::Stream("invoice".into())));
}

#[test]
fn every_column_sorts() {
    let mut harness = ScreenHarness::new(eventful(12_000_000));
    harness.ui.zoomed = true;
    for &column in Column::VARIANTS {
        harness.ui.sort = column;
        let order = |harness: &mut ScreenHarness| {
            let picture = harness.draw();
            picture
                .lines()
                .filter(|line| line.contains('▸') && !line.contains("STARTED"))
                .filter_map(|line| line[4..].split_whitespace().next().map(str::to_owned))
                .collect::<Vec<_>>()
        };
        let there = order(&mut harness);
        harness.ui.reversed = true;
        let mut back = order(&mut harness);
        harness.ui.reversed = false;
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
    let mut harness = ScreenHarness::new(eventful(12_000_000));
    assert!(harness.draw().contains("✓ coupon"));
    harness.ui.list_mut(Pane::Streams).chosen = Some(Chosen::Head(StreamGroup::Completed));
    harness.act(Action::Open);
    let folded = harness.draw();
    assert!(!folded.contains("✓ coupon") && folded.contains("coupon, price, product"), "{folded}");
    harness.act(Action::Fold);
    assert!(harness.draw().contains("✓ coupon"));
    harness.act(Action::FoldAll);
    assert!(!harness.draw().contains("▸ customer"));
}

#[test]
fn next_error_selects_the_error_and_its_stream() {
    let mut harness = ScreenHarness::new(reduced(&bytes("stripe-progress/04-stream-fail.ndjson.zst")));
    let mut seen = Vec::new();
    for _ in 0..3 {
        harness.act(Action::Own(RunAction::NextError));
        assert_eq!(harness.ui.focus, Pane::Errors);
        let Some(Chosen::Stream(stream)) = harness.chosen(Pane::Streams) else { panic!("no stream") };
        seen.push(stream);
    }
    seen.sort();
    assert_eq!(seen, ["coupon", "dispute", "order_return"]);
    let third = harness.chosen(Pane::Errors);
    harness.act(Action::Own(RunAction::NextError));
    assert_ne!(harness.chosen(Pane::Errors), third, "after the last error comes the first");
    harness.act(Action::Own(RunAction::PreviousError));
    assert_eq!(harness.chosen(Pane::Errors), third);
    harness.act(Action::Open);
    assert!(matches!(harness.ui.overlays.as_slice(), [RunOverlay::Sheet(RunSheet::Error { .. })]));
    for words in ["where it occurred", "fingerprint", "line "] {
        assert!(
            harness.draw().contains(words) || {
                harness.act(Action::Move(Move::Bottom));
                harness.draw().contains(words)
            },
            "{words}"
        );
    }
    harness.act(Action::Back);
    assert!(harness.ui.overlays.is_empty());
}

#[test]
fn open_and_copy_apply_to_the_selected_log_line() {
    let mut harness = ScreenHarness::new(eventful(12_000_000));
    harness.act(go(Pane::Log));
    harness.act(Action::Move(Move::Top));
    harness.ui.list_mut(Pane::Log).filter = Filter::new("payout");
    harness.draw();
    let Effect::Copy(text, _) = harness.act(Action::Copy).remove(0) else { panic!("nothing copied") };
    assert!(text.contains("payout"), "{text}");
    harness.act(Action::Open);
    assert!(harness.draw().contains("payout"));
    harness.act(Action::Back);
    harness.act(Action::Move(Move::Bottom));
    assert_eq!(harness.chosen(Pane::Log), None, "at the bottom, the log follows the feed");
}

#[test]
fn copied_text_has_no_control_sequences_or_secrets() {
    let line = "\u{1b}[31mred\u{202e} sk_live_0123456789abcdef \u{7}bell\n";
    let mut harness = ScreenHarness::new(open_after(line.repeat(2).as_bytes(), usize::MAX));
    harness.act(go(Pane::Log));
    let Effect::Copy(text, _) = harness.act(Action::Copy).remove(0) else { panic!("nothing copied") };
    assert_eq!(text, "red sk_live_*** bell");
}

#[test]
fn esc_goes_back_one_step_at_a_time() {
    let mut harness = ScreenHarness::new(eventful(12_000_000));
    harness.act(go(Pane::Errors));
    harness.act(Action::Zoom);
    harness.ui.list_mut(Pane::Errors).filter = Filter::new("rate");
    harness.act(Action::Open);
    assert_eq!(harness.ui.overlays.len(), 1);
    harness.act(Action::Back);
    assert!(harness.ui.overlays.is_empty() && harness.ui.list(Pane::Errors).filter.active());
    harness.act(Action::Back);
    assert!(!harness.ui.list(Pane::Errors).filter.active() && harness.ui.zoomed);
    harness.act(Action::Back);
    assert!(!harness.ui.zoomed && harness.ui.focus == Pane::Errors);
    harness.act(Action::Back);
    assert_eq!(harness.ui.focus, Pane::Streams);
}

#[test]
fn every_action_is_accepted_in_every_pane() {
    for state in
        [eventful(0), eventful(12_000_000), reduced(&bytes("stripe-progress/12-destination-fails-midway.ndjson.zst"))]
    {
        for &pane in Pane::VARIANTS {
            let mut harness = ScreenHarness::new(state.clone());
            for binding in ACTIONS {
                harness.ui.overlays.clear();
                harness.act(go(pane));
                harness.act(binding.action);
                harness.act(Action::Move(Move::Down));
                harness.act(Action::Move(Move::PageUp));
            }
        }
    }
}

#[test]
fn preview_of_a_folded_group_counts_its_streams() {
    let mut harness = ScreenHarness::new(reduced(&bytes("stripe-progress/20-eventful-all.ndjson.zst")));
    harness.ui.list_mut(Pane::Streams).chosen = Some(Chosen::Head(StreamGroup::Completed));
    let unfolded = harness.draw();
    assert!(unfolded.contains("75,860"), "{unfolded}");
    harness.ui.fold(StreamGroup::Completed, true);
    let folded = harness.draw();
    assert!(folded.contains("75,860") && folded.contains("names"), "{folded}");
}
