//! The binary on a real terminal: files, pipes, children, signals and sizes. Each ending restores
//! the terminal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "common/pty.rs"]
mod pty;

use pty::{Term, signal};
use rustix::process::Signal;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

const SIZE: (u16, u16) = (100, 30);

fn fixture(name: &str) -> String {
    format!("tests/fixtures/{name}")
}

fn start(stream: &str) -> String {
    format!(
        r#"{{"type":"stream_status","stream_status":{{"stream":"{stream}","status":"start"}},"_ts":"2026-11-20T08:00:00.000Z"}}"#
    ) + "\n"
}

const EOF: &str =
    "{\"type\":\"eof\",\"eof\":{\"status\":\"succeeded\",\"has_more\":false},\"_ts\":\"2026-11-20T08:00:09.000Z\"}\n";

/// Path of a new log (not created yet), with its temporary folder.
fn file() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sync.ndjson");
    (folder, path)
}

fn append(path: &PathBuf, text: &str) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn ended_file_shows_its_outcome_and_exits_with_its_code() {
    let mut term = Term::start(SIZE, &[&fixture("stripe-progress/12-destination-fails-midway.ndjson.zst")]);
    term.wait_for("COMPLETED WITH ERRORS");
    assert!(term.is_full_screen());
    // Wait for each word: the terminal may have read only a part of the frame.
    for words in ["why", "next", "charge", "9,699", "doubts 3", "ENDED"] {
        term.wait_for(words);
    }
    term.keys("q");
    assert_eq!(term.exit_code(), 1);
    assert!(term.is_restored());
    assert!(
        term.text().contains("COMPLETED WITH ERRORS") && term.text().contains("records      9,699"),
        "{}",
        term.text()
    );
}

#[test]
fn followed_file_may_grow_rotate_and_be_truncated() {
    let (_folder, path) = file();
    append(&path, &start("first"));
    let mut term = Term::start(SIZE, &[path.to_str().unwrap()]);
    term.wait_for("first");
    append(&path, &start("second"));
    term.wait_for("second");
    // Half a line is not shown.
    let third = start("third");
    append(&path, &third[..30]);
    std::thread::sleep(Duration::from_millis(400));
    assert!(!term.text().contains("third") && !term.text().contains("malformed"));
    append(&path, &third[30..]);
    term.wait_for("third");
    // Rename and recreate.
    std::fs::rename(&path, path.with_extension("1")).unwrap();
    append(&path.with_extension("1"), &start("into_the_old_one"));
    append(&path, &start("fourth"));
    term.wait_for("fourth");
    term.wait_for("into_the_old_one");
    // Copy and truncate.
    OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
    append(&path, &start("fifth"));
    term.wait_for("fifth");
    // Overwritten at once with more bytes than before.
    std::fs::write(&path, [start("sixth"), start("seventh"), start("eighth")].concat()).unwrap();
    term.wait_for("eighth");
    // Removed and created again later.
    std::fs::remove_file(&path).unwrap();
    term.wait_for("does not exist any");
    std::thread::sleep(Duration::from_millis(600));
    append(&path, &start("ninth"));
    term.wait_for("ninth");
    term.keys("q");
    assert_eq!(term.exit_code(), 2, "still running");
    assert!(term.is_restored());
}

#[test]
fn tail_starts_at_the_end_and_retry_waits_for_the_file() {
    let (_folder, path) = file();
    append(&path, &start("old"));
    let term = Term::start(SIZE, &["--tail", path.to_str().unwrap()]);
    term.wait_for("Waiting for the first line from");
    append(&path, &start("fresh"));
    term.wait_for("fresh");
    assert!(!term.text().contains("old"));
    let (_folder, missing) = file();
    let waiting = Term::start(SIZE, &["--retry", missing.to_str().unwrap()]);
    waiting.wait_for("WAITING");
    waiting.wait_for("there is no file");
    append(&missing, &start("there"));
    waiting.wait_for("there");
}

#[test]
fn unreachable_file_is_continued_without_repeating_lines() {
    let (folder, _) = file();
    let (inner, aside) = (folder.path().join("logs"), folder.path().join("aside"));
    std::fs::create_dir(&inner).unwrap();
    let path = inner.join("sync.ndjson");
    append(&path, &start("first"));
    append(&path, "{\"type\":\"log\",\"log\":{\"level\":\"warn\",\"message\":\"said once\"}}\n");
    let mut term = Term::start(SIZE, &[path.to_str().unwrap()]);
    term.wait_for("first");
    // The path is unreachable while one of its folders is a file.
    std::fs::rename(&inner, &aside).unwrap();
    std::fs::write(&inner, "").unwrap();
    term.wait_for("DOWN");
    std::fs::remove_file(&inner).unwrap();
    std::fs::rename(&aside, &inner).unwrap();
    append(&path, &start("second"));
    term.wait_for("second");
    term.keys("4z");
    term.wait_gone("STARTED");
    assert_eq!(term.text().matches("said once").count(), 1, "{}", term.text());
    assert!(!term.text().contains("×2"), "{}", term.text());
}

#[test]
fn earlier_parts_of_a_followed_run_are_read_first() {
    let folder = tempfile::tempdir().unwrap();
    for part in ["24-rot.log", "24-rot.log.1.gz", "24-rot.log.2.gz"] {
        std::fs::copy(fixture(&format!("wild/{part}")), folder.path().join(part)).unwrap();
    }
    let path = folder.path().join("24-rot.log");
    let term = Term::start(SIZE, &[path.to_str().unwrap()]);
    term.wait_for("was read first");
    term.wait_for("records 30");
    assert!(!term.text().contains("joined at"), "{}", term.text());
    // A file that begins a run continues none.
    std::fs::copy(fixture("wild/01-badcreds.ndjson"), &path).unwrap();
    let term = Term::start(SIZE, &[path.to_str().unwrap()]);
    term.wait_for("check the key");
    assert!(!term.text().contains("was read first"), "{}", term.text());
}

#[test]
fn late_writes_to_a_rotated_file_are_read() {
    let (_folder, path) = file();
    append(&path, &start("alpha"));
    let term = Term::start(SIZE, &[path.to_str().unwrap()]);
    term.wait_for("alpha");
    let mut writer = OpenOptions::new().append(true).open(&path).unwrap();
    std::fs::rename(&path, path.with_extension("1")).unwrap();
    std::fs::write(&path, "").unwrap();
    std::thread::sleep(Duration::from_millis(700));
    writer.write_all(start("omega").as_bytes()).unwrap();
    term.wait_for("omega");
    // Writes to the old file and, immediately afterwards, to the new one.
    writer.write_all(start("gamma").as_bytes()).unwrap();
    append(&path, &start("delta"));
    term.wait_for("gamma");
    term.wait_for("delta");
}

#[test]
fn file_that_appears_later_is_read_from_its_start_also_compressed() {
    let (_folder, path) = file();
    let term = Term::start(SIZE, &["--tail", "--retry", path.to_str().unwrap()]);
    term.wait_for("there is no file");
    append(&path, &start("there"));
    term.wait_for("there");
    let (folder, path) = file();
    let term = Term::start(SIZE, &["--retry", path.to_str().unwrap()]);
    term.wait_for("there is no file");
    let whole = folder.path().join("whole");
    std::fs::copy(fixture("stripe-progress/01-small-success.ndjson.zst"), &whole).unwrap();
    std::fs::rename(&whole, &path).unwrap();
    term.wait_for("SUCCEEDED");
    // A compressed file is read from its start even with --tail.
    let term = Term::start(SIZE, &["--tail", path.to_str().unwrap()]);
    term.wait_for("SUCCEEDED");
}

#[test]
fn piped_input_leaves_keys_to_the_terminal() {
    let line = format!(
        "{{ zstdcat {}; sleep 60; }} | $SYNCTOP --theme dark",
        fixture("stripe-progress/01-small-success.ndjson.zst")
    );
    let mut term = Term::shell(SIZE, &line);
    term.wait_for("SUCCEEDED");
    term.keys("?");
    term.wait_for("keys and marks");
    term.keys("\x1b");
    term.wait_gone("keys and marks");
    term.keys("/prod\r");
    term.wait_for("1 of 4, /prod/");
    term.keys("q");
    term.until("given back", Term::is_restored);
}

#[test]
fn exit_status_of_the_child_decides_the_outcome() {
    let feed = fixture("stripe-trace/10-kill9-pipeline_sync.ndjson.zst");
    let script = format!("echo 'retry 1 of 5' >&2; zstdcat {feed}; kill -9 $$");
    let mut term = Term::start(SIZE, &["run", "--", "sh", "-c", &script]);
    term.wait_for("ENDED killed by SIGKILL");
    term.wait_for("TRUNCATED");
    term.keys("5");
    term.wait_for("retry 1 of 5");
    term.keys("q");
    assert_eq!(term.exit_code(), 128 + 9);
    assert!(term.is_restored());
    let script = format!("zstdcat {}; exit 3", fixture("stripe-progress/01-small-success.ndjson.zst"));
    let mut term = Term::start(SIZE, &["run", "--", "sh", "-c", &script]);
    term.wait_for("ENDED exit 3");
    term.keys("q");
    assert_eq!(term.exit_code(), 3);
}

#[test]
fn engine_that_dies_without_output_is_quoted_from_stderr() {
    let script = "echo starting >&2; echo 'KeyError: STRIPE_KEY is not set' >&2; echo 'Node.js v24' >&2; exit 1";
    let mut term = Term::start(SIZE, &["run", "--", "sh", "-c", script]);
    term.wait_for("its last words: KeyError");
    term.keys("q");
    assert_eq!(term.exit_code(), 1);
    let text = term.text().replace('\n', "");
    assert!(text.contains("printed nothing; its last words: KeyError"), "{text}");
}

#[test]
fn child_stdin_is_its_own_terminal_by_default() {
    let say = |what: &str| format!(r#"echo '{{"type":"log","log":{{"level":"info","message":"stdin is {what}"}}}}'"#);
    let script =
        format!("if test -t 0; then {}; else {}; fi; cat >/dev/null & sleep 60", say("a terminal"), say("no terminal"));
    let term = Term::start(SIZE, &["run", "--", "sh", "-c", &script]);
    term.wait_for("stdin is a terminal");
    let term = Term::start(SIZE, &["run", "--stdin", "null", "--", "sh", "-c", &script]);
    term.wait_for("stdin is no terminal");
}

#[test]
fn run_refuses_to_share_the_terminal_with_the_engine() {
    let mut term = Term::start(SIZE, &["run", "--stdin", "inherit", "--", "cat"]);
    assert_eq!(term.exit_code(), 66);
    assert!(term.text().contains("whose keys synctop reads"), "{}", term.text());
}

#[test]
fn text_without_messages_is_shown_as_not_understood() {
    let (_folder, path) = file();
    append(&path, &"some text\n".repeat(30));
    let mut term = Term::start(SIZE, &[path.to_str().unwrap()]);
    term.wait_for("NOT UNDERSTOOD");
    term.keys("q");
    assert_eq!(term.exit_code(), 65);
}

#[test]
fn quit_asks_and_then_stops_the_whole_process_group() {
    let (folder, path) = file();
    let pids = folder.path().join("pids");
    let script = format!(
        "printf '%s' '{}'; sleep 300 & echo $$ $! > {}; trap 'echo asked > {}; exit 0' TERM; wait",
        start("charges").trim(),
        pids.display(),
        path.display()
    );
    let mut term = Term::start(SIZE, &["run", "--", "sh", "-c", &format!("{script}; true")]);
    term.until("the child's pids", |_| {
        std::fs::read_to_string(&pids).is_ok_and(|text| text.split_whitespace().count() == 2)
    });
    term.keys("q");
    term.wait_for("still running");
    term.keys("n");
    term.wait_gone("still running");
    term.keys("qy");
    term.exit_code();
    assert!(term.is_restored());
    assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), "asked", "TERM came first");
    for pid in std::fs::read_to_string(&pids).unwrap().split_whitespace() {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z"), "{pid} still runs: {state}");
    }
}

#[test]
fn a_child_that_ignores_term_is_killed_after_the_grace_time() {
    let (folder, _) = file();
    let pid = folder.path().join("pid");
    let script = format!("trap '' TERM; echo $$ > {}; while :; do sleep 1; done", pid.display());
    let mut term = Term::start(SIZE, &["run", "--", "bash", "-c", &script]);
    term.until("the child", |_| std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')));
    term.keys("q");
    term.wait_for("still running");
    term.keys("y");
    assert_eq!(term.exit_code(), 128 + 9);
    assert!(term.is_restored());
    assert!(term.text().contains("STOPPED BY YOU  (killed by SIGKILL)"), "{}", term.text());
}

#[test]
fn signals_restore_the_terminal_and_set_the_exit_code() {
    let all = [
        (Signal::TERM, 143),
        (Signal::HUP, 129),
        (Signal::INT, 130),
        (Signal::QUIT, 131),
        (Signal::USR1, 138),
        (Signal::USR2, 140),
        (Signal::ALARM, 142),
    ];
    for (which, wanted) in all {
        let (_folder, path) = file();
        append(&path, &start("charges"));
        let mut term = Term::start(SIZE, &[path.to_str().unwrap()]);
        term.wait_for("charges");
        signal(term.pid(), which);
        assert_eq!(term.exit_code(), wanted);
        assert!(term.is_restored(), "{which:?}");
    }
    let (_folder, path) = file();
    append(&path, &start("charges"));
    let mut term = Term::start(SIZE, &[path.to_str().unwrap()]);
    term.wait_for("charges");
    term.keys("\x03");
    assert_eq!(term.exit_code(), 130);
    assert!(term.is_restored());
}

#[test]
fn signal_during_startup_stops_the_engine() {
    for delay in [0, 5, 40, 150] {
        let (folder, _) = file();
        let pid = folder.path().join("pid");
        let line = format!("exec $SYNCTOP run -- sh -c 'echo $$ > {}; exec sleep 300'", pid.display());
        let mut term = Term::shell(SIZE, &line);
        term.until("the child", |_| std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')));
        std::thread::sleep(Duration::from_millis(delay));
        signal(term.pid(), Signal::TERM);
        assert_eq!(term.exit_code(), 143);
        assert!(term.is_restored());
        let pid = std::fs::read_to_string(&pid).unwrap();
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z"), "{pid} still runs: {state}");
    }
}

#[test]
fn sigterm_ends_the_program_on_a_blocked_terminal() {
    let mut term = Term::start(SIZE, &["--recording=500"]);
    term.until("full screen", Term::is_full_screen);
    term.stall();
    for round in 0..60 {
        term.resize(100 + round % 3 * 20, 30 + round % 2 * 9);
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(term.pid(), Signal::TERM);
    assert_eq!(term.exit_code(), 143);
}

#[test]
fn background_process_of_an_engine_is_read_and_stopped() {
    let line = start("later").trim().to_owned();
    let script = format!("(sleep 3; printf '%s\\n' '{line}'; exec sleep 300) & exit 0");
    let mut term = Term::start(SIZE, &["run", "--", "sh", "-c", &script]);
    term.wait_for("holds its output open");
    assert!(!term.text().contains("TRUNCATED"));
    term.wait_for("later");
    term.keys("q");
    term.wait_for("still running");
    term.keys("y");
    term.exit_code();
    assert!(term.text().contains("STOPPED BY YOU"), "{}", term.text());
}

#[test]
fn suspended_engine_is_terminated_by_sigterm() {
    let script = format!("printf '%s\\n' '{}'; kill -STOP $$; sleep 300", start("charges").trim());
    let mut term = Term::start(SIZE, &["run", "--", "sh", "-c", &script]);
    term.wait_for("charges");
    term.keys("qy");
    assert_eq!(term.exit_code(), 128 + 15, "by TERM, not by KILL");
}

#[test]
fn nothing_is_written_to_the_shells_screen_after_leaving() {
    let (_folder, path) = file();
    append(&path, &start("charges"));
    let mut term = Term::start(SIZE, &[path.to_str().unwrap()]);
    term.wait_for("charges");
    term.keys("j\x0cq");
    term.exit_code();
    let raw = String::from_utf8_lossy(&term.raw()).into_owned();
    let (_, after) = raw.rsplit_once("\x1b[?1049l").unwrap();
    assert!(!after.contains("\x1b[2J"), "{after:?}");
}

#[test]
fn ctrl_z_suspends_and_fg_repaints() {
    let (_folder, path) = file();
    append(&path, &start("charges"));
    let mut term = Term::interactive(SIZE);
    term.wait_for("shell>");
    term.keys(&format!("$SYNCTOP --theme dark {}\r", path.display()));
    term.until("full screen", |term| term.is_full_screen() && term.text().contains("charges"));
    term.keys("\x1a");
    term.until("the shell is back", |term| term.is_at_the_shell() && term.text().contains("Stopped"));
    assert!(term.text().contains("suspended; fg returns"), "{}", term.text());
    append(&path, &start("meanwhile"));
    term.keys("fg\r");
    term.until("repainted", |term| term.is_full_screen() && term.text().contains("meanwhile"));
    term.keys("q");
    term.until("given back", |term| term.is_at_the_shell() && term.text().contains("records  "));
}

#[test]
fn ctrl_z_suspends_a_whole_pipeline() {
    let mut term = Term::interactive(SIZE);
    term.wait_for("shell>");
    term.keys("while :; do printf '%s\\n' '{\"type\":\"log\",\"log\":{\"level\":\"info\",\"message\":\"tick\"}}'; sleep 0.2; done | $SYNCTOP --theme dark\r");
    term.until("full screen", |term| term.is_full_screen() && term.text().contains("tick"));
    term.keys("\x1a");
    term.until("the shell is back", |term| term.is_at_the_shell() && term.text().contains("Stopped"));
    term.keys("fg\r");
    term.until("repainted", |term| term.is_full_screen() && term.text().contains("tick"));
    term.keys("q");
    term.until("given back", Term::is_at_the_shell);
}

#[test]
fn panic_restores_the_terminal_and_prints_its_message() {
    let (_folder, path) = file();
    append(&path, &start("charges"));
    for which in ["loop", "thread"] {
        let mut term = Term::start(SIZE, &["--panic-for-test", which, path.to_str().unwrap()]);
        assert_eq!(term.exit_code(), 101, "{which}");
        assert!(term.is_restored(), "{which}");
        assert!(term.text().contains("panicked at") && term.text().contains("a bug in synctop"), "{}", term.text());
    }
}

#[test]
fn resize_storm_ends_with_a_correct_frame() {
    let (_folder, path) = file();
    append(&path, &start("charges"));
    let mut term = Term::start(SIZE, &[path.to_str().unwrap()]);
    term.wait_for("charges");
    for step in 0..60u16 {
        term.resize(1 + step * 37 % 190, 1 + step * 13 % 60);
        if step % 7 == 0 {
            append(&path, &start(&format!("stream{step}")));
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    term.resize(100, 30);
    term.until("the last stream", |term| term.text().contains("stream56") && term.text().contains("? help"));
    term.keys("q");
    assert_eq!(term.exit_code(), 2);
    assert!(term.is_restored());
}

#[test]
fn nothing_is_written_when_nothing_changes() {
    let (_folder, path) = file();
    append(&path, &[start("charges"), EOF.to_owned()].concat());
    let mut term = Term::start(SIZE, &[path.to_str().unwrap()]);
    term.wait_for("SUCCEEDED");
    std::thread::sleep(Duration::from_millis(500));
    let before = term.bytes();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(term.bytes(), before, "ended: zero bytes");
    // A frozen screen writes nothing although the feed continues.
    append(&path, &start("again"));
    term.wait_for("again");
    term.keys(" ");
    term.wait_for("FROZEN");
    std::thread::sleep(Duration::from_millis(300));
    let before = term.bytes();
    for number in 0..20 {
        append(&path, &start(&format!("frozen{number}")));
        std::thread::sleep(Duration::from_millis(60));
    }
    assert_eq!(term.bytes(), before, "frozen: zero bytes");
    assert!(!term.text().contains("frozen19"));
    term.keys(" ");
    term.wait_for("20 lines arrived while frozen");
    term.keys("G");
    term.wait_for("frozen19");
}

#[test]
fn a_flood_is_drawn_at_most_thirty_times_a_second() {
    let (_folder, path) = file();
    let script = format!(
        "zstdcat {} | head -c 3000000 > {path}; while :; do cat {path}; done",
        fixture("stripe-progress/20-eventful-all.ndjson.zst"),
        path = path.display()
    );
    let mut term = Term::start(SIZE, &["run", "--", "sh", "-c", &script]);
    term.wait_for("checkpoints");
    let frames = |term: &Term| term.raw().windows(8).filter(|part| part == b"\x1b[?2026h").count();
    let (before, began) = (frames(&term), std::time::Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    let seconds = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
    let each = (frames(&term) - before) as f64 / seconds;
    assert!((2.0..=31.0).contains(&each), "{each} pictures a second");
    term.keys("qy");
    term.exit_code();
    assert!(term.is_restored());
}

#[test]
fn mouse_clicks_select_rows_and_open_sheets() {
    let mut term = Term::start(SIZE, &[&fixture("stripe-progress/04-stream-fail.ndjson.zst")]);
    term.wait_for("FAILED");
    let row = term.text().lines().position(|line| line.contains("customer ")).unwrap() + 1;
    term.keys(&format!("\x1b[<0;10;{row}M\x1b[<0;10;{row}m"));
    term.until("the mark at the clicked row", |term| {
        term.text().lines().nth(row - 1).is_some_and(|line| line.starts_with('▌') && line.contains("customer"))
    });
    term.keys(&format!("\x1b[<0;10;{row}M"));
    term.wait_for("Esc closes");
    term.keys("\x1b");
    term.wait_gone("Esc closes");
    term.keys("ee\r");
    term.wait_for("fingerprint");
    term.keys("q");
    term.wait_gone("fingerprint");
    term.keys("q");
    assert_eq!(term.exit_code(), 1);
}

#[test]
fn copy_uses_osc_52() {
    let mut term = Term::start(SIZE, &[&fixture("stripe-progress/01-small-success.ndjson.zst")]);
    term.wait_for("SUCCEEDED");
    term.keys("y");
    term.wait_for("copied the stream");
    let raw = term.raw();
    assert!(raw.windows(7).any(|part| part == b"\x1b]52;c;"), "an OSC 52 sequence");
}

#[test]
fn no_color_writes_no_colors_and_keeps_the_selection() {
    let line = format!("NO_COLOR=1 $SYNCTOP {}", fixture("stripe-progress/01-small-success.ndjson.zst"));
    let term = Term::shell(SIZE, &line);
    term.wait_for("SUCCEEDED");
    let raw = String::from_utf8_lossy(&term.raw()).into_owned();
    assert!(!raw.contains("38;5;") && !raw.contains("48;5;"), "no colors");
    assert!(raw.contains("\x1b[7m"), "reversed rows");
}

#[test]
fn the_theme_follows_the_terminals_background() {
    let (white, black) = ("ffff/ffff/ffff", "1000/1000/1000");
    // A late answer changes the colors and is never read as keys.
    for (paper, seen, late) in [(white, "38;5;25;", 0), (black, "38;5;75;", 0), (white, "38;5;25;", 600)] {
        let line = format!("$SYNCTOP --glyphs unicode {}", fixture("stripe-progress/01-small-success.ndjson.zst"));
        let mut term = Term::shell(SIZE, &line);
        term.answer_background(paper, Duration::from_millis(late));
        term.wait_for("SUCCEEDED");
        term.until("the accent of that theme", |term| String::from_utf8_lossy(&term.raw()).contains(seen));
        assert!(!term.text().contains("actions"), "no palette: {}", term.text());
        term.keys("q");
        assert_eq!(term.exit_code(), 0);
    }
}

#[test]
fn keys_typed_ahead_work_without_a_background_answer() {
    let line = format!("$SYNCTOP {}", fixture("stripe-progress/01-small-success.ndjson.zst"));
    let mut term = Term::shell(SIZE, &line);
    term.until("the question for the background", |term| term.raw().windows(6).any(|part| part == b"\x1b]11;?"));
    term.keys("q");
    term.exit_code();
    assert!(term.is_restored());
}

#[test]
fn truncated_archive_is_shown_as_down() {
    let (_folder, path) = file();
    let packed = std::fs::read(fixture("stripe-progress/20-eventful-all.ndjson.zst")).unwrap();
    std::fs::write(&path, &packed[..packed.len() / 2]).unwrap();
    let mut term = Term::start(SIZE, &[path.to_str().unwrap()]);
    term.wait_for("DOWN");
    term.wait_for("TRUNCATED");
    term.keys("q");
    assert_eq!(term.exit_code(), 2);
}

#[test]
fn a_named_pipe_is_waited_for_and_read() {
    let (_folder, path) = file();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut term = Term::start(SIZE, &[path.to_str().unwrap()]);
    term.wait_for("WAITING");
    let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
    writer.write_all(start("through_a_fifo").as_bytes()).unwrap();
    term.wait_for("through_a_fifo");
    drop(writer);
    term.wait_for("ENDED");
    term.keys("q");
    assert_eq!(term.exit_code(), 2);
}

#[test]
fn full_screen_without_a_terminal_suggests_summary() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_synctop"))
        .arg(fixture("stripe-progress/01-small-success.ndjson.zst"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("synctop summary tests/fixtures"));
    assert!(output.stdout.is_empty());
}

#[test]
fn built_in_recording_plays_to_its_end() {
    let mut term = Term::start((80, 24), &["--recording=40"]);
    term.wait_for("SYNCING");
    term.until("the second attempt", |term| term.text().contains("attempt 2") || term.text().contains("FAILED"));
    term.wait_for("FAILED");
    term.keys("q");
    assert_eq!(term.exit_code(), 1);
}

#[test]
fn stopped_tap_is_aborted_and_its_unfinished_stream_named() {
    let (folder, _) = file();
    let at = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let metric = |name: &str, status: &str| {
        format!(
            "INFO METRIC: {{\"metric\":\"sync_duration\",\"value\":1,\"tags\":{{\"stream\":\"{name}\",\"status\":\"{status}\"}}}}\n"
        )
    };
    let stopping = "2026-11-20 08:36:56,196 | INFO     | tap-demo | Gracefully shutting down...\n".to_owned();
    let rows = at(
        "rows",
        concat!(
            r#"{"type":"SCHEMA","stream":"first","schema":{}}"#,
            "\n",
            r#"{"type":"SCHEMA","stream":"second","schema":{}}"#,
            "\n",
            r#"{"type":"RECORD","stream":"second","record":{"id":1}}"#,
            "\n"
        ),
    );
    let (done, failed) =
        (at("done", &metric("first", "succeeded")), at("failed", &(stopping + &metric("second", "failed"))));
    let pid = at("pid", "");
    let script = format!(
        "trap 'cat {failed} >&2; exit 0' TERM; cat {rows}; cat {done} >&2; echo $$ > {pid}; while true; do sleep 0.1; done"
    );
    let mut term = Term::start((100, 30), &["run", "--", "bash", "-c", &script]);
    term.wait_for("COMPLETED 1");
    term.until("the tap's pid", |_| std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')));
    let number: i32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    let target = rustix::process::Pid::from_raw(number).unwrap();
    rustix::process::kill_process(target, rustix::process::Signal::TERM).unwrap();
    term.wait_for("ABORTED");
    term.wait_for("stopped, but exited with 0");
    term.keys("q");
    assert_eq!(term.exit_code(), 2);
    let text = term.text().replace('\n', "");
    assert!(text.contains("second (1 record) was not finished"), "{text}");
}
