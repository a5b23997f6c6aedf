//! Terminal session: enters the alternate screen and restores the terminal after quit, error, panic
//! and signals.

use crossterm::cursor::{Hide, Show};
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::style::{Print, ResetColor};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{execute, queue};
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect, Size};
use std::io::{self, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// True while the terminal is in raw mode and on the alternate screen.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// True once the terminal is fully restored.
static GIVEN_BACK: AtomicBool = AtomicBool::new(false);

/// Buttons and wheel only (1000, 1006): every movement would wake us for nothing.
const MOUSE_ON: &str = "\x1b[?1002h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1002l";

/// Largest picture; a larger size is not a real screen.
const LARGEST: (u16, u16) = (2048, 1024);

/// Stdout, written one picture at a time. Unflushed output is dropped: it would land on the shell.
#[derive(Default)]
struct Output(Vec<u8>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.0);
        crate::net::pipe::write_all(rustix::stdio::stdout(), &bytes)
    }
}

/// A terminal in full-screen use. Only cells that changed are written.
pub(super) struct Screen {
    backend: CrosstermBackend<Output>,
    shown: Buffer,
    next: Buffer,
    mouse: bool,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn take(mouse: bool) -> io::Result<Self> {
        restore_on_panic();
        // NO_COLOR is obeyed by the mono theme; the library would take reverse and bold away with
        // the colours.
        crossterm::style::force_color_output(true);
        let backend = CrosstermBackend::new(Output::default());
        let mut screen = Self { backend, shown: Buffer::default(), next: Buffer::default(), mouse };
        screen.enter()?;
        Ok(screen)
    }

    /// Takes the terminal (again); the next picture is drawn whole.
    pub(super) fn enter(&mut self) -> io::Result<()> {
        TAKEN.store(true, Ordering::SeqCst);
        GIVEN_BACK.store(false, Ordering::SeqCst);
        enable_raw_mode()?;
        execute!(self.backend, EnterAlternateScreen, Hide, EnableBracketedPaste, Clear(ClearType::All))?;
        if self.mouse {
            execute!(self.backend, Print(MOUSE_ON))?;
        }
        self.shown = Buffer::empty(Rect::ZERO);
        Ok(())
    }

    pub(super) fn set_mouse(&mut self, on: bool) -> io::Result<()> {
        self.mouse = on;
        execute!(self.backend, Print(if on { MOUSE_ON } else { MOUSE_OFF }))
    }

    pub(super) fn copy(&mut self, text: &str) -> io::Result<()> {
        execute!(self.backend, crossterm::clipboard::CopyToClipboard::to_clipboard_from(text))
    }

    /// The next picture is drawn whole.
    pub(super) fn forget(&mut self) {
        self.shown = Buffer::empty(Rect::ZERO);
    }

    /// Asks for the background colour.
    pub(super) fn ask(&mut self) -> io::Result<()> {
        execute!(self.backend, Print(super::background::QUESTION))
    }

    /// Draws a picture; nothing is written when nothing changed.
    pub(super) fn draw<R>(&mut self, picture: impl FnOnce(&mut Buffer, Rect) -> R) -> io::Result<R> {
        let (width, height) = size()?;
        let area = Rect::from((Position::ORIGIN, Size::new(width.min(LARGEST.0), height.min(LARGEST.1))));
        let anew = self.shown.area != area;
        if anew {
            self.shown = Buffer::empty(area);
            self.next = Buffer::empty(area);
        }
        self.next.reset();
        let result = picture(&mut self.next, area);
        let changes = self.shown.diff(&self.next);
        if anew || !changes.is_empty() {
            queue!(self.backend, BeginSynchronizedUpdate)?;
            if anew {
                queue!(self.backend, Clear(ClearType::All))?;
            }
            self.backend.draw(changes.into_iter())?;
            queue!(self.backend, ResetColor, EndSynchronizedUpdate)?;
            Backend::flush(&mut self.backend)?;
        }
        std::mem::swap(&mut self.shown, &mut self.next);
        Ok(result)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Restores the terminal, once; errors are ignored because there is no place left to report them.
pub(super) fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = Output::default();
    let _ = execute!(out, Print(MOUSE_OFF), DisableBracketedPaste, LeaveAlternateScreen, ResetColor, Show);
    leave_raw_mode();
    GIVEN_BACK.store(true, Ordering::SeqCst);
}

/// Echo, lines and signals of keys as they were; does not wait for anything.
pub(super) fn leave_raw_mode() {
    let _ = disable_raw_mode();
}

/// It was ours, and is not any more.
pub(super) fn given_back() -> bool {
    GIVEN_BACK.load(Ordering::SeqCst)
}

/// Some thread panicked: the terminal is given back, and nothing may be drawn any more.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// True once the result is printed on the shell.
static TOLD: AtomicBool = AtomicBool::new(false);

/// True if a thread panicked. Waits (bounded) for a thread that is still printing: exiting would
/// cut its line.
pub(super) fn panicked() -> bool {
    let panicked = PANICKED.load(Ordering::SeqCst);
    for _ in 0..200 {
        if !panicked || TOLD.load(Ordering::SeqCst) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panicked
}

/// Prints a panic on the shell, not on a screen that is about to disappear.
fn restore_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICKED.store(true, Ordering::SeqCst);
            give_back();
            before(panic);
            let text = "synctop: This is a bug in synctop; the feed was not changed. Please report the lines above.";
            let _ = writeln!(io::stderr(), "{text}");
            TOLD.store(true, Ordering::SeqCst);
            // In another thread than the loop's: the loop has to hear of it.
            super::diagnostics::wake();
        }));
    });
}
