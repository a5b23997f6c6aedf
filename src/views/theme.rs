//! Styles and glyphs by meaning. Color never carries meaning alone: a glyph and a word stand beside
//! it.

use ratatui::style::{Color, Modifier, Style};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Theme {
    #[default]
    Dark,
    Light,
    Mono,
}

impl Theme {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Dark => Self::Light,
            Self::Light => Self::Mono,
            Self::Mono => Self::Dark,
        }
    }
}

/// Color depth of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    Sixteen,
    #[default]
    Many,
}

/// Marks and lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glyphs {
    pub bad: &'static str,
    pub warn: &'static str,
    pub started: &'static str,
    pub pending: &'static str,
    pub good: &'static str,
    pub skipped: &'static str,
    pub doubt: &'static str,
    pub live: &'static str,
    pub bar: &'static str,
    pub track: &'static str,
    pub rule: &'static str,
    pub wall: &'static str,
    pub chosen: &'static str,
    pub ellipsis: &'static str,
    pub at_most: &'static str,
    pub dash: &'static str,
    pub arrow: &'static str,
    pub next: &'static str,
    pub times: &'static str,
    pub dot: &'static str,
    pub up: &'static str,
    pub down: &'static str,
    /// A place along a line, and where nothing is.
    pub mark: &'static str,
    /// Start of a run.
    pub run: &'static str,
    pub gap: &'static str,
    pub sparks: [&'static str; 8],
}

pub const UNICODE: Glyphs = Glyphs {
    bad: "✗",
    warn: "!",
    started: "▸",
    pending: "○",
    good: "✓",
    skipped: "–",
    doubt: "?",
    live: "●",
    bar: "━",
    track: "─",
    rule: "─",
    wall: "│",
    chosen: "▌",
    ellipsis: "…",
    at_most: "≤",
    dash: "–",
    arrow: "→",
    next: "↳",
    times: "×",
    dot: "·",
    up: "▴",
    down: "▾",
    mark: "┼",
    run: "┃",
    gap: "┄",
    sparks: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
};

pub const ASCII: Glyphs = Glyphs {
    bad: "x",
    warn: "!",
    started: ">",
    pending: "o",
    good: "v",
    skipped: "-",
    doubt: "?",
    live: "*",
    bar: "=",
    track: "-",
    rule: "-",
    wall: "|",
    chosen: ">",
    ellipsis: "~",
    at_most: "<",
    dash: "-",
    arrow: "->",
    next: "->",
    times: "x",
    dot: "-",
    up: "^",
    down: "v",
    mark: "+",
    run: "|",
    gap: ".",
    sparks: [".", ".", ":", "-", "=", "+", "*", "#"],
};

/// Theme and glyphs of one terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub theme: Theme,
    pub depth: Depth,
    pub glyphs: Glyphs,
}

impl Default for Look {
    fn default() -> Self {
        Self { theme: Theme::Dark, depth: Depth::Many, glyphs: UNICODE }
    }
}

impl Look {
    fn colour(&self, dark: u8, light: u8, sixteen: Color) -> Style {
        match (self.theme, self.depth) {
            (Theme::Mono, _) => Style::new(),
            (_, Depth::Sixteen) => Style::new().fg(sixteen),
            (Theme::Dark, Depth::Many) => Style::new().fg(Color::Indexed(dark)),
            (Theme::Light, Depth::Many) => Style::new().fg(Color::Indexed(light)),
        }
    }

    /// The terminal's own colours.
    #[must_use]
    pub fn plain(&self) -> Style {
        Style::new()
    }

    /// Style of important text.
    #[must_use]
    pub fn strong(&self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Style of secondary text.
    #[must_use]
    pub fn dim(&self) -> Style {
        match self.theme {
            Theme::Mono => Style::new().add_modifier(Modifier::DIM),
            _ => self.colour(245, 243, Color::DarkGray),
        }
    }

    #[must_use]
    pub fn bad(&self) -> Style {
        self.colour(203, 160, Color::Red)
    }

    #[must_use]
    pub fn warn(&self) -> Style {
        self.colour(179, 130, Color::Yellow)
    }

    #[must_use]
    pub fn good(&self) -> Style {
        self.colour(114, 28, Color::Green)
    }

    /// The one accent.
    #[must_use]
    pub fn accent(&self) -> Style {
        self.colour(75, 25, Color::Blue)
    }

    #[must_use]
    pub fn doubt(&self) -> Style {
        self.colour(141, 92, Color::Magenta)
    }

    /// The chosen row of the pane in focus: a tint, or reversed where tints cannot be seen.
    #[must_use]
    pub fn chosen(&self) -> Style {
        match (self.theme, self.depth) {
            (Theme::Mono, _) | (_, Depth::Sixteen) => Style::new().add_modifier(Modifier::REVERSED),
            (Theme::Dark, Depth::Many) => Style::new().bg(Color::Indexed(236)),
            (Theme::Light, Depth::Many) => Style::new().bg(Color::Indexed(189)),
        }
    }

    /// A badge in a colour's own block.
    #[must_use]
    pub fn badge(&self, style: Style) -> Style {
        style.add_modifier(Modifier::REVERSED | Modifier::BOLD)
    }
}
