//! Columns of the stream list. A column without any known value is hidden.

use crate::views::run::state::{Column, RunFrame};
use crate::views::widgets::columns::{ColumnSlot, ColumnSpec as Spec, fit};
use synctop_core::format::count;
use synctop_core::reduce::{ONE_MINUTE, Stream};

/// Column of the stream list, in the order of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamColumn {
    Name,
    Records,
    Committed,
    Attempt,
    Rate,
    Checkpoint,
    Ranges,
    Percent,
    Trend,
    Checkpoints,
}

/// Number of columns.
const COLUMNS: usize = 10;

/// First column of the names.
const NAMES_START: u16 = 3;

/// Number of streams checked for known values, to limit the time with thousands of streams.
const SAMPLE: usize = 400;

/// Specifications and places of the columns.
pub(crate) struct StreamColumns {
    pub specs: [Option<Spec<Column>>; COLUMNS],
    pub slots: Vec<Option<ColumnSlot>>,
    /// Width of the pane.
    pub width: u16,
}

impl StreamColumns {
    pub(crate) fn new(screen: &RunFrame, width: u16) -> Self {
        let streams = || screen.progress.streams.iter().take(SAMPLE);
        let longest = streams().map(|stream| stream.label.chars().count()).max().unwrap_or(0);
        let ids = u16::try_from(longest).unwrap_or(u16::MAX).max(6);
        let now = screen.now.unwrap_or(0);
        let any = |known: &dyn Fn(&Stream) -> bool| streams().any(|stream| known(stream));
        let wide = |of: &dyn Fn(&Stream) -> Option<u64>| {
            let longest = streams().filter_map(|stream| of(stream)).max().map_or(0, |most| count(most).len());
            u16::try_from(longest).unwrap_or(u16::MAX)
        };
        let running = screen.running();
        let covered = any(&|s| screen.progress.share(s).is_some());
        // An estimate, because the engine reports no ranges.
        let guessed = !any(&|s| s.coverage().is_some());
        let number = |sort, title, width| Some(Spec::number(sort, title, width));
        let shown = |wanted: bool, spec: Option<Spec<Column>>| spec.filter(|_| wanted);
        let records = wide(&|s| s.records.cumulative.get());
        let moving = running && any(&|s| s.rate.per_second(ONE_MINUTE, now).is_some());
        let ranges = if guessed { "ESTIMATED" } else { "RANGES" };
        let specs = [
            Some(Spec {
                sort: Some(Column::Name),
                title: "STREAM",
                right: false,
                widths: (ids.min(10), ids, ids),
                vital: true,
            }),
            shown(any(&|s| s.records.cumulative.get().is_some()), number(Some(Column::Records), "RECORDS", records))
                .map(Spec::vital),
            shown(
                any(&|s| s.details.committed.get().is_some()),
                number(None, "COMMITTED", wide(&|s| s.details.committed.get())),
            ),
            shown(
                screen.progress.attempts > 1 && any(&|s| s.records.attempt.get().is_some()),
                number(Some(Column::Attempt), "+ATTEMPT", wide(&|s| s.records.attempt.get()) + 1),
            ),
            shown(moving, number(Some(Column::Rate), "RATE", 7)),
            shown(
                running && any(&|s| s.details.last_checkpoint_at.get().is_some()),
                number(Some(Column::Checkpoint), "LAST CKPT", 9),
            ),
            shown(
                covered,
                Some(Spec {
                    sort: Some(Column::Coverage),
                    title: ranges,
                    right: false,
                    widths: (8, 12, 60),
                    vital: false,
                }),
            ),
            shown(covered, number(None, "", 4)),
            shown(
                moving,
                Some(Spec { sort: None, title: "LAST 2 MIN", right: true, widths: (10, 12, 32), vital: false }),
            ),
            shown(any(&|s| s.details.checkpoints > 0), number(None, "CKPTS", wide(&|s| Some(s.details.checkpoints)))),
        ];
        // One column stays free for the scrollbar.
        Self { slots: fit(&specs, NAMES_START, width.saturating_sub(2)), specs, width }
    }

    pub(crate) fn get(&self, column: StreamColumn) -> Option<ColumnSlot> {
        self.slots.get(column as usize).copied().flatten()
    }

    /// Returns the start of text that replaces rates and ranges.
    pub(crate) fn text_start(&self) -> u16 {
        let before = self.get(StreamColumn::Records).or(self.get(StreamColumn::Name));
        before.map_or(NAMES_START, |slot| slot.end() + 2)
    }
}
