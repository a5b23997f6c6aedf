//! Errors pane: error groups with counts and streams, standing errors first, then retries.

use crate::views::run::state::{Chosen, Pane, RunFrame, RunHits, RunInput, RunUi};
use crate::views::ui::ListModel as _;
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::layout::{Need, sum_up_to};
use crate::views::widgets::list::{self, ListView};
use crate::views::widgets::paragraphs::Paragraphs;
use crate::views::widgets::text;
use ratatui::style::Style;
use std::sync::Arc;
use synctop_core::format::{age, clock, count, plural};
use synctop_core::protocol::ErrorLevel;
use synctop_core::protocol::error_text::core;
use synctop_core::reduce::{Digest, ErrorGroup, GROUPS_KEPT, Stream, key_of};

/// Maximum bytes of a message that a card shows.
const MESSAGE_SHOWN: usize = 2_000;

/// Maximum lines of a card.
const MAX_CARD: u16 = 16;

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

    /// Returns the key of the first affected stream.
    #[must_use]
    pub fn stream(&self) -> Option<String> {
        match self {
            Self::Error(group) => group.streams().next().map(ToString::to_string),
            Self::Retry(stream) => Some(key_of(stream)),
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

/// Returns the rank of an error in the pane: standing ones first, then by level and count.
pub(crate) fn order(group: &ErrorGroup) -> (bool, ErrorLevel, std::cmp::Reverse<u64>) {
    (!group.stands(), group.level, std::cmp::Reverse(group.count))
}

/// Returns the items of the pane that the filter keeps.
#[must_use]
pub fn items<'a>(input: &RunInput<'a>, ui: &RunUi, digest: &Digest) -> Vec<ErrorItem<'a>> {
    let filter = &ui.list(Pane::Errors).filter;
    let progress = input.progress;
    let mut groups: Vec<_> = progress.errors.groups().iter().collect();
    groups.sort_by_key(|group| order(group));
    let mut retries: Vec<_> =
        digest.with(|state| state.is_retrying).filter_map(|at| progress.streams.get(at)).collect();
    retries.sort_by_key(|stream| stream.details.retry.as_ref().map(|retry| std::cmp::Reverse(retry.last_at)));
    let all = groups.into_iter().map(ErrorItem::Error).chain(retries.into_iter().map(ErrorItem::Retry));
    all.filter(|item| !filter.active() || filter.keeps(&item.text())).collect()
}

/// Returns the height that the pane needs: with the message of each error cut to one line, and with
/// all of it. Above `most`, the height is not exact.
pub(crate) fn need(screen: &RunFrame, width: u16, most: u16) -> Need {
    let width = list::row_width(width);
    let heights = screen.errors.iter().map(|item| card_height(item, screen, width));
    let whole = sum_up_to(heights, most).saturating_add(1);
    let roll_up = u16::from(screen.progress.attempt.roll_up.is_some());
    let least = u16::try_from(screen.errors.len().min(3)).unwrap_or(3) * 2 + 1;
    Need { least: least.clamp(2, 7).min(whole.max(2)), whole: (whole + roll_up).max(2) }
}

/// Returns the lines of an item: title, message, next step.
fn card_height(item: &ErrorItem, screen: &RunFrame, width: u16) -> u16 {
    let card = Card::new(item, screen, width);
    (1 + card.lines.height()).clamp(2, MAX_CARD)
}

pub(crate) fn draw(pen: &mut Pen, screen: &RunFrame, hits: &mut RunHits) {
    let (look, errors) = (screen.look, &screen.progress.errors);
    let list = screen.ui.list(Pane::Errors);
    let items = &screen.errors;
    let mut about = match errors.groups().len() as u64 {
        groups if groups == errors.total => count(groups),
        _ => format!("{}, {} in all", plural(errors.groups().len(), "group"), count(errors.total)),
    };
    if errors.beyond > 0 {
        about = format!(
            "{} kept, {} beyond, {} in all",
            count(GROUPS_KEPT as u64),
            count(errors.beyond),
            count(errors.total)
        );
    }
    // A stream that moved since its last retry is not retrying any more.
    let retrying = screen.assessment.digest.with(|state| state.is_held_by_retry).count();
    if retrying > 0 && screen.running() {
        about.push_str(&format!(", {retrying} retrying"));
    }
    if list.filter.active() {
        about = format!("{} of {about}, /{}/", items.len(), list.filter.text);
    }
    let empty = if list.filter.active() { "no error matches; Esc clears the filter" } else { "none" };
    let view = ListView { pane: Pane::Errors, title: "errors", about: &about, empty, headings: 0 };
    let page = pen.height().saturating_sub(1);
    let width = list::row_width(pen.width());
    let whole = |index: usize| items.get(index).map_or(1, |item| card_height(item, screen, width));
    let place = screen.model.place(Pane::Errors, list.chosen.as_ref());
    // Title and one line of message, and more where there is room.
    let heights = list::card_heights(2, items.len(), place, page, whole);
    let height = |index: usize| heights.get(index).copied().unwrap_or(2);
    let used = sum_up_to((0..items.len()).map(height), page).saturating_add(1);
    list::draw(pen, *screen, &view, hits, height, |pen, index| {
        if let Some(item) = items.get(index) {
            Card::new(item, screen, pen.width()).draw(pen, screen);
        }
    });
    // The log has its text.
    if screen.progress.attempt.roll_up.is_some() && used < pen.height() {
        pen.put(3, used, "the engine's final error repeats these", look.dim());
    }
}

/// Texts of an item.
struct Card {
    mark: &'static str,
    style: Style,
    kind: String,
    streams: String,
    times: String,
    when: String,
    /// Message and next step.
    lines: Paragraphs,
}

impl Card {
    fn new(item: &ErrorItem, screen: &RunFrame, width: u16) -> Self {
        let (look, glyphs) = (screen.look, screen.look.glyphs);
        let now = screen.now.or(screen.progress.last_at);
        let ago = |at: i64| match screen.stall_clock() {
            Some(now) => format!("{} ago", age((now - at).max(0))),
            None => clock(at, now),
        };
        let wrapped = |message: &str, next: Option<String>| {
            let mut lines = Paragraphs::new(width.saturating_sub(4));
            lines.add(&core(synctop_core::reduce::feed::cut(message, MESSAGE_SHOWN)), look.plain());
            if let Some(next) = next {
                lines.add(&format!("{} {next}", glyphs.next), look.accent());
            }
            lines
        };
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
                    when: group.last_at.map_or_else(|| glyphs.dash.to_owned(), ago),
                    lines: wrapped(&group.message, stands.then(|| screen.remedy(group))),
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
                    when: ago(retry.last_at),
                    // The count is of all its retries, whatever their cause.
                    lines: match retry.error.as_deref() {
                        Some(error) => wrapped(&format!("last: {}", core(error)), None),
                        None => wrapped("the source retries", None),
                    },
                }
            }
        }
    }

    /// Draws the card: with one line left of the message, that is cut; in one line of all, the
    /// message follows the title.
    fn draw(self, pen: &mut Pen, screen: &RunFrame) {
        let (look, width) = (screen.look, pen.width());
        pen.put(1, 0, self.mark, self.style);
        let column = pen.put(3, 0, &self.kind, self.style.patch(look.strong()));
        let end = pen.put_right(width.saturating_sub(1), 0, &format!("{} {}", self.times, self.when), look.dim());
        let room = end.saturating_sub(column + 3);
        let streams = text::fit(&self.streams, room.into(), look.glyphs.ellipsis);
        pen.put_in(column + 2, 0, room, &streams, look.strong());
        self.lines.draw(pen, 3, 1);
    }
}
