//! Output of commands: sentences on stderr, text on stdout.

use crate::app::term::output::err_line;

/// Capitalizes the first letter of `text` and adds a final period.
pub(crate) fn sentence(text: &str) -> String {
    let end = if text.ends_with('.') { "" } else { "." };
    // Capitalizing a URL would change it.
    if text.split(' ').next().is_some_and(|first| first.contains("://")) {
        return format!("{text}{end}");
    }
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}{end}", chars.as_str())
}

/// Writes a note to stderr. A write error is ignored.
pub(crate) fn print_note(note: &str) {
    err_line(note);
}

/// Writes a message to stderr. A write error is ignored: the exit code still reports the failure.
pub(crate) fn print_error(sentence: &str) {
    err_line(&format!("synctop: {sentence}"));
}
