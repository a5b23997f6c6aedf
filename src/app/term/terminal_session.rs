//! Terminal with its events and the signal handlers.

use crate::app::term::background_query::BackgroundQuery;
use crate::app::term::output::err_line;
use crate::app::term::session::{self, TerminalDriver};
use crate::app::term::signals::Signals;
use crate::views::Depth;
use crossterm::event::EventStream;
use std::io;

/// Terminal, its events and the signal handlers; outlives a screen.
pub(crate) struct TerminalSession {
    pub(crate) terminal: TerminalDriver,
    pub(crate) signals: Signals,
    pub(crate) input: EventStream,
    /// Query for the background color; `None` once it is answered.
    pub(crate) background_query: Option<BackgroundQuery>,
    /// True if synctop stopped itself: its own handler still receives that signal.
    pub(crate) own_stop: bool,
}

impl TerminalSession {
    /// Takes the terminal over. `ask`: queries its background color.
    pub(crate) fn take(signals: Signals, mouse: bool, ask: bool, depth: Depth) -> io::Result<Self> {
        let mut terminal = TerminalDriver::take(mouse, depth)?;
        let background_query = ask.then(BackgroundQuery::now);
        if background_query.is_some() {
            terminal.query_background()?;
        }
        Ok(Self { terminal, signals, input: EventStream::new(), background_query, own_stop: false })
    }

    /// Restores the terminal and stops the process, as Ctrl-Z of a shell does; takes the terminal
    /// over again after SIGCONT. Returns false, and does not stop, if there is no shell.
    pub(crate) fn suspend(&mut self) -> io::Result<bool> {
        use rustix::process::{Signal, getpid, getppid, getsid, kill_process};
        let own_session = getsid(None).ok();
        let parent_session = getppid().and_then(|parent| getsid(Some(parent)).ok());
        let has_shell = parent_session == own_session && own_session != Some(getpid());
        if !has_shell {
            return Ok(false);
        }
        session::restore();
        err_line("synctop: suspended; fg returns. The engine may wait for it.");
        // The other processes of the shell pipeline are stopped too, because a shell waits for all
        // of them. The group signal also reaches this process, whose handler ignores it; STOP stops
        // it.
        self.own_stop = true;
        let _ = rustix::process::kill_current_process_group(Signal::TSTP);
        let _ = kill_process(getpid(), Signal::STOP);
        self.terminal.enter()?;
        Ok(true)
    }
}
