//! Header of the run screen: source and link state, verdict, cause and next step, totals, ranges.

use crate::views::run::state::{RunFrame, RunInput, RunSheet};
use crate::views::run::stream_group::StreamGroup;
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::text;
use ratatui::layout::Rect;
use ratatui::style::Style;
use synctop_core::format::{age, count, rate, span};
use synctop_core::protocol::Millis;
use synctop_core::reduce::{BUCKET_MS, Exit, Link, ONE_MINUTE, Outcome, TEN_SECONDS, open};
use synctop_core::report::{Advice, describe_exit, not_understood, trouble};

/// Rows that neither the stream list nor the cause uses: verdict, next step, totals, ranges,
/// headings, scrubber, keys.
const LINES_AROUND: u16 = 14;

/// Maximum lines of a cause.
const MAX_WHY_LINES: usize = 6;

/// Time without a line after which an open feed is shown as quiet, in milliseconds.
const QUIET_MS: u64 = 5_000;

/// Contents of the header, computed before drawing because they determine its height.
pub struct RunHeader {
    /// Lines of the cause; `next` has those of the next step.
    why: Vec<String>,
    next: Vec<String>,
    ranges: bool,
    totals: bool,
}

impl RunHeader {
    /// Computes the header. With `listed`, the stream list is drawn below it.
    pub fn new(screen: &RunFrame, area: Rect, listed: bool) -> Self {
        let progress = screen.progress;
        let small = area.height < 14;
        // The reason for a broken feed is the cause of its end.
        let verdict = &screen.assessment.verdict;
        let broken = screen.running() || verdict.outcome == Outcome::Truncated;
        let (why, next): (Option<String>, Option<String>) = if let (Link::Down(why), true) = (screen.link, broken) {
            (Some(why.to_string()), None)
        } else if screen.running() {
            let digest = &screen.assessment.digest;
            let trouble = || {
                let now = screen.now.filter(|_| area.width >= 100 && !small)?;
                trouble(progress, digest, now)
            };
            match screen.silent() {
                Some(_) if screen.unreadable().is_none() => {
                    // Without an end message, the feed only shows that all streams are complete.
                    let through = progress.traits().ends_with_process
                        && !progress.streams.is_empty()
                        && open(progress).next().is_none();
                    let mut why = if through {
                        "all known streams are complete; the end of the process is not reported".to_owned()
                    } else {
                        let silent = screen.silent().map(age_text).unwrap_or_default();
                        format!("no output for {silent}: the engine hangs or has exited")
                    };
                    if let Some(error) = &verdict.why {
                        why.push_str(&format!("; before that {error}"));
                    }
                    (Some(why), Some("check whether the engine still runs, and its own log".to_owned()))
                }
                _ => match screen.unreadable() {
                    Some(why) => (Some(why), Some(Advice::CheckInput.text(screen.audience()))),
                    None => (trouble(), None),
                },
            }
        } else {
            let next = verdict.next.as_ref().filter(|_| area.height >= 8);
            (verdict.why.clone(), next.map(|next| next.text(screen.audience())))
        };
        let is_sheet = has_sheet(screen);
        let (why, next) = if is_sheet { (None, None) } else { (why, next) };
        let empty = progress.input.lines == 0 && progress.streams.is_empty();
        // Rows that the list does not need are used for a longer cause.
        let free = if listed { usize::from(area.height.saturating_sub(LINES_AROUND)) } else { 0 };
        let free = free.saturating_sub(screen.rows.rows.len()).min(MAX_WHY_LINES);
        let most = match area.height {
            ..14 => 1,
            14..30 => free.max(2),
            _ => free.max(3),
        };
        let width = usize::from(area.width.saturating_sub(8));
        let lines = |text: Option<String>, most: usize| {
            let mut lines = text.map(|text| text::wrap(&text, width)).unwrap_or_default();
            if lines.len() > most {
                let rest = lines.split_off(most - 1).join(" ");
                lines.push(rest);
            }
            lines
        };
        Self {
            why: lines(why.filter(|_| !empty || progress.closed || matches!(screen.link, Link::Down(_))), most),
            next: lines(
                next,
                match area.height {
                    ..20 => 1,
                    20..24 => 2,
                    _ => 3,
                },
            ),
            ranges: !empty
                && !small
                && !is_sheet
                && (screen.assessment.coverage.is_some()
                    || progress.counters.checkpoints > 0
                    || screen.assessment.estimated.is_some()),
            totals: !empty && !is_sheet,
        }
    }

    pub fn height(&self) -> u16 {
        let lines = 2 + self.why.len() + self.next.len() + usize::from(self.totals) + usize::from(self.ranges);
        u16::try_from(lines).unwrap_or(u16::MAX)
    }
}

/// True if a sheet is open: it begins with its own cause and next step.
fn has_sheet(screen: &RunFrame) -> bool {
    screen.ui.sheet().is_some_and(|sheet| !matches!(sheet, RunSheet::Goto { .. }))
}

pub fn draw(pen: &mut Pen, screen: &RunFrame, facts: &RunHeader) {
    header(pen, screen);
    verdict_line(pen, 1, screen);
    let mut row = 2;
    let look = screen.look;
    let style = if screen.running() { look.warn() } else { outcome_style(screen) };
    for (label, lines, style) in [("why", &facts.why, style), ("next", &facts.next, look.accent())] {
        for (index, text) in lines.iter().enumerate() {
            if index == 0 {
                pen.put(1, row, label, look.strong());
            }
            pen.put(6, row, text, style);
            row += 1;
        }
    }
    if facts.totals {
        totals(pen, row, screen);
        row += 1;
    }
    if facts.ranges {
        crate::views::run::ranges::draw(pen, row, screen);
    }
}

fn header(pen: &mut Pen, screen: &RunFrame) {
    let look = screen.look;
    let width = pen.width();
    let mut end = width.saturating_sub(1);
    // Time by the log: that of the shown position, otherwise of the last message.
    if let Some(now) = screen.scrub.map_or(screen.progress.last_at, |scrub| scrub.at)
        && width >= 60
    {
        let form = if width >= 100 { "%Y-%m-%d %H:%M:%SZ" } else { "%H:%M:%SZ" };
        end = pen.put_right(end, 0, &synctop_core::protocol::time::stamp(now, form), look.dim()).saturating_sub(2);
    }
    if screen.ui.own.frozen {
        let text = if width >= 60 { " FROZEN: space continues " } else { " FROZEN " };
        end = pen.put_right(end, 0, text, look.badge(look.warn())).saturating_sub(2);
    }
    if let Some((time, lines)) = screen.scrub.and_then(|scrub| scrub.behind) {
        let far = match time {
            Some(time) => span(time / 1000 * 1000),
            None => format!("{} lines", count(lines)),
        };
        let text = if width >= 60 { format!(" {far} BEHIND: L returns ") } else { format!(" {far} BEHIND ") };
        end = pen.put_right(end, 0, &text, look.badge(look.warn())).saturating_sub(2);
    }
    let (mark, word, about, style) = link_text(screen);
    let about = if width < 50 { String::new() } else { about };
    if !about.is_empty() {
        end = pen.put_right(end, 0, &format!(" {about}"), look.dim());
    }
    if !word.is_empty() {
        end = pen.put_right(end, 0, word, style.patch(look.strong()));
        end = pen.put_right(end, 0, &format!("{mark} "), style).saturating_sub(2);
    }
    let mut column = 1;
    if width >= 60 {
        column = pen.put(column, 0, "synctop ", look.accent().patch(look.strong()));
    }
    let room = usize::from(end.saturating_sub(column));
    // Of a long path only the file name is shown: it is the most informative part.
    let whole = screen.source;
    // Attempt and route stand beside it.
    let beside = source_and_destination(screen).into_iter().chain(attempt_texts(screen).into_iter().next());
    let beside: usize = beside.map(|text| text.chars().count() + 3).sum();
    let most = room.saturating_sub(beside).max(room.min(48));
    let short = if whole.chars().count() > most && !whole.contains(' ') {
        whole.rsplit('/').next().unwrap_or(whole)
    } else {
        whole
    };
    let source = text::fit_middle(short, most, look.glyphs.ellipsis).into_owned();
    column = pen.put_in(column, 0, end.saturating_sub(column), &source, look.plain());
    let fits = |column: u16, text: &str| column + 3 + u16::try_from(text.chars().count()).unwrap_or(u16::MAX) < end;
    if let Some(text) = source_and_destination(screen).filter(|text| fits(column, text)) {
        column = pen.put(column + 3, 0, &text, look.dim());
    }
    if let Some(text) = attempt_texts(screen).into_iter().find(|text| fits(column, text)) {
        pen.put(column + 3, 0, &text, look.dim());
    }
}

/// Returns source and destination, such as `stripe -> postgres`, from the emitters of the messages.
fn source_and_destination(screen: &RunInput) -> Option<String> {
    let of = |kind: &str| screen.progress.emitters.iter().find_map(|from| from.strip_prefix(kind));
    match (of("source/"), of("destination/")) {
        (Some(source), Some(destination)) => Some(format!("{source} {} {destination}", screen.look.glyphs.arrow)),
        (Some(one), None) => Some(format!("from {one}")),
        (None, Some(one)) => Some(format!("to {one}")),
        (None, None) => None,
    }
}

/// Returns texts for run and attempt, from the most to the least detailed.
fn attempt_texts(screen: &RunInput) -> Vec<String> {
    let attempt = screen.progress.attempts;
    let run = match screen.progress.runs.total {
        0 => None,
        earlier => Some(format!("run {}", count(earlier + 1))),
    };
    if attempt < 2 {
        return run.into_iter().collect();
    }
    let reported_ms = screen.progress.attempt_elapsed().filter(|reported_ms| *reported_ms >= 1000);
    let timed = elapsed(screen, reported_ms).map(|time| format!("attempt {attempt} for {time}"));
    let short = format!("attempt {attempt}");
    let all = |words: &String| run.as_ref().map_or_else(|| words.clone(), |run| format!("{run}, {words}"));
    timed.iter().chain([&short]).map(all).chain(timed.clone()).chain([short.clone()]).collect()
}

/// Formats a reported duration in milliseconds, extrapolated to now while the run continues.
fn elapsed(screen: &RunInput, reported_ms: Option<u64>) -> Option<String> {
    let reported_ms = i64::try_from(reported_ms?).ok()?;
    let since = screen.now.zip(screen.progress.last_at).map_or(0, |(now, last)| (now - last).max(0));
    let since = if screen.running() { since } else { 0 };
    Some(span((reported_ms + since) / 1000 * 1000))
}

fn link_text(screen: &RunFrame) -> (&'static str, &'static str, String, Style) {
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    match screen.link {
        _ if screen.scrub.is_some_and(|scrub| scrub.behind.is_some()) => ("", "", String::new(), look.plain()),
        Link::Live if screen.scrub.is_some_and(|_| screen.running()) => {
            let quiet = screen.age.filter(|silent| *silent >= QUIET_MS);
            let about = quiet.map(|silent| format!("quiet for {}", age_text(silent))).unwrap_or_default();
            ("", "REPLAY", about, look.accent())
        }
        Link::Waiting => (glyphs.pending, "WAITING", duration_text(screen.watched), look.warn()),
        Link::Live if !screen.running() => {
            let about = if screen.engine_runs { "engine still runs" } else { "" };
            ("", "ENDED", about.to_owned(), look.plain())
        }
        // A frozen frame cannot show an age: it would be outdated at once.
        Link::Live if screen.ui.own.frozen => (glyphs.live, "LIVE", String::new(), look.good()),
        Link::Live => match screen.age {
            Some(silent) if silent >= QUIET_MS => (glyphs.pending, "QUIET", age_text(silent), look.warn()),
            Some(silent) => (glyphs.live, "LIVE", format!("last line {} ago", age_text(silent)), look.good()),
            None => (glyphs.live, "LIVE", String::new(), look.good()),
        },
        Link::Ended(exit) => {
            let about = exit.map(describe_exit).unwrap_or_default();
            let bad = !matches!(exit, None | Some(Exit::Code(0)));
            ("", "ENDED", about, if bad { look.bad() } else { look.plain() })
        }
        // The cause is shown in the lines below.
        Link::Down(_) if screen.running() => (glyphs.bad, "DOWN", String::new(), look.bad()),
        Link::Down(why) => (glyphs.bad, "DOWN", text::fit(why, 40, glyphs.ellipsis).into_owned(), look.bad()),
    }
}

fn age_text(millis: u64) -> String {
    age(i64::try_from(millis).unwrap_or(i64::MAX))
}

fn duration_text(millis: u64) -> String {
    format!("for {}", age_text(millis))
}

fn outcome_style(screen: &RunFrame) -> Style {
    let look = screen.look;
    match screen.assessment.verdict.outcome {
        Outcome::Running => look.accent(),
        Outcome::Succeeded if screen.assessment.verdict.why.is_some() => look.warn(),
        Outcome::Succeeded => look.good(),
        Outcome::CompletedWithErrors | Outcome::CutOff | Outcome::Truncated | Outcome::Unknown => look.warn(),
        Outcome::Failed | Outcome::Aborted => look.bad(),
    }
}

fn verdict_line(pen: &mut Pen, row: u16, screen: &RunFrame) {
    let look = screen.look;
    if !screen.running() {
        let headline = &screen.assessment.verdict.headline;
        let text = format!(" {} ", headline.title_with_time());
        let column = pen.put(1, row, &text, look.badge(outcome_style(screen)));
        let rest = headline.engine_words().unwrap_or_default();
        let column = pen.put(column + 1, row, &rest, look.dim());
        return groups(pen, column + 2, row, screen);
    }
    if let Some(silent) = screen.silent().filter(|_| screen.unreadable().is_none()) {
        let mut column = pen.put(1, row, " NO NEWS ", look.badge(look.warn()));
        column = pen.put(column + 1, row, &age_text(silent), look.strong());
        return groups(pen, column + 2, row, screen);
    }
    let word = match screen.link {
        Link::Waiting => " WAITING ",
        Link::Down(_) => " DOWN ",
        _ if screen.unreadable().is_some() => " NOT UNDERSTOOD ",
        _ if screen.progress.attempts == 0 => " READING ",
        _ => " SYNCING ",
    };
    let mut column = pen.put(1, row, word, look.badge(look.accent()));
    if let Some(elapsed) = elapsed(screen, screen.progress.run_elapsed()) {
        column = pen.put(column + 1, row, &elapsed, look.strong());
    }
    groups(pen, column + 2, row, screen);
}

/// Draws the streams by group: `3 ERRORED  1 STALLED  3 started  12 pending  39 completed  of 58`.
fn groups(pen: &mut Pen, mut column: u16, row: u16, screen: &RunFrame) {
    let look = screen.look;
    let words = [
        (StreamGroup::Errored, "ERRORED", look.bad().patch(look.strong())),
        (StreamGroup::Stalled, "STALLED", look.warn().patch(look.strong())),
        (
            StreamGroup::Started,
            if screen.running() { "started" } else { "not done" },
            if screen.running() { look.accent() } else { look.warn() },
        ),
        (StreamGroup::Pending, if screen.running() { "pending" } else { "not started" }, look.dim()),
        (StreamGroup::Completed, "completed", look.good()),
        (StreamGroup::Skipped, "skipped", look.dim()),
    ];
    for (group, word, style) in words {
        let number = screen.rows.count(group);
        if number > 0 {
            let text = format!("{} {word}", count(number as u64));
            if column + u16::try_from(text.len()).unwrap_or(u16::MAX) > pen.width() {
                return;
            }
            column = pen.put(column, row, &text, style) + 2;
        }
    }
    if !screen.progress.streams.is_empty() && column + 12 < pen.width() {
        pen.put(column, row, &format!("of {}", screen.progress.stream_total()), look.dim());
    }
}

/// Draws the records, the rates of three windows, and the rate history with its scale.
fn totals(pen: &mut Pen, row: u16, screen: &RunInput) {
    let (progress, look) = (screen.progress, screen.look);
    let mut column = pen.put(1, row, "records ", look.dim());
    let dash = look.glyphs.dash;
    let known = |number: Option<u64>| number.map_or_else(|| dash.to_owned(), count);
    column = pen.put(column, row, &known(progress.cumulative_records()), look.strong());
    if progress.attempts > 1 {
        let attempt = known(progress.attempt_records());
        let words = if pen.width() >= 70 { format!("  +{attempt} this attempt") } else { format!(" +{attempt}") };
        column = pen.put(column, row, &words, look.good());
    }
    if let Some(joined) = progress.joined_at()
        && column + 50 < pen.width()
    {
        column = pen.put(column, row, &format!("  joined at {}", count(joined)), look.dim());
    }
    if screen.running() {
        let now = screen.now.unwrap_or(0);
        let windows = [
            ("10s", progress.counters.rate.per_second(TEN_SECONDS, now)),
            ("1m", progress.counters.rate.per_second(ONE_MINUTE, now)),
        ];
        for (name, value) in windows {
            if let Some(value) = value
                && column + 14 < pen.width()
            {
                column = pen.put(column + 3, row, &format!("{name} "), look.dim());
                // On a quiet feed the rate is outdated, so it is dimmed.
                let quiet = screen.age.is_some_and(|age| age >= QUIET_MS);
                column = pen.put(column, row, &rate(value), if quiet { look.dim() } else { look.strong() });
            }
        }
    }
    if let Some(all) = progress.mean_rate()
        && column + 14 < pen.width()
    {
        column = pen.put(column + 3, row, "avg ", look.dim());
        column = pen.put(column, row, &rate(all), look.plain());
    }
    if column + 26 < pen.width() {
        if screen.running() && progress.timed() {
            history(pen, column + 3, row, screen);
        } else if let Some(odd) = not_understood(progress) {
            pen.put(column + 3, row, &odd, look.warn());
        }
    }
}

fn history(pen: &mut Pen, column: u16, row: u16, screen: &RunInput) {
    let look = screen.look;
    let now = screen.now.unwrap_or(0);
    let width = pen.width().saturating_sub(column + 20).min(30);
    let values = screen.progress.counters.rate.history(width.into(), now);
    // The first and the last bucket are not full.
    let latest = screen.progress.counters.rate.per_second(TEN_SECONDS, now);
    let top = values.iter().chain([&latest]).flatten().copied().fold(0.0, f64::max);
    if top <= 0.0 {
        return;
    }
    crate::views::widgets::bars::sparks(pen, column, row, &values, top, look.accent());
    pen.put(
        column + width + 1,
        row,
        &format!("{} max {}", age(Millis::from(width) * BUCKET_MS), rate(top)),
        look.dim(),
    );
}

/// Draws the status and a few numbers, for screens below the minimum size.
pub fn tiny(pen: &mut Pen, screen: &RunFrame) {
    let look = screen.look;
    let rows = &screen.rows;
    let word = match (screen.running(), screen.link) {
        (true, Link::Waiting) => "WAITING".to_owned(),
        (true, Link::Down(_)) => "DOWN".to_owned(),
        (true, _) if screen.silent().is_some() => "NO NEWS".to_owned(),
        (true, _) => "SYNCING".to_owned(),
        (false, _) => screen.assessment.verdict.headline.title(),
    };
    let mut row = 0;
    if let Some(scrub) = &screen.scrub {
        let at = scrub.at.map(|at| synctop_core::protocol::time::stamp(at, "%H:%M:%S")).unwrap_or_default();
        pen.put(0, 0, &format!("PAST {at}"), look.badge(look.warn()));
        row = 1;
    }
    pen.put(0, row, &word, outcome_style(screen).patch(look.strong()));
    row += 1;
    for (group, word) in [(StreamGroup::Errored, "ERRORED"), (StreamGroup::Stalled, "STALLED")] {
        if rows.count(group) > 0 {
            pen.put(0, row, &format!("{} {word}", rows.count(group)), look.bad());
            row += 1;
        }
    }
    if !screen.ui.overlays.is_empty() {
        // The overlay cannot be drawn here, but still receives the keys.
        pen.put(0, row, "Esc closes", look.accent());
        return;
    }
    let records = screen.progress.cumulative_records().map_or_else(|| look.glyphs.dash.to_owned(), count);
    pen.put(0, row, &records, look.plain());
    pen.put(
        0,
        row + 1,
        &format!("{}/{} done", rows.count(StreamGroup::Completed), screen.progress.streams.len()),
        look.dim(),
    );
}
