//! Meaning of the marks of the run screen, for the help.

use crate::views::run::state::RunInput;
use crate::views::widgets::help::Legend;

/// Returns the marks with their styles and meanings.
pub(crate) fn marks(screen: &RunInput) -> Vec<Legend> {
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    vec![
        (glyphs.bad, look.bad(), "errored stream; error that stands"),
        (glyphs.warn, look.warn(), "stalled stream; request that is retried"),
        (glyphs.started, look.accent(), "started stream"),
        (glyphs.good, look.good(), "completed stream; error that was cleared"),
        (glyphs.skipped, look.dim(), "skipped stream; in a cell: unknown"),
        (glyphs.pending, look.dim(), "stream that has not started"),
        (glyphs.doubt, look.doubt(), "claim that the evidence contradicts"),
        (glyphs.next, look.accent(), "next step"),
        (glyphs.bar, look.good(), "part of a stream's range that is completed"),
        (glyphs.track, look.dim(), "part that is not"),
        (glyphs.live, look.accent(), "scrubber: shown instant"),
        (glyphs.bad, look.bad(), "scrubber, chart: error"),
        (glyphs.warn, look.warn(), "chart: retry or rate limit"),
        (glyphs.up, look.strong(), "scrubber, chart: attempt"),
        (glyphs.mark, look.dim(), "scrubber: status change"),
        (glyphs.run, look.strong(), "scrubber: start of a run"),
        (glyphs.gap, look.dim(), "scrubber: silence of 30 s and more"),
    ]
}
