//! Pictures as text, as snapshots, and as SVG for the documents.
#![allow(dead_code, reason = "each test uses a part")]

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};
use std::fmt::Write as _;
use std::path::Path;
use synctop::views::Theme;

/// The text of a picture, line by line.
pub fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let rows =
        buffer.content.chunks(width).map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>());
    rows.map(|row| row.trim_end().to_owned() + "\n").collect()
}

/// Styles of a picture: one line per row, with a list of column ranges.
fn styles(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let mut out = String::new();
    for (y, row) in buffer.content.chunks(width).enumerate() {
        let mut runs = String::new();
        let mut from = 0;
        for x in 1..=row.len() {
            if row.get(x).map(ratatui::buffer::Cell::style) == Some(row[from].style()) {
                continue;
            }
            let style = row[from].style();
            let blank = row[from..x].iter().all(|cell| cell.symbol() == " ");
            if style != Style::reset() && !(blank && style.bg == Some(Color::Reset) && style.add_modifier.is_empty()) {
                write!(runs, " {from}-{}:{}", x - 1, name(style)).unwrap();
            }
            from = x;
        }
        if !runs.is_empty() {
            writeln!(out, "{y:>2}{runs}").unwrap();
        }
    }
    out
}

fn name(style: Style) -> String {
    let color = |color: Option<Color>| match color {
        Some(Color::Indexed(index)) => index.to_string(),
        Some(Color::Reset) | None => "-".into(),
        Some(other) => format!("{other:?}"),
    };
    let mut name = color(style.fg);
    if style.bg.is_some_and(|bg| bg != Color::Reset) {
        write!(name, "/{}", color(style.bg)).unwrap();
    }
    for (modifier, letter) in [(Modifier::BOLD, 'b'), (Modifier::DIM, 'd'), (Modifier::REVERSED, 'r')] {
        if style.add_modifier.contains(modifier) {
            name.push(letter);
        }
    }
    name
}

pub fn snapshot(name: &str, buffer: &Buffer) {
    compare(name, &format!("{}--\n{}", text(buffer), styles(buffer)));
}

/// Snapshot of one state and size in several themes: the text, which is the same in all of them,
/// and the styles of each.
pub fn snapshot_in_themes(name: &str, buffers: &[(Theme, Buffer)]) {
    let shown = text(&buffers[0].1);
    let mut all = shown.clone();
    for (theme, buffer) in buffers {
        assert_eq!(text(buffer), shown, "{name}: the {theme} theme has another text");
        write!(all, "-- {theme}\n{}", styles(buffer)).unwrap();
    }
    compare(name, &all);
}

fn compare(name: &str, picture: &str) {
    insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, picture);
    });
}

/// A picture as text with SGR sequences, which `anstyle_svg` turns into SVG.
fn ansi(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let mut out = String::new();
    for row in buffer.content.chunks(width) {
        for cell in row {
            let style = cell.style();
            let mut codes = vec!["0".to_owned()];
            for (modifier, code) in [(Modifier::BOLD, "1"), (Modifier::DIM, "2"), (Modifier::REVERSED, "7")] {
                if style.add_modifier.contains(modifier) {
                    codes.push(code.into());
                }
            }
            for (color, ground) in [(style.fg, 38), (style.bg, 48)] {
                if let Some(Color::Indexed(index)) = color {
                    codes.push(format!("{ground};5;{index}"));
                }
            }
            // One sequence per code: in a joined sequence the library takes the second color for
            // the first.
            for code in &codes {
                write!(out, "\u{1b}[{code}m").unwrap();
            }
            out.push_str(cell.symbol());
        }
        out.push_str("\u{1b}[0m\n");
    }
    out
}

/// Asserts that the pictures in assets/screens are these. `UPDATE_SCREENS=1` rewrites them.
pub fn assert_up_to_date(pictures: impl IntoIterator<Item = (&'static str, Theme, Buffer)>) {
    use anstyle::{Color as Ink, RgbColor};
    let rgb = |r, g, b| Ink::Rgb(RgbColor(r, g, b));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/screens");
    let mut stale = Vec::new();
    for (name, theme, buffer) in pictures {
        let (fg, bg) = match theme {
            Theme::Light => (rgb(0x1f, 0x23, 0x28), rgb(0xff, 0xff, 0xff)),
            _ => (rgb(0xd0, 0xd7, 0xde), rgb(0x0d, 0x11, 0x17)),
        };
        let svg = anstyle_svg::Term::new().fg_color(fg).bg_color(bg).render_svg(&ansi(&buffer));
        let path = folder.join(format!("{name}.svg"));
        if std::env::var_os("UPDATE_SCREENS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &svg).unwrap();
        }
        if std::fs::read_to_string(&path).ok().as_deref() != Some(&svg) {
            stale.push(name);
        }
    }
    assert!(stale.is_empty(), "old pictures: {stale:?}; UPDATE_SCREENS=1 writes them");
}
