//! Detection of the beginning of a run in the first lines of a file, which may be a part of a
//! rotated log.

use super::envelope::Opened;
use super::message::{Kind, ProcessEvent, Status};
use super::{Decoded, Decoder, Line, LineEnd};

/// True unless the first lines of a file continue a run of an earlier file. Lines without a message
/// show neither.
#[must_use]
pub fn begins_run(head: &[u8], decoder: &Decoder) -> bool {
    let mut found = None;
    decoder.each(head, |line, message| {
        found = match message {
            Some(message) => kind_begins_run(&message.kind),
            None => match decoder.decode(&line, &mut String::new()) {
                Decoded::Message { message, .. } => kind_begins_run(&message.kind),
                Decoded::Wrapped(opened) => opened_begins_run(&opened, decoder),
                _ => None,
            },
        };
        found.is_none()
    });
    found.unwrap_or(true)
}

fn opened_begins_run(opened: &Opened, decoder: &Decoder) -> Option<bool> {
    let mut scratch = String::new();
    match decoder.decode(&Line::whole(opened.text.as_bytes(), LineEnd::Newline), &mut scratch) {
        Decoded::Message { message, .. } => kind_begins_run(&message.kind),
        _ => None,
    }
}

/// Returns true for messages that stand at the start of a run, false for messages that follow one.
/// A schema stands before the records of any stream, so it counts as a start.
fn kind_begins_run(kind: &Kind) -> Option<bool> {
    match kind {
        Kind::Catalog(_) | Kind::AvailableStreams(_) | Kind::Connection { .. } | Kind::Answer => Some(true),
        Kind::Record(_)
        | Kind::Deletion(_)
        | Kind::UncountedRecords(_)
        | Kind::Checkpoint(_)
        | Kind::Failure(_)
        | Kind::End(_)
        | Kind::Stopping => Some(false),
        Kind::Stream(claim) => {
            Some(!matches!(claim.status, Some(Status::Completed | Status::Skipped | Status::Errored)))
        }
        Kind::Progress(report) => {
            let has_counted = [report.elapsed.attempt, report.records.attempt, report.records.cumulative];
            Some(has_counted.into_iter().all(|count| count.unwrap_or(0) == 0))
        }
        Kind::Log(log) => {
            let process = log.context.as_ref().and_then(|context| context.process.as_ref());
            process.map(|event| matches!(event, ProcessEvent::Starts))
        }
        Kind::Estimate(_) | Kind::Metered(_) | Kind::Relayed(_) | Kind::ProgramExit(_) | Kind::Note(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_message_shows_the_beginning() {
        let record = r#"{"type":"RECORD","stream":"orders","record":{"id":1}}"#;
        let schema = r#"{"type":"SCHEMA","stream":"orders","schema":{},"key_properties":[]}"#;
        let wrapped = r#"2024-05-01T10:00:00.000000000Z stdout F {"type":"STATE","value":{"bookmarks":{}}}"#;
        let begins = |lines: &[&str]| begins_run((lines.join("\n") + "\n").as_bytes(), &Decoder::default());
        assert!(begins(&[]));
        assert!(begins(&["text without a message"]));
        assert!(begins(&["text", schema, record]));
        assert!(!begins(&["text", record, schema]));
        assert!(!begins(&[wrapped, schema]));
    }
}
