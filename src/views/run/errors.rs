//! Errors pane: error groups with counts and streams, standing errors first, then retries.

use crate::views::hits::{ClickTarget, Hits};
use crate::views::run::state::{Chosen, Pane, Screen};
use crate::views::run::streams::scroll_top;
use crate::views::widgets::canvas::Pen;
use ratatui::layout::Rect;
use ratatui::style::Style;
use std::sync::Arc;
use synctop_core::format::{age, clock, count, plural};
use synctop_core::protocol::Status;
use synctop_core::protocol::error_text::core;
use synctop_core::reduce::{ErrorGroup, GROUPS_KEPT, Stream, key_of};

/// Lines of one error in a narrow but tall pane.
pub const CARD: u16 = 4;

/// Item of the pane.
#[derive(Debug, Clone, Copy)]
pub enum ErrorItem<'a> {
    Error(&'a Arc<ErrorGroup>),
    /// Stream whose source retries a request.
    Retry(&'a Arc<Stream>),
}

impl ErrorItem<'_> {
    #[must_use]
    pub fn chosen(&self) -> Chosen {
        match self {
            Self::Error(group) => Chosen::Error(group.id),
            Self::Retry(stream) => Chosen::Stream(key_of(stream)),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Error(group) => {
                let streams: Vec<_> = group.streams().map(AsRef::as_ref).collect();
                format!("{} {} {}", group.kind(), streams.join(" "), group.message)
            }
            Self::Retry(stream) => {
                let error = stream.details.retry.as_ref().and_then(|retry| retry.error.as_deref());
                format!("transient {} {}", stream.label, error.unwrap_or_default())
            }
        }
    }
}

/// Returns the items of the pane that the filter keeps.
#[must_use]
pub fn items<'a>(screen: &Screen<'a>) -> Vec<ErrorItem<'a>> {
    let filter = &screen.ui.list(Pane::Errors).filter;
    let mut groups: Vec<_> = screen.progress.errors.groups().iter().collect();
    groups.sort_by_key(|group| (!group.stands(), group.level, std::cmp::Reverse(group.count)));
    let mut retries: Vec<_> = if screen.progress.counters.retries == 0 {
        Vec::new()
    } else {
        screen.progress.streams.iter().filter(|stream| is_retrying(stream)).collect()
    };
    retries.sort_by_key(|stream| stream.details.retry.as_ref().map(|retry| std::cmp::Reverse(retry.last_at)));
    let all = groups.into_iter().map(ErrorItem::Error).chain(retries.into_iter().map(ErrorItem::Retry));
    all.filter(|item| !filter.active() || filter.keeps(&item.text())).collect()
}

fn is_retrying(stream: &Stream) -> bool {
    stream.details.retry.is_some() && stream.status == Status::Started
}

/// Returns the position of the selected item, 0 without a selection.
#[must_use]
pub fn place(items: &[ErrorItem], chosen: Option<&Chosen>) -> usize {
    items.iter().position(|item| Some(&item.chosen()) == chosen).unwrap_or(0)
}

/// Draws the final error that only repeats the errors of the streams, if there is room below them.
fn roll_up(pen: &mut Pen, screen: &Screen, row: u16) {
    if let Some(text) = &screen.progress.attempt.roll_up
        && row < pen.height()
    {
        let column = pen.put(3, row, "roll-up", screen.look.dim());
        pen.put(column + 2, row, &format!("repeats these: {text}"), screen.look.dim());
    }
}

pub fn draw(pen: &mut Pen, screen: &Screen, hits: &mut Hits) {
    let (look, errors) = (screen.look, &screen.progress.errors);
    let list = screen.ui.list(Pane::Errors);
    let focused = screen.ui.focus == Pane::Errors;
    let items = items(screen);
    let mut about = format!("{}, {} in all", plural(errors.groups().len(), "group"), count(errors.total));
    if errors.beyond > 0 {
        about = format!(
            "{} kept, {} beyond, {} in all",
            count(GROUPS_KEPT as u64),
            count(errors.beyond),
            count(errors.total)
        );
    }
    let (retrying, retries) =
        screen.progress.streams.iter().filter(|stream| is_retrying(stream)).fold((0, 0), |(n, sum), stream| {
            (n + 1, sum + stream.details.retry.as_ref().map_or(0, |retry| retry.count))
        });
    if retrying > 0 {
        about.push_str(&format!(", {retrying} retrying {}{}", look.glyphs.times, count(retries)));
    }
    if list.filter.active() {
        about = format!("{} of {about}, /{}/", items.len(), list.filter.text);
    }
    pen.rule(0, focused, "errors", &about, "");
    if items.is_empty() {
        pen.put(3, 1, if list.filter.active() { "nothing matches" } else { "none" }, look.dim());
    }
    let each = if pen.width() < 70 && pen.height() > CARD * 2 { CARD } else { 1 };
    let page = usize::from(pen.height().saturating_sub(1) / each).max(1);
    let wide = |text: &str, most: usize| u16::try_from(text.chars().count().min(most)).unwrap_or(0);
    let shown = || items.iter().take(200).map(|item| ErrorCells::new(item, screen));
    let widest = if each == 1 {
        let kind = shown().map(|facts| wide(&facts.kind, 22)).max().unwrap_or(0);
        (kind, shown().map(|facts| wide(&facts.streams, 26)).max().unwrap_or(0))
    } else {
        (0, 0)
    };
    roll_up(pen, screen, u16::try_from(items.len()).unwrap_or(u16::MAX).saturating_mul(each).saturating_add(1));
    let place = place(&items, list.chosen.as_ref());
    let top = scroll_top(list.top, place, page, items.len());
    for (index, item) in items.iter().enumerate().skip(top).take(page) {
        let row = u16::try_from(index - top).unwrap_or(u16::MAX).saturating_mul(each).saturating_add(1);
        let ErrorCells { mark, style, kind, streams, times, when, message } = ErrorCells::new(item, screen);
        pen.put(1, row, mark, style);
        let column = pen.put(3, row, &kind, style.patch(look.strong()));
        if each == 1 {
            let streams_at = (3 + widest.0 + 1).max(column + 1);
            let column = pen.put_in(streams_at, row, widest.1, &streams, look.plain());
            let column = pen.put(column.max(streams_at + widest.1) + 1, row, &format!("{times:<5}"), look.dim());
            let column = pen.put(column + 1, row, &format!("{when:<8}"), look.dim());
            pen.put(column + 2, row, &message, look.plain());
        } else {
            pen.put_right(pen.width().saturating_sub(1), row, &times, look.dim());
            let begin = pen.put_right(pen.width().saturating_sub(1), row + 1, &when, look.dim());
            pen.put_in(3, row + 1, begin.saturating_sub(4), &streams, look.dim());
            let width = pen.width().saturating_sub(4);
            for (line, text) in
                crate::views::widgets::text::wrap(&synctop_core::format::short(&message, 300), width.into())
                    .iter()
                    .take(2)
                    .enumerate()
            {
                let last = line == 1 && message.chars().count() > usize::from(width) * 2;
                let text = if last { format!("{}{}", text.trim_end(), look.glyphs.ellipsis) } else { text.clone() };
                pen.put_in(3, row + 2 + u16::try_from(line).unwrap_or(0), width + 1, &text, look.plain());
            }
        }
        if index == place && focused {
            pen.choose(row, true);
        }
        let place = Rect { y: pen.area.y + row.min(pen.area.height.saturating_sub(1)), height: each, ..pen.area };
        hits.add(place.intersection(pen.area), ClickTarget::Row(Pane::Errors, item.chosen()));
    }
    if let (Some(slot), Some(pages)) = (hits.tops.get_mut(1), hits.pages.get_mut(1)) {
        (*slot, *pages) = (Some(top), page);
    }
}

struct ErrorCells {
    mark: &'static str,
    style: Style,
    kind: String,
    streams: String,
    times: String,
    when: String,
    message: String,
}

impl ErrorCells {
    fn new(item: &ErrorItem, screen: &Screen) -> Self {
        let (look, glyphs) = (screen.look, screen.look.glyphs);
        let now = screen.now.or(screen.progress.last_at);
        match item {
            ErrorItem::Error(group) => {
                let names: Vec<_> = group.streams().take(4).map(AsRef::as_ref).collect();
                let more = group.streams().count().saturating_sub(4);
                let mut streams = if names.is_empty() { "the whole run".to_owned() } else { names.join(", ") };
                if more > 0 {
                    streams.push_str(&format!(" +{more}"));
                }
                let stands = group.stands();
                let kind = group.kind();
                Self {
                    mark: if stands { glyphs.bad } else { glyphs.good },
                    style: if stands { look.bad() } else { look.dim() },
                    kind: if stands { kind.to_owned() } else { format!("{kind} (cleared)") },
                    streams,
                    times: format!("{}{}", glyphs.times, count(group.count)),
                    when: group.last_at.map_or_else(|| glyphs.dash.to_owned(), |at| clock(at, now)),
                    message: core(&group.message),
                }
            }
            ErrorItem::Retry(stream) => {
                let retry = stream.details.retry.clone().unwrap_or_default();
                Self {
                    mark: glyphs.warn,
                    style: look.warn(),
                    kind: "transient".into(),
                    streams: stream.label.to_string(),
                    times: format!("{}{}", glyphs.times, count(retry.count)),
                    when: match screen.stall_clock() {
                        Some(now) => format!("{} ago", age(now - retry.last_at)),
                        None => clock(retry.last_at, now),
                    },
                    message: retry.error.as_deref().map_or_else(|| "the source retries".to_owned(), core),
                }
            }
        }
    }
}
