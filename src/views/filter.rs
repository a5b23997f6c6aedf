//! Filter of a list: a regular expression that may be negated.

use regex::{Regex, RegexBuilder};

/// Filter of a list. An empty filter keeps everything.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub text: String,
    pattern: Option<Regex>,
    negated: bool,
    /// Error of the pattern.
    pub bad: Option<String>,
}

impl Filter {
    /// Compiles a regular expression. It ignores case unless it has a capital letter; a leading `!`
    /// negates it. If the expression is invalid, `bad` has the error and everything is kept.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let (negated, body) = match text.strip_prefix('!') {
            Some(body) => (true, body),
            None => (false, text),
        };
        let mut filter = Self { text: text.to_owned(), negated, ..Self::default() };
        if body.is_empty() {
            return filter;
        }
        let any_case = !body.chars().any(char::is_uppercase);
        match RegexBuilder::new(body).case_insensitive(any_case).size_limit(1 << 20).build() {
            Ok(pattern) => filter.pattern = Some(pattern),
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                filter.bad = Some(last);
            }
        }
        filter
    }

    #[must_use]
    pub fn active(&self) -> bool {
        self.pattern.is_some()
    }

    #[must_use]
    pub fn keeps(&self, text: &str) -> bool {
        self.keeps_any([text])
    }

    /// True if the filter matches at least one of the texts (none if negated). `^` and `$` anchor
    /// at each text.
    #[must_use]
    pub fn keeps_any<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| texts.into_iter().any(|text| pattern.is_match(text)) != self.negated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_negate_ignore_case_and_report_errors() {
        assert!(Filter::new("char").keeps("Charges"));
        assert!(!Filter::new("Char").keeps("charges"));
        assert!(!Filter::new("!char").keeps("charges"));
        assert!(Filter::new("!char").keeps("refunds"));
        assert!(Filter::new("").keeps("x") && Filter::new("!").keeps("x"));
        let bad = Filter::new("a(b");
        assert!(bad.bad.as_deref().is_some_and(|why| why.contains("unclosed")), "{:?}", bad.bad);
        assert!(bad.keeps("anything") && !bad.active());
    }
}
