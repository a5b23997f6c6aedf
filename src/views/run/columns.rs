//! Columns of the stream list, selected by priority and available width. A column without any known
//! value is hidden.

use crate::views::run::state::Screen;
use synctop_core::reduce::{ONE_MINUTE, Stream};

/// Layout of the columns: right edges of numbers, start and width of bars; `None` if hidden. `name`
/// is the width of the names.
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
    /// True if shares are estimates, because the engine reports no ranges.
    pub guessed: bool,
}

/// Width of the columns of records and of committed records.
const NUMBER: u16 = 12;
const ATTEMPT: u16 = 11;
const RATE: u16 = 9;
const AGE: u16 = 7;
const PERCENT: u16 = 5;

/// Number of streams checked for known values, to limit the time with thousands of streams.
const SAMPLE: usize = 400;

impl Columns {
    /// Selects the columns by priority, as long as they fit. A column without any known value is
    /// hidden.
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
        let has_committed = take(any(&|s| s.details.committed.is_some()), NUMBER);
        let has_bar = take(covered, PERCENT + 9);
        let has_rate = take(moving && any(&|s| s.rate.per_second(ONE_MINUTE, now).is_some()), RATE);
        let has_age = take(moving && any(&|s| s.details.last_checkpoint_at.is_some()), AGE);
        let has_attempt = take(screen.progress.attempts > 1 && any(&|s| s.records.attempt.is_some()), ATTEMPT);
        let has_sparks = take(has_rate, 14);
        let has_checkpoints = take(width >= 100 && any(&|s| s.details.checkpoints > 0), 9);
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

    /// Returns the start of text that replaces rates and ranges.
    pub fn text_column(&self) -> u16 {
        self.records.unwrap_or(3 + self.name) + 2
    }
}
