//! Secrets that go on over several lines, each of which is masked as its own text: PEM keys, YAML
//! blocks, values on the line after their name.

use super::pattern::MASK;
use super::text::secrets;
use std::borrow::Cow;

/// Maximum lines of a private key, and of another secret, whose lines are masked again with each one.
const MAX_KEY_LINES: usize = 600;
const MAX_LINES: usize = 60;

/// Value in the place of a secret.
const STAND_IN: &str = "Zq8vT3xLw0PmR7yK";

/// Maximum bytes of the indentation and of the name of a secret that are stored.
const MAX_INDENT: usize = 64;
const MAX_NAME: usize = 200;

/// Start of a private key in PEM form (RFC 7468).
const KEY_START: &str = "-----BEGIN ";

/// Start of a secret that the next lines may continue.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OpenSecret {
    /// Its name, and stand-ins for its lines so far; empty if no secret is open.
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
            self.open(line);
            return false;
        }
        self.count += 1;
        let covered = if self.is_key() { is_part_of_key(line) } else { self.changes(line) };
        let is_end = !covered || (self.is_key() && line.contains("-----END"));
        let most = if self.is_key() { MAX_KEY_LINES } else { MAX_LINES };
        if is_end || self.count >= most {
            *self = Self::default();
            if !covered {
                self.open(line);
            }
        } else if !self.is_key() {
            // A stand-in of the same indentation: the secret itself is not stored.
            let indent = line.get(..line.len() - line.trim_start().len()).unwrap_or_default();
            self.lines.push('\n');
            self.lines.push_str(cut(indent, MAX_INDENT));
            self.lines.push_str(STAND_IN);
        }
        covered
    }

    /// Stores the start of a secret, if the line ends with one.
    fn open(&mut self, line: &str) {
        if let Some(start) = start_of_secret(line) {
            self.lines = start;
        }
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

/// Returns at most `limit` bytes of an indentation.
fn cut(indent: &str, limit: usize) -> &str {
    indent.get(..limit.min(indent.len())).unwrap_or_default()
}

/// True for a line of a private key: base64, an end, or a header such as `Proc-Type: 4,ENCRYPTED`. The
/// next line of a log is none.
fn is_part_of_key(line: &str) -> bool {
    let line = line.trim();
    let is_header = || line.split_once(": ").is_some_and(|(name, value)| !name.contains(' ') && !value.contains(' '));
    let is_base64 = || line.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
    line.contains("-----END") || is_base64() || is_header()
}

/// Returns the name at the end of a line whose value the next lines may hold, with the indentation of
/// the line and nothing else of it, or the start of a private key.
fn start_of_secret(line: &str) -> Option<String> {
    if let Some((_, behind)) = line.split_once(KEY_START) {
        let (kind, rest) = behind.split_once("-----")?;
        let start = format!("{KEY_START}{kind}-----");
        return (!rest.contains("-----END") && start.len() <= MAX_NAME && opens(&start)).then_some(start);
    }
    let end = line.trim_end();
    if !end.ends_with([':', '=', '|', '>', '-', '+']) {
        return None;
    }
    let indent = cut(line.get(..line.len() - line.trim_start().len())?, MAX_INDENT);
    let own = end.rsplit([',', '{', '[']).next().unwrap_or(end).trim_start();
    let words: Vec<&str> = own.split_whitespace().rev().take(3).collect();
    let is_block = words.first().is_some_and(|last| last.starts_with(['|', '>']));
    (1..=2).map(|names| names + usize::from(is_block)).find_map(|count| {
        let name: Vec<&str> = words.iter().take(count).rev().copied().collect();
        let start = format!("{indent}{}", name.join(" "));
        (start.len() <= MAX_NAME && opens(&start)).then_some(start)
    })
}

/// True if a value on the next line is masked with this text in front of it.
fn opens(start: &str) -> bool {
    *secrets(&format!("{start}\n  {STAND_IN}")) != format!("{}\n  {STAND_IN}", secrets(start))
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
            shown(&["{\"pass\":\"hunter2\",\"client_secret\":", "\"q8vT3xLw0PmR7yKs\",", "\"port\":1}"])[1..],
            ["***", "\"port\":1}"]
        );
        let mut open = OpenSecret::default();
        assert!(!open.covers("{\"pass\":\"hunter2\",\"client_secret\":") && open.covers("\"q8vT3xLw0PmR7yKs\","));
        let mut whole = OpenSecret::default();
        assert!(!whole.covers("-----BEGIN PRIVATE KEY-----q8vT3xLw0PmR7yKs") && whole.covers("q8vT3xLw0PmR7yKs"));
        assert!(!format!("{whole:?}").contains("7yKs"));
        assert!(!whole.covers("{\"compact\":1}") && whole.is_closed());
        assert!(!format!("{open:?}").contains("hunter2") && !format!("{open:?}").contains("7yKs"));
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
