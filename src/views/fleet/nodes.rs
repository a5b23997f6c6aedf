//! Overlay with the nodes of a service: status, load, labels, and the pipelines that each one runs.

use crate::views::fleet::state::{FleetFrame, FleetHits, NodeRows};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::sheet::Sheet;
use synctop_core::fleet::wire::{NodeBody, NodeStatus};
use synctop_core::format::{age, count, plural};

/// Maximum pipelines that are named below a node.
const MAX_NAMED: usize = 200;

pub(crate) fn draw(pen: &mut Pen, screen: &FleetFrame, rows: &NodeRows, top: usize, hits: &mut FleetHits) {
    let look = screen.look;
    let mut sheet = Sheet::with_width(look, pen.width().saturating_sub(4));
    match rows {
        NodeRows::Loading => sheet.text("loading ...", look.dim()),
        NodeRows::Failed(why) => sheet.text(why, look.bad()),
        NodeRows::Loaded(nodes) => {
            summarize(&mut sheet, screen, nodes);
            // Those without a node first: nothing runs them.
            let free = screen.fleet.pipelines.values().map(|it| &it.pipeline).filter(|it| it.unassigned.is_some());
            let free: Vec<&str> = free.map(|it| it.id.as_ref()).collect();
            if !free.is_empty() {
                sheet.head("without a node");
                sheet.fact("pipelines", named(free), look.warn());
            }
            for node in nodes {
                describe(&mut sheet, screen, node);
            }
        }
    }
    sheet.draw(pen, ("nodes", "Esc closes"), top, hits);
}

/// Writes the number of nodes by status: one that is gone may stand below the screen.
fn summarize(sheet: &mut Sheet, screen: &FleetFrame, nodes: &[NodeBody]) {
    let with = |status: NodeStatus| nodes.iter().filter(|it| it.status.as_deref() == Some(status.as_str())).count();
    let all = [NodeStatus::Alive, NodeStatus::Draining, NodeStatus::Gone].map(|status| (status.as_str(), with(status)));
    let found = all.iter().filter(|(_, count)| *count > 0);
    let mut words: Vec<_> = found.map(|(word, number)| format!("{} {word}", count(*number as u64))).collect();
    let unknown = nodes.len() - all.iter().map(|(_, number)| number).sum::<usize>();
    if unknown > 0 {
        words.push(format!("{} unknown", count(unknown as u64)));
    }
    let style = if with(NodeStatus::Alive) == nodes.len() { screen.look.plain() } else { screen.look.warn() };
    sheet.text(&format!("{}: {}", plural(nodes.len(), "node"), words.join(", ")), style);
}

fn describe(sheet: &mut Sheet, screen: &FleetFrame, node: &NodeBody) {
    let (look, now) = (screen.look, screen.now);
    let name = node.name.as_deref().unwrap_or("?");
    let status = node.status.as_deref().and_then(|word| word.parse().ok());
    let (glyph, style) = match status {
        Some(NodeStatus::Alive) => (look.glyphs.good, look.good()),
        Some(NodeStatus::Draining) => (look.glyphs.warn, look.warn()),
        Some(NodeStatus::Gone) => (look.glyphs.bad, look.bad()),
        None => (look.glyphs.doubt, look.doubt()),
    };
    sheet.head(name);
    let word = node.status.as_deref().unwrap_or("unknown");
    let seen = node.seen_at.map(|at| format!(", seen {} ago", age(now.saturating_sub(at)))).unwrap_or_default();
    sheet.fact("status", format!("{glyph} {word}{seen}"), style);
    let dash = look.glyphs.dash;
    let load = match (node.pipelines, node.running) {
        (Some(0), _) => "none".to_owned(),
        (pipelines, running) => {
            let pipelines = pipelines.map_or_else(
                || dash.to_owned(),
                |number| plural(usize::try_from(number).unwrap_or(usize::MAX), "pipeline"),
            );
            format!("{pipelines}, {} with an open run", running.map_or_else(|| dash.to_owned(), count))
        }
    };
    sheet.fact("load", load, look.plain());
    if let Some(labels) = node.labels.as_ref().filter(|labels| !labels.is_empty()) {
        sheet.fact("labels", labels.join(", "), look.plain());
    }
    if let Some(address) = &node.address {
        let version = node.version.as_ref().map(|version| format!(", version {version}")).unwrap_or_default();
        sheet.fact("address", format!("{address}{version}"), look.dim());
    }
    if status == Some(NodeStatus::Gone) {
        return;
    }
    let own = screen.fleet.pipelines.values().filter(|it| it.pipeline.node.as_deref() == Some(name));
    let own: Vec<&str> = own.map(|it| it.pipeline.id.as_ref()).collect();
    if !own.is_empty() {
        sheet.fact("runs", named(own), look.plain());
    }
}

/// Returns the names of pipelines, the first [`MAX_NAMED`] of them.
fn named(mut names: Vec<&str>) -> String {
    let more = names.len().saturating_sub(MAX_NAMED);
    names.truncate(MAX_NAMED);
    let more = if more > 0 { format!(" and {} more", count(more as u64)) } else { String::new() };
    format!("{}{more}", names.join(", "))
}
