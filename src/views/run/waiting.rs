//! Screen before the first line: source, waiting time, and the key to quit.

use crate::views::run::state::RunInput;
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::text::fit_middle;
use synctop_core::format::age;
use synctop_core::reduce::Link;

pub fn draw(pen: &mut Pen, screen: &RunInput) {
    let look = screen.look;
    let middle = pen.height() / 2;
    let row = middle.saturating_sub(3);
    let width = usize::from(pen.width().saturating_sub(6));
    let source = fit_middle(screen.source, width, look.glyphs.ellipsis).into_owned();
    let what = match screen.link {
        Link::Down(_) => "Cannot read",
        _ => "Waiting for the first line from",
    };
    pen.put(3, row, what, look.plain());
    pen.put(3, row + 1, &source, look.strong());
    if let Link::Down(why) = screen.link {
        pen.put(3, row + 2, why, look.bad());
    }
    let waited = i64::try_from(screen.watched).unwrap_or(i64::MAX);
    pen.put(3, row + 3, &format!("for {}", age(waited)), look.dim());
    pen.put(3, row + 5, "Input: NDJSON of a sync engine, as a pipe (engine | synctop) or a file.", look.plain());
    pen.put(3, row + 6, "q leaves, ? shows the keys", look.dim());
    // Possible reasons for the silence: the last log line, and the end of the engine's stderr.
    let about = screen.progress.feed.lines().back().map(|line| line.text.as_str());
    let stderr = screen.progress.stderr.tail.iter().rev().take(3).rev().map(AsRef::as_ref);
    for (line, text) in about.into_iter().chain(stderr).enumerate() {
        pen.put(3, row + 8 + u16::try_from(line).unwrap_or(0), text, look.warn());
    }
}
