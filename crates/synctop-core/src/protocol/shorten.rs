//! First statement of a long message.

/// Returns the message up to its details: brackets at the end and further sentences of a long one.
#[must_use]
pub fn first_statement(message: &str) -> &str {
    let head = message.rfind(" [").and_then(|at| message.get(..at)).filter(|head| !head.ends_with(':'));
    let head = head.unwrap_or(message);
    // Details in brackets at the end of a long message are for developers.
    let head = match head.find(" (") {
        Some(at) if head.len() > 100 && at > 40 => head.get(..at).unwrap_or(head),
        _ => head,
    };
    match head.find(". ") {
        Some(end) if head.len() > 80 && end > 20 => head.get(..end).unwrap_or(head),
        _ => head,
    }
}
