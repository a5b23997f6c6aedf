//! Progress of a feed on stderr: a few lines in place on a terminal, one line per change elsewhere.
//! Runs on its own thread and polls the progress, so that the reducer never waits for it.

use crate::net::source::pipe;
use crate::util::sys::{lock, now};
use crate::views::{self, Look, RunInput};
use crossterm::cursor::MoveUp;
use crossterm::queue;
use crossterm::style::{Attribute, Print, PrintStyledContent, SetAttribute, StyledContent};
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};
use ratatui::backend::IntoCrossterm;
use ratatui::buffer::Buffer;
use ratatui::style::Style;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use synctop_core::protocol::clean;
use synctop_core::reduce::{Link, Progress};
use synctop_core::report::changes::{Changes, REMINDER_MS, reminder, stamped};
use synctop_core::report::text;

/// Interval of updates.
const TICK: Duration = Duration::from_millis(100);

/// Maximum wait for the final output if the terminal accepts nothing.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Minimum width of the terminal, in columns, for output in place.
const MIN_WIDTH: u16 = 24;

/// Capacity of the message queue.
const MESSAGE_CAPACITY: usize = 64;

/// Amount of progress printed on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InlineMode {
    Nothing,
    /// Only the final result.
    End,
    /// One line per change, and a reminder once a minute.
    Changes,
    /// Several lines, redrawn in place.
    InPlace,
}

/// Message to the printing thread.
enum InlineMessage {
    Notice(String),
    /// The feed is down; the text is the reason.
    Down(String),
    /// End of the output; the reason if the feed was cut off from outside.
    Finish(Option<&'static str>),
}

/// Handle of the thread that prints the progress of a feed on stderr.
pub struct Inline {
    channel: SyncSender<InlineMessage>,
    thread: Option<JoinHandle<()>>,
}

impl Inline {
    /// Starts the printing thread.
    ///
    /// # Errors
    /// Returns the system's error if the thread cannot be created.
    pub fn start(progress: Arc<Mutex<Progress>>, mode: InlineMode, look: Look, source: String) -> io::Result<Self> {
        let (channel, receiver) = sync_channel(MESSAGE_CAPACITY);
        let mut writer = InlineWriter {
            progress,
            mode,
            look,
            source,
            changes: Changes::default(),
            shown: 0,
            picture: Buffer::default(),
            started: Instant::now(),
            reminded_at: Instant::now(),
            lines: 0,
            last_line: None,
            down: None,
            drawn_key: (u64::MAX, 0, 0),
        };
        let thread = std::thread::Builder::new().name("inline".into()).spawn(move || writer.run(&receiver))?;
        Ok(Self { channel, thread: Some(thread) })
    }

    /// Prints a notice from outside the feed. Dropped if a blocked terminal holds up earlier ones.
    pub fn notice(&self, text: impl Into<String>) {
        let _ = self.channel.try_send(InlineMessage::Notice(text.into()));
    }

    /// Reports that the feed is down, with the reason. Stays on screen until data arrive.
    pub fn down(&self, why: &str) {
        let _ = self.channel.try_send(InlineMessage::Down(why.to_owned()));
    }

    /// Prints the final result and waits for it, at most 2 seconds. `cut`: reason if the feed was
    /// ended from outside.
    pub fn end(mut self, cut: Option<&'static str>) {
        let requested_at = Instant::now();
        let mut inline_message = InlineMessage::Finish(cut);
        while let Err(std::sync::mpsc::TrySendError::Full(rejected)) = self.channel.try_send(inline_message) {
            if requested_at.elapsed() > END_TIMEOUT {
                return;
            }
            inline_message = rejected;
            std::thread::sleep(Duration::from_millis(10));
        }
        let Some(thread) = self.thread.take() else { return };
        while !thread.is_finished() && requested_at.elapsed() < END_TIMEOUT {
            std::thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

/// State of the printing thread.
struct InlineWriter {
    progress: Arc<Mutex<Progress>>,
    mode: InlineMode,
    look: Look,
    source: String,
    changes: Changes,
    /// Number of rows on the terminal that belong to the current frame.
    shown: u16,
    picture: Buffer,
    started: Instant,
    /// Time of the last report of totals.
    reminded_at: Instant,
    /// Lines of the feed at the last look.
    lines: u64,
    /// Time of the last new line.
    last_line: Option<Instant>,
    /// Line count at which the feed went down, and the reason.
    down: Option<(u64, std::sync::Arc<str>)>,
    /// Line count, seconds of silence and columns of the last frame; an equal triple needs no
    /// redraw.
    drawn_key: (u64, u64, u16),
}

impl InlineWriter {
    fn run(&mut self, channel: &Receiver<InlineMessage>) {
        loop {
            let inline_message = channel.recv_timeout(TICK);
            let over = match inline_message {
                Ok(InlineMessage::Notice(text)) => {
                    self.notice(&text);
                    None
                }
                Ok(InlineMessage::Down(why)) => {
                    self.notice(&why);
                    self.down = Some((self.lines, why.into()));
                    None
                }
                Ok(InlineMessage::Finish(cut)) => Some(cut),
                Err(RecvTimeoutError::Disconnected) => Some(None),
                Err(RecvTimeoutError::Timeout) => None,
            };
            // The lock is held for a copy only: the reducer never waits for the terminal.
            let progress = lock(&self.progress).clone();
            if progress.input.lines > self.lines {
                self.lines = progress.input.lines;
                self.last_line = Some(Instant::now());
            }
            match self.mode {
                InlineMode::Changes => self.changes(&progress),
                InlineMode::InPlace if over.is_none() => self.draw(&progress),
                _ => {}
            }
            if let Some(cut) = over {
                return self.end(&progress, cut);
            }
        }
    }

    /// Milliseconds since the last line; `None` before the first one.
    fn silent(&self) -> Option<u64> {
        self.last_line.map(|last| u64::try_from(last.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Prints the changes since the last call, and a reminder once a minute.
    fn changes(&mut self, progress: &Progress) {
        let mut lines = self.changes.since(progress);
        if self.reminded_at.elapsed() >= Duration::from_millis(REMINDER_MS) {
            self.reminded_at = Instant::now();
            lines.push(reminder(progress, self.silent()));
        }
        if !lines.is_empty() {
            write_stderr(&(lines.join("\n") + "\n"));
        }
    }

    fn notice(&mut self, text: &str) {
        // A notice has the time of this machine, whatever the feed's clock shows.
        let at = Some(now());
        match self.mode {
            InlineMode::Nothing | InlineMode::End => {}
            InlineMode::Changes => write_stderr(&format!("{}\n", stamped(at, text))),
            InlineMode::InPlace => {
                // Printed above the frame, where it scrolls away with the output.
                let mut out = self.move_to_top();
                let _ =
                    queue!(out, Clear(ClearType::FromCursorDown), Print(clean::line(&stamped(at, text))), Print("\n"));
                self.picture = Buffer::default();
                self.drawn_key.0 = u64::MAX;
                pipe::write_all(rustix::stdio::stderr(), &out).ok();
            }
        }
    }

    fn end(&mut self, progress: &Progress, cut: Option<&'static str>) {
        let mut out = if self.mode == InlineMode::InPlace { self.move_to_top() } else { Vec::new() };
        if self.mode == InlineMode::InPlace {
            let _ = queue!(out, Clear(ClearType::FromCursorDown));
        }
        if self.mode != InlineMode::Nothing {
            let leaving = text::Leaving { cut, ..text::Leaving::default() };
            let _ = out.write_all(clean::text(&text::brief(progress, leaving)).as_bytes());
        }
        pipe::write_all(rustix::stdio::stderr(), &out).ok();
    }

    /// Returns the output that moves the cursor to the first row of the current frame.
    fn move_to_top(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        // Moves up by the number of rows drawn: if a narrower terminal wrapped some of them, their
        // remains stay above, and earlier output is never overwritten.
        let rows = std::mem::take(&mut self.shown);
        if rows > 0 {
            let _ = queue!(out, Print("\r"), MoveUp(rows));
        }
        out
    }

    fn draw(&mut self, progress: &Progress) {
        let (width, height) = size();
        if width < MIN_WIDTH || height < 3 {
            return;
        }
        let age = self.silent();
        // In a quiet feed only the age changes: each second for a minute, then every ten seconds.
        let seconds = age.unwrap_or_else(|| u64::try_from(self.started.elapsed().as_millis()).unwrap_or(0)) / 1000;
        let drawn_key = (self.lines, if seconds < 60 { seconds } else { seconds / 10 * 10 }, width);
        if drawn_key == self.drawn_key {
            return;
        }
        self.drawn_key = drawn_key;
        let link = match &self.down {
            Some((lines, why)) if *lines == self.lines => Link::Down(why.clone()),
            _ if self.lines == 0 => Link::Waiting,
            _ => Link::Live,
        };
        let input = RunInput {
            progress,
            link: &link,
            look: &self.look,
            source: &self.source,
            engine_runs: false,
            now: progress.last_at.map(|last| last.saturating_add(age.and_then(|age| age.try_into().ok()).unwrap_or(0))),
            age,
            watched: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            scrub: None,
            history: None,
            nested: false,
        };
        // The last column stays empty because some terminals wrap a line that fills it.
        let picture = views::inline(input, width - 1);
        if picture == self.picture {
            return;
        }
        let rows = picture.area.height.min(height - 1);
        let mut out = Vec::new();
        let _ = queue!(out, BeginSynchronizedUpdate);
        out.extend(self.move_to_top());
        for row in 0..rows {
            line(&picture, row, &mut out);
        }
        self.shown = rows;
        let _ = queue!(out, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate);
        self.picture = picture;
        pipe::write_all(rustix::stdio::stderr(), &out).ok();
    }
}

/// Appends one row of a frame to `out`.
fn line(picture: &Buffer, row: u16, out: &mut Vec<u8>) {
    let cells: Vec<_> = (0..picture.area.width).filter_map(|column| picture.cell((column, row))).collect();
    let blank = |cell: &&&ratatui::buffer::Cell| {
        cell.symbol() == " " && cell.style().bg.is_none_or(|bg| bg == ratatui::style::Color::Reset)
    };
    let wide = cells.len() - cells.iter().rev().take_while(blank).count();
    let mut style = Style::reset();
    let mut text = String::new();
    let flush = |text: &mut String, style: Style, out: &mut Vec<u8>| {
        if !text.is_empty() {
            let content = StyledContent::new(style.into_crossterm(), std::mem::take(text));
            let _ = queue!(out, PrintStyledContent(content), SetAttribute(Attribute::Reset));
        }
    };
    let mut skip = 0;
    for cell in cells.into_iter().take(wide) {
        if skip > 0 {
            skip -= 1;
            continue;
        }
        if cell.style() != style {
            flush(&mut text, style, out);
            style = cell.style();
        }
        text.push_str(cell.symbol());
        skip = unicode_width::UnicodeWidthStr::width(cell.symbol()).saturating_sub(1);
    }
    flush(&mut text, style, out);
    let _ = queue!(out, Clear(ClearType::UntilNewLine), Print("\n"));
}

/// Columns and rows of the terminal on stderr; 80 x 24 if there is none.
fn size() -> (u16, u16) {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr()).ok();
    size.filter(|size| size.ws_col > 0).map_or((80, 24), |size| (size.ws_col, size.ws_row.max(1)))
}

/// Writes to stderr. Ignores errors: the exit code still reports the result.
fn write_stderr(text: &str) {
    pipe::write_all(rustix::stdio::stderr(), clean::text(text).as_bytes()).ok();
}
