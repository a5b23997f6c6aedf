//! Rows of the pipeline list: groups with trouble first, pipelines within a group by the sort
//! column.

use crate::views::filter::Filter;
use crate::views::fleet::state::{FleetColumn, FleetInput, FleetPane, FleetUi, RowKey};
use std::collections::HashMap;
use std::sync::Arc;
use strum::VariantArray as _;
use synctop_core::fleet::{ActionRecord, PipelineGroup, Watched};

/// Row of the list.
#[derive(Debug, Clone, Copy)]
pub enum FleetRow<'a> {
    Head(PipelineGroup),
    Pipeline(&'a Arc<Watched>, PipelineGroup),
    /// Cause or next step below a pipeline.
    Note(&'a Arc<Watched>, PipelineGroup),
}

impl<'a> FleetRow<'a> {
    #[must_use]
    pub fn group(self) -> PipelineGroup {
        match self {
            Self::Head(group) | Self::Pipeline(_, group) | Self::Note(_, group) => group,
        }
    }

    #[must_use]
    pub fn pipeline(self) -> Option<&'a Arc<Watched>> {
        match self {
            Self::Pipeline(it, _) | Self::Note(it, _) => Some(it),
            Self::Head(_) => None,
        }
    }

    #[must_use]
    pub fn key(self) -> RowKey {
        match self.pipeline() {
            Some(it) => RowKey::Id(Arc::clone(&it.pipeline.id)),
            None => RowKey::Head(self.group()),
        }
    }
}

/// All rows of the list, with counts and recent actions.
pub struct FleetRows<'a> {
    pub rows: Vec<FleetRow<'a>>,
    /// Pipelines by group, before filtering.
    pub counts: [usize; 7],
    /// Pipelines by group that the filter keeps; `kept` is their total.
    pub kept_of: [usize; 7],
    pub kept: usize,
    /// Pipelines that the filter keeps with their groups, also those of folded groups.
    pub kept_in: Vec<(PipelineGroup, &'a Arc<str>)>,
    /// Recent actions with a result, by pipeline.
    pub actions: HashMap<&'a str, &'a ActionRecord>,
}

/// Time that the result of an action is shown below its pipeline, in milliseconds.
const RESULT_SHOWN_MS: i64 = 600_000;

impl FleetRows<'_> {
    /// Returns the position of the selected row, or of the first pipeline if nothing is selected or
    /// the selected row is gone.
    #[must_use]
    pub fn place(&self, chosen: Option<&RowKey>) -> usize {
        let found = chosen.and_then(|chosen| {
            self.rows.iter().position(|row| match (row, chosen) {
                (FleetRow::Head(group), RowKey::Head(wanted)) => group == wanted,
                (FleetRow::Pipeline(it, _), RowKey::Id(id)) => it.pipeline.id == *id,
                _ => false,
            })
        });
        found.or_else(|| self.rows.iter().position(|row| matches!(row, FleetRow::Pipeline(..)))).unwrap_or(0)
    }
}

/// Builds the list.
#[must_use]
pub fn rows<'a>(screen: &FleetInput<'a>, ui: &FleetUi) -> FleetRows<'a> {
    let filter = &ui.list(FleetPane::Pipelines).filter;
    let by_group = filtered_group(filter);
    let mut groups: [Vec<&Arc<Watched>>; 7] = Default::default();
    let mut counts = [0; 7];
    for watched in screen.fleet.pipelines.values() {
        let group = watched.group(screen.now);
        if let Some(count) = counts.get_mut(group as usize) {
            *count += 1;
        }
        if let Some(list) = groups.get_mut(group as usize)
            && match by_group {
                Some((of, kept)) => (of == group) == kept,
                None => !filter.active() || is_kept(filter, watched, group),
            }
        {
            list.push(watched);
        }
    }
    let mut actions = HashMap::new();
    for record in
        screen.actions.iter().filter(|record| record.ended_at.is_some_and(|at| screen.now - at < RESULT_SHOWN_MS))
    {
        // The newest comes first.
        actions.entry(record.pipeline.as_str()).or_insert(record);
    }
    // A later failure is more informative than an earlier action.
    actions.retain(|id, record| {
        screen.fleet.pipelines.get(*id).is_some_and(|watched| {
            let trouble = matches!(watched.group(screen.now), PipelineGroup::Parked | PipelineGroup::Failing);
            let helped = record.verdict.as_deref() == Some("took_effect");
            let newer = watched.fault_since.zip(record.ended_at).is_some_and(|(since, ended)| since > ended);
            !(newer || trouble && helped)
        })
    });
    let kept_of = groups.each_ref().map(Vec::len);
    let kept = kept_of.iter().sum();
    let mut rows = Vec::with_capacity(kept + 16);
    let mut kept_in = Vec::with_capacity(kept);
    for (group, mut list) in PipelineGroup::VARIANTS.iter().copied().zip(groups) {
        if list.is_empty() {
            continue;
        }
        sort(&mut list, screen, ui);
        if matches!(group, PipelineGroup::Parked | PipelineGroup::Failing) {
            join_causes(&mut list);
        }
        kept_in.extend(list.iter().map(|watched| (group, &watched.pipeline.id)));
        rows.push(FleetRow::Head(group));
        if ui.folded(group) && !filter.active() {
            continue;
        }
        for (index, watched) in list.iter().enumerate() {
            rows.push(FleetRow::Pipeline(watched, group));
            if actions.contains_key(watched.pipeline.id.as_ref())
                || has_note(watched, list.get(index + 1).copied(), group, screen)
            {
                rows.push(FleetRow::Note(watched, group));
            }
        }
    }
    FleetRows { rows, counts, kept_of, kept, kept_in, actions }
}

/// True if the filter keeps a pipeline, by all text of its row.
fn is_kept(filter: &Filter, watched: &Watched, group: PipelineGroup) -> bool {
    let it = &watched.pipeline;
    let searched_texts =
        [it.id.as_ref(), &it.source, &it.destination, it.status.as_str(), it.desired.as_str(), group.as_str()];
    let doubts = it.found.doubts.iter().map(AsRef::as_ref);
    // As shown in the row: hidden text does not match.
    let cores: Vec<_> = it.faults.iter().map(synctop_core::fleet::PipelineFault::core).collect();
    let faults = it.faults.iter().map(synctop_core::fleet::PipelineFault::kind).chain(cores.iter().map(String::as_str));
    filter.keeps_any(searched_texts.into_iter().chain(faults).chain(doubts))
}

/// True if a row has a note: contradictions and doubts below each pipeline, the next step below the
/// last of several pipelines with the same error.
fn has_note(watched: &Watched, next: Option<&Arc<Watched>>, group: PipelineGroup, screen: &FleetInput) -> bool {
    let to_do = watched.pipeline.faults.first().is_some_and(|fault| fault.next.is_some());
    if watched.note(screen.now).is_some() || (!to_do && !watched.pipeline.found.doubts.is_empty()) {
        return true;
    }
    matches!(group, PipelineGroup::Parked | PipelineGroup::Failing)
        && to_do
        && next.is_none_or(|next| cause(next) != cause(watched))
}

/// Returns the fingerprint of the first error of a pipeline.
fn cause(watched: &Watched) -> Option<&Arc<str>> {
    watched.pipeline.faults.first().map(|fault| &fault.fingerprint)
}

/// Returns the group that a filter names, and true if it keeps that group: `!ready` drops the group
/// READY, and not each row with that word in its text.
fn filtered_group(filter: &Filter) -> Option<(PipelineGroup, bool)> {
    let (name, kept) = match filter.text.strip_prefix('!') {
        Some(name) => (name, false),
        None => (filter.text.as_str(), true),
    };
    let group = PipelineGroup::VARIANTS.iter().find(|group| group.as_str().eq_ignore_ascii_case(name.trim()))?;
    filter.active().then_some((*group, kept))
}

/// Moves pipelines with the same error next to the first of them, so that one next step stands
/// below all of them.
fn join_causes(list: &mut Vec<&Arc<Watched>>) {
    let mut first = HashMap::new();
    let placed = list
        .iter()
        .enumerate()
        .map(|(place, watched)| (cause(watched).map_or(place, |cause| *first.entry(cause).or_insert(place)), *watched));
    let mut placed: Vec<_> = placed.collect();
    placed.sort_by_key(|(place, _)| *place);
    *list = placed.into_iter().map(|(_, watched)| watched).collect();
}

fn sort(list: &mut [&Arc<Watched>], screen: &FleetInput, ui: &FleetUi) {
    let number = |value: Option<u64>| value.map_or(-1, |value| i64::try_from(value).unwrap_or(i64::MAX));
    #[expect(clippy::cast_possible_truncation, reason = "only the order matters")]
    let scaled = |value: Option<f64>| value.map_or(-1, |value| (value * 1e6) as i64);
    match ui.sort {
        // The fleet is sorted by name.
        FleetColumn::Name => {}
        FleetColumn::Status => list.sort_by_cached_key(|it| it.pipeline.status.as_str().to_owned()),
        _ => list.sort_by_cached_key(|it| {
            // For numbers, larger first.
            std::cmp::Reverse(match ui.sort {
                FleetColumn::Records => number(it.pipeline.found.records),
                FleetColumn::Rate => scaled(it.pipeline.found.per_second),
                FleetColumn::Coverage => scaled(it.pipeline.found.coverage),
                _ => it.quiet_ms(screen.now),
            })
        }),
    }
    if ui.reversed {
        list.reverse();
    }
}
