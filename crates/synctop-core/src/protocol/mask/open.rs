//! Secrets that go on over several lines, each of which is masked as its own text: PEM keys, YAML
//! blocks, values on the line after their name.

use super::rules::MASK;
use super::text::secrets;
use std::borrow::Cow;

/// Maximum bytes of the lines of one secret.
const MAX_LENGTH: usize = 16 * 1024;

/// Maximum lines of a private key, and of another secret, whose lines are masked again with each one.
const MAX_KEY_LINES: usize = 600;
const MAX_LINES: usize = 60;

/// Start of a private key in PEM form (RFC 7468).
const KEY_START: &str = "-----BEGIN ";

/// Start of a secret that the next lines may continue.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OpenSecret {
    /// Its lines so far; empty if no secret is open.
    lines: String,
    /// Number of lines after the first.
    count: usize,
}

impl OpenSecret {
    /// Masks the next line: all of it if it continues a secret of the lines before it.
    pub fn mask<'l>(&mut self, line: &'l str) -> Cow<'l, str> {
        if self.covers(line) { Cow::Borrowed(MASK) } else { secrets(line) }
    }

    /// True if the line continues a secret of the lines before it, so that it must not be shown.
    /// Lines are passed in order.
    pub fn covers(&mut self, line: &str) -> bool {
        if self.lines.is_empty() {
            if opens(line) {
                line.clone_into(&mut self.lines);
            }
            return false;
        }
        self.count += 1;
        let covered = if self.is_key() { is_part_of_key(line) } else { self.changes(line) };
        let is_end = !covered || (self.is_key() && line.contains("-----END"));
        let most = if self.is_key() { MAX_KEY_LINES } else { MAX_LINES };
        if is_end || self.count >= most || self.lines.len() + line.len() > MAX_LENGTH {
            *self = Self::default();
            if !covered && opens(line) {
                line.clone_into(&mut self.lines);
            }
        } else {
            self.lines.push('\n');
            self.lines.push_str(line);
        }
        covered
    }

    /// True if the lines are those of a private key in PEM form.
    fn is_key(&self) -> bool {
        self.lines.lines().next().is_some_and(|first| first.contains(KEY_START))
    }

    /// True if the lines before it change what is shown of a line.
    fn changes(&self, line: &str) -> bool {
        let shown = || format!("{}\n{}", secrets(&self.lines), secrets(line));
        !self.is_beside(line) && *secrets(&format!("{}\n{line}", self.lines)) != shown()
    }

    /// True if the line is the next entry of a YAML mapping or a further line of text: it is not
    /// indented deeper than the name of the secret.
    fn is_beside(&self, line: &str) -> bool {
        let indent = |line: &str| line.len() - line.trim_start().len();
        let (first, rest) = self.lines.split_once('\n').unwrap_or((&self.lines, ""));
        let is_entry = || {
            let name = line.trim_start().trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "_-.".contains(c));
            name.len() < line.trim_start().len() && name.starts_with([':', '='])
        };
        indent(line) <= indent(first) && (!rest.is_empty() || is_entry())
    }

    /// True if no secret is open.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lines.is_empty()
    }
}

/// True for a line of a private key: base64, an end, or a header such as `Proc-Type: 4,ENCRYPTED`. The
/// next line of a log is none.
fn is_part_of_key(line: &str) -> bool {
    let line = line.trim();
    let is_header = || line.split_once(": ").is_some_and(|(name, value)| !name.contains(' ') && !value.contains(' '));
    line.contains("-----END") || !line.contains(' ') || is_header()
}

/// True if the end of a line may start a secret.
fn opens(line: &str) -> bool {
    let end = line.trim_end();
    end.ends_with([':', '=', '|', '>', '-', '+', '\\', '(', '[', '{', '"', '\''])
        && end.len() <= MAX_LENGTH
        // A value on the next line is masked with this line in front of it.
        && *secrets(&format!("{end}\n  Zq8vT3xLw0PmR7yK")) != format!("{}\n  Zq8vT3xLw0PmR7yK", secrets(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lines: &[&str]) -> Vec<String> {
        let mut open = OpenSecret::default();
        lines.iter().map(|line| open.mask(line).into_owned()).collect()
    }

    #[test]
    fn secrets_of_several_lines_are_covered_and_the_next_line_is_not() {
        let key = [
            "loading",
            "-----BEGIN RSA PRIVATE KEY-----",
            "MIIEpAIBAAKCAQEA7",
            "q8vT3xLw0PmR7yKs",
            "-----END RSA PRIVATE KEY-----",
            "error: bad key",
        ];
        assert_eq!(
            shown(&key),
            ["loading", "-----BEGIN RSA PRIVATE KEY-----***", "***", "***", "***", "error: bad key"]
        );
        assert_eq!(
            shown(&["private_key: |", "  q8vT3xLw0PmR7yKs", "  Zq8vT3xLw0PmR7yK", "host: db"])[1..],
            ["***", "***", "host: db"]
        );
        assert_eq!(shown(&["  password:", "    hunter2hunter2", "  port: 5432"])[1..], ["***", "  port: 5432"]);
        assert_eq!(
            shown(&["{\"client_secret\":", "\"q8vT3xLw0PmR7yKs\",", "\"port\":1}"])[1..],
            ["***", "\"port\":1}"]
        );
        // A key without an end hides no cause.
        assert_eq!(
            shown(&["-----BEGIN PRIVATE KEY-----", "q8vT3xLw0PmR7yKs", "ERROR no such table"])[1..],
            ["***", "ERROR no such table"]
        );
        for harmless in [
            ["steps:", "  read"],
            ["Traceback (most recent call last):", "  File \"x\", line 1"],
            ["error:", "Invalid token: expired"],
        ] {
            assert_eq!(shown(&harmless), harmless);
        }
    }
}
