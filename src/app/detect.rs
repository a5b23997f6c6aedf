//! Detection of theme, color depth and glyphs that suit this terminal.

use crate::views::{ASCII, Depth, Look, Theme, UNICODE};

/// A theme by the user's wish, or by asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThemeChoice {
    Auto,
    Theme(Theme),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GlyphChoice {
    Auto,
    Unicode,
    Ascii,
}

/// The look for this terminal, and whether it has to be asked for its background colour too.
#[must_use]
pub fn look(theme: ThemeChoice, glyphs: GlyphChoice) -> (Look, bool) {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let term = env("TERM").unwrap_or_default();
    let few = matches!(term.as_str(), "linux" | "ansi" | "vt100" | "vt220" | "cons25") && env("COLORTERM").is_none();
    let (theme, ask) = match theme {
        ThemeChoice::Theme(theme) => (theme, false),
        ThemeChoice::Auto if env("NO_COLOR").is_some() || term == "dumb" => (Theme::Mono, false),
        // They print a question that they do not know.
        ThemeChoice::Auto => (Theme::Dark, !few && term != "Eterm"),
    };
    let ascii = match glyphs {
        GlyphChoice::Ascii => true,
        GlyphChoice::Unicode => false,
        GlyphChoice::Auto => {
            plain_locale(env("LC_ALL").or_else(|| env("LC_CTYPE")).or_else(|| env("LANG")).as_deref(), &term)
        }
    };
    let depth = if few { Depth::Sixteen } else { Depth::Many };
    (Look { theme, depth, glyphs: if ascii { ASCII } else { UNICODE } }, ask)
}

/// True if lines and marks may have no glyph or be two columns wide (East Asian locales): ASCII is
/// used.
fn plain_locale(locale: Option<&str>, term: &str) -> bool {
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
    fn ascii_where_glyphs_may_be_missing_or_wide() {
        assert!(!plain_locale(None, "xterm-256color"));
        assert!(!plain_locale(Some("en_US.UTF-8"), "xterm"));
        assert!(plain_locale(Some("C"), "xterm"));
        assert!(plain_locale(Some("ja_JP.UTF-8"), "xterm"));
        assert!(plain_locale(None, "linux"));
        assert!(!plain_locale(Some("C.utf8"), "xterm"));
    }
}
