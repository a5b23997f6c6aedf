//! Parts of screens: canvas, theme, text, sheets, bars, help and palette.

pub(crate) mod bars;
pub(crate) mod canvas;
pub(crate) mod help;
pub(crate) mod palette;
pub(crate) mod sheet;
pub mod text;
pub mod theme;
