//! Snapshots of every screen and pane at three sizes and in three themes, from real logs. Every
//! terminal size draws without a panic.
//! `UPDATE_SCREENS=1 cargo test --test screens` rewrites the pictures in assets/screens;
//! `INSTA_UPDATE=always` the snapshots.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;
#[path = "common/pictures.rs"]
mod pictures;

use common::{bytes, open_after, reduced};
use pictures::{assert_up_to_date, snapshot, snapshot_in_themes, text};
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use std::sync::LazyLock;
use strum::VariantArray as _;
use synctop::net::source::ingest::Ingest;
use synctop::net::source::ingest::RewindData;
use synctop::views::filter::Filter;
use synctop::views::run::state::{Chosen, RunOverlay, RunSheet};
use synctop::views::{
    ASCII, BLOCKS, Depth, Look, Pane, RunFrame, RunInput, RunModel, RunUi as Ui, Scrub, Theme, UNICODE, draw, inline,
};
use synctop_core::protocol::Decoder;
use synctop_core::reduce::history::{History, LogPosition};
use synctop_core::reduce::{Exit, Link, Progress};
use tui_input::Input;

/// Feed at one instant, as the screen shows it.
struct State {
    name: &'static str,
    progress: Progress,
    link: Link,
    /// Milliseconds since the last line.
    age: u64,
    /// Time-travel view; `None` for the live screen.
    past: Option<PastView>,
    /// Rewind index of a live screen.
    history: Option<History>,
}

/// View of an earlier instant.
struct PastView {
    history: History,
    playing: bool,
    speed: &'static str,
    skip: bool,
    behind: Option<i64>,
    indexing: Option<f64>,
}

/// Rewind index of a log, read to its end.
fn history_of(log: &[u8]) -> History {
    let past = RewindData::default();
    let mut ingest = Ingest::new(Decoder::default()).with_rewind_data(past.clone());
    ingest.push(log);
    ingest.finish(None);
    past.history.lock().clone()
}

const SIZES: [(u16, u16); 3] = [(40, 12), (80, 24), (120, 40)];

/// Bytes of the eventful log after which charges are rate limited and payouts wait.
const MIDWAY: usize = 12_500_000;

static STATES: LazyLock<Vec<State>> = LazyLock::new(|| {
    let eventful = bytes("stripe-progress/20-eventful-all.ndjson.zst");
    let limited = bytes("stripe-progress/06-rate-limit.ndjson.zst");
    let untimed: Vec<u8> = (0..300)
        .flat_map(|n| {
            let stream = ["a", "b", "c"][n / 100];
            format!("{{\"type\":\"record\",\"record\":{{\"stream\":\"{stream}\",\"data\":{{}}}}}}\n").into_bytes()
        })
        .collect();
    let mut killed = reduced(&bytes("stripe-trace/10-kill9-pipeline_sync.ndjson.zst"));
    killed.exit = Some(Exit::Signal(9));
    let reads = bytes("airbyte/lowcode-read-streamfail.ndjson.zst");
    let mut read_failed = open_after(&reads, reads.len());
    read_failed.close(Some(Exit::Code(1)));
    vec![
        State { name: "empty", progress: Progress::default(), link: Link::Waiting, age: 0, past: None, history: None },
        State {
            name: "running",
            progress: open_after(&eventful, MIDWAY),
            link: Link::Live,
            age: 900,
            past: None,
            history: Some(history_of(&eventful[..MIDWAY])),
        },
        State {
            name: "stalled",
            progress: open_after(&eventful, MIDWAY),
            link: Link::Live,
            age: 95_000,
            past: None,
            history: None,
        },
        State {
            name: "ended-well",
            progress: reduced(&bytes("stripe-progress/02-many-streams.ndjson.zst")),
            link: Link::Ended(Some(Exit::Code(0))),
            age: 0,
            past: None,
            history: None,
        },
        State {
            name: "ended-badly",
            progress: reduced(&bytes("stripe-progress/12-destination-fails-midway.ndjson.zst")),
            link: Link::Ended(Some(Exit::Code(0))),
            age: 0,
            past: None,
            history: None,
        },
        State {
            name: "replay",
            progress: open_after(&eventful, MIDWAY),
            link: Link::Live,
            age: 300,
            past: Some(PastView {
                history: history_of(&eventful),
                playing: true,
                speed: "4x",
                skip: false,
                behind: None,
                indexing: Some(0.43),
            }),
            history: None,
        },
        State {
            name: "behind",
            progress: open_after(&limited, limited.len() / 2),
            link: Link::Live,
            age: 12_000,
            past: Some(PastView {
                history: history_of(&limited),
                playing: false,
                speed: "1x",
                skip: true,
                behind: Some(754_000),
                indexing: None,
            }),
            history: None,
        },
        State {
            name: "untimed",
            progress: open_after(&untimed, untimed.len() / 3),
            link: Link::Live,
            age: 0,
            past: Some(PastView {
                history: history_of(&untimed),
                playing: false,
                speed: "1x",
                skip: false,
                behind: None,
                indexing: None,
            }),
            history: None,
        },
        // Three streams failed, one waits for a rate limit.
        State {
            name: "airbyte",
            progress: open_after(&reads, reads.len() - 10_500),
            link: Link::Live,
            age: 700,
            past: None,
            history: None,
        },
        State {
            name: "airbyte-failed",
            progress: read_failed,
            link: Link::Ended(Some(Exit::Code(1))),
            age: 0,
            past: None,
            history: None,
        },
        State {
            name: "airbyte-loading",
            progress: open_after(&loading(), usize::MAX),
            link: Link::Live,
            age: 200,
            past: None,
            history: None,
        },
        State {
            name: "singer-stopped",
            progress: stopped(),
            link: Link::Ended(Some(Exit::Code(0))),
            age: 0,
            past: None,
            history: None,
        },
        State {
            name: "killed",
            progress: killed,
            link: Link::Ended(Some(Exit::Signal(9))),
            age: 0,
            past: None,
            history: None,
        },
    ]
});

/// Airbyte read with estimates and namespaces whose destination is behind.
fn loading() -> Vec<u8> {
    let log = String::from_utf8(bytes("airbyte/custom-read-cdc-nocount.ndjson.zst")).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    let states: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].contains("\"STATE\"")).collect();
    // The destination returns the first two states.
    let mut all = lines[..=states[2]].to_vec();
    all.extend([lines[states[0]], lines[states[1]]]);
    all.extend(&lines[states[2] + 1..states[2] + 20]);
    (all.join("\n") + "\n").into_bytes()
}

/// Tap that was stopped in its last stream and exited with 0.
fn stopped() -> Progress {
    let log = bytes("singer/sdk-tap-small.ndjson.zst");
    let words = String::from_utf8(bytes("singer/sdk-tap-small.stderr.zst")).unwrap();
    let mut progress = open_after(&log, log.len() - 6_000);
    for line in words.lines().take_while(|line| !line.contains("\"users\"")) {
        progress.stderr(line);
    }
    progress
        .stderr("2026-11-20 08:35:12,797 | INFO     | tap-demo                       | Gracefully shutting down...");
    progress.stderr(
        r#"2026-11-20 08:35:12,797 | INFO     | singer_sdk.metrics             | METRIC: {"type":"timer","metric":"sync_duration","value":0.01,"tags":{"stream":"users","pid":29436,"context":{},"status":"failed"}}"#,
    );
    progress.close(Some(Exit::Code(0)));
    progress
}

fn state(name: &str) -> &'static State {
    STATES.iter().find(|state| state.name == name).unwrap()
}

fn look(theme: Theme) -> Look {
    Look { theme, depth: Depth::Many, glyphs: UNICODE }
}

fn picture(state: &State, ui: &Ui, look: &Look, (width, height): (u16, u16)) -> Buffer {
    let area = Rect { x: 0, y: 0, width, height };
    let mut buffer = Buffer::empty(area);
    with_input(state, look, |input| {
        let model = RunModel::new(input, ui);
        draw(&mut buffer, area, &RunFrame { model: &model, ui });
    });
    buffer
}

fn with_input<R>(state: &State, look: &Look, see: impl FnOnce(RunInput) -> R) -> R {
    let over = state.progress.closed || state.progress.attempt.end.is_some();
    let age = i64::try_from(if over { 0 } else { state.age }).unwrap();
    see(RunInput {
        progress: &state.progress,
        link: &state.link,
        look,
        source: "engine.ndjson",
        engine_runs: false,
        now: state.progress.last_at.map(|last| last + age),
        age: state.progress.last_at.filter(|_| !over).map(|_| state.age),
        watched: 4_200,
        scrub: state.past.as_ref().map(|seen| Scrub {
            history: &seen.history,
            playing: seen.playing,
            speed: seen.speed,
            skip: seen.skip,
            position: LogPosition::of(&state.progress),
            at: state.progress.last_at.map(|last| last + age),
            ended: false,
            behind: seen.behind.map(|behind| (state.progress.last_at.map(|_| behind), 42)),
            indexing: seen.indexing,
        }),
        history: state.past.as_ref().map(|seen| &seen.history).or(state.history.as_ref()),
        nested: false,
    })
}

/// Lines of the inline display (`synctop tee`).
fn beside(state: &State, look: &Look, width: u16) -> Buffer {
    with_input(state, look, |input| inline(input, width))
}

#[test]
fn every_state_at_every_size_in_every_theme() {
    for state in STATES.iter() {
        for size in SIZES {
            let themes = [Theme::Dark, Theme::Light, Theme::Mono];
            let buffers = themes.map(|theme| (theme, picture(state, &Ui::default(), &look(theme), size)));
            snapshot_in_themes(&format!("{}-{}x{}", state.name, size.0, size.1), &buffers);
        }
    }
}

/// UI states with their snapshot and state names: each pane and each overlay.
fn ui_states() -> Vec<(&'static str, &'static str, Ui)> {
    let at = |pane: Pane, zoomed: bool| Ui { focus: pane, zoomed, ..Ui::default() };
    let over = |overlay: RunOverlay| Ui { overlays: vec![overlay], ..Ui::default() };
    let sheet = |sheet: RunSheet| Ui { overlays: vec![RunOverlay::Sheet(sheet)], ..Ui::default() };
    let error = state("running").progress.errors.groups()[0].id;
    let filtered = |pattern: &str| {
        let mut ui = Ui::default();
        ui.list_mut(Pane::Streams).filter = Filter::new(pattern);
        ui
    };
    let typing = |pattern: &str| {
        let mut ui = filtered(pattern);
        ui.overlays = vec![RunOverlay::Filter { input: Input::new(pattern.into()), before: Filter::default() }];
        ui
    };
    let mut frozen = Ui::default();
    frozen.own.frozen = true;
    let mut chosen = Ui::default();
    chosen.list_mut(Pane::Streams).chosen = Some(Chosen::Stream("refund".into()));
    vec![
        ("pane-errors", "running", at(Pane::Errors, false)),
        ("pane-errors-zoomed", "running", at(Pane::Errors, true)),
        ("pane-doubts", "ended-badly", at(Pane::Doubts, false)),
        ("pane-log", "running", at(Pane::Log, false)),
        ("pane-log-zoomed", "running", at(Pane::Log, true)),
        ("pane-diagnostics", "running", at(Pane::Diagnostics, false)),
        ("chosen", "running", chosen),
        ("filtered", "running", filtered("!pay")),
        ("filter-typing", "running", typing("pay")),
        ("filter-bad", "running", typing("pay(")),
        ("help", "running", over(RunOverlay::Help { top: 0 })),
        ("palette", "running", over(RunOverlay::Palette { input: Input::new("err".into()), chosen: 1 })),
        ("stream", "running", sheet(RunSheet::Stream { key: "charge".into(), top: 0 })),
        ("stream-waiting", "running", sheet(RunSheet::Stream { key: "payout".into(), top: 0 })),
        ("error", "running", sheet(RunSheet::Error { id: error, top: 0 })),
        ("line", "running", sheet(RunSheet::Line { number: 3, top: 0 })),
        ("goto", "replay", sheet(RunSheet::Goto { input: Input::new("+10m".into()), bad: None })),
        (
            "goto-bad",
            "behind",
            sheet(RunSheet::Goto { input: Input::new("x".into()), bad: Some("a place is 08:31:20".into()) }),
        ),
        ("confirm", "running", over(RunOverlay::Quit)),
        ("frozen", "running", frozen),
    ]
}

#[test]
fn every_pane_and_sheet_at_every_size() {
    for (name, state_name, ui) in ui_states() {
        for size in SIZES {
            snapshot(
                &format!("{name}-{}x{}", size.0, size.1),
                &picture(state(state_name), &ui, &look(Theme::Dark), size),
            );
        }
    }
}

#[test]
fn small_and_ascii_screens_match_their_snapshots() {
    for name in ["empty", "running", "stalled", "ended-badly"] {
        snapshot(&format!("{name}-10x3"), &picture(state(name), &Ui::default(), &look(Theme::Mono), (10, 3)));
    }
    let ascii = Look { theme: Theme::Dark, depth: Depth::Sixteen, glyphs: ASCII };
    let buffer = picture(state("running"), &Ui::default(), &ascii, (80, 24));
    assert!(text(&buffer).is_ascii(), "ASCII glyphs only:\n{}", text(&buffer));
    snapshot("running-80x24-ascii-16", &buffer);
    snapshot("running-200x50", &picture(state("running"), &Ui::default(), &look(Theme::Dark), (200, 50)));
}

#[test]
fn selected_row_is_highlighted_in_every_theme() {
    for &theme in Theme::VARIANTS {
        let buffer = picture(state("running"), &Ui::default(), &look(theme), (80, 24));
        let row = (0..24).find(|y| buffer[(0, *y)].symbol() == "▌").expect("a mark at the chosen row");
        let (chosen, other) = (buffer[(40, row)].style(), buffer[(40, row + 2)].style());
        assert!(chosen.bg != other.bg || chosen.add_modifier.contains(Modifier::REVERSED), "{theme:?}: {chosen:?}");
    }
}

#[test]
fn control_characters_and_secrets_of_a_feed_are_not_drawn() {
    let hostile = concat!(
        r#"{"type":"catalog","catalog":{"streams":[{"name":"ev\u001b[2Jil\u202e"},{"name":"b\u0007\u009b5m"}]}}"#,
        "\n",
        r#"{"type":"trace","trace":{"trace_type":"error","error":{"failure_type":"auth_error","message":"\u001b]0;t\u0007 key sk_live_51SECRETSECRET \u2066x","stream":"ev\u001b[2Jil\u202e","stack_trace":"\u001b[31m"}}}"#,
        "\n",
        r#"{"type":"log","log":{"level":"error","message":"password=hunter2SECRET \u001b[1;1H"}}"#,
        "\n",
        "raw \u{1b}[2J text with whsec_SECRET\n",
        r#"{"type":"control","control":{"control_type":"source_config","source_config":{"x":"SECRET"}}}"#,
        "\n",
    );
    let progress = open_after(hostile.as_bytes(), usize::MAX);
    let state = State {
        name: "hostile",
        progress,
        link: Link::Down("no \u{1b}[2J route".into()),
        age: 0,
        past: None,
        history: None,
    };
    let id = state.progress.errors.groups()[0].id;
    let mut uis = vec![Ui::default(), Ui { focus: Pane::Log, zoomed: true, ..Ui::default() }];
    let open = |sheet: RunSheet| Ui { overlays: vec![RunOverlay::Sheet(sheet)], ..Ui::default() };
    uis.push(open(RunSheet::Error { id, top: 0 }));
    uis.push(open(RunSheet::Stream { key: "ev\u{1b}[2Jil\u{202e}".into(), top: 0 }));
    for ui in uis {
        for size in [(80, 24), (160, 60)] {
            let text = text(&picture(&state, &ui, &look(Theme::Dark), size));
            assert!(!text.contains("SECRET"), "{text}");
            let bad = text.chars().find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{2069}').contains(c));
            assert_eq!(bad, None, "{text}");
        }
    }
}

fn any_ui() -> impl Strategy<Value = Ui> {
    let overlay = (0usize..9, any::<u16>()).prop_map(|(which, top)| {
        let top = usize::from(top);
        let error = state("running").progress.errors.groups()[0].id;
        match which {
            0 => vec![RunOverlay::Help { top }],
            1 => vec![RunOverlay::Palette { input: Input::new("e".into()), chosen: top }],
            2 => vec![RunOverlay::Filter { input: Input::new("a".repeat(top % 300)), before: Filter::default() }],
            3 => vec![RunOverlay::Sheet(RunSheet::Stream { key: "charge".into(), top })],
            4 => vec![RunOverlay::Sheet(RunSheet::Error { id: error, top })],
            5 => vec![RunOverlay::Sheet(RunSheet::Line { number: top as u64, top: 0 })],
            6 => vec![RunOverlay::Quit],
            7 => vec![RunOverlay::Sheet(RunSheet::Goto { input: Input::new("9".repeat(top % 300)), bad: None })],
            _ => Vec::new(),
        }
    });
    (0usize..5, any::<bool>(), overlay, any::<u16>(), ".{0,6}").prop_map(|(pane, zoomed, overlays, top, pattern)| {
        let mut ui = Ui { focus: Pane::VARIANTS[pane], zoomed, overlays, ..Ui::default() };
        for &pane in Pane::VARIANTS {
            ui.list_mut(pane).top = usize::from(top);
            ui.list_mut(pane).filter = Filter::new(&pattern);
        }
        ui
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_size_draws(width in 0u16..=200, height in 0u16..=60, which in 0usize..9, ui in any_ui(), theme in 0usize..5) {
        let theme = Theme::VARIANTS[theme];
        picture(&STATES[which], &ui, &look(theme), (width, height));
    }
}

#[test]
fn every_small_size_draws() {
    for width in 0..60 {
        for height in 0..20 {
            for state in STATES.iter() {
                picture(state, &Ui::default(), &look(Theme::Dark), (width, height));
            }
        }
    }
}

#[test]
fn inline_display_matches_its_snapshots() {
    for state in STATES.iter().filter(|state| state.past.is_none()) {
        for width in [40, 80, 120] {
            snapshot(&format!("inline-{}-{width}", state.name), &beside(state, &look(Theme::Dark), width));
        }
        for width in 1..200 {
            let rows = beside(state, &look(Theme::Mono), width).area.height;
            assert!((2..=9).contains(&rows), "{} {width}: {rows} rows", state.name);
        }
    }
}

// Pictures for the documents.

/// Adds the typed command above a picture.
fn under_a_command(picture: &Buffer) -> Buffer {
    let mut all = Buffer::empty(Rect { x: 0, y: 0, width: 80, height: picture.area.height + 2 });
    all.set_string(0, 0, "$ engine | synctop tee -o sync.ndjson.zst | loader", Style::new());
    for row in 0..picture.area.height {
        for column in 0..picture.area.width {
            all[(column, row + 1)] = picture[(column, row)].clone();
        }
    }
    all
}

#[test]
fn document_pictures_are_up_to_date() {
    let shown = [
        ("running-120x40-dark", "running", Theme::Dark, (120, 40)),
        ("running-120x40-light", "running", Theme::Light, (120, 40)),
        ("running-80x24-dark", "running", Theme::Dark, (80, 24)),
        ("running-80x24-mono", "running", Theme::Mono, (80, 24)),
        ("replay-120x40-dark", "replay", Theme::Dark, (120, 40)),
        ("replay-80x24-light", "replay", Theme::Light, (80, 24)),
        ("stalled-120x40-dark", "stalled", Theme::Dark, (120, 40)),
        ("ended-badly-80x24-dark", "ended-badly", Theme::Dark, (80, 24)),
        ("ended-badly-80x24-light", "ended-badly", Theme::Light, (80, 24)),
        ("airbyte-120x40-dark", "airbyte", Theme::Dark, (120, 40)),
        ("airbyte-failed-80x24-light", "airbyte-failed", Theme::Light, (80, 24)),
        ("singer-stopped-80x24-dark", "singer-stopped", Theme::Dark, (80, 24)),
        ("killed-80x24-dark", "killed", Theme::Dark, (80, 24)),
    ];
    let whole = shown.map(|(name, state_name, theme, size)| {
        // Fonts of browsers may lack braille patterns of one column.
        let look = Look { glyphs: BLOCKS, ..look(theme) };
        (name, theme, picture(state(state_name), &Ui::default(), &look, size))
    });
    let few = [Theme::Dark, Theme::Light].map(|theme| {
        let name = if theme == Theme::Dark { "inline-80x24-dark" } else { "inline-80x24-light" };
        (name, theme, under_a_command(&beside(state("running"), &look(theme), 79)))
    });
    assert_up_to_date(whole.into_iter().chain(few));
}
