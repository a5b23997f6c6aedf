//! Progress of a feed on stderr: a few lines in place on a terminal, one line per change elsewhere.
//! Runs on a thread of its own that reads the progress at its own pace: the reducer never waits for
//! it.

use crate::net::{lock, now, pipe};
use crate::views::{self, Look, Screen, Ui};
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
use synctop_core::reduce::{Link, Progress};
use synctop_core::report::changes::{Changes, REMINDER_MS, reminder, stamped};
use synctop_core::report::text;

/// Interval of updates.
const TICK: Duration = Duration::from_millis(100);

/// Maximum wait at the end for a terminal that accepts nothing.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Narrower than this nothing is drawn in place.
const NARROWEST: u16 = 24;

/// Capacity of the queue of messages.
const QUEUE: usize = 64;

/// Amount of progress printed on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    Nothing,
    /// Only how it ended.
    End,
    /// A line for each change, and one a minute.
    Changes,
    /// A picture in place.
    InPlace,
}

enum Word {
    Notice(String),
    Down(String),
    Over(Option<&'static str>),
}

/// Progress of a feed on stderr.
pub struct Inline {
    words: SyncSender<Word>,
    thread: Option<JoinHandle<()>>,
}

impl Inline {
    /// Starts telling.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(progress: Arc<Mutex<Progress>>, tell: Tell, look: Look, source: String) -> io::Result<Self> {
        let (words, heard) = sync_channel(QUEUE);
        let mut teller = Teller {
            progress,
            tell,
            look,
            source,
            changes: Changes::default(),
            shown: 0,
            picture: Buffer::default(),
            began: Instant::now(),
            reminded: Instant::now(),
            lines: 0,
            last_line: None,
            down: None,
            beat: (u64::MAX, 0, 0),
        };
        let thread = std::thread::Builder::new().name("inline".into()).spawn(move || teller.run(&heard))?;
        Ok(Self { words, thread: Some(thread) })
    }

    /// Prints a message from outside the feed. Dropped if a blocked terminal holds up earlier ones.
    pub fn notice(&self, text: impl Into<String>) {
        let _ = self.words.try_send(Word::Notice(text.into()));
    }

    /// Reports that the feed is down and the reason; shown until data arrive.
    pub fn down(&self, why: &str) {
        let _ = self.words.try_send(Word::Down(why.to_owned()));
    }

    /// Prints the end and waits (bounded) until it is printed. `cut`: reason of an end from
    /// outside.
    pub fn end(mut self, cut: Option<&'static str>) {
        let asked = Instant::now();
        let mut word = Word::Over(cut);
        while let Err(std::sync::mpsc::TrySendError::Full(back)) = self.words.try_send(word) {
            if asked.elapsed() > LAST_WORDS {
                return;
            }
            word = back;
            std::thread::sleep(Duration::from_millis(10));
        }
        let Some(thread) = self.thread.take() else { return };
        while !thread.is_finished() && asked.elapsed() < LAST_WORDS {
            std::thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

struct Teller {
    progress: Arc<Mutex<Progress>>,
    tell: Tell,
    look: Look,
    source: String,
    changes: Changes,
    /// Lines of the picture that stands on the terminal.
    shown: u16,
    picture: Buffer,
    began: Instant,
    /// Time of the last report of totals.
    reminded: Instant,
    lines: u64,
    last_line: Option<Instant>,
    /// Reason that the feed is down, and the line count since then.
    down: Option<(u64, std::sync::Arc<str>)>,
    /// Lines, seconds of silence and columns of the last picture.
    beat: (u64, u64, u16),
}

impl Teller {
    fn run(&mut self, words: &Receiver<Word>) {
        loop {
            let word = words.recv_timeout(TICK);
            let over = match word {
                Ok(Word::Notice(text)) => {
                    self.notice(&text);
                    None
                }
                Ok(Word::Down(why)) => {
                    self.notice(&why);
                    self.down = Some((self.lines, why.into()));
                    None
                }
                Ok(Word::Over(cut)) => Some(cut),
                Err(RecvTimeoutError::Disconnected) => Some(None),
                Err(RecvTimeoutError::Timeout) => None,
            };
            // One step: the reducer waits for a copy of the shared data, never for the terminal.
            let progress = lock(&self.progress).clone();
            if progress.input.lines > self.lines {
                self.lines = progress.input.lines;
                self.last_line = Some(Instant::now());
            }
            match self.tell {
                Tell::Changes => self.changes(&progress),
                Tell::InPlace if over.is_none() => self.draw(&progress),
                _ => {}
            }
            if let Some(cut) = over {
                return self.end(&progress, cut);
            }
        }
    }

    fn silent(&self) -> Option<u64> {
        self.last_line.map(|last| u64::try_from(last.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn changes(&mut self, progress: &Progress) {
        let mut lines = self.changes.since(progress);
        if self.reminded.elapsed() >= Duration::from_millis(REMINDER_MS) {
            self.reminded = Instant::now();
            lines.push(reminder(progress, self.silent()));
        }
        if !lines.is_empty() {
            say(&(lines.join("\n") + "\n"));
        }
    }

    fn notice(&mut self, text: &str) {
        // It happens now, whatever the feed's clock shows.
        let at = Some(now());
        match self.tell {
            Tell::Nothing | Tell::End => {}
            Tell::Changes => say(&format!("{}\n", stamped(at, text))),
            Tell::InPlace => {
                // Above the picture, where it stays.
                let mut out = self.back();
                let _ = queue!(out, Clear(ClearType::FromCursorDown), Print(stamped(at, text)), Print("\n"));
                self.picture = Buffer::default();
                self.beat.0 = u64::MAX;
                pipe::write_all(rustix::stdio::stderr(), &out).ok();
            }
        }
    }

    fn end(&mut self, progress: &Progress, cut: Option<&'static str>) {
        let mut out = if self.tell == Tell::InPlace { self.back() } else { Vec::new() };
        if self.tell == Tell::InPlace {
            let _ = queue!(out, Clear(ClearType::FromCursorDown));
        }
        if self.tell != Tell::Nothing {
            let leaving = text::Leaving { cut, ..text::Leaving::default() };
            let _ = out.write_all(text::brief(progress, leaving).as_bytes());
        }
        pipe::write_all(rustix::stdio::stderr(), &out).ok();
    }

    /// To the first line of the picture that stands there.
    fn back(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        // As many lines as were drawn: a narrowed terminal may have wrapped some, whose rest stays
        // above; earlier output is never overwritten.
        let rows = std::mem::take(&mut self.shown);
        if rows > 0 {
            let _ = queue!(out, Print("\r"), MoveUp(rows));
        }
        out
    }

    fn draw(&mut self, progress: &Progress) {
        let (width, height) = size();
        if width < NARROWEST || height < 3 {
            return;
        }
        let age = self.silent();
        // Of a quiet feed only the age ticks: once a second for a minute, then every ten.
        let seconds = age.unwrap_or_else(|| u64::try_from(self.began.elapsed().as_millis()).unwrap_or(0)) / 1000;
        let beat = (self.lines, if seconds < 60 { seconds } else { seconds / 10 * 10 }, width);
        if beat == self.beat {
            return;
        }
        self.beat = beat;
        let link = match &self.down {
            Some((lines, why)) if *lines == self.lines => Link::Down(why.clone()),
            _ if self.lines == 0 => Link::Waiting,
            _ => Link::Live,
        };
        let screen = Screen {
            progress,
            link: &link,
            ui: &Ui::default(),
            look: &self.look,
            source: &self.source,
            engine_runs: false,
            now: progress.last_at.map(|last| last.saturating_add(age.and_then(|age| age.try_into().ok()).unwrap_or(0))),
            age,
            watched: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            scrub: None,
        };
        // The last column stays free: some terminals break a line that fills it.
        let picture = views::inline(&screen, width - 1);
        if picture == self.picture {
            return;
        }
        let rows = picture.area.height.min(height - 1);
        let mut out = Vec::new();
        let _ = queue!(out, BeginSynchronizedUpdate);
        out.extend(self.back());
        for row in 0..rows {
            line(&picture, row, &mut out);
        }
        self.shown = rows;
        let _ = queue!(out, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate);
        self.picture = picture;
        pipe::write_all(rustix::stdio::stderr(), &out).ok();
    }
}

/// Writes one row of a picture.
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

/// Columns and rows; without a terminal the smallest comfortable size.
fn size() -> (u16, u16) {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr()).ok();
    size.filter(|size| size.ws_col > 0).map_or((80, 24), |size| (size.ws_col, size.ws_row.max(1)))
}

/// Stderr; when it takes nothing the exit code has to do.
fn say(text: &str) {
    pipe::write_all(rustix::stdio::stderr(), text.as_bytes()).ok();
}
