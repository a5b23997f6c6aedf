//! Styles and glyphs by meaning. Color never carries meaning alone: a glyph or a word repeats it.

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
    /// 256 indexed colors.
    #[default]
    Many,
}

/// Characters of marks, bars and lines.
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
    /// Mark of a status change on the scrubber bar.
    pub mark: &'static str,
    /// Start of a run.
    pub run: &'static str,
    /// Silence on the scrubber bar.
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
    fn foreground(&self, dark: u8, light: u8, sixteen: Color) -> Style {
        match (self.theme, self.depth) {
            (Theme::Mono, _) => Style::new(),
            (_, Depth::Sixteen) => Style::new().fg(sixteen),
            (Theme::Dark, Depth::Many) => Style::new().fg(Color::Indexed(dark)),
            (Theme::Light, Depth::Many) => Style::new().fg(Color::Indexed(light)),
        }
    }

    /// Returns the terminal's default style.
    #[must_use]
    pub fn plain(&self) -> Style {
        Style::new()
    }

    /// Returns the style of important text.
    #[must_use]
    pub fn strong(&self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Returns the style of secondary text.
    #[must_use]
    pub fn dim(&self) -> Style {
        match self.theme {
            Theme::Mono => Style::new().add_modifier(Modifier::DIM),
            _ => self.foreground(245, 243, Color::DarkGray),
        }
    }

    #[must_use]
    pub fn bad(&self) -> Style {
        self.foreground(203, 160, Color::Red)
    }

    #[must_use]
    pub fn warn(&self) -> Style {
        self.foreground(179, 130, Color::Yellow)
    }

    #[must_use]
    pub fn good(&self) -> Style {
        self.foreground(114, 28, Color::Green)
    }

    /// Returns the accent style, of keys, focus and activity.
    #[must_use]
    pub fn accent(&self) -> Style {
        self.foreground(75, 25, Color::Blue)
    }

    #[must_use]
    pub fn doubt(&self) -> Style {
        self.foreground(141, 92, Color::Magenta)
    }

    /// Returns the style of the selected row of the focused pane: a tint, or reversed without 256
    /// colors.
    #[must_use]
    pub fn chosen(&self) -> Style {
        match (self.theme, self.depth) {
            (Theme::Mono, _) | (_, Depth::Sixteen) => Style::new().add_modifier(Modifier::REVERSED),
            (Theme::Dark, Depth::Many) => Style::new().bg(Color::Indexed(236)),
            (Theme::Light, Depth::Many) => Style::new().bg(Color::Indexed(189)),
        }
    }

    /// Returns the style of a badge: bold on a block of the given color.
    #[must_use]
    pub fn badge(&self, style: Style) -> Style {
        style.add_modifier(Modifier::REVERSED | Modifier::BOLD)
    }
}
