//! `tee` passes its input byte for byte, whatever happens to the display, the copy and the reader.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;
#[path = "common/pty.rs"]
mod pty;

use common::{bytes, corpus, fixtures, reduced};
use pty::Term;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn tee(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synctop"));
    command.arg("tee").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn through(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = tee(arguments).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn wait(child: &mut Child) -> std::process::ExitStatus {
    let asked = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(asked.elapsed() < Duration::from_secs(30), "the process does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn every_file(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for path in std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()) {
        if path.is_dir() { every_file(&path, found) } else { found.push(path) }
    }
}

#[test]
fn every_recording_passes_unchanged() {
    let mut files: Vec<_> = fixtures().into_iter().map(|(_, path)| path).collect();
    if corpus().is_some() {
        every_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"), &mut files);
    }
    assert!(files.len() > 20);
    for path in files {
        let input = std::fs::read(&path).unwrap();
        // The compressed logs hold hundreds of megabytes: too slow for a debug build.
        let packed = path.extension().is_some_and(|extension| extension == "zst");
        if packed && input.len() > 400_000 && cfg!(debug_assertions) {
            continue;
        }
        let mut child = tee(&["--quiet"]).stdin(File::open(&path).unwrap()).spawn().unwrap();
        let mut output = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut output).unwrap();
        assert!(output == input, "{}", path.display());
        assert_eq!(wait(&mut child).code(), Some(0), "{}", path.display());
    }
}

#[test]
fn arbitrary_bytes_pass_unchanged() {
    let whole = bytes("stripe-trace/01-small-success.ndjson.zst");
    let mut long = b"{\"type\":\"log\",\"log\":{\"level\":\"info\",\"message\":\"".to_vec();
    long.resize(100_000_000, b'x');
    long.extend_from_slice(b"\"}}\n{\"type\":\"eof\",\"eof\":{\"reason\":\"complete\"}}\n");
    let cases: [(&str, Vec<u8>); 9] = [
        ("nothing", Vec::new()),
        ("no final newline", whole[..whole.len() - 1].to_vec()),
        ("a torn last line", whole[..whole.len() / 2].to_vec()),
        ("NUL and invalid UTF-8", b"\0\0\xff\xfe{\"type\"\n\xc3(\n\r\n\r\n".to_vec()),
        ("only newlines", vec![b'\n'; 70_000]),
        ("a line of 100 MB", long),
        ("gzip that is cut off", [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &[0x55; 3_000]].concat()),
        ("zstd that is garbage", [&[0x28, 0xb5, 0x2f, 0xfd][..], &whole].concat()),
        ("half a magic number", vec![0x28, 0xb5]),
    ];
    for (what, input) in cases {
        let output = through(&["--progress", "never"], &input);
        assert!(output.stdout == input, "{what}: {} of {} bytes", output.stdout.len(), input.len());
        assert_eq!(output.status.code(), Some(0), "{what}: {}", err(&output));
    }
}

#[test]
fn partial_lines_are_passed_on_at_once() {
    let mut child = tee(&["-q"]).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    for part in ["{\"type\":\"log\",\"log\":{\"mess", "age\":\"one\"}}\n", "no newline yet"] {
        stdin.write_all(part.as_bytes()).unwrap();
        let mut came = vec![0; part.len()];
        stdout.read_exact(&mut came).unwrap();
        assert_eq!(came, part.as_bytes());
    }
    drop(stdin);
    assert_eq!(wait(&mut child).code(), Some(0));
}

#[test]
fn closed_reader_ends_tee_with_sigpipe() {
    let input = bytes("stripe-progress/04-stream-fail.ndjson.zst").repeat(60);
    let mut child = tee(&["-q"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let mut some = [0; 4096];
    stdout.read_exact(&mut some).unwrap();
    drop(stdout);
    assert_eq!(wait(&mut child).code(), Some(128 + 13));
    assert_eq!(writer.join().unwrap().unwrap_err().kind(), std::io::ErrorKind::BrokenPipe, "the writer gets EPIPE");
}

#[test]
fn closed_reader_and_signal_are_reported_instead_of_an_outcome() {
    let input = bytes("stripe-trace/01-small-success.ndjson.zst");
    let half = &input[..input.len() / 2];
    let mut child = tee(&[]).spawn().unwrap();
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    drop(stdout);
    let _ = stdin.write_all(half);
    let output = child.wait_with_output().unwrap();
    assert!(err(&output).contains("READER GONE"), "{}", err(&output));
    assert!(!err(&output).contains("TRUNCATED"), "{}", err(&output));
    let mut child = tee(&[]).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    stdin.write_all(half).unwrap();
    stdout.read_exact(&mut vec![0; half.len()]).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143));
    assert!(err(&output).contains("INTERRUPTED"), "{}", err(&output));
    drop((stdin, stdout));
    // Streams that ended with an error are not listed as completed.
    let told = err(&through(&[], &bytes("stripe-trace/04-stream-fail.ndjson.zst")));
    let completed = told.lines().find(|line| line.contains("completed ")).unwrap();
    assert!(completed.contains("(7 of 9)") && !completed.contains("disputes"), "{told}");
}

#[test]
fn slow_reader_blocks_the_writer_with_bounded_memory() {
    let input = bytes("stripe-progress/04-stream-fail.ndjson.zst").repeat(260);
    let mut child = tee(&["-q"]).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let wanted = input.len();
    let written = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = written.clone();
    let writer = std::thread::spawn(move || {
        for chunk in input.chunks(16 * 1024) {
            stdin.write_all(chunk).unwrap();
            count.fetch_add(chunk.len(), std::sync::atomic::Ordering::Relaxed);
        }
    });
    std::thread::sleep(Duration::from_millis(700));
    let taken = written.load(std::sync::atomic::Ordering::Relaxed);
    assert!(taken < 8 << 20, "{taken} bytes were read from stdin without a reader of stdout");
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let rss: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    assert!(rss < 64 * 1024, "{rss} kB");
    let mut output = Vec::new();
    stdout.read_to_end(&mut output).unwrap();
    writer.join().unwrap();
    assert_eq!(output.len(), wanted);
    assert_eq!(wait(&mut child).code(), Some(0));
}

#[test]
fn blocked_stderr_does_not_delay_the_bytes() {
    // stderr is a pipe without a reader and with room for 4 KiB.
    let input = bytes("stripe-progress/04-stream-fail.ndjson.zst").repeat(60);
    for show in ["auto", "always"] {
        let mut child = tee(&["--progress", show]).spawn().unwrap();
        let (mut stdin, mut stdout, stderr) =
            (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
        rustix::pipe::fcntl_setpipe_size(&stderr, 4096).unwrap();
        let feed = input.clone();
        let writer = std::thread::spawn(move || stdin.write_all(&feed));
        let mut output = Vec::new();
        stdout.read_to_end(&mut output).unwrap();
        assert!(output == input, "{show}");
        writer.join().unwrap().unwrap();
        assert_eq!(wait(&mut child).code(), Some(0), "{show}");
        drop(stderr);
    }
}

#[test]
fn stderr_without_a_terminal_gets_a_line_per_change() {
    let output = through(&[], &bytes("stripe-trace/04-stream-fail.ndjson.zst"));
    let told = err(&output);
    for words in [
        "9 streams",
        "ERROR      disputes: auth_error, the key lacks 'Disputes Read'",
        "completed  ",
        "end        complete",
        "COMPLETED WITH ERRORS after",
        "next ",
    ] {
        assert!(told.contains(words), "{words} is not in\n{told}");
    }
    assert!(told.lines().count() < 20, "{told}");
    assert!(!told.contains('\u{1b}'), "no control characters: {told}");
    // --progress always draws frames, whatever stderr is.
    let always = err(&through(&["--progress", "always"], &bytes("stripe-trace/04-stream-fail.ndjson.zst")));
    assert!(always.contains("COMPLETED WITH ERRORS"), "{always}");
    let never = err(&through(&["--progress", "never"], &bytes("stripe-trace/04-stream-fail.ndjson.zst")));
    assert!(never.starts_with("COMPLETED WITH ERRORS"), "{never}");
    assert_eq!(err(&through(&["-q"], &bytes("stripe-trace/04-stream-fail.ndjson.zst"))), "");
}

#[test]
fn quiet_feed_redraws_once_per_second() {
    let mut child = tee(&["--progress", "always"]).spawn().unwrap();
    let (mut stdin, mut stderr) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
    let log = bytes("stripe-progress/20-eventful-all.ndjson.zst");
    let whole = log.iter().take(400_000).rposition(|byte| *byte == b'\n').unwrap() + 1;
    let mut stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    stdin.write_all(&log[..whole]).unwrap();
    std::thread::sleep(Duration::from_millis(3_400));
    drop(stdin);
    let mut told = String::new();
    stderr.read_to_string(&mut told).unwrap();
    reader.join().unwrap().unwrap();
    // One frame for the lines, then one frame per second.
    let pictures = told.matches("\u{1b}[?2026h").count();
    assert!((3..=7).contains(&pictures), "{pictures} pictures");
    assert!(told.contains("last line") && told.contains("2s ago"), "{told}");
    wait(&mut child);
}

#[test]
fn each_change_is_reported_once_and_reminders_show_the_state() {
    use synctop_core::report::changes::{Changes, reminder};
    let log = bytes("stripe-progress/20-eventful-all.ndjson.zst");
    let mut changes = Changes::default();
    let mut told = Vec::new();
    for part in 1..=14 {
        let progress = common::open_after(&log, log.len() / 14 * part);
        told.extend(changes.since(&progress));
        assert!(changes.since(&progress).is_empty(), "unchanged progress reports nothing");
    }
    told.extend(changes.since(&reduced(&log)));
    let all = told.join("\n");
    for words in ["11 streams", "attempt 2", "ERROR ", "retrying ", "started ", "completed ", "end        "] {
        assert!(all.contains(words), "{words} is not in\n{all}");
    }
    for (at, line) in told.iter().enumerate() {
        assert!(line.starts_with("synctop 09:4"), "{line}");
        assert!(!told[..at].contains(line), "twice: {line}\n{all}");
    }
    let midway = common::open_after(&log, log.len() / 2);
    let said = reminder(&midway, Some(73_000));
    assert!(said.contains("syncing") && said.contains(" started") && said.contains("no line for 01:13"), "{said}");
    assert!(!reminder(&midway, Some(900)).contains("no line"));
    // Failed and retrying streams have their names and a cause.
    assert!(said.contains(" errored (") && said.contains(" retrying ("), "{said}");
    let failed = said.split(" errored (").nth(1).unwrap();
    assert!(failed.contains("dispute: ") && failed.contains("payout: "), "{said}");
    assert!(reminder(&reduced(&log), None).contains("ended"));
}

#[test]
fn exit_status_option_exits_with_the_outcome() {
    for (file, wanted) in [
        ("stripe-progress/01-small-success.ndjson.zst", 0),
        ("stripe-trace/05-bad-key.ndjson.zst", 1),
        ("stripe-progress/13b-pipeline_read_time_limit.ndjson.zst", 2),
        ("stripe-trace/cli/sync-badkey.stdout.ndjson.zst", 65),
    ] {
        let input = bytes(file);
        assert_eq!(through(&["-q"], &input).status.code(), Some(0), "{file}");
        assert_eq!(through(&["-q", "--exit-status"], &input).status.code(), Some(wanted), "{file}");
    }
}

#[test]
fn copy_is_written_plain_or_compressed() {
    let folder = tempfile::tempdir().unwrap();
    let input = bytes("stripe-progress/12-destination-fails-midway.ndjson.zst");
    for name in ["copy.ndjson", "copy.ndjson.zst"] {
        let path = folder.path().join(name);
        std::fs::write(&path, "what was there before").unwrap();
        let output = through(&["-q", "-o", path.to_str().unwrap()], &input);
        assert!(output.status.success() && output.stdout == input);
        assert!(common::unpack(&path) == input, "{name}");
    }
    let output = through(&["-o", "/no/such/folder/x.ndjson"], b"");
    assert_eq!(output.status.code(), Some(70));
    assert!(err(&output).contains("Name another file after -o"), "{}", err(&output));
    let output = through(&["-o", "x.gz"], b"");
    assert_eq!(output.status.code(), Some(64), "{}", err(&output));
    // A failing copy does not stop the pipeline.
    let output = through(&["-q", "-o", "/dev/full"], &input);
    assert!(output.stdout == input);
    assert_eq!(output.status.code(), Some(70));
    assert!(err(&output).contains("is incomplete"), "{}", err(&output));
}

#[test]
fn signal_ends_tee_with_a_complete_copy() {
    let folder = tempfile::tempdir().unwrap();
    for (signal, code) in
        [(rustix::process::Signal::TERM, 143), (rustix::process::Signal::INT, 130), (rustix::process::Signal::HUP, 129)]
    {
        let path = folder.path().join("copy.ndjson.zst");
        let input = bytes("stripe-trace/01-small-success.ndjson.zst");
        let mut child = tee(&["-q", "-o", path.to_str().unwrap()]).spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        stdin.write_all(&input).unwrap();
        let mut came = vec![0; input.len()];
        stdout.read_exact(&mut came).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        if code == 130 {
            // After SIGINT, the last lines of the interrupted engine are still passed on.
            std::thread::sleep(Duration::from_millis(200));
            stdin.write_all(b"last words\n").unwrap();
            drop(stdin);
            let mut rest = String::new();
            stdout.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "last words\n");
        }
        let status = wait(&mut child);
        assert_eq!((status.code(), status.signal()), (Some(code), None));
        let copy = common::unpack(&path);
        assert_eq!(copy.get(..input.len()), Some(&input[..]), "{code}");
    }
}

#[test]
fn terminal_display_is_drawn_in_place_and_cleaned_up() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.ndjson");
    let line = format!(
        "\"$SYNCTOP\" simulate everything --generation trace --speed 25 | \"$SYNCTOP\" tee > {}; echo; echo rc $?",
        out.display()
    );
    let term = Term::shell((80, 24), &line);
    term.wait_for("SYNCING");
    term.wait_for("ERRORED");
    // Frames replace each other.
    let picture = term.text();
    assert_eq!(picture.matches("synctop stdin").count(), 1, "{picture}");
    term.resize(60, 20);
    term.wait_for("rc 0");
    let picture = term.text();
    assert!(picture.contains("COMPLETED WITH ERRORS"), "{picture}");
    assert!(!picture.contains("SYNCING"), "{picture}");
    let log = std::fs::read(&out).unwrap();
    assert_eq!(reduced(&log).cumulative_records(), Some(40_900));
}
