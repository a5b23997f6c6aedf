//! Columns of the stream list: chosen by priority as long as they fit; a column that is unknown for
//! all is hidden.

use super::state::Screen;
use synctop_core::reduce::{ONE_MINUTE, Stream};

/// Position of each column; `None` if hidden.
#[derive(Debug, Default)]
pub struct Columns {
    pub name: u16,
    pub records: Option<u16>,
    pub attempt: Option<u16>,
    pub rate: Option<u16>,
    pub checkpoint: Option<u16>,
    pub bar: Option<(u16, u16)>,
    pub percent: Option<u16>,
    pub sparks: Option<(u16, u16)>,
    pub checkpoints: Option<u16>,
    pub committed: Option<u16>,
    /// Shares are estimates: the engine reports no ranges.
    pub guessed: bool,
}

/// Widths: records, attempt, rate, checkpoint age.
const NUMBER: u16 = 12;
const ATTEMPT: u16 = 11;
const RATE: u16 = 9;
const AGE: u16 = 7;
const PERCENT: u16 = 5;

/// Rows looked at to find which columns are known; beyond them a column may show up when it is
/// scrolled to.
const SAMPLE: usize = 400;

impl Columns {
    /// Columns in the order of their worth, as long as they fit; a column is left out where nothing
    /// in it is known.
    pub fn new(screen: &Screen, width: u16) -> Self {
        let streams = || screen.progress.streams.iter().take(SAMPLE);
        let longest = streams().map(|stream| stream.label.chars().count()).max().unwrap_or(0);
        let now = screen.now.unwrap_or(0);
        let any = |known: &dyn Fn(&Stream) -> bool| streams().any(|stream| known(stream));
        let moving = screen.running();
        let covered = any(&|s| screen.progress.share(s).is_some());
        let name = u16::try_from(longest).unwrap_or(u16::MAX).clamp(10, if width >= 100 || !covered { 36 } else { 24 });
        let mut end = 4 + name;
        let mut room = width.saturating_sub(end + 1);
        let mut take = |wanted: bool, wide: u16| {
            let fits = wanted && room >= wide;
            room -= if fits { wide } else { 0 };
            fits
        };
        let has_records = take(any(&|s| s.records.cumulative.is_some()), NUMBER);
        let has_committed = take(any(&|s| s.committed.is_some()), NUMBER);
        let has_bar = take(covered, PERCENT + 9);
        let has_rate = take(moving && any(&|s| s.rate.per_second(ONE_MINUTE, now).is_some()), RATE);
        let has_age = take(moving && any(&|s| s.last_checkpoint_at.is_some()), AGE);
        let has_attempt = take(screen.progress.attempts > 1 && any(&|s| s.records.attempt.is_some()), ATTEMPT);
        let has_sparks = take(has_rate, 14);
        let has_checkpoints = take(width >= 100 && any(&|s| s.checkpoints > 0), 9);
        // The remaining width extends the bars.
        let bar = if has_bar { 8 + room.min(12) } else { 0 };
        let mut place = |shown: bool, wide: u16| {
            end += if shown { wide } else { 0 };
            shown.then_some(end)
        };
        let records = place(has_records, NUMBER);
        let committed = place(has_committed, NUMBER);
        let attempt = place(has_attempt, ATTEMPT);
        let rate = place(has_rate, RATE);
        let checkpoint = place(has_age, AGE);
        let bar_end = place(has_bar, bar + 1);
        let percent = place(has_bar, PERCENT);
        let sparks = place(has_sparks, 14);
        let checkpoints = place(has_checkpoints, 9);
        Self {
            checkpoints,
            committed,
            guessed: !any(&|s| s.coverage().is_some()),
            name,
            records,
            attempt,
            rate,
            checkpoint,
            bar: bar_end.map(|end| (end - bar + 1, bar - 1)),
            percent,
            sparks: sparks.map(|end| (end - 12, 12)),
        }
    }

    /// First column of text that replaces rates and ranges.
    pub fn words_from(&self) -> u16 {
        self.records.unwrap_or(3 + self.name) + 2
    }
}
