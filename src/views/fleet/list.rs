//! Pipeline list: trouble, progress and coverage. A column without any known value is hidden.

use crate::views::fleet::rows::FleetRow;
use crate::views::fleet::state::{FleetColumn, FleetFrame, FleetHits, FleetPane};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::columns::{self, ColumnSlot, ColumnSpec as Spec, fit};
use crate::views::widgets::layout::{Need, sum_up_to};
use crate::views::widgets::list::{self, ListView};
use crate::views::widgets::text::{fit_middle, wrap, wrap_hanging};
use crate::views::widgets::theme::Look;
use ratatui::style::Style;
use std::sync::Arc;
use synctop_core::fleet::{DesiredStatus, Pipeline, PipelineGroup, PipelineStatus, Watched};
use synctop_core::format::{age, count, rate};

/// Column of the list, in the order of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PipelineColumn {
    Name,
    Records,
    Age,
    Ranges,
    Percent,
    Rate,
    Status,
    Route,
}

const COLUMNS: usize = 8;

/// First column of the ids, after the marks.
const IDS_START: u16 = 4;

/// Number of pipelines checked for known values.
const SAMPLE: usize = 500;

/// Width below which the cause of a parked pipeline is drawn below its row instead of in it.
const NARROW: u16 = 56;

/// Specifications and places of the columns.
struct PipelineColumns {
    specs: [Option<Spec<FleetColumn>>; COLUMNS],
    slots: Vec<Option<ColumnSlot>>,
    /// Width of the pane.
    width: u16,
    /// Maximum lines of a cause or of a next step.
    most_lines: usize,
}

impl PipelineColumns {
    fn new(screen: &FleetFrame, width: u16) -> Self {
        let all = || screen.fleet.pipelines.values().take(SAMPLE).map(|it| &it.pipeline);
        let longest =
            |of: &dyn Fn(&Pipeline) -> usize| u16::try_from(all().map(of).max().unwrap_or(0)).unwrap_or(u16::MAX);
        let known = |of: &dyn Fn(&Pipeline) -> bool| all().any(of);
        // A route that all rows share says nothing.
        let first = all().next();
        let differs =
            all().any(|it| first.is_some_and(|of| (&of.source, &of.destination) != (&it.source, &it.destination)));
        let number = |sort, title, width| Some(Spec::number(sort, title, width));
        let shown = |wanted: bool, spec: Option<Spec<FleetColumn>>| spec.filter(|_| wanted);
        let text = |sort, title, least: u16, width: u16| {
            Some(Spec { sort, title, right: false, widths: (least.min(width), width, width), vital: false })
        };
        let ids = longest(&|it| it.id.chars().count()).max(8);
        let most = all().filter_map(|it| it.found.records).max();
        let records = u16::try_from(most.map_or(0, |most| count(most).len())).unwrap_or(u16::MAX);
        let covered = known(&|it| it.found.coverage.is_some());
        // The group says the status, unless several of one group differ or a change is due.
        let statuses = screen.fleet.pipelines.values().take(SAMPLE).any(|it| {
            !matches!(it.group(screen.now), PipelineGroup::Parked | PipelineGroup::Ready | PipelineGroup::Paused)
        });
        let specs = [
            Some(Spec {
                sort: Some(FleetColumn::Name),
                title: "PIPELINE",
                right: false,
                widths: (ids.min(12), ids, ids),
                vital: true,
            }),
            shown(known(&|it| it.found.records.is_some()), number(Some(FleetColumn::Records), "RUN RECORDS", records)),
            number(Some(FleetColumn::Age), "LAST", 5),
            shown(
                covered,
                Some(Spec {
                    sort: Some(FleetColumn::Coverage),
                    title: "RANGES",
                    right: false,
                    widths: (8, 12, 60),
                    vital: false,
                }),
            ),
            shown(covered, number(None, "", 5)),
            shown(known(&|it| it.found.per_second.is_some()), number(Some(FleetColumn::Rate), "RATE", 7)),
            statuses
                .then(|| longest(&|it| status_text(it, false).chars().count()))
                .and_then(|width| text(Some(FleetColumn::Status), "STATUS", 8, width)),
            shown(
                differs,
                text(
                    None,
                    "FROM, TO",
                    12,
                    longest(&|it| it.source.chars().count() + it.destination.chars().count() + 3),
                ),
            ),
        ];
        // One column stays free for the scrollbar.
        Self { slots: fit(&specs, IDS_START, width.saturating_sub(2)), specs, width, most_lines: MAX_LINES }
    }

    fn get(&self, column: PipelineColumn) -> Option<ColumnSlot> {
        self.slots.get(column as usize).copied().flatten()
    }

    /// Returns the start of text that replaces rates and ranges.
    fn text_start(&self) -> u16 {
        let before = self.get(PipelineColumn::Age).or(self.get(PipelineColumn::Records));
        before.or(self.get(PipelineColumn::Name)).map_or(IDS_START, |slot| slot.end() + 2)
    }
}

/// Returns the status, and the desired status if it has not been reached.
fn status_text(it: &Pipeline, inferred: bool) -> String {
    let doubt = if inferred { "?" } else { "" };
    let there = it.desired == DesiredStatus::Active
        || (it.desired == DesiredStatus::Paused && it.status == PipelineStatus::Paused)
        || (it.desired == DesiredStatus::Deleted && it.status == PipelineStatus::Teardown);
    if there {
        return format!("{}{doubt}", it.status.as_str());
    }
    format!("{}{doubt} > {}", it.status.as_str(), it.desired.as_str())
}

pub(crate) fn mark(group: PipelineGroup, look: &Look) -> (&'static str, Style) {
    let glyphs = look.glyphs;
    match group {
        PipelineGroup::Parked => (glyphs.bad, look.bad()),
        PipelineGroup::Failing => (glyphs.warn, look.warn()),
        PipelineGroup::Stale | PipelineGroup::Late => (glyphs.doubt, look.doubt()),
        PipelineGroup::Working => (glyphs.started, look.accent()),
        PipelineGroup::Ready => (glyphs.good, look.good()),
        PipelineGroup::Paused => (glyphs.skipped, look.dim()),
        PipelineGroup::Deleting => (glyphs.pending, look.dim()),
    }
}

/// Maximum lines of a cause or of a next step.
const MAX_LINES: usize = 3;

/// Height of the pane below which a cause and a next step have one line.
const LOW: u16 = 12;

/// Returns the height that the pane needs: a few rows, and all rows. Above `most`, the height is not
/// exact.
pub(crate) fn need(screen: &FleetFrame, width: u16, most: u16) -> Need {
    let rows = screen.rows.rows.len();
    let whole = if rows > usize::from(most) {
        u16::try_from(rows).unwrap_or(u16::MAX)
    } else {
        let columns = PipelineColumns::new(screen, width);
        sum_up_to((0..rows).map(|index| height(index, screen, &columns)), most).max(1)
    };
    let whole = whole.saturating_add(2);
    Need { least: whole.min(8), whole }
}

/// Returns the lines of a row: those of its text, so that no cause and no next step is cut.
fn height(index: usize, screen: &FleetFrame, columns: &PipelineColumns) -> u16 {
    let lines = match screen.rows.rows.get(index) {
        Some(FleetRow::Pipeline(it, group)) if is_parked(it, *group, screen) => {
            cause_lines(index, it, screen, columns).len()
        }
        Some(FleetRow::Note(it, group)) => note_lines(it, *group, screen, columns).1.len(),
        _ => 1,
    };
    u16::try_from(lines).unwrap_or(1).max(1)
}

/// True if the cause of a pipeline stands in its row.
fn is_parked(watched: &Watched, group: PipelineGroup, screen: &FleetFrame) -> bool {
    let has_reason = !watched.pipeline.faults.is_empty() || watched.note(screen.now).is_none();
    let is_acting = screen.acting.iter().any(|(_, id, _)| *id == watched.pipeline.id);
    group == PipelineGroup::Parked && has_reason && !is_acting
}

pub(crate) fn draw(pen: &mut Pen, screen: &FleetFrame, hits: &mut FleetHits) {
    let (look, ui) = (screen.look, screen.ui);
    let list = ui.list(FleetPane::Pipelines);
    let all = &screen.rows;
    let mut about = count(screen.fleet.pipelines.len() as u64);
    if list.filter.active() {
        about = format!("{} of {about}, /{}/", count(all.kept as u64), list.filter.text);
    }
    if ui.sort == FleetColumn::Name && !ui.reversed {
        about.push_str(&format!(" {} trouble first", look.glyphs.dot));
    } else {
        let order = if ui.reversed { " reversed" } else { "" };
        about.push_str(&format!(" {} by {}{order}", look.glyphs.dot, ui.sort.as_str()));
    }
    let empty = if list.filter.active() {
        "no pipeline matches; Esc clears the filter"
    } else {
        "no pipelines; create one: synctop pipelines create FILE"
    };
    let view = ListView { pane: FleetPane::Pipelines, title: "pipelines", about: &about, empty, headings: 1 };
    let mut columns = PipelineColumns::new(screen, pen.width());
    // On a low screen the rows belong to the pipelines.
    columns.most_lines = if pen.height() < LOW { 1 } else { MAX_LINES };
    columns::headings(pen, 1, &columns.specs, &columns.slots, *screen, hits);
    list::draw(
        pen,
        *screen,
        &view,
        hits,
        |index| height(index, screen, &columns),
        |pen, index| match all.rows.get(index) {
            Some(FleetRow::Head(group)) => group_row(pen, *group, screen),
            Some(FleetRow::Pipeline(it, group)) => pipeline(pen, index, it, *group, &columns, screen),
            Some(FleetRow::Note(it, group)) => note(pen, it, *group, &columns, screen),
            None => {}
        },
    );
}

fn group_row(pen: &mut Pen, group: PipelineGroup, screen: &FleetFrame) {
    let look = screen.look;
    let all = &screen.rows;
    let (glyph, style) = mark(group, look);
    pen.put(2, 0, glyph, style.patch(look.strong()));
    let word = if group == PipelineGroup::Working { "BACKFILLING, SETTING UP" } else { group.as_str() };
    let column = pen.put(4, 0, word, style.patch(look.strong()));
    let at = group as usize;
    let (kept, of) = (all.kept_of.get(at).copied().unwrap_or(0), all.counts.get(at).copied().unwrap_or(0));
    let number = if kept < of { format!("{} of {}", count(kept as u64), count(of as u64)) } else { count(of as u64) };
    let column = pen.put(column + 1, 0, &number, look.dim());
    if screen.ui.folded(group) && !screen.ui.list(FleetPane::Pipelines).filter.active() {
        let mut names = String::new();
        for it in screen.fleet.pipelines.values().filter(|it| it.group(screen.now) == group) {
            if names.len() > usize::from(pen.width()) {
                break;
            }
            names.push_str(if names.is_empty() { "" } else { ", " });
            names.push_str(&it.pipeline.id);
        }
        pen.put(column + 3, 0, &names, look.dim());
    }
}

fn pipeline(
    pen: &mut Pen,
    index: usize,
    watched: &Arc<Watched>,
    group: PipelineGroup,
    columns: &PipelineColumns,
    screen: &FleetFrame,
) {
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    let it = &watched.pipeline;
    let quiet = matches!(group, PipelineGroup::Paused | PipelineGroup::Deleting);
    let (plain, strong) = if quiet { (look.dim(), look.dim()) } else { (look.plain(), look.strong()) };
    let (glyph, style) = mark(group, look);
    if screen.ui.own.marked.contains(&it.id) {
        pen.put(1, 0, "*", look.accent().patch(look.strong()));
    }
    let acting = screen.acting.iter().find(|(_, id, _)| *id == it.id);
    let (glyph, glyph_style) = if acting.is_some() { (glyphs.started, look.accent()) } else { (glyph, style) };
    pen.put(2, 0, glyph, glyph_style);
    let ids = columns.get(PipelineColumn::Name).unwrap_or_default();
    pen.put_in(ids.start, 0, ids.width, &fit_middle(&it.id, ids.width.into(), glyphs.ellipsis), plain);
    let number = |pen: &mut Pen, column: PipelineColumn, text: Option<String>, style: Style| {
        if let Some(slot) = columns.get(column) {
            let (text, style) = text.map_or((glyphs.dash.to_owned(), look.dim()), |text| (text, style));
            pen.put_right(slot.end(), 0, &text, style);
        }
    };
    number(pen, PipelineColumn::Records, it.found.records.map(count), strong);
    let parked = is_parked(watched, group, screen);
    let since = since(watched, screen).filter(|_| parked).or_else(|| watched.last_sign());
    let age_style = if group == PipelineGroup::Stale { look.warn().patch(look.strong()) } else { look.dim() };
    number(pen, PipelineColumn::Age, since.map(|at| age(screen.now.saturating_sub(at).max(0))), age_style);
    if let Some((action, _, since)) = acting {
        let text = format!("{}: sent, verifying for {}", action.as_str(), age(screen.now.saturating_sub(*since)));
        pen.put(columns.text_start(), 0, &text, look.accent());
        return;
    }
    if parked {
        return cause(pen, index, watched, columns, screen);
    }
    if let Some(slot) = columns.get(PipelineColumn::Route) {
        let text = format!("{} {} {}", it.source, glyphs.arrow, it.destination);
        pen.put_in(slot.start, 0, slot.width, &text, look.dim());
    }
    if let Some(slot) = columns.get(PipelineColumn::Status) {
        let word = status_text(it, watched.is_parking_inferred(screen.now));
        pen.put_in(slot.start, 0, slot.width, &word, look.dim());
    }
    // A rate of outdated data is not shown.
    let speed = it.found.per_second.filter(|_| screen.is_current());
    number(pen, PipelineColumn::Rate, speed.map(rate), look.plain());
    number(pen, PipelineColumn::Percent, it.found.coverage_text(glyphs.at_most), strong);
    if let (Some(slot), Some(share)) = (columns.get(PipelineColumn::Ranges), it.found.coverage) {
        pen.fill(slot.start, 0, slot.width, glyphs.track, look.dim());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to width")]
        let full = (share * f64::from(slot.width)).round() as u16;
        let full = if share < 1.0 { full.min(slot.width.saturating_sub(1)) } else { slot.width };
        // Only complete ranges are in the color of success.
        let style = match group {
            _ if share >= 1.0 => look.good(),
            PipelineGroup::Parked => look.bad(),
            PipelineGroup::Failing | PipelineGroup::Stale | PipelineGroup::Late => look.warn(),
            PipelineGroup::Paused | PipelineGroup::Deleting => look.plain(),
            _ => look.accent(),
        };
        pen.fill(slot.start, 0, full.max(u16::from(share > 0.0)), glyphs.bar, style);
    }
}

/// Returns the time since which a pipeline has its error.
fn since(watched: &Watched, screen: &FleetFrame) -> Option<i64> {
    let it = &watched.pipeline;
    let fault = it.reason.as_ref().or(it.faults.first())?;
    fault.since.or_else(|| screen.inbox.since(&it.id, fault)).or(watched.fault_since)
}

/// Returns kind and message of a pipeline's error.
fn fault_texts(watched: &Watched) -> (&str, String) {
    let it = &watched.pipeline;
    match it.reason.as_ref().or(it.faults.first()) {
        Some(fault) => (fault.kind(), fault.core()),
        None if it.status == PipelineStatus::Error => ("parked", "its service reports no reason".to_owned()),
        None if it.run.is_some() => ("parked", "its last run failed without a reason".to_owned()),
        None => ("parked", String::new()),
    }
}

/// True if the row above has the same error.
fn is_same_as_above(index: usize, watched: &Watched, screen: &FleetFrame) -> bool {
    let above = index.checked_sub(1).and_then(|above| screen.rows.rows.get(above));
    let cause = |it: &Watched| it.pipeline.faults.first().map(|fault| Arc::clone(&fault.fingerprint));
    matches!(above, Some(FleetRow::Pipeline(above, PipelineGroup::Parked))
        if cause(above).is_some() && cause(above) == cause(watched))
}

/// Returns the lines of a pipeline's cause: the first one without its kind.
fn cause_lines(index: usize, watched: &Watched, screen: &FleetFrame, columns: &PipelineColumns) -> Vec<String> {
    let (kind, message) = fault_texts(watched);
    if columns.width < NARROW || message.is_empty() {
        return Vec::new();
    }
    if is_same_as_above(index, watched, screen) {
        return vec!["same error".to_owned()];
    }
    let room = usize::from(columns.width.saturating_sub(columns.text_start() + 2));
    let first = room.saturating_sub(kind.chars().count() + 2);
    // Further lines have the whole width, and begin where notes do.
    let mut lines = wrap_hanging(&message, first, usize::from(columns.width.saturating_sub(NOTE_START + 2)));
    join_rest(&mut lines, columns.most_lines);
    lines
}

/// Joins the lines beyond the maximum: the last one is cut.
fn join_rest(lines: &mut Vec<String>, most: usize) {
    if lines.len() > most {
        let rest = lines.split_off(most - 1).join(" ");
        lines.push(rest);
    }
}

/// Draws the error of a pipeline: `auth_error  The provided key lacks ...`, over several lines if
/// needed.
fn cause(pen: &mut Pen, index: usize, watched: &Watched, columns: &PipelineColumns, screen: &FleetFrame) {
    let (look, start) = (screen.look, columns.text_start());
    let (kind, _) = fault_texts(watched);
    let column = pen.put(start, 0, kind, look.bad().patch(look.strong()));
    let style = if is_same_as_above(index, watched, screen) { look.dim() } else { look.plain() };
    for (row, line) in (0..pen.height()).zip(cause_lines(index, watched, screen, columns)) {
        pen.put(if row == 0 { column + 2 } else { NOTE_START }, row, &line, style);
    }
}

/// Returns the lines below a pipeline with their style and start: the result of an action, a
/// contradiction, the cause of a failure, the next step.
fn note_lines(
    watched: &Watched,
    group: PipelineGroup,
    screen: &FleetFrame,
    columns: &PipelineColumns,
) -> (Style, Vec<String>) {
    let look = screen.look;
    let it = &watched.pipeline;
    let fault = it.faults.first();
    let next = fault.and_then(|fault| fault.next.as_deref());
    let (text, style) = if let Some(record) = screen.rows.actions.get(it.id.as_ref()) {
        let (glyph, style) = crate::views::fleet::actions::verdict(record.verdict.as_deref(), screen);
        let ended = record.ended_at.unwrap_or(record.at);
        let when = age(screen.now.saturating_sub(ended).max(0));
        let result = record.sentence.as_deref().unwrap_or_default();
        // The same error stands above.
        let is_same = record.verdict.as_deref() == Some("parked_again_same_error");
        let result = result.split_once(": ").filter(|_| is_same).map_or(result, |(head, _)| head);
        (format!("{glyph} {} {when} ago: {result}", record.action), style)
    } else if let Some(note) = watched.note(screen.now) {
        let style =
            if matches!(group, PipelineGroup::Stale | PipelineGroup::Late) { look.doubt() } else { look.warn() };
        let note = match fault.filter(|_| group == PipelineGroup::Failing) {
            Some(fault) if !note.contains(fault.message.as_ref()) => format!("{note}; {}", fault.core()),
            _ => note,
        };
        (note, style)
    } else if let Some(next) = next {
        let what = fault.filter(|_| group == PipelineGroup::Failing);
        let what = what.map(|fault| format!("{}: {} ", fault.kind(), fault.core())).unwrap_or_default();
        let style = if what.is_empty() { look.accent() } else { look.warn() };
        (format!("{what}{} {next}", look.glyphs.next), style)
    } else {
        (watched.doubt().unwrap_or_default(), look.doubt())
    };
    let mut lines = wrap(&text, usize::from(columns.width.saturating_sub(NOTE_START + 2)).max(8));
    join_rest(&mut lines, columns.most_lines);
    (style, lines)
}

/// Width from which notes may stand under the causes.
const WIDE: u16 = 100;

/// First column of a note.
const NOTE_START: u16 = 6;

fn note(pen: &mut Pen, watched: &Watched, group: PipelineGroup, columns: &PipelineColumns, screen: &FleetFrame) {
    let (style, lines) = note_lines(watched, group, screen, columns);
    // On a wide pane a short note stands under the cause.
    let room = pen.width().saturating_sub(columns.text_start());
    let is_short = lines.len() == 1 && lines.first().is_some_and(|line| line.chars().count() < usize::from(room));
    let start = if is_short && group == PipelineGroup::Parked && columns.width >= WIDE {
        columns.text_start()
    } else {
        NOTE_START
    };
    for (row, line) in (0..pen.height()).zip(lines) {
        pen.put(start, row, &line, style);
    }
}
