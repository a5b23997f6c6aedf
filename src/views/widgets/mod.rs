//! Parts of screens: canvas, theme, text, lists and their columns, charts, sheets, overlays.

pub(crate) mod bars;
pub(crate) mod canvas;
pub(crate) mod chart;
pub(crate) mod choice;
pub(crate) mod columns;
pub(crate) mod footer;
pub(crate) mod help;
pub(crate) mod layout;
pub(crate) mod list;
pub(crate) mod palette;
pub(crate) mod paragraphs;
pub(crate) mod screen;
pub(crate) mod sheet;
pub mod text;
pub mod theme;
