//! Text copied by `y`: the facts of the selected row, or of the open overlay.

use crate::app::effect::Effect;
use crate::app::run::selection::chosen_row;
use crate::views::run::state::{Chosen, Overlay};
use crate::views::run::{errors, log};
use crate::views::{Pane, Screen, Ui, doubt_items};
use synctop_core::protocol::clean;
use synctop_core::reduce::key_of;

/// Maximum bytes of text that are copied over OSC 52.
const COPY_LIMIT: usize = 100_000;

/// Returns the effect that copies the selection; none if nothing is selected.
pub(crate) fn copy(ui: &Ui, screen: &Screen) -> Vec<Effect> {
    let (text, what) = match ui.overlays.last() {
        Some(Overlay::Error { id, .. }) => (error_text(screen, *id), "the error"),
        Some(Overlay::Stream { key, .. }) => (stream_text(screen, key), "the stream"),
        Some(Overlay::Line { number, .. }) => (line_text(screen, *number), "the line"),
        _ => match ui.focus {
            Pane::Streams => {
                let (all, place) = chosen_row(screen);
                match all.chosen(screen, place) {
                    Some(Chosen::Stream(key)) => (stream_text(screen, &key), "the stream"),
                    _ => (None, ""),
                }
            }
            Pane::Errors => {
                let items = errors::items(screen);
                match items.get(errors::place(&items, ui.list(Pane::Errors).chosen.as_ref())) {
                    Some(errors::ErrorItem::Error(group)) => (error_text(screen, group.id), "the error"),
                    Some(errors::ErrorItem::Retry(stream)) => (stream_text(screen, &key_of(stream)), "the stream"),
                    None => (None, ""),
                }
            }
            Pane::Doubts => {
                let items = doubt_items(screen);
                let text: Vec<_> = items.iter().map(|doubt| format!("{} {}", doubt.kind, doubt)).collect();
                (Some(text.join("\n")).filter(|text| !text.is_empty()), "the doubts")
            }
            Pane::Log => {
                let items = log::items(screen);
                let found = items.get(log::place(&items, ui.list(Pane::Log).chosen.as_ref()));
                (found.map(|(_, line)| line.text.clone()), "the line")
            }
            Pane::Diagnostics => (None, ""),
        },
    };
    match text {
        // Control characters hidden on the screen are removed from the clipboard too.
        Some(text) => vec![Effect::Copy(clean::lines(synctop_core::reduce::feed::cut(&text, COPY_LIMIT)), what)],
        None => Vec::new(),
    }
}

fn error_text(screen: &Screen, id: u64) -> Option<String> {
    let group = screen.progress.errors.get(id)?;
    let streams: Vec<_> = group.streams().map(AsRef::as_ref).collect();
    let kind = group.kind();
    Some(format!("{kind} x{} {}\n{}", group.count, streams.join(", "), group.message))
}

fn stream_text(screen: &Screen, key: &str) -> Option<String> {
    let stream = screen.progress.stream(key)?;
    let records = synctop_core::format::known(stream.records.cumulative);
    let message = stream.details.message.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
    Some(format!("{} {} {records} records{message}", stream.label, stream.status.as_str()))
}

fn line_text(screen: &Screen, number: u64) -> Option<String> {
    let feed = &screen.progress.feed;
    let first = feed.total - feed.lines().len() as u64;
    feed.lines().get(usize::try_from(number.checked_sub(first)?).ok()?).map(|line| line.text.clone())
}
