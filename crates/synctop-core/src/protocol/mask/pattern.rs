//! Regular expressions over bytes. Their classes (`\w`, `\b`, `[^"]`) have no tables of Unicode,
//! which took 24 MB and 90 ms if each pattern was needed once; spaces of any script are written
//! `(?u:\s)`, and characters that are counted `(?u:[…])`.

use regex::bytes::{Captures, Regex, RegexBuilder};
use std::borrow::Cow;
use std::ops::Range;

/// Replacement of a secret.
pub const MASK: &str = "***";

/// Pattern of secrets.
#[derive(Debug)]
pub(super) struct Pattern(Regex);

/// Match of a [`Pattern`] in a text.
pub(super) struct Match<'t> {
    text: &'t str,
    groups: Captures<'t>,
}

impl Pattern {
    /// Compiles an expression; `None` if it is not valid.
    pub(super) fn new(expression: &str) -> Option<Self> {
        RegexBuilder::new(expression).unicode(false).build().ok().map(Self)
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text.as_bytes())
    }

    /// Returns the first match that starts at `from` or later.
    pub(super) fn find_at(&self, text: &str, from: usize) -> Option<Range<usize>> {
        self.0.find_at(text.as_bytes(), from).map(|found| found.range())
    }

    /// Replaces all matches; the text is borrowed if there is none. If a match is a part of a
    /// character, everything is masked.
    pub(super) fn replace_all<'t>(&self, text: &'t str, replacement: impl Fn(&Match<'t>) -> String) -> Cow<'t, str> {
        let mut out = None;
        let mut from = 0;
        for groups in self.0.captures_iter(text.as_bytes()) {
            let found = Match { text, groups };
            let Some((start, end)) = found.bounds() else { return Cow::Borrowed(MASK) };
            let out = out.get_or_insert_with(String::new);
            out.push_str(text.get(from..start).unwrap_or(MASK));
            out.push_str(&replacement(&found));
            from = end;
        }
        match out {
            None => Cow::Borrowed(text),
            Some(out) => Cow::Owned(out + text.get(from..).unwrap_or_default()),
        }
    }
}

impl<'t> Match<'t> {
    /// Returns the start and the end; `None` if a group starts or ends inside a character.
    fn bounds(&self) -> Option<(usize, usize)> {
        let is_char_boundary = |at| self.text.is_char_boundary(at);
        let mut groups = self.groups.iter().flatten();
        let is_whole = groups.all(|group| is_char_boundary(group.start()) && is_char_boundary(group.end()));
        let whole = self.groups.get(0).filter(|_| is_whole)?;
        Some((whole.start(), whole.end()))
    }

    /// Returns the text of the match.
    pub(super) fn as_str(&self) -> &'t str {
        self.groups.get(0).and_then(|whole| self.text.get(whole.range())).unwrap_or_default()
    }

    /// Returns the text of a group, if it took part in the match.
    pub(super) fn group(&self, name: &str) -> Option<&'t str> {
        self.groups.name(name).and_then(|group| self.text.get(group.range()))
    }

    /// Returns the match in three parts: before, in and after a group.
    pub(super) fn around(&self, name: &str) -> Option<(&'t str, &'t str, &'t str)> {
        let (whole, group) = (self.groups.get(0)?, self.groups.name(name)?);
        let part = |range| self.text.get(range);
        Some((part(whole.start()..group.start())?, part(group.range())?, part(group.end()..whole.end())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_match_inside_a_character_masks_everything() {
        let byte = Pattern::new(r"x(?<secret>.)").unwrap();
        assert_eq!(byte.replace_all("ax.b", |_| "-".into()), "a-b");
        assert_eq!(byte.replace_all("axéb", |_| "-".into()), MASK);
    }

    #[test]
    fn lengths_count_characters() {
        for text in ["the token is 無効なのだ", "the password is größe"] {
            assert_eq!(crate::protocol::mask::secrets(text), text);
        }
    }

    proptest! {
        #[test]
        fn texts_of_any_script_keep_all_but_the_secret(
            before in "[日é漢a-z]{0,12}[ \u{a0}\u{3000}]",
            between in "[ \u{a0}\u{3000}]?[=:：＝][ \u{a0}\u{3000}]?",
            secret in "[A-Z]{4}[0-9]{4}",
            after in "[日é\u{a0}]{0,3}",
        ) {
            let masked = crate::protocol::mask::secrets(&format!("{before}api_key{between}{secret}{after} 次")).into_owned();
            prop_assert_eq!(masked, format!("{before}api_key{between}{MASK} 次"));
        }
    }
}
