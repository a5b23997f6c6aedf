//! Rewinding: snapshots of earlier instants, the timeline of a log, positions as users type them.

pub mod axis;
pub mod history;
pub mod lead_up;
pub mod pack;
pub mod series;
pub mod target;
