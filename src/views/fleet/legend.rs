//! Meaning of the marks of the fleet screen, for the help.

use crate::views::fleet::state::FleetInput;
use crate::views::widgets::help::Legend;

/// Returns the marks with their styles and meanings.
pub(crate) fn marks(screen: &FleetInput) -> Vec<Legend> {
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    vec![
        (glyphs.bad, look.bad(), "parked pipeline; open error; action without effect"),
        (glyphs.warn, look.warn(), "failing pipeline, retried; acknowledged error"),
        (glyphs.doubt, look.doubt(), "stale pipeline: claims work, and nothing moves"),
        (glyphs.started, look.accent(), "backfill or setup; action being verified"),
        (glyphs.good, look.good(), "ready pipeline; fixed error; action with effect"),
        (glyphs.skipped, look.dim(), "paused pipeline; in a cell: unknown"),
        (glyphs.pending, look.dim(), "pipeline being deleted"),
        ("*", look.accent(), "marked pipeline"),
        (glyphs.next, look.accent(), "next step"),
        (glyphs.at_most, look.plain(), "upper bound: more streams may become known"),
    ]
}
