//! Header of the fleet screen: service, link state, age of the data, permission; counts by group;
//! cause and next step.

use crate::views::fleet::list::mark;
use crate::views::fleet::state::{Armed, FleetFrame, FleetInput, FleetSheet, ServiceLink};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::text::{fit_middle, wrap};
use ratatui::layout::Rect;
use ratatui::style::Style;
use strum::VariantArray as _;
use synctop_core::fleet::PipelineGroup;
use synctop_core::format::{age, count, plural, rate};
use synctop_core::protocol::Millis;
use synctop_core::protocol::error_text::core;

/// Contents of the header, computed before drawing because they determine its height.
pub struct FleetHeader {
    why: Vec<String>,
    next: Vec<String>,
}

impl FleetHeader {
    pub fn new(screen: &FleetFrame, area: Rect) -> Self {
        // On a low screen the rows belong to the pipelines.
        if area.height < 14 {
            return Self { why: Vec::new(), next: Vec::new() };
        }
        let (why, next) = sheet_trouble(screen).unwrap_or_else(|| trouble(screen));
        let width = usize::from(area.width.saturating_sub(7)).max(8);
        let most = match area.height {
            ..20 => 1,
            20..30 => 2,
            _ => 3,
        };
        let lines = |text: Option<String>| {
            let mut lines = text.map(|text| wrap(&text, width)).unwrap_or_default();
            if lines.len() > most {
                let rest = lines.split_off(most - 1).join(" ");
                lines.push(rest);
            }
            lines
        };
        Self { why: lines(why), next: lines(next.filter(|_| area.height >= 16)) }
    }

    pub fn height(&self) -> u16 {
        u16::try_from(2 + self.why.len() + self.next.len()).unwrap_or(u16::MAX)
    }
}

/// Returns the most important trouble and its next step: that of the service itself, otherwise the
/// most frequent open error.
fn trouble(screen: &FleetFrame) -> (Option<String>, Option<String>) {
    if let ServiceLink::Down { why, next, again_at, .. } = screen.link {
        // The age of the data is shown above.
        let again = retry_text(again_at, screen.now);
        return (Some(format!("{why}; {again}")), Some(next.to_owned()).filter(|next| !next.is_empty()));
    }
    if let Some(why) = screen.store_error {
        return (Some(format!("errors and actions are not stored: {why}")), None);
    }
    let parked = screen.rows.counts.first().copied().unwrap_or(0);
    let open: Vec<_> = screen.inbox.sorted().into_iter().filter(|item| item.state().open()).collect();
    // Of equally frequent errors the latest wins.
    let Some(first) = open.iter().max_by_key(|item| (item.open(), item.last_at)) else {
        return match screen.fleet.odd.values().next() {
            Some(odd) => (Some(format!("an entry of the list is not a pipeline: {odd}")), None),
            None if parked > 0 => {
                (Some(format!("{} parked, and their service reports no reason", plural(parked, "pipeline"))), None)
            }
            None => (None, None),
        };
    };
    let message = core(&first.message);
    let why = match (first.open(), open.len()) {
        (1, 1) => format!("one pipeline: {}: {message}", first.kind()),
        (hit, 1) => format!("{hit} pipelines have {}: {message}", first.kind()),
        (1, kinds) => {
            format!("{kinds} errors in one pipeline each; latest: {}: {message}", first.kind())
        }
        (hit, kinds) => {
            let others = kinds - 1;
            format!("{hit} pipelines have {}: {message} (+{others} others)", first.kind())
        }
    };
    (Some(why), first.next.as_ref().map(ToString::to_string))
}

/// Returns cause and next step of the pipeline or error of an open sheet; `None` without a sheet.
fn sheet_trouble(screen: &FleetFrame) -> Option<(Option<String>, Option<String>)> {
    match screen.ui.sheet()? {
        // These begin with their own cause and next step.
        FleetSheet::Pipeline { .. } | FleetSheet::Error { .. } => Some((None, None)),
        FleetSheet::Runs { id, .. } => {
            let watched = screen.fleet.pipelines.get(id);
            let fault = watched.and_then(|it| it.pipeline.faults.first());
            let why = fault.map(|fault| format!("{}: {}", fault.kind(), fault.core()));
            let why = why.or_else(|| watched.and_then(|it| it.note(screen.now)));
            Some((why, fault.and_then(|fault| fault.next.as_ref().map(ToString::to_string))))
        }
        FleetSheet::ActionRecord { .. } => Some((None, None)),
        FleetSheet::Nodes { .. } | FleetSheet::Contexts { .. } | FleetSheet::Confirm(_) | FleetSheet::Note { .. } => {
            None
        }
    }
}

pub fn draw(pen: &mut Pen, screen: &FleetFrame, facts: &FleetHeader) {
    top(pen, screen);
    counts(pen, screen);
    let look = screen.look;
    let down = matches!(screen.link, ServiceLink::Down { .. });
    let mut row = 2;
    let style = if down { look.bad() } else { look.warn() };
    for (label, lines, style) in [("why", &facts.why, style), ("next", &facts.next, look.accent())] {
        for (at, line) in lines.iter().enumerate() {
            if at == 0 {
                pen.put(1, row, label, look.strong());
            }
            pen.put(6, row, line, style);
            row += 1;
        }
    }
}

/// Returns the style of the context name, as the configuration of the context selects it.
pub fn tint(screen: &FleetInput) -> Style {
    let look = screen.look;
    match screen.color {
        Some("red") => look.bad(),
        Some("yellow") => look.warn(),
        Some("green") => look.good(),
        Some("magenta") => look.doubt(),
        _ => look.accent(),
    }
}

fn top(pen: &mut Pen, screen: &FleetInput) {
    let look = screen.look;
    let width = pen.width();
    let mut end = width.saturating_sub(1);
    let (text, style) = match screen.armed {
        Armed::Never => (" READ-ONLY ".to_owned(), look.dim()),
        // Nothing can be done there.
        _ if matches!(screen.link, ServiceLink::Down { .. }) => (String::new(), look.plain()),
        Armed::Locked if width >= 110 => (" read-only (w enables actions for 10 min) ".to_owned(), look.dim()),
        Armed::Locked if width >= 90 => (" read-only (w enables actions) ".to_owned(), look.dim()),
        Armed::Locked => (" w enables actions ".to_owned(), look.dim()),
        // The border shows it.
        Armed::Always | Armed::For(_) => (String::new(), look.plain()),
    };
    end = pen.put_right(end, 0, &text, style).saturating_sub(1);
    let listed = screen.fleet.listed_at.map(|at| screen.now - at);
    let old = listed.map_or_else(String::new, |old| format!("{} old", age(old)));
    let late = !screen.is_current();
    if width >= 100 {
        let budget = format!("{:.1} of {:.0} requests/s", screen.rate.0, screen.rate.1);
        end = pen.put_right(end, 0, &budget, look.dim()).saturating_sub(2);
    }
    let (word, style) = match screen.link {
        ServiceLink::Waiting => ("WAITING", look.warn()),
        ServiceLink::Live if late => ("LATE", look.warn()),
        ServiceLink::Live => ("LIVE", look.good()),
        ServiceLink::Down { denied: true, .. } => ("NOT ALLOWED", look.bad()),
        ServiceLink::Down { .. } => ("DOWN", look.bad()),
    };
    let about = match (width >= 64, old.is_empty()) {
        (true, false) => format!("{}, {old}", screen.link_text),
        (true, true) => screen.link_text.to_owned(),
        (false, _) => old,
    };
    let style_old = if late { look.warn() } else { look.dim() };
    end = pen.put_right(end, 0, &about, style_old).saturating_sub(1);
    end = pen.put_right(end, 0, word, style.patch(look.strong())).saturating_sub(1);
    end = pen.put_right(end, 0, look.glyphs.live, style).saturating_sub(2);
    let name_room = usize::from(end.saturating_sub(2));
    let name = fit_middle(screen.name, name_room, look.glyphs.ellipsis);
    let column = pen.put(1, 0, &name, tint(screen).patch(look.strong()));
    if !screen.address.ends_with(screen.name) && end > column + 12 {
        // Complete, or not at all.
        let room = usize::from(end.saturating_sub(column + 3));
        if screen.address.chars().count() <= room {
            pen.put(column + 2, 0, screen.address, look.dim());
        }
    }
}

fn counts(pen: &mut Pen, screen: &FleetFrame) {
    let look = screen.look;
    let mut column = 1;
    let all = screen.fleet.pipelines.len();
    for &group in PipelineGroup::VARIANTS {
        let number = screen.rows.counts.get(group as usize).copied().unwrap_or(0);
        if number == 0 {
            continue;
        }
        let (_, style) = mark(group, look);
        let word = match group {
            PipelineGroup::Parked | PipelineGroup::Failing | PipelineGroup::Stale | PipelineGroup::Late => {
                group.as_str().to_owned()
            }
            group => group.as_str().to_lowercase(),
        };
        let strong = matches!(
            group,
            PipelineGroup::Parked | PipelineGroup::Failing | PipelineGroup::Stale | PipelineGroup::Late
        );
        let style = if strong { style.patch(look.strong()) } else { look.plain() };
        column = pen.put(column, 1, &count(number as u64), style.patch(look.strong())) + 1;
        column = pen.put(column, 1, &word, style) + 2;
    }
    if all > 0 {
        column = pen.put(column, 1, &format!("of {}", count(all as u64)), look.dim()) + 2;
    }
    let speeds = screen.fleet.pipelines.values().filter_map(|it| it.pipeline.found.per_second);
    let (sum, any) = speeds.fold((0.0, false), |(sum, _), speed| (sum + speed, true));
    if any && screen.is_current() {
        column = pen.put(column, 1, &rate(sum), look.strong()) + 2;
    }
    let marked = screen.ui.own.marked.len();
    if marked > 0 {
        column = pen.put(column, 1, &format!("{marked} marked"), look.accent().patch(look.strong())) + 2;
    }
    // On wider screens the line above has it.
    let budget = format!("{:.1} of {:.0} requests/s", screen.rate.0, screen.rate.1);
    let wide = u16::try_from(budget.len()).unwrap_or(u16::MAX);
    if pen.width() < 100 && column + wide + 1 < pen.width() {
        pen.put_right(pen.width().saturating_sub(1), 1, &budget, look.dim());
    }
}

/// Describes the next attempt: `retrying in 3s`.
pub(super) fn retry_text(at: Millis, now: Millis) -> String {
    match at.saturating_sub(now) {
        ..1_000 => "retrying now".to_owned(),
        left => format!("retrying in {}", age(left)),
    }
}
