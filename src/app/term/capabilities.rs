//! Detection of theme, color depth and glyphs that suit this terminal.

use crate::views::{ASCII, BLOCKS, Depth, Look, Theme, UNICODE};

/// Requested theme: a fixed one, or one chosen by the terminal's background.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThemeChoice {
    Auto,
    Theme(Theme),
}

/// Requested set of glyphs: a fixed one, or one chosen by the locale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GlyphChoice {
    Auto,
    Unicode,
    /// Unicode without braille patterns.
    Blocks,
    Ascii,
}

/// Returns the look for this terminal, and true if its background color is to be queried.
#[must_use]
pub fn look(theme: ThemeChoice, glyphs: GlyphChoice) -> (Look, bool) {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let term = env("TERM").unwrap_or_default();
    let is_basic = has_sixteen_colors(&term) && env("COLORTERM").is_none();
    let (theme, ask) = match theme {
        ThemeChoice::Theme(theme) => (theme, false),
        ThemeChoice::Auto if env("NO_COLOR").is_some() || term == "dumb" => (Theme::Mono, false),
        // These terminals print the query as text instead of answering it.
        ThemeChoice::Auto => (Theme::Dark, !is_basic && term != "Eterm"),
    };
    let locale = || env("LC_ALL").or_else(|| env("LC_CTYPE")).or_else(|| env("LANG"));
    let glyphs = match glyphs {
        GlyphChoice::Ascii => ASCII,
        GlyphChoice::Unicode => UNICODE,
        GlyphChoice::Blocks => BLOCKS,
        GlyphChoice::Auto if needs_ascii(locale().as_deref(), &term) => ASCII,
        GlyphChoice::Auto => UNICODE,
    };
    let depth = if is_basic { Depth::Sixteen } else { Depth::Many };
    (Look { theme, depth, glyphs }, ask)
}

/// True if a terminal of this type has 16 colors at most.
fn has_sixteen_colors(term: &str) -> bool {
    matches!(term, "linux" | "ansi" | "vt100" | "vt220" | "cons25")
        || ["-16color", "-color", "-8color"].iter().any(|end| term.ends_with(end))
}

/// True if ASCII glyphs are to be used: others may be missing, or two columns wide (East Asian
/// locales).
fn needs_ascii(locale: Option<&str>, term: &str) -> bool {
    let utf8 = |locale: &str| {
        let lower = locale.to_ascii_lowercase();
        lower.contains("utf-8") || lower.contains("utf8")
    };
    let wide = |locale: &str| ["zh", "ja", "ko"].iter().any(|language| locale.starts_with(language));
    term == "linux" || locale.is_some_and(|locale| !utf8(locale) || wide(locale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_with_sixteen_colors_are_known_by_their_type() {
        assert!(
            ["linux", "ansi", "xterm-16color", "rxvt-16color", "xterm-color"].iter().all(|it| has_sixteen_colors(it))
        );
        assert!(!["xterm", "xterm-256color", "tmux-256color", "xterm-kitty"].iter().any(|it| has_sixteen_colors(it)));
    }

    #[test]
    fn ascii_where_glyphs_may_be_missing_or_wide() {
        assert!(!needs_ascii(None, "xterm-256color"));
        assert!(!needs_ascii(Some("en_US.UTF-8"), "xterm"));
        assert!(needs_ascii(Some("C"), "xterm"));
        assert!(needs_ascii(Some("ja_JP.UTF-8"), "xterm"));
        assert!(needs_ascii(None, "linux"));
        assert!(!needs_ascii(Some("C.utf8"), "xterm"));
    }
}
