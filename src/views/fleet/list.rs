//! Pipeline list: trouble, progress and coverage. A column without any known value is hidden.

use crate::views::fleet::rows::{FleetRow, FleetRows};
use crate::views::fleet::state::{FleetColumn, FleetPane, FleetScreen};
use crate::views::hits::{ClickTarget, Hits};
use crate::views::run::streams::scroll_top;
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::text::fit_middle;
use crate::views::widgets::theme::Look;
use ratatui::layout::Rect;
use ratatui::style::Style;
use std::sync::Arc;
use synctop_core::fleet::{PipelineGroup, PipelineStatus, Watched};
use synctop_core::format::{age, clock, count, rate};

/// Layout of the columns: right edges of numbers, start and width of texts and bars; `None` if
/// hidden. `name` is the width of the names.
struct Columns {
    name: u16,
    route: Option<(u16, u16)>,
    status: Option<(u16, u16)>,
    records: Option<u16>,
    rate: Option<u16>,
    bar: Option<(u16, u16)>,
    percent: Option<u16>,
    age: Option<u16>,
}

/// Minimum width of the status column; the other constants are fixed widths.
const STATUS: u16 = 10;
const RECORDS: u16 = 12;
const RATE: u16 = 9;
const AGE: u16 = 7;
const PERCENT: u16 = 5;

/// Width that the kind, the time and most of the message of an error take.
const CAUSE_WIDTH: u16 = 64;

impl Columns {
    fn new(screen: &FleetScreen, width: u16) -> Self {
        let all = || screen.fleet.pipelines.values().take(500).map(|it| &it.pipeline);
        let longest = |of: &dyn Fn(&synctop_core::fleet::Pipeline) -> usize| {
            u16::try_from(all().map(of).max().unwrap_or(0)).unwrap_or(u16::MAX)
        };
        let name = longest(&|it| it.id.chars().count()).clamp(8, if width >= 100 { 36 } else { 22 });
        let mut end = 5 + name;
        let mut room = width.saturating_sub(end + 1);
        let mut take = |wanted: bool, wide: u16| {
            let fits = wanted && room >= wide;
            room -= if fits { wide } else { 0 };
            fits
        };
        let known = |of: &dyn Fn(&synctop_core::fleet::Pipeline) -> bool| all().any(of);
        let status_wide = longest(&|it| status_text(it, false).chars().count()).clamp(STATUS - 2, 18) + 2;
        let has_status = take(true, status_wide);
        let has_records = take(known(&|it| it.found.records.is_some()), RECORDS);
        let has_bar = take(known(&|it| it.found.coverage.is_some()), PERCENT + 9);
        let has_age = take(true, AGE);
        let has_rate = take(known(&|it| it.found.per_second.is_some()), RATE);
        let wide = longest(&|it| it.source.chars().count() + it.destination.chars().count() + 3).clamp(8, 26) + 2;
        // The route is hidden if it would leave too little room for the cause of a parked pipeline.
        let before = 5 + name + status_wide + if has_records { RECORDS } else { 0 } + 2;
        let parked = screen.fleet.pipelines.values().any(|it| it.group(screen.now) == PipelineGroup::Parked);
        let has_route = take(width >= 76 && (!parked || width >= before + wide + CAUSE_WIDTH), wide);
        let bar = if has_bar { 8 + room.min(12) } else { 0 };
        let route = has_route.then(|| {
            let begin = end + 1;
            end += wide;
            (begin, wide - 2)
        });
        let status = has_status.then(|| {
            let begin = end + 1;
            end += status_wide;
            (begin, status_wide - 1)
        });
        let mut place = |shown: bool, wide: u16| {
            end += if shown { wide } else { 0 };
            shown.then_some(end)
        };
        let records = place(has_records, RECORDS);
        let rate = place(has_rate, RATE);
        let bar_end = place(has_bar, bar + 1);
        let percent = place(has_bar, PERCENT);
        let age = place(has_age, AGE);
        Self { name, route, status, records, rate, bar: bar_end.map(|end| (end - bar + 1, bar - 1)), percent, age }
    }

    /// Returns the start of text that replaces rates and ranges.
    fn text_column(&self) -> u16 {
        self.records.or(self.status.map(|(begin, wide)| begin + wide)).unwrap_or(5 + self.name) + 2
    }
}

/// Returns the status, and the desired status if it has not been reached.
fn status_text(it: &synctop_core::fleet::Pipeline, inferred: bool) -> String {
    use synctop_core::fleet::DesiredStatus;
    let doubt = if inferred { "?" } else { "" };
    let there = it.desired == DesiredStatus::Active
        || (it.desired == DesiredStatus::Paused && it.status == PipelineStatus::Paused)
        || (it.desired == DesiredStatus::Deleted && it.status == PipelineStatus::Teardown);
    if there {
        return format!("{}{doubt}", it.status.as_str());
    }
    format!("{}{doubt} > {}", it.status.as_str(), it.desired.as_str())
}

pub fn mark(group: PipelineGroup, look: &Look) -> (&'static str, Style) {
    let glyphs = look.glyphs;
    match group {
        PipelineGroup::Parked => (glyphs.bad, look.bad()),
        PipelineGroup::Failing => (glyphs.warn, look.warn()),
        PipelineGroup::Stale => (glyphs.doubt, look.doubt()),
        PipelineGroup::Working => (glyphs.started, look.accent()),
        PipelineGroup::Ready => (glyphs.good, look.good()),
        PipelineGroup::Paused => (glyphs.skipped, look.dim()),
        PipelineGroup::Deleting => (glyphs.pending, look.dim()),
    }
}

pub fn draw(pen: &mut Pen, screen: &FleetScreen, all: &FleetRows, hits: &mut Hits) {
    let (look, ui) = (screen.look, screen.ui);
    let list = ui.list(FleetPane::Pipelines);
    let focused = ui.focus == FleetPane::Pipelines;
    let columns = Columns::new(screen, pen.width());
    let page = usize::from(pen.height().saturating_sub(2));
    let place = all.place(list.chosen.as_ref());
    let top = scroll_top(list.top, place, page, all.rows.len());
    let last = (top + page).min(all.rows.len());
    let mut about = count(screen.fleet.pipelines.len() as u64);
    if list.filter.active() {
        about = format!("{} of {about}, /{}/", count(all.kept as u64), list.filter.text);
    }
    if ui.sort == FleetColumn::Name && !ui.reversed {
        about.push_str(&format!(" {} trouble first", look.glyphs.dot));
    } else {
        let arrow = if ui.reversed { look.glyphs.up } else { look.glyphs.down };
        about.push_str(&format!(" {} by {} {arrow}", look.glyphs.dot, ui.sort.as_str()));
    }
    let right = if all.rows.is_empty() { String::new() } else { format!("{}-{last}/{}", top + 1, all.rows.len()) };
    pen.rule(0, focused, "pipelines", &about, &right);
    column_headings(pen, &columns, screen, hits);
    if all.rows.is_empty() {
        let text = if list.filter.active() {
            "no pipeline matches; Esc drops the filter"
        } else {
            "no pipelines. synctop pipelines create FILE makes one"
        };
        pen.put(3, 2, text, look.dim());
    }
    for (index, row) in all.rows.iter().enumerate().skip(top).take(page) {
        let line = u16::try_from(index - top).unwrap_or(u16::MAX).saturating_add(2);
        match row {
            FleetRow::Head(group) => group_row(pen, line, *group, all, screen),
            FleetRow::Pipeline(it, group) => pipeline(pen, line, it, *group, &columns, screen),
            FleetRow::Note(it, group) => note(pen, line, it, *group, all, screen),
        }
        if index == place {
            pen.choose(line, focused);
        }
        let area = Rect { y: pen.area.y + line, height: 1, ..pen.area };
        hits.add(area, ClickTarget::FleetRow(FleetPane::Pipelines, row.key()));
    }
    if let (Some(slot), Some(pages)) = (hits.tops.get_mut(0), hits.pages.get_mut(0)) {
        (*slot, *pages) = (Some(top), page);
    }
}

fn column_headings(pen: &mut Pen, columns: &Columns, screen: &FleetScreen, hits: &mut Hits) {
    let (look, ui) = (screen.look, screen.ui);
    let plain = look.dim().patch(look.strong());
    let mut one = |pen: &mut Pen, column: Option<FleetColumn>, at: u16, word: &str, right: bool| {
        let chosen = column.is_some_and(|column| ui.sort == column && column != FleetColumn::Name);
        let style = if chosen { look.accent().patch(look.strong()) } else { plain };
        let wide = u16::try_from(word.len()).unwrap_or(0);
        let begin = if right { at.saturating_sub(wide) } else { at };
        pen.put(begin, 1, word, style);
        if let Some(column) = column {
            let place = Rect { x: pen.area.x + begin.min(pen.area.width), y: pen.area.y + 1, width: wide, height: 1 };
            hits.add(place, ClickTarget::FleetColumn(column));
        }
    };
    one(pen, Some(FleetColumn::Name), 4, "PIPELINE", false);
    if let Some((begin, _)) = columns.route {
        one(pen, None, begin, "FROM, TO", false);
    }
    if let Some((begin, _)) = columns.status {
        one(pen, Some(FleetColumn::Status), begin, "STATUS", false);
    }
    for (end, column, word) in [
        (columns.records, FleetColumn::Records, "RUN RECORDS"),
        (columns.rate, FleetColumn::Rate, "RATE"),
        (columns.age, FleetColumn::Age, "LAST"),
    ] {
        if let Some(end) = end {
            one(pen, Some(column), end, word, true);
        }
    }
    if let Some((begin, _)) = columns.bar {
        one(pen, Some(FleetColumn::Coverage), begin, "RANGES", false);
    }
}

fn group_row(pen: &mut Pen, row: u16, group: PipelineGroup, all: &FleetRows, screen: &FleetScreen) {
    let look = screen.look;
    let (glyph, style) = mark(group, look);
    pen.put(2, row, glyph, style.patch(look.strong()));
    let word = if group == PipelineGroup::Working { "BACKFILLING, SETTING UP" } else { group.as_str() };
    let column = pen.put(4, row, word, style.patch(look.strong()));
    let at = group as usize;
    let (kept, of) = (all.kept_of.get(at).copied().unwrap_or(0), all.counts.get(at).copied().unwrap_or(0));
    let number = if kept < of { format!("{} of {}", count(kept as u64), count(of as u64)) } else { count(of as u64) };
    let column = pen.put(column + 1, row, &number, look.dim());
    if screen.ui.folded(group) && !screen.ui.list(FleetPane::Pipelines).filter.active() {
        let mut names = String::new();
        for it in screen.fleet.pipelines.values().filter(|it| it.group(screen.now) == group) {
            if names.len() > usize::from(pen.width()) {
                break;
            }
            names.push_str(if names.is_empty() { "" } else { ", " });
            names.push_str(&it.pipeline.id);
        }
        pen.put(column + 3, row, &names, look.dim());
    }
}

fn pipeline(
    pen: &mut Pen,
    row: u16,
    watched: &Arc<Watched>,
    group: PipelineGroup,
    columns: &Columns,
    screen: &FleetScreen,
) {
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    let it = &watched.pipeline;
    let quiet = matches!(group, PipelineGroup::Paused | PipelineGroup::Deleting);
    let name_style = if quiet { look.dim() } else { look.plain() };
    let (glyph, style) = mark(group, look);
    if screen.ui.marked.contains(&it.id) {
        pen.put(1, row, "*", look.accent().patch(look.strong()));
    }
    let acting = screen.acting.iter().any(|(_, id, _)| *id == it.id);
    pen.put(2, row, if acting { glyphs.started } else { glyph }, if acting { look.accent() } else { style });
    pen.put_in(4, row, columns.name, &fit_middle(&it.id, columns.name.into(), glyphs.ellipsis), name_style);
    if let Some((begin, wide)) = columns.route {
        let text = format!("{} {} {}", it.source, glyphs.arrow, it.destination);
        pen.put_in(begin, row, wide, &text, look.dim());
    }
    if let Some((begin, wide)) = columns.status {
        let word = status_text(it, watched.is_parking_inferred(screen.now));
        pen.put_in(begin, row, wide, &word, if group == PipelineGroup::Parked { style } else { look.dim() });
    }
    let dash = glyphs.dash;
    if let Some(end) = columns.records {
        match it.found.records {
            Some(number) => pen.put_right(end, row, &count(number), if quiet { look.dim() } else { look.strong() }),
            None => pen.put_right(end, row, dash, look.dim()),
        };
    }
    if let Some((action, _, since)) = screen.acting.iter().find(|(_, id, _)| *id == it.id) {
        let text = format!("{}: sent, verifying for {}", action.as_str(), age(screen.now.saturating_sub(*since)));
        pen.put(columns.text_column(), row, &text, look.accent());
        return;
    }
    if matches!(group, PipelineGroup::Parked) && (!it.faults.is_empty() || watched.note(screen.now).is_none()) {
        return cause(pen, row, columns.text_column(), watched, screen);
    }
    if let Some(end) = columns.rate {
        // A rate of outdated data is not shown.
        let speed = it.found.per_second.filter(|_| screen.is_current());
        let text = speed.map_or_else(|| dash.to_owned(), rate);
        pen.put_right(end, row, &text, if speed.is_some() { look.plain() } else { look.dim() });
    }
    if let (Some((begin, width)), Some(end)) = (columns.bar, columns.percent) {
        if let Some(share) = it.found.coverage {
            pen.fill(begin, row, width, glyphs.track, look.dim());
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to width")]
            let full = (share * f64::from(width)).round() as u16;
            let full = if share < 1.0 { full.min(width.saturating_sub(1)) } else { width };
            pen.fill(begin, row, full.max(u16::from(share > 0.0)), glyphs.bar, look.good());
        }
        let text = it.found.coverage_text(glyphs.at_most).unwrap_or_else(|| dash.to_owned());
        pen.put_right(end, row, &text, if quiet { look.dim() } else { look.strong() });
    }
    if let Some(end) = columns.age {
        let text = watched.last_sign().map_or_else(|| dash.to_owned(), |at| age(screen.now.saturating_sub(at)));
        let style = if group == PipelineGroup::Stale { look.warn().patch(look.strong()) } else { look.dim() };
        pen.put_right(end, row, &text, style);
    }
}

/// Draws the error of a pipeline: `auth_error 08:31:07  The provided key lacks ...`.
fn cause(pen: &mut Pen, row: u16, begin: u16, watched: &Watched, screen: &FleetScreen) {
    let look = screen.look;
    let it = &watched.pipeline;
    let Some(fault) = it.reason.as_ref().or(it.faults.first()) else {
        let text = match it.run {
            _ if it.status == PipelineStatus::Error => "parked; its service reports no reason",
            Some(_) => "its last run failed without a reason",
            _ => "",
        };
        pen.put(begin, row, text, look.warn());
        return;
    };
    let column = pen.put(begin, row, fault.kind(), look.bad().patch(look.strong()));
    let since = fault.since.or_else(|| screen.inbox.since(&it.id, fault)).or(watched.fault_since);
    let column = match since {
        Some(at) => pen.put(column + 1, row, &clock(at, Some(screen.now)), look.dim()),
        None => column,
    };
    pen.put(column + 2, row, &fault.core(), look.plain());
}

fn note(pen: &mut Pen, row: u16, watched: &Watched, group: PipelineGroup, all: &FleetRows, screen: &FleetScreen) {
    let look = screen.look;
    let it = &watched.pipeline;
    if let Some(record) = all.actions.get(it.id.as_ref()) {
        let (glyph, style) = crate::views::fleet::actions::verdict(record.verdict.as_deref(), screen);
        let column = pen.put(6, row, glyph, style);
        let when = format!("{} {}", record.action, clock(record.at, Some(screen.now)));
        let column = pen.put(column + 1, row, &when, look.dim());
        pen.put(column + 1, row, record.sentence.as_deref().unwrap_or_default(), style);
        return;
    }
    let next = it.faults.first().and_then(|fault| fault.next.as_deref());
    match (watched.note(screen.now), next) {
        (Some(note), _) => {
            let style = if group == PipelineGroup::Stale { look.doubt() } else { look.warn() };
            let note = match it.faults.first().filter(|_| group == PipelineGroup::Failing) {
                Some(fault) if !note.contains(fault.message.as_ref()) => format!("{note}; {}", fault.core()),
                _ => note,
            };
            pen.put(6, row, &note, style);
        }
        (None, Some(next)) if group == PipelineGroup::Failing => {
            let what = it.faults.first().map(|fault| format!("{}: {}", fault.kind(), fault.core())).unwrap_or_default();
            let column = pen.put(6, row, &what, look.warn());
            pen.put(column + 1, row, &format!("{} {next}", look.glyphs.next), look.dim());
        }
        (None, Some(next)) => {
            pen.put(6, row, &format!("{} {next}", look.glyphs.next), look.dim());
        }
        (None, None) => {
            pen.put(6, row, &watched.doubt().unwrap_or_default(), look.doubt());
        }
    }
}
