//! Styles and glyphs by meaning. Color never carries meaning alone: a glyph or a word repeats it.

use ratatui::style::{Color, Modifier, Style};
use strum::VariantArray as _;

/// Set of colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, strum::Display, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Theme {
    #[default]
    Dark,
    Light,
    Mono,
    /// Blue and orange instead of green and red, after Okabe and Ito, on a dark background.
    ColorblindDark,
    /// The same on a light background.
    ColorblindLight,
}

impl Theme {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    #[must_use]
    pub fn next(self) -> Self {
        let at = Self::VARIANTS.iter().position(|theme| *theme == self).unwrap_or(0);
        Self::VARIANTS.get((at + 1) % Self::VARIANTS.len()).copied().unwrap_or_default()
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
    /// Corners of a box: top left, top right, bottom left, bottom right.
    pub corners: [&'static str; 4],
    /// Joints of a wall with rules: down, up, right, left, all four.
    pub joints: [&'static str; 5],
    /// Thumb of a scrollbar.
    pub thumb: &'static str,
    /// Label on a vertical axis.
    pub tick: &'static str,
    /// True if charts use braille patterns.
    pub braille: bool,
}

pub const UNICODE: &Glyphs = &Glyphs {
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
    corners: ["┌", "┐", "└", "┘"],
    joints: ["┬", "┴", "├", "┤", "┼"],
    thumb: "┃",
    tick: "┤",
    braille: true,
};

/// Unicode without braille patterns, for fonts that lack them.
pub const BLOCKS: &Glyphs = &Glyphs { braille: false, ..*UNICODE };

pub const ASCII: &Glyphs = &Glyphs {
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
    corners: ["+", "+", "+", "+"],
    joints: ["+", "+", "+", "+", "+"],
    thumb: "#",
    tick: "+",
    braille: false,
};

/// Theme and glyphs of one terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub theme: Theme,
    pub depth: Depth,
    pub glyphs: &'static Glyphs,
}

impl Default for Look {
    fn default() -> Self {
        Self { theme: Theme::Dark, depth: Depth::Many, glyphs: UNICODE }
    }
}

impl Look {
    /// Returns the style of a meaning: the colors of the dark, the light and the two colorblind
    /// themes, and that of a terminal with 16 colors.
    fn foreground(&self, indexed: [u8; 4], sixteen: Color) -> Style {
        let [dark, light, colorblind_dark, colorblind_light] = indexed;
        let index = match self.theme {
            Theme::Mono => return Style::new(),
            _ if self.depth == Depth::Sixteen => return Style::new().fg(sixteen),
            Theme::Dark => dark,
            Theme::Light => light,
            Theme::ColorblindDark => colorblind_dark,
            Theme::ColorblindLight => colorblind_light,
        };
        Style::new().fg(Color::Indexed(index))
    }

    /// True if the theme is for a dark background.
    fn is_dark(&self) -> bool {
        matches!(self.theme, Theme::Dark | Theme::ColorblindDark)
    }

    fn is_colorblind(&self) -> bool {
        matches!(self.theme, Theme::ColorblindDark | Theme::ColorblindLight)
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
            _ => self.foreground([246, 242, 246, 242], Color::DarkGray),
        }
    }

    #[must_use]
    pub fn bad(&self) -> Style {
        // Vermilion: apart from blue for every kind of color blindness.
        // The plain red and blue of consoles are too dark for a black background.
        let sixteen = if self.is_dark() { Color::LightRed } else { Color::Red };
        self.foreground([203, 160, 209, 166], sixteen)
    }

    #[must_use]
    pub fn warn(&self) -> Style {
        self.foreground([179, 130, 221, 136], Color::Yellow)
    }

    #[must_use]
    pub fn good(&self) -> Style {
        let sixteen = match (self.is_colorblind(), self.is_dark()) {
            (false, _) => Color::Green,
            (true, true) => Color::LightBlue,
            (true, false) => Color::Blue,
        };
        self.foreground([114, 28, 75, 25], sixteen)
    }

    /// Returns the accent style, of keys, focus and activity.
    #[must_use]
    pub fn accent(&self) -> Style {
        self.foreground([75, 25, 117, 31], if self.is_dark() { Color::Cyan } else { Color::Blue })
    }

    #[must_use]
    pub fn doubt(&self) -> Style {
        self.foreground([141, 92, 176, 127], if self.is_dark() { Color::LightMagenta } else { Color::Magenta })
    }

    /// Returns the style of the selected row of the focused pane: a tint, or reversed without 256
    /// colors. The reversed row has one color, so that it is no patchwork.
    #[must_use]
    pub fn chosen(&self) -> Style {
        match self.theme {
            Theme::Mono => Style::new().fg(Color::Reset).bg(Color::Reset).add_modifier(Modifier::REVERSED),
            _ if self.depth == Depth::Sixteen => {
                Style::new().fg(Color::Reset).bg(Color::Reset).add_modifier(Modifier::REVERSED)
            }
            Theme::Dark | Theme::ColorblindDark => Style::new().bg(Color::Indexed(236)),
            Theme::Light | Theme::ColorblindLight => Style::new().bg(Color::Indexed(189)),
        }
    }

    /// Returns the style of a badge: bold on a block of the given color.
    #[must_use]
    pub fn badge(&self, style: Style) -> Style {
        style.add_modifier(Modifier::REVERSED | Modifier::BOLD)
    }
}
