//! Ranges line of the header: coverage, estimated time left, checkpoints, requests.

use crate::views::run::state::RunFrame;
use crate::views::widgets::bars::bar;
use crate::views::widgets::canvas::Pen;
use synctop_core::format::{age, count, percent, plural};
use synctop_core::reduce::MeanCoverage;
use synctop_core::report::{TimeLeft, not_understood};

/// Maximum coverage that is shown while a range is open.
const ALMOST: f64 = 0.99;

/// Draws the coverage of all ranges, the estimated time left, checkpoints, requests, committed
/// records and retries.
pub fn draw(pen: &mut Pen, row: u16, screen: &RunFrame) {
    let (progress, look) = (screen.progress, screen.look);
    let covered = screen.assessment.coverage;
    let guessed = screen.assessment.estimated;
    let bare = covered.is_none() && progress.traits().ends_with_process;
    let word = match guessed {
        Some(_) => "guess   ",
        None if bare => "",
        None => "ranges  ",
    };
    let mut column = pen.put(1, row, word, look.dim());
    let width = if pen.width() >= 100 { 36 } else { 16 };
    if let Some(share) = guessed {
        bar(pen, column, row, width, share, if share < 1.0 { look.accent() } else { look.good() });
        // The estimate may not include all streams yet: the share is an upper bound.
        let bound = if progress.estimates_all() { "" } else { look.glyphs.at_most };
        column = pen.put(column + width + 1, row, &format!("{bound}{}", percent(share)), look.strong()) + 3;
    } else if bare {
        column = 1;
    } else if let Some(MeanCoverage { share, streams: known, .. }) = covered {
        let share = if share > ALMOST && has_open_ranges(screen) { ALMOST } else { share };
        bar(pen, column, row, width, share, if share < 1.0 { look.accent() } else { look.good() });
        column = pen.put(column + width + 1, row, &percent(share), look.strong());
        let all = progress.streams.len();
        if known < all {
            column = pen.put(column + 1, row, &format!("of {} known", count(known as u64)), look.dim());
        }
        if let Some(drop) = screen.assessment.drop {
            let text = format!("({} before {})", percent(drop.before), plural(drop.new_streams, "new stream"));
            column = pen.put(column + 1, row, &text, look.dim());
        }
        if let Some(left) = time_left(screen) {
            column = pen.put(column + 3, row, "left ", look.dim());
            column = pen.put(column, row, &left, look.plain());
        }
    } else {
        column = pen.put(column, row, look.glyphs.dash, look.dim());
    }
    column = pen.put(if guessed.is_some() || bare { column } else { column + 3 }, row, "checkpoints ", look.dim());
    column = pen.put(column, row, &count(progress.counters.checkpoints), look.strong());
    if let (Some(last), Some(now)) = (progress.counters.last_checkpoint_at, screen.stall_clock()) {
        column = pen.put(column, row, &format!(", last {} ago", age(now - last)), look.dim());
    }
    if let Some(requests) = progress.known_requests(progress.counters.requests.cumulative.get()).filter(|n| *n > 0) {
        column = pen.put(column + 3, row, "requests ", look.dim());
        column = pen.put(column, row, &count(requests), look.plain());
    }
    if let Some(committed) = screen.assessment.committed {
        column = pen.put(column + 3, row, "committed ", look.dim());
        column = pen.put(column, row, &count(committed), look.plain());
    }
    if progress.counters.retries > 0 {
        column = pen.put(column + 3, row, "retries ", look.dim());
        column = pen.put(column, row, &count(progress.counters.retries), look.warn());
    }
    if screen.running()
        && let Some(odd) = not_understood(progress)
    {
        pen.put(column + 3, row, &odd, look.warn());
    }
}

/// True while a stream with a range has failed, runs or has ranges left.
fn has_open_ranges(screen: &RunFrame) -> bool {
    screen.assessment.digest.with(|state| state.has_open_range).next().is_some()
}

/// Formats the time left as an interval, because the estimate is rough.
#[expect(clippy::cast_possible_truncation, reason = "a guess")]
fn time_left(screen: &RunFrame) -> Option<String> {
    // Without output for ten seconds the speed is unknown.
    let is_fresh = screen.stall_clock().is_some() && screen.age.is_none_or(|age| age < 10_000);
    let TimeLeft { seconds: slowest, has_pending: pending } = screen.assessment.time_left.filter(|_| is_fresh)?;
    let minutes = |seconds: f64| (seconds / 60.0).clamp(0.0, 1e6).round() as i64;
    let (short, long) = (minutes(slowest * 0.8), minutes(slowest * 1.3));
    Some(match (pending, short, long) {
        (true, 0, _) => "some minutes at least".into(),
        (true, short, _) => format!("at least {short} min"),
        (false, _, 0) => "under a minute".into(),
        (false, 0, long) => format!("up to {long} min"),
        (false, short, long) if short == long => format!("about {long} min"),
        (false, short, long) if long > 120 => format!("{}-{} h", (short / 60).max(1), (long / 60).max(1)),
        (false, short, long) => format!("{short}-{long} min"),
    })
}
