//! Cuts and wraps text to a number of terminal columns.

use std::borrow::Cow;
use synctop_core::protocol::clean;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Returns the terminal columns of text without control characters.
#[must_use]
pub fn columns(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// Cuts text to one line of at most `width` columns, without control characters.
#[must_use]
pub fn fit<'t>(text: &'t str, width: usize, ellipsis: &str) -> Cow<'t, str> {
    // Cleaning a long text completely would be wasted: only its start is visible.
    let head = synctop_core::reduce::feed::cut(text, width.saturating_mul(8).saturating_add(64));
    let line = clean::line(head);
    if columns(&line) <= width && head.len() == text.len() {
        return line;
    }
    let room = width.saturating_sub(ellipsis.width());
    let mut cut = match line.get(..room) {
        Some(head) if head.is_ascii() => head.to_owned(),
        _ => graphemes_within(&line, room),
    };
    if width >= ellipsis.width() {
        cut.push_str(ellipsis);
    }
    Cow::Owned(cut)
}

/// Returns the graphemes at the start of a text that fit into `room` columns.
fn graphemes_within(text: &str, room: usize) -> String {
    let mut used = 0;
    let fits = |grapheme: &&str| {
        used += grapheme.width();
        used <= room
    };
    text.graphemes(true).take_while(fits).collect()
}

/// Cuts a name or path to at most `width` columns in the middle, because its end distinguishes it.
#[must_use]
pub fn fit_middle<'t>(text: &'t str, width: usize, ellipsis: &str) -> Cow<'t, str> {
    let line = clean::line(text);
    if line.width() <= width {
        return line;
    }
    let room = width.saturating_sub(ellipsis.width());
    let (head_room, tail_room) = (room / 3, room - room / 3);
    let mut tail = String::new();
    let mut used = 0;
    for grapheme in line.graphemes(true).rev() {
        used += grapheme.width();
        if used > tail_room {
            break;
        }
        tail.insert_str(0, grapheme);
    }
    let head = fit(&line, head_room, "").into_owned();
    if width < ellipsis.width() { Cow::Owned(String::new()) } else { Cow::Owned(format!("{head}{ellipsis}{tail}")) }
}

/// Wraps text into lines of at most `width` columns, at spaces if possible.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    for part in clean::lines(text).split('\n') {
        let mut line = String::new();
        let mut used = 0;
        for word in part.split_inclusive(' ') {
            let wide = columns(word.trim_end());
            if used + wide <= width {
                line.push_str(word);
                used += columns(word);
                continue;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line).trim_end().to_owned());
                used = 0;
            }
            if word.trim().is_empty() {
                continue;
            }
            for grapheme in word.graphemes(true) {
                if used + grapheme.width() > width && used > 0 {
                    lines.push(std::mem::take(&mut line));
                    used = 0;
                }
                line.push_str(grapheme);
                used += grapheme.width();
            }
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// Wraps text whose first line has `first` columns and whose other lines have `other`.
#[must_use]
pub fn wrap_hanging(text: &str, first: usize, other: usize) -> Vec<String> {
    let line = clean::lines(text).replace('\n', " ");
    let Some(head) = wrap(&line, first.max(1)).into_iter().next() else { return Vec::new() };
    // The rest starts after the words of the first line.
    let rest = line.get(head.len()..).unwrap_or_default().trim_start();
    let mut lines = vec![head];
    if !rest.is_empty() {
        lines.extend(wrap(rest, other));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_by_columns() {
        assert_eq!(fit("abcdef", 4, "…"), "abc…");
        assert_eq!(fit("日本語", 4, "…"), "日…");
        assert_eq!(fit("a\u{1b}[31mb", 9, "…"), "ab");
        assert_eq!(fit("abc", 0, "…"), "");
        assert_eq!(fit_middle("/var/log/engine/sync.ndjson", 14, "…"), "/var…nc.ndjson");
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("a\n\nb", 3), ["a", "", "b"]);
        assert_eq!(wrap_hanging("one two three four", 4, 10), ["one", "two three", "four"]);
        assert_eq!(wrap_hanging("one", 4, 10), ["one"]);
    }
}
