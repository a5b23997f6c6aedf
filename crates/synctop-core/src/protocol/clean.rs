//! Makes text from a feed safe for a terminal.
//!
//! A feed is untrusted: a record may have escape sequences, control characters or bidirectional
//! overrides that move the cursor or reorder the line. They are removed before anything is drawn or
//! printed.

use std::borrow::Cow;

/// True for invisible characters, and for those that change the order or direction of text.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn is_unsafe(c: char) -> bool {
    c.is_control() || is_hidden(c) || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Cleans text for one line: line ends and tabs become spaces, escape sequences and other unsafe
/// characters are removed.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) || !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' | '\u{9b}' | '\u{9d}' => skip_sequence(c, &mut chars),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' | '\t' | '\r' | '\u{2028}' | '\u{2029}' | '\u{85}' => out.push(' '),
            c if is_unsafe(c) => {}
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Skips the rest of an escape sequence that starts with `first` (ESC, CSI or OSC):
/// `ESC [ ... letter`, `ESC ] ... BEL|ST`, `ESC x`.
fn skip_sequence(first: char, chars: &mut std::iter::Peekable<std::str::Chars>) {
    let kind = match first {
        '\u{9b}' => Some('['),
        '\u{9d}' => Some(']'),
        _ => chars.next(),
    };
    match kind {
        Some('[') => while chars.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
        Some(']' | 'P' | '_' | '^' | 'X') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' || c == '\u{9c}' {
                    break;
                }
                if c == '\u{1b}' {
                    chars.next_if_eq(&'\\');
                    break;
                }
            }
        }
        Some('(' | ')' | '#' | '%') => drop(chars.next()),
        _ => {}
    }
}

/// Cleans text line by line: line ends remain, spaces at the end of a line are removed.
#[must_use]
pub fn lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, part) in text.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        out.push_str(line(part.strip_suffix('\r').unwrap_or(part)).trim_end());
    }
    out
}

/// Cleans text of several lines: line ends, tabs and all visible characters remain.
#[must_use]
pub fn text(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| is_unsafe(c) && !matches!(c, '\n' | '\t')) {
        return Cow::Borrowed(text);
    }
    let clean = |part: &str| part.split('\t').map(line).collect::<Vec<_>>().join("\t");
    let lines: Vec<_> = text.split('\n').map(|part| clean(part.strip_suffix('\r').unwrap_or(part))).collect();
    Cow::Owned(lines.join("\n"))
}

/// Escapes the unsafe characters of JSON text as `\uXXXX`. They can only occur in strings.
#[must_use]
pub fn json(text: String) -> String {
    if !text.chars().any(|c| c != '\n' && is_unsafe(c)) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        if c != '\n' && is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Quotes a word for a shell, if needed. NUL characters become `?`.
#[must_use]
pub fn typed(word: &str) -> String {
    // `shlex` also quotes words with `=`, which is not needed in an argument.
    if !word.is_empty() && word.chars().all(|it| it.is_ascii_alphanumeric() || "-_=/.,:+@%".contains(it)) {
        return word.to_owned();
    }
    // `shlex` refuses NUL, which no argument can contain.
    shlex::try_quote(word).map_or_else(|_| word.replace('\0', "?"), Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_and_overrides_are_removed() {
        assert_eq!(line("plain text"), "plain text");
        assert_eq!(line("a\u{1b}[2Jb\u{1b}]0;title\u{7}c\u{1b}[1;31md\u{9b}5me"), "abcde");
        assert_eq!(line("a\u{202e}b\u{2066}c\u{200f}d\u{2028}e"), "abcd e");
        assert_eq!(line("one\r\ntwo\tthree\u{0}"), "one two three");
        assert_eq!(line("é ✓ 日本"), "é ✓ 日本");
        assert_eq!(lines("a \r\n\u{1b}[Hb"), "a\nb");
        assert_eq!(line("cut \u{1b}["), "cut ");
        assert_eq!(line("a\u{e0041}b\u{3164}c\u{ffa0}d\u{ad}"), "abcd");
        assert_eq!(text("a\tb \r\n\u{1b}]0;x\u{7}c\rd\n"), "a\tb \nc d\n");
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let value = serde_json::json!({"a": "x\u{9b}y\u{2028}z\u{202e}"});
        let safe = json(value.to_string());
        assert!(safe.is_ascii(), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }
}
