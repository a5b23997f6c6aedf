//! Scrollable detail sheets of a pipeline, an error or an action; and selection lists.

use crate::views::fleet::state::{FleetFrame, FleetHits, FleetInput, FleetTypes, RunRow, RunRows};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::choice;
use crate::views::widgets::sheet::Sheet;
use ratatui::style::Style;
use synctop_core::fleet::inbox::InboxItem;
use synctop_core::fleet::{Pipeline, Watched};
use synctop_core::format::{age, clock, count, rate, short};
use synctop_core::protocol::time;

pub(crate) fn pipeline(pen: &mut Pen, screen: &FleetFrame, id: &str, top: usize, hits: &mut FleetHits) {
    let Some(watched) = screen.fleet.pipelines.get(id) else {
        let mut sheet: Sheet = Sheet::new(pen);
        sheet.text("This pipeline does not exist any more.", screen.look.dim());
        return sheet.draw(pen, (id, "Esc closes"), top, hits);
    };
    let width = pen.width().saturating_sub(4);
    describe(&screen.model.input, watched, width).draw(pen, (id, "Enter opens the run, Esc closes"), top, hits);
}

/// Adds the node of a pipeline and its schedule.
fn placing(sheet: &mut Sheet, screen: &FleetInput, it: &Pipeline) {
    let (look, now) = (screen.look, screen.now);
    if let Some(node) = &it.node {
        sheet.fact("node", node, look.plain());
    }
    if let Some(why) = &it.unassigned {
        sheet.fact("node", why, look.warn());
    }
    if let Some(next) = it.next_run_at {
        sheet.fact("next run", clock(next, Some(now)), look.plain());
    }
    if let Some(late_at) = it.late_at.filter(|late_at| now >= *late_at) {
        sheet.fact("late for", age(now.saturating_sub(late_at)), look.warn());
    }
}

/// Returns the facts of a pipeline, the most important first.
pub(crate) fn describe<'a>(screen: &FleetInput<'a>, watched: &Watched, width: u16) -> Sheet<'a> {
    let look = screen.look;
    let now = screen.now;
    let mut sheet = Sheet::with_width(look, width);
    let it = &watched.pipeline;
    let id = it.id.as_ref();
    let group = watched.group(now);
    let (glyph, style) = crate::views::fleet::list::mark(group, look);
    let dash = look.glyphs.dash;
    let known = |number: Option<u64>| number.map_or_else(|| dash.to_owned(), count);
    let inferred = if watched.is_parking_inferred(now) { " (inferred)" } else { "" };
    let status = format!("status {}, desired {}", it.status.as_str(), it.desired.as_str());
    sheet.fact("status", format!("{glyph} {}{inferred}: {status}", group.as_str().to_lowercase()), style);
    if let Some(note) = watched.note(now) {
        sheet.fact("evidence", &note, look.warn());
    }
    for (at, fault) in it.faults.iter().enumerate() {
        if at == 0 {
            sheet.head("errors");
        }
        let since = fault.since.or_else(|| screen.inbox.since(id, fault)).or(watched.fault_since);
        let since = since.map(|at| format!(" since {}", clock(at, Some(now)))).unwrap_or_default();
        let streams: Vec<_> = fault.streams.iter().map(AsRef::as_ref).collect();
        let on = if streams.is_empty() { String::new() } else { format!(" in {}", short(&streams.join(", "), 120)) };
        sheet.text(&format!("{}{on}{since}", fault.kind()), look.bad().patch(look.strong()));
        sheet.text(&fault.message, look.plain());
        if let Some(next) = &fault.next {
            sheet.text(&format!("{} {next}", look.glyphs.next), look.accent());
        }
        let others = screen.inbox.items.get(&fault.fingerprint).map_or(0, |item| item.open().saturating_sub(1));
        if others > 0 {
            let have = if others == 1 { "has" } else { "have" };
            let text = format!("{} {have} the same error", synctop_core::format::plural(others, "other pipeline"));
            sheet.text(&text, look.warn());
        }
    }
    if let Some(run) = &it.run {
        sheet.head("last run");
        let number = run.number.map(|number| format!("{number}, ")).unwrap_or_default();
        let state = run.state.as_deref().unwrap_or(if run.open { "open" } else { "over" });
        // The outcome says more than the state of the task, which it follows from.
        let outcome = it.found.outcome.as_deref().filter(|_| !run.open);
        sheet.fact("run", format!("{number}{}", outcome.unwrap_or(&state.to_lowercase())), look.plain());
        if let Some(task) = &run.task {
            sheet.fact("task", task, look.dim());
        }
        let at = |at: Option<i64>| at.map_or_else(|| dash.to_owned(), |at| clock(at, Some(now)));
        sheet.fact(
            "from, to",
            format!("{}, {}", at(run.started_at), at(run.ended_at.filter(|_| !run.open))),
            look.plain(),
        );
        sheet.fact("records", format!("{} in this run", known(it.found.records)), look.strong());
        sheet.fact("rate", it.found.per_second.map_or_else(|| dash.to_owned(), rate), look.plain());
        let ranges = it.found.coverage_text(look.glyphs.at_most).unwrap_or_else(|| dash.to_owned());
        let more = if it.found.more_streams { ", of the streams that are known so far" } else { "" };
        sheet.fact("ranges", format!("{ranges}{more}"), look.plain());
        sheet.fact("checkpoints", known(it.found.checkpoints), look.plain());
        let streams: Vec<_> = it.found.by_status.iter().map(|(word, number)| format!("{number} {word}")).collect();
        if !streams.is_empty() {
            sheet.fact("streams", streams.join(", "), look.plain());
        }
        if let Some(message) = &run.message {
            sheet.fact("message", message, look.plain());
        }
        for doubt in &it.found.doubts {
            sheet.fact("doubt", doubt, look.doubt());
        }
    }
    let arrow = look.glyphs.arrow;
    sheet.gap();
    sheet.fact("route", format!("{} {arrow} {}", it.source, it.destination), look.plain());
    placing(&mut sheet, screen, it);
    let seen = format!("updated {} ago", age(now.saturating_sub(screen.fleet.seen_at(watched))));
    let sign = watched
        .last_sign()
        .map_or_else(String::new, |at| format!(", last activity {} ago", age(now.saturating_sub(at))));
    sheet.fact("data", format!("{seen}{sign}"), look.plain());
    let actions: Vec<_> = screen.actions.iter().filter(|record| *record.pipeline == *it.id).take(5).collect();
    if !actions.is_empty() {
        sheet.head("actions");
        for record in actions {
            let (glyph, style) = crate::views::fleet::actions::verdict(record.verdict.as_deref(), screen);
            let came = crate::views::fleet::actions::result_text(record, now);
            sheet.text(
                &format!("{glyph} {} {} by {}: {came}", clock(record.at, Some(now)), record.action, record.who),
                style,
            );
        }
    }
    sheet.head("configuration, without secrets");
    let report = it.report();
    for part in ["source", "destination", "streams"] {
        if let Some(value) = report.get(part) {
            let text = serde_json::to_string_pretty(value).unwrap_or_default();
            let text = if text.len() > 4_000 { value.to_string() } else { text };
            // A text of several lines (a scenario) is shown as lines.
            sheet.text(&format!("{part}: {}", text.replace("\\n", "\n").replace("\\\"", "\"")), look.dim());
        }
    }
    sheet
}

pub(crate) fn error(pen: &mut Pen, screen: &FleetFrame, fingerprint: &str, top: usize, hits: &mut FleetHits) {
    let Some(item) = screen.inbox.items.get(fingerprint) else {
        let mut sheet: Sheet = Sheet::new(pen);
        sheet.text("This error is not known any more.", screen.look.dim());
        return sheet.draw(pen, ("error", "Esc closes"), top, hits);
    };
    let title = item.kind().to_owned();
    let width = pen.width().saturating_sub(4);
    error_facts(&screen.model.input, item, width).draw(pen, (&title, "a acknowledges, Esc closes"), top, hits);
}

/// Returns the facts of an error, the most important first.
pub(crate) fn error_facts<'a>(screen: &FleetInput<'a>, item: &InboxItem, width: u16) -> Sheet<'a> {
    let look = screen.look;
    let now = screen.now;
    let mut sheet = Sheet::with_width(look, width);
    let (glyph, style) = crate::views::fleet::inbox::style(item, screen);
    sheet.text(&item.message, look.strong());
    if let Some(next) = &item.next {
        sheet.text(&format!("{} {next}", look.glyphs.next), look.accent());
    }
    sheet.gap();
    let acked = item
        .acked
        .as_ref()
        .map(|(who, at)| format!(", acknowledged by {who} since {}", clock(*at, Some(now))))
        .unwrap_or_default();
    sheet.fact("state", format!("{glyph} {}{acked}", crate::views::fleet::inbox::state_word(item)), style);
    if let Some(note) = &item.note {
        sheet.fact("note", note, look.plain());
    }
    sheet.fact("first", clock(item.first_at, Some(now)), look.plain());
    sheet.fact("last", clock(item.last_at, Some(now)), look.plain());
    let day: u64 = item.trend(1, now).iter().sum();
    sheet.fact(
        "last day",
        format!("{} ended with it", synctop_core::format::plural(usize::try_from(day).unwrap_or(usize::MAX), "run")),
        look.plain(),
    );
    sheet.fact("fingerprint", &item.fingerprint, look.dim());
    sheet.head("pipelines");
    let mut hits_of: Vec<_> = item.hits.iter().collect();
    hits_of.sort_by_key(|(_, hit)| (!hit.open(), std::cmp::Reverse(hit.last_at)));
    for (id, hit) in hits_of {
        let (glyph, style, state) = match (hit.fixed_at, hit.gone) {
            (_, true) => (look.glyphs.skipped, look.dim(), "the pipeline was deleted".to_owned()),
            (Some(at), _) => (look.glyphs.good, look.good(), format!("fixed {}", clock(at, Some(now)))),
            (None, false) => {
                let back = match hit.regressed {
                    0 => String::new(),
                    1 => ", returned once after a success".to_owned(),
                    times => format!(", returned {times} times after a success"),
                };
                (look.glyphs.bad, look.bad(), format!("open since {}{back}", clock(hit.since, Some(now))))
            }
        };
        let times = look.glyphs.times;
        sheet.parts(vec![
            (format!("{glyph} "), style),
            (format!("{id} "), look.plain()),
            (format!("{times}{} ", count(hit.count)), look.dim()),
            (state, style),
        ]);
    }
    sheet
}

pub(crate) fn action(pen: &mut Pen, screen: &FleetFrame, seq: i64, top: usize, hits: &mut FleetHits) {
    let look = screen.look;
    let mut sheet = Sheet::new(pen);
    let Some(record) = screen.actions.iter().find(|record| record.seq == seq) else {
        sheet.text("This action is not among the latest any more.", look.dim());
        return sheet.draw(pen, ("action", "Esc closes"), top, hits);
    };
    let (glyph, style) = crate::views::fleet::actions::verdict(record.verdict.as_deref(), screen);
    sheet.fact("action", format!("{} {}", record.action, record.pipeline), look.strong());
    sheet.fact("user", &record.who, look.plain());
    sheet.fact("time", time::iso(record.at), look.plain());
    sheet.fact("reason", record.why.as_deref().unwrap_or(look.glyphs.dash), look.plain());
    sheet.fact("before", record.before.as_deref().unwrap_or(look.glyphs.dash), look.plain());
    sheet.fact("after", record.after.as_deref().unwrap_or(look.glyphs.dash), look.plain());
    let sentence = crate::views::fleet::actions::result_text(record, screen.now);
    sheet.fact("verdict", format!("{glyph} {sentence}"), style);
    if let Some(at) = record.ended_at {
        sheet.fact("known", format!("{} later", age(at - record.at)), look.dim());
    }
    sheet.draw(pen, ("action", "Esc closes"), top, hits);
}

/// Widths of the columns of past runs; of a longer outcome than `succeeded` the cause gives way: number, start, duration, records, outcome.
const RUN_COLUMNS: [usize; 5] = [4, 11, 8, 11, 9];

pub(crate) fn runs(pen: &mut Pen, screen: &FleetFrame, id: &str, rows: &RunRows, chosen: usize, hits: &mut FleetHits) {
    let look = screen.look;
    let [number, start, took, records, outcome] = RUN_COLUMNS;
    let headings = format!(
        "{:>number$}  {:<start$}  {:>took$}  {:>records$}  {:<outcome$}  CAUSE",
        "RUN", "STARTED", "DURATION", "RECORDS", "OUTCOME"
    );
    let (headings, rows): (&str, Vec<_>) = match rows {
        RunRows::Failed(why) => ("", vec![(why.clone(), look.bad())]),
        RunRows::Loading => ("", vec![("loading ...".to_owned(), look.dim())]),
        RunRows::Loaded(rows) if rows.is_empty() => ("", vec![("no runs yet".to_owned(), look.dim())]),
        RunRows::Loaded(rows) => (&headings, rows.iter().map(|row| run_row(row, screen)).collect()),
    };
    let title = format!("runs of {id}");
    choice::draw::<FleetTypes>(pen, (&title, "Enter replays, Esc closes"), headings, &rows, chosen, hits);
}

fn run_row(row: &RunRow, screen: &FleetFrame) -> (String, Style) {
    let look = screen.look;
    let style = match row.good {
        Some(true) => look.plain(),
        Some(false) => look.bad(),
        None => look.accent(),
    };
    let dash = || look.glyphs.dash.to_owned();
    let [number, start, took, records, outcome] = RUN_COLUMNS;
    let started = row.started_at.map_or_else(dash, |at| time::stamp(at, "%m-%d %H:%M"));
    let elapsed = row.elapsed_ms.map_or_else(dash, synctop_core::format::duration);
    let text = format!(
        "{:>number$}  {started:<start$}  {elapsed:>took$}  {:>records$}  {:<outcome$}  {}",
        row.number,
        row.records.map_or_else(dash, count),
        row.outcome,
        row.message.as_deref().unwrap_or_default(),
    );
    (text, style)
}

pub(crate) fn contexts(
    pen: &mut Pen,
    screen: &FleetFrame,
    names: &[(String, String)],
    chosen: usize,
    hits: &mut FleetHits,
) {
    let look = screen.look;
    let rows: Vec<_> = names
        .iter()
        .map(|(name, about)| {
            let here = name == screen.name;
            let text = format!("{name:<16} {about}{}", if here { " (shown)" } else { "" });
            (text, if here { look.dim() } else { look.plain() })
        })
        .collect();
    choice::draw::<FleetTypes>(pen, ("contexts", "Enter goes there, Esc closes"), "", &rows, chosen, hits);
}
