//! A real terminal for the real binary: a PTY, a terminal emulator behind it, and waits with a
//! bound.
#![allow(dead_code, reason = "each test uses a part")]

use portable_pty::{Child, CommandBuilder, MasterPty, NativePtySystem, PtySize, PtySystem};
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Timeout of every wait; generous, because machines under test are busy.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

pub struct Term {
    pub child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    writer: Box<dyn Write + Send>,
    seen: Arc<Mutex<TerminalState>>,
    stalled: Arc<AtomicBool>,
}

struct TerminalState {
    parser: vt100::Parser,
    /// All bytes that the program wrote.
    bytes: Vec<u8>,
    open: bool,
}

fn cells(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number.max(1)).unwrap()
}

impl Term {
    /// Starts the binary with these arguments on a terminal of that size.
    pub fn start(size: (u16, u16), arguments: &[&str]) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_synctop"));
        command.args(["--theme", "dark", "--glyphs", "unicode"]);
        command.args(arguments);
        Self::command(size, command)
    }

    /// Starts a shell line, with `$SYNCTOP` for the binary.
    pub fn shell(size: (u16, u16), line: &str) -> Self {
        let mut command = CommandBuilder::new("bash");
        command.args(["--norc", "--noprofile", "-c", line]);
        Self::command(size, command)
    }

    /// An interactive shell.
    pub fn interactive(size: (u16, u16)) -> Self {
        let mut command = CommandBuilder::new("bash");
        command.args(["--norc", "--noprofile", "-i"]);
        command.env("PS1", "shell> ");
        Self::command(size, command)
    }

    fn command((width, height): (u16, u16), mut command: CommandBuilder) -> Self {
        command.env("SYNCTOP", env!("CARGO_BIN_EXE_synctop"));
        command.env("TERM", "xterm-256color");
        command.env("LC_ALL", "C.UTF-8");
        command.env("RUST_BACKTRACE", "0");
        command.env_remove("NO_COLOR");
        command.cwd(env!("CARGO_MANIFEST_DIR"));
        let size = PtySize { rows: height, cols: width, pixel_width: 0, pixel_height: 0 };
        let pair = NativePtySystem::default().openpty(size).unwrap();
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let parser = vt100::Parser::new(cells(height), cells(width), 200);
        let seen = Arc::new(Mutex::new(TerminalState { parser, bytes: Vec::new(), open: true }));
        let mut reader = pair.master.try_clone_reader().unwrap();
        let shared = seen.clone();
        let stalled = Arc::new(AtomicBool::new(false));
        let stopped = stalled.clone();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while let Ok(length) = reader.read(&mut buffer) {
                if length == 0 {
                    break;
                }
                let mut seen = shared.lock().unwrap();
                seen.parser.process(&buffer[..length]);
                seen.bytes.extend_from_slice(&buffer[..length]);
                drop(seen);
                while stopped.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
            shared.lock().unwrap().open = false;
        });
        let writer = pair.master.take_writer().unwrap();
        Self { child, master: pair.master, writer, seen, stalled }
    }

    /// Answers, once, when the program asks the terminal for its background (OSC 11), after that
    /// delay.
    pub fn answer_background(&mut self, paper: &str, delay: Duration) {
        self.until("the question for the background", |term| term.raw().windows(6).any(|part| part == b"\x1b]11;?"));
        std::thread::sleep(delay);
        self.keys(&format!("\x1b]11;rgb:{paper}\x1b\\"));
    }

    /// Stops reading, as a terminal with a lost connection does.
    pub fn stall(&self) {
        self.stalled.store(true, Ordering::SeqCst);
    }

    pub fn keys(&mut self, keys: &str) {
        self.writer.write_all(keys.as_bytes()).unwrap();
        self.writer.flush().unwrap();
    }

    pub fn resize(&self, width: u16, height: u16) {
        // As a real terminal: it takes its new size before the program is notified, and reads no
        // output in between.
        let mut seen = self.seen.lock().unwrap();
        seen.parser.set_size(cells(height), cells(width));
        self.master.resize(PtySize { rows: height, cols: width, pixel_width: 0, pixel_height: 0 }).unwrap();
        drop(seen);
    }

    pub fn text(&self) -> String {
        self.seen.lock().unwrap().parser.screen().contents()
    }

    pub fn bytes(&self) -> usize {
        self.seen.lock().unwrap().bytes.len()
    }

    pub fn raw(&self) -> Vec<u8> {
        self.seen.lock().unwrap().bytes.clone()
    }

    /// True in full-screen use: alternate screen, hidden cursor.
    pub fn is_full_screen(&self) -> bool {
        let seen = self.seen.lock().unwrap();
        seen.parser.screen().alternate_screen() && seen.parser.screen().hide_cursor()
    }

    /// True if restored for a shell: main screen, cursor shown, no mouse, no bracketed paste.
    pub fn is_restored(&self) -> bool {
        let seen = self.seen.lock().unwrap();
        let screen = seen.parser.screen();
        !screen.alternate_screen()
            && !screen.hide_cursor()
            && !screen.bracketed_paste()
            && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
    }

    /// True if restored to an interactive shell, whose line editor enables bracketed paste.
    pub fn is_at_the_shell(&self) -> bool {
        let seen = self.seen.lock().unwrap();
        let screen = seen.parser.screen();
        !screen.alternate_screen()
            && !screen.hide_cursor()
            && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
    }

    #[track_caller]
    pub fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + WAIT_TIMEOUT;
        while !holds(self) {
            assert!(Instant::now() < until, "timeout: {what}\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        self.until(text, |term| term.text().contains(text));
    }

    #[track_caller]
    pub fn wait_gone(&self, text: &str) {
        self.until(&format!("{text} gone"), |term| !term.text().contains(text));
    }

    /// Waits for the end of the process. Returns its exit code.
    #[track_caller]
    pub fn exit_code(&mut self) -> u32 {
        let until = Instant::now() + WAIT_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // Wait for the last bytes, at most two seconds.
                let drained = Instant::now() + Duration::from_secs(2);
                while self.seen.lock().unwrap().open && Instant::now() < drained {
                    std::thread::sleep(Duration::from_millis(5));
                }
                return status.exit_code();
            }
            assert!(Instant::now() < until, "the process does not end:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.process_id().unwrap()).unwrap()
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        self.stalled.store(false, Ordering::SeqCst);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process that this test started.
pub fn signal(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}
