//! Terminal session: enters the alternate screen and restores the terminal after quit, error, panic
//! and signals.

use crate::views::Depth;
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

/// True once the terminal was taken over and then restored.
static RESTORED: AtomicBool = AtomicBool::new(false);

/// Reports buttons, the wheel and movement with a pressed button (1002, 1006), not every movement:
/// each report would wake the event loop.
const MOUSE_ON: &str = "\x1b[?1002h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1002l";

/// Largest frame, in columns and rows; a larger size is not that of a real screen.
const LARGEST: (u16, u16) = (2048, 1024);

/// Stdout, written one frame at a time. Output that is not flushed is dropped, because it would
/// appear on the shell.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    /// True if colors are written by their names: terminals with 16 colors know no others.
    has_named_colors: bool,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.bytes);
        if self.has_named_colors {
            bytes = crate::app::term::named_colors::by_name(&bytes);
        }
        crate::net::source::pipe::write_all(rustix::stdio::stdout(), &bytes)
    }
}

/// Terminal in full-screen mode. Writes only cells that changed.
pub(crate) struct TerminalDriver {
    backend: CrosstermBackend<Output>,
    /// Frame on the terminal.
    shown: Buffer,
    /// Frame being drawn.
    next: Buffer,
    mouse: bool,
}

impl TerminalDriver {
    /// Takes the terminal over.
    pub(crate) fn take(mouse: bool, depth: Depth) -> io::Result<Self> {
        restore_on_panic();
        // The mono theme obeys NO_COLOR; crossterm would drop reverse and bold along with the
        // colors.
        crossterm::style::force_color_output(true);
        let backend = CrosstermBackend::new(Output { has_named_colors: depth == Depth::Sixteen, ..Output::default() });
        let mut screen = Self { backend, shown: Buffer::default(), next: Buffer::default(), mouse };
        screen.enter()?;
        Ok(screen)
    }

    /// Enters the alternate screen (again). The next frame is drawn completely.
    pub(crate) fn enter(&mut self) -> io::Result<()> {
        TAKEN.store(true, Ordering::SeqCst);
        RESTORED.store(false, Ordering::SeqCst);
        enable_raw_mode()?;
        execute!(self.backend, EnterAlternateScreen, Hide, EnableBracketedPaste, Clear(ClearType::All))?;
        if self.mouse {
            execute!(self.backend, Print(MOUSE_ON))?;
        }
        self.shown = Buffer::empty(Rect::ZERO);
        Ok(())
    }

    /// Turns mouse reports on or off.
    pub(crate) fn set_mouse(&mut self, on: bool) -> io::Result<()> {
        self.mouse = on;
        execute!(self.backend, Print(if on { MOUSE_ON } else { MOUSE_OFF }))
    }

    /// Copies a text to the clipboard (OSC 52).
    pub(crate) fn copy(&mut self, text: &str) -> io::Result<()> {
        execute!(self.backend, crossterm::clipboard::CopyToClipboard::to_clipboard_from(text))
    }

    /// Marks the frame on the terminal as unknown: the next one is drawn completely.
    pub(crate) fn invalidate(&mut self) {
        self.shown = Buffer::empty(Rect::ZERO);
    }

    /// Queries the background color.
    pub(crate) fn query_background(&mut self) -> io::Result<()> {
        execute!(self.backend, Print(crate::app::term::background_query::BACKGROUND_QUERY))
    }

    /// Draws a frame and writes the changed cells; writes nothing if none changed. Returns the
    /// result of `picture`.
    pub(crate) fn draw<R>(&mut self, picture: impl FnOnce(&mut Buffer, Rect) -> R) -> io::Result<R> {
        let (width, height) = size()?;
        let area = Rect::from((Position::ORIGIN, Size::new(width.min(LARGEST.0), height.min(LARGEST.1))));
        let is_complete = self.shown.area != area;
        if is_complete {
            self.shown = Buffer::empty(area);
            self.next = Buffer::empty(area);
        }
        self.next.reset();
        let result = picture(&mut self.next, area);
        let changes = self.shown.diff(&self.next);
        if is_complete || !changes.is_empty() {
            queue!(self.backend, BeginSynchronizedUpdate)?;
            if is_complete {
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

impl Drop for TerminalDriver {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal once. Ignores errors: there is no place left to report them.
pub(crate) fn restore() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = Output::default();
    let _ = execute!(out, Print(MOUSE_OFF), DisableBracketedPaste, LeaveAlternateScreen, ResetColor, Show);
    leave_raw_mode();
    RESTORED.store(true, Ordering::SeqCst);
}

/// Restores the line mode of the terminal (echo, line input, keys that send signals). Does not
/// wait.
pub(crate) fn leave_raw_mode() {
    let _ = disable_raw_mode();
}

/// True once the terminal was taken over and then restored.
pub(crate) fn is_restored() -> bool {
    RESTORED.load(Ordering::SeqCst)
}

/// True once a thread panicked: the terminal is restored, and nothing may be drawn any more.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// True once the panic message is printed on the shell.
static PANIC_PRINTED: AtomicBool = AtomicBool::new(false);

/// True if a thread panicked. Waits, at most one second, until that thread has printed its message,
/// which an exit would cut off.
pub(crate) fn panicked() -> bool {
    let panicked = PANICKED.load(Ordering::SeqCst);
    for _ in 0..200 {
        if !panicked || PANIC_PRINTED.load(Ordering::SeqCst) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panicked
}

/// Installs a panic hook, once, that restores the terminal first: the message appears on the shell
/// instead of the alternate screen.
fn restore_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICKED.store(true, Ordering::SeqCst);
            restore();
            before(panic);
            let text = "synctop: This is a bug in synctop; the feed was not changed. Please report the lines above.";
            super::output::err_line(text);
            PANIC_PRINTED.store(true, Ordering::SeqCst);
            // If the panic is in another thread, the event loop has to notice it.
            crate::app::diagnostics::wake();
        }));
    });
}
