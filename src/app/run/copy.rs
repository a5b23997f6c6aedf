//! Text copied by `y`: the facts of the selected row, or of the open overlay.

use crate::views::run::errors::ErrorItem;
use crate::views::run::model::RunModel;
use crate::views::run::state::{Chosen, LeadUpState, Pane, RunSheet, RunUi};
use crate::views::ui::ListModel as _;
use synctop_core::reduce::key_of;
use synctop_core::report::lead_up::lead_up_text;

/// Returns the text of the selection and its name; `None` if nothing is selected.
pub(crate) fn copy(ui: &RunUi, model: &RunModel) -> Option<(String, &'static str)> {
    match ui.sheet() {
        Some(RunSheet::Error { id, .. }) => return Some((error_text(model, *id)?, "the error")),
        Some(RunSheet::Stream { key, .. }) => return Some((stream_text(model, key)?, "the stream")),
        Some(RunSheet::Line { number, .. }) => return Some((line_text(model, *number)?, "the line")),
        Some(RunSheet::LeadUp { state: LeadUpState::Loaded(lead_up, _), .. }) => {
            return Some((lead_up_text(lead_up), "the lead-up"));
        }
        Some(RunSheet::Goto { .. } | RunSheet::LeadUp { .. }) => return None,
        None => {}
    }
    match ui.focus {
        Pane::Streams => match model.chosen(ui, Pane::Streams)? {
            Chosen::Stream(key) => Some((stream_text(model, &key)?, "the stream")),
            _ => None,
        },
        Pane::Errors => match model.chosen_error(ui)? {
            ErrorItem::Error(group) => Some((error_text(model, group.id)?, "the error")),
            ErrorItem::Retry(stream) => Some((stream_text(model, &key_of(stream))?, "the stream")),
        },
        Pane::Doubts => {
            let text: Vec<_> = model.doubts().map(|doubt| format!("{} {}", doubt.kind, doubt)).collect();
            Some((text.join("\n"), "the doubts")).filter(|(text, _)| !text.is_empty())
        }
        Pane::Log => {
            let place = model.place(Pane::Log, ui.list(Pane::Log).chosen.as_ref());
            model.log.get(place).map(|(_, line)| (line.text.as_str().to_owned(), "the line"))
        }
        Pane::Diagnostics => None,
    }
}

fn error_text(model: &RunModel, id: u64) -> Option<String> {
    let group = model.progress.errors.get(id)?;
    let streams: Vec<_> = group.streams().map(AsRef::as_ref).collect();
    let kind = group.kind();
    Some(format!("{kind} x{} {}\n{}", group.count, streams.join(", "), group.message))
}

fn stream_text(model: &RunModel, key: &str) -> Option<String> {
    let stream = model.progress.stream(key)?;
    let records = synctop_core::format::known(stream.records.cumulative.get());
    let message = stream.details.message.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
    Some(format!("{} {} {records} records{message}", stream.label, stream.status.as_str()))
}

fn line_text(model: &RunModel, number: u64) -> Option<String> {
    let feed = &model.progress.feed;
    let first = feed.total - feed.lines().len() as u64;
    feed.lines().get(usize::try_from(number.checked_sub(first)?).ok()?).map(|line| line.text.as_str().to_owned())
}
