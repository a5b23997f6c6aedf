//! Shapes of secrets by their issuer, as data: `assets/secrets.toml`.

use super::pattern::{MASK, Match, Pattern};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

/// Rules, and words that are no secrets.
static RULES: LazyLock<Rules> = LazyLock::new(|| {
    // The tests parse the same text.
    toml::from_str(include_str!("../../../assets/secrets.toml")).unwrap_or_default()
});

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    harmless: Vec<String>,
    describing: Vec<String>,
    rule: Vec<Rule>,
}

/// Shape of one issuer's secrets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[cfg_attr(not(test), expect(dead_code, reason = "names the rule in the file and in its tests"))]
    id: String,
    keywords: Vec<String>,
    pattern: String,
    /// True to apply it before the general pattern of fields.
    #[serde(default)]
    early: bool,
    #[serde(default)]
    entropy: f64,
    #[serde(skip)]
    compiled: OnceLock<Option<Pattern>>,
}

impl Rule {
    /// Returns the compiled pattern. It is compiled on first use: most texts need no rule.
    fn regex(&self) -> Option<&Pattern> {
        self.compiled.get_or_init(|| Pattern::new(&self.pattern)).as_ref()
    }

    /// Masks all secrets of this shape.
    fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Some(regex) = self.regex() else { return Cow::Borrowed(text) };
        if !regex.is_match(text) {
            return Cow::Borrowed(text);
        }
        regex.replace_all(text, |found| self.replacement(found))
    }

    fn replacement(&self, found: &Match) -> String {
        let Some((before, value, after)) = found.around("secret") else { return MASK.to_owned() };
        if value.contains(MASK) || is_harmless(value) || entropy(value) < self.entropy {
            return found.as_str().to_owned();
        }
        format!("{before}{MASK}{after}")
    }
}

/// Returns the keywords of all rules, in lower case.
pub(super) fn keywords() -> impl Iterator<Item = &'static str> {
    RULES.rule.iter().flat_map(|rule| &rule.keywords).map(String::as_str)
}

/// Masks all secrets whose rule has a keyword in the text: by the early rules or by the others.
pub(super) fn apply(text: Cow<'_, str>, early: bool) -> Cow<'_, str> {
    let lower = text.to_lowercase();
    let mut found = text;
    for rule in RULES
        .rule
        .iter()
        .filter(|rule| rule.early == early && rule.keywords.iter().any(|word| lower.contains(word.as_str())))
    {
        if let Cow::Owned(masked) = rule.apply(&found) {
            found = Cow::Owned(masked);
        }
    }
    found
}

/// True for a word that stands where a secret could stand, and tells a cause.
pub(super) fn is_harmless(value: &str) -> bool {
    let word = value.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let first = word.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    RULES.harmless.iter().any(|known| known == first)
}

/// True if a field describes a secret by the end of its name, such as `password_reset_at`.
pub(super) fn is_describing(field: &str) -> bool {
    let name = field.trim_end_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let last = name.rsplit(['_', '-', '.']).next().unwrap_or_default();
    name.len() > last.len() && RULES.describing.iter().any(|known| known == last)
}

/// Entropy of a text in bits per character (Shannon).
pub(super) fn entropy(text: &str) -> f64 {
    let mut counts: HashMap<char, u32> = HashMap::new();
    let mut all = 0_u32;
    for c in text.chars() {
        *counts.entry(c).or_default() += 1;
        all += 1;
    }
    let share = |count: &u32| f64::from(*count) / f64::from(all);
    counts.values().map(share).map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_complete() {
        let rules: Rules = toml::from_str(include_str!("../../../assets/secrets.toml")).unwrap();
        assert!(rules.rule.len() > 40);
        let ids: std::collections::BTreeSet<_> = rules.rule.iter().map(|rule| &rule.id).collect();
        assert_eq!(ids.len(), rules.rule.len());
        for rule in &rules.rule {
            assert!(rule.regex().is_some(), "{}: the pattern does not compile", rule.id);
            assert!(rule.keywords.iter().all(|word| *word == word.to_lowercase()), "{}", rule.id);
        }
    }

    #[test]
    fn samples_and_words_have_little_entropy() {
        assert!(entropy("aaaaaaaa") < 0.1 && entropy("sk_live_4eC39HqLyjWD") > 3.5);
        assert!(is_harmless("expired") && is_harmless("missing: set it") && !is_harmless("hunter2"));
        assert!(is_describing("password_reset_at: ") && is_describing("token_count=") && !is_describing("api_token: "));
    }
}
