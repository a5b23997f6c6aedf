//! Scrollable detail sheets of a pipeline, an error or an action; and selection lists.

use crate::views::fleet::state::{FleetScreen, RunRows};
use crate::views::hits::{ClickTarget, Hits};
use crate::views::run::streams::scroll_top;
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::sheet::Sheet;
use ratatui::layout::Rect;
use ratatui::style::Style;
use synctop_core::format::{age, clock, count, rate, short};
use synctop_core::protocol::time;

pub fn pipeline(pen: &mut Pen, screen: &FleetScreen, id: &str, top: usize, hits: &mut Hits) {
    let look = screen.look;
    let now = screen.now;
    let mut sheet = Sheet::new(pen);
    let Some(watched) = screen.fleet.pipelines.get(id) else {
        sheet.text("This pipeline does not exist any more.", look.dim());
        return sheet.draw(pen, (id, "Esc closes"), top, hits);
    };
    let it = &watched.pipeline;
    let group = watched.group(now);
    let (glyph, style) = crate::views::fleet::list::mark(group, look);
    let dash = look.glyphs.dash;
    let known = |number: Option<u64>| number.map_or_else(|| dash.to_owned(), count);
    let inferred = if watched.is_parking_inferred(now) { " (inferred)" } else { "" };
    sheet.fact("group", format!("{glyph} {}{inferred}", group.as_str().to_lowercase()), style);
    sheet.fact("status", format!("{}, desired {}", it.status.as_str(), it.desired.as_str()), look.plain());
    if let Some(note) = watched.note(now) {
        sheet.fact("evidence", &note, look.warn());
    }
    let arrow = look.glyphs.arrow;
    sheet.fact("route", format!("{} {arrow} {}", it.source, it.destination), look.plain());
    let seen = format!("updated {} ago", age(now.saturating_sub(watched.seen_at)));
    let sign = watched
        .last_sign()
        .map_or_else(String::new, |at| format!(", last activity {} ago", age(now.saturating_sub(at))));
    sheet.fact("known", format!("{seen}{sign}"), look.plain());
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
            sheet.text(&format!("{} {next}", look.glyphs.next), look.dim());
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
        let outcome = it.found.outcome.as_deref().filter(|_| !run.open).map(|it| format!(", {it}")).unwrap_or_default();
        sheet.fact("run", format!("{number}{state}{outcome}"), look.plain());
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
    for part in ["source", "destination", "streams"] {
        if let Some(value) = it.told.get(part) {
            let text = serde_json::to_string_pretty(value).unwrap_or_default();
            sheet.text(&format!("{part}: {}", if text.len() > 4_000 { value.to_string() } else { text }), look.dim());
        }
    }
    sheet.draw(pen, (id, "Enter opens the run, Esc closes"), top, hits);
}

pub fn error(pen: &mut Pen, screen: &FleetScreen, fingerprint: &str, top: usize, hits: &mut Hits) {
    let look = screen.look;
    let now = screen.now;
    let mut sheet = Sheet::new(pen);
    let Some(item) = screen.inbox.items.get(fingerprint) else {
        sheet.text("This error is not known any more.", look.dim());
        return sheet.draw(pen, ("error", "Esc closes"), top, hits);
    };
    let (glyph, style) = crate::views::fleet::inbox::style(item, screen);
    sheet.text(&item.message, look.strong());
    if let Some(next) = &item.next {
        sheet.text(&format!("{} {next}", look.glyphs.next), look.plain());
    }
    sheet.gap();
    let acked = item
        .acked
        .as_ref()
        .map(|(who, at)| format!(", acknowledged by {who} since {}", clock(*at, Some(now))))
        .unwrap_or_default();
    sheet.fact("state", format!("{glyph} {}{acked}", item.state().as_str()), style);
    sheet.fact(
        "first, last",
        format!("{}, {}", clock(item.first_at, Some(now)), clock(item.last_at, Some(now))),
        look.plain(),
    );
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
                let back =
                    if hit.regressed > 0 { format!(", REGRESSED {} time(s)", hit.regressed) } else { String::new() };
                (look.glyphs.bad, look.bad(), format!("has it since {}{back}", clock(hit.since, Some(now))))
            }
        };
        let times = look.glyphs.times;
        sheet.parts(vec![
            (format!("{glyph} "), style),
            (format!("{id} "), look.plain()),
            (format!("{times}{} {state}", count(hit.count)), style),
        ]);
    }
    let title = item.kind().to_owned();
    sheet.draw(pen, (&title, "a acknowledges, Esc closes"), top, hits);
}

pub fn action(pen: &mut Pen, screen: &FleetScreen, seq: i64, top: usize, hits: &mut Hits) {
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

/// Draws a selection list in a box.
fn choose(pen: &mut Pen, title: &str, about: &str, rows: &[(String, Style)], chosen: usize, hits: &mut Hits) {
    let wanted = u16::try_from(rows.len()).unwrap_or(u16::MAX).saturating_add(2).clamp(3, pen.height().max(3));
    let width = if pen.width() < 100 { pen.width() } else { 90 };
    let area = Rect { y: pen.area.y, ..pen.middle(width, wanted) };
    let mut pen = pen.at(area);
    hits.add(area, ClickTarget::Nothing);
    pen.frame(title, about);
    let page = usize::from(pen.height().saturating_sub(2));
    let top = scroll_top(0, chosen, page, rows.len());
    for (index, (text, style)) in rows.iter().enumerate().skip(top).take(page) {
        let row = u16::try_from(index - top).unwrap_or(u16::MAX).saturating_add(1);
        pen.put_in(2, row, width.saturating_sub(4), text, *style);
        if index == chosen {
            pen.choose(row, true);
        }
    }
}

pub fn runs(pen: &mut Pen, screen: &FleetScreen, id: &str, rows: &RunRows, chosen: usize, hits: &mut Hits) {
    let look = screen.look;
    let rows: Vec<_> = match rows {
        RunRows::Failed(why) => vec![(why.clone(), look.bad())],
        RunRows::Loading => vec![("loading ...".to_owned(), look.dim())],
        RunRows::Loaded(rows) if rows.is_empty() => vec![("no runs yet".to_owned(), look.dim())],
        RunRows::Loaded(rows) => rows
            .iter()
            .map(|row| {
                let style = match row.good {
                    Some(true) => look.plain(),
                    Some(false) => look.bad(),
                    None => look.accent(),
                };
                (row.text.clone(), style)
            })
            .collect(),
    };
    choose(pen, &format!("runs of {id}"), "Enter replays, Esc closes", &rows, chosen, hits);
}

pub fn contexts(pen: &mut Pen, screen: &FleetScreen, names: &[(String, String)], chosen: usize, hits: &mut Hits) {
    let look = screen.look;
    let rows: Vec<_> = names
        .iter()
        .map(|(name, about)| {
            let here = name == screen.name;
            let text = format!("{name:<16} {about}{}", if here { " (shown)" } else { "" });
            (text, if here { look.dim() } else { look.plain() })
        })
        .collect();
    choose(pen, "contexts", "Enter goes there, Esc closes", &rows, chosen, hits);
}
