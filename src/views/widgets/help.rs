//! Help overlay: keys in sections and as many columns as fit, and the meaning of the marks.

use crate::views::action::{Binding, HelpSection};
use crate::views::hits::{ClickTarget, Hits};
use crate::views::ui::ScreenTypes;
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::text::wrap;
use ratatui::layout::Rect;
use ratatui::style::Style;
use strum::VariantArray as _;

/// Width of the keys, and minimum width of a column.
const KEYS: u16 = 20;
const COLUMN: u16 = 58;

/// Line of the help.
enum HelpLine<S: ScreenTypes> {
    Gap,
    Head(&'static str),
    /// Key with the first line of its effect.
    Key(&'static Binding<S::Action>, String),
    /// Mark with the first line of its meaning.
    Mark(&'static str, Style, String),
    /// Further line of an effect or a meaning.
    More(String),
}

/// Mark of the screen with its style and meaning.
pub(crate) type Legend = (&'static str, Style, &'static str);

pub(crate) fn draw<S: ScreenTypes>(pen: &mut Pen, legend: &[Legend], top: usize, hits: &mut Hits<S>) {
    let look = pen.look;
    pen.clear();
    hits.add(pen.area, ClickTarget::Nothing);
    let columns = (pen.width().saturating_sub(2) / COLUMN).clamp(1, 3);
    let width = pen.width().saturating_sub(2) / columns;
    let all = lines::<S>(legend, width.saturating_sub(KEYS + 2).max(8).into());
    let page = usize::from(pen.height().saturating_sub(1));
    // Sections are spread over the columns; the pages of several columns scroll together.
    let columns_of = flow(all, usize::from(columns), page);
    let longest = columns_of.iter().map(Vec::len).max().unwrap_or(0);
    let most = longest.saturating_sub(page);
    let top = top.min(most);
    let right = if most > 0 { format!("{}-{}/{longest}", top + 1, (top + page).min(longest)) } else { String::new() };
    pen.rule(0, true, "keys and marks", ": finds an action by its name", &right);
    for (at, lines) in (0..).zip(&columns_of) {
        let x = pen.area.x + 2 + at * width;
        for (row, line) in (1..).zip(lines.iter().skip(top).take(page)) {
            let area = Rect { x, y: pen.area.y + row, width: width.saturating_sub(1), height: 1 };
            let mut own = pen.at(area);
            match line {
                HelpLine::Gap => {}
                HelpLine::Head(title) => drop(own.put(0, 0, title, look.strong())),
                HelpLine::Mark(mark, style, meaning) => {
                    own.put_in(1, 0, KEYS - 2, mark, *style);
                    own.put(KEYS, 0, meaning, look.plain());
                }
                HelpLine::More(text) => drop(own.put(KEYS, 0, text, look.plain())),
                HelpLine::Key(binding, does) => {
                    own.put_in(1, 0, KEYS - 2, &binding.keys.join(" "), look.accent().patch(look.strong()));
                    own.put(KEYS, 0, does, look.plain());
                    hits.add(area, ClickTarget::Do(binding.action));
                }
            }
        }
    }
    hits.overlay = (most, page);
}

/// Wraps a text and returns its lines: the first one by `first`.
fn wrapped<S: ScreenTypes>(text: &str, width: usize, first: impl FnOnce(String) -> HelpLine<S>) -> Vec<HelpLine<S>> {
    let mut lines = wrap(text, width).into_iter();
    let head = first(lines.next().unwrap_or_default());
    [head].into_iter().chain(lines.map(HelpLine::More)).collect()
}

fn lines<S: ScreenTypes>(legend: &[Legend], width: usize) -> Vec<Vec<HelpLine<S>>> {
    let mut all = Vec::new();
    let section = |title: &'static str, lines: Vec<HelpLine<S>>| {
        [HelpLine::Head(title)].into_iter().chain(lines).collect::<Vec<_>>()
    };
    for &part in HelpSection::VARIANTS {
        let keys = S::ACTIONS.iter().filter(|binding| binding.section == part);
        let keys: Vec<_> =
            keys.flat_map(|binding| wrapped(binding.does, width, |does| HelpLine::Key(binding, does))).collect();
        if !keys.is_empty() {
            all.push(section(part.as_str(), keys));
        }
    }
    let mouse = [
        ("click", "select; again: open"),
        ("wheel", "scroll"),
        ("drag a rule", "resize its panes"),
        ("Shift", "with the mouse: select text"),
    ];
    let mark = |(mark, style, meaning): Legend| wrapped(meaning, width, |text| HelpLine::Mark(mark, style, text));
    let mouse = mouse.into_iter().flat_map(|(what, does)| mark((what, Style::new(), does)));
    all.push(section("Mouse", mouse.collect()));
    all.push(section("Marks", legend.iter().copied().flat_map(mark).collect()));
    all
}

/// Distributes sections over columns of about equal height, without breaking a section that fits.
fn flow<S: ScreenTypes>(sections: Vec<Vec<HelpLine<S>>>, columns: usize, page: usize) -> Vec<Vec<HelpLine<S>>> {
    let total: usize = sections.iter().map(|section| section.len() + 1).sum();
    let longest = sections.iter().map(Vec::len).max().unwrap_or(0);
    let height = total.div_ceil(columns).max(longest).max(page.min(total));
    let mut all: Vec<Vec<HelpLine<S>>> = vec![Vec::new()];
    for section in sections {
        let last = all.len();
        let Some(column) = all.last_mut() else { break };
        if !column.is_empty() && column.len() + 1 + section.len() > height && last < columns {
            all.push(section);
            continue;
        }
        if !column.is_empty() {
            column.push(HelpLine::Gap);
        }
        column.extend(section);
    }
    all
}
