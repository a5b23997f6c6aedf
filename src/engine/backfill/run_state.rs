//! State of a run: merges the answer of a call into the state that was sent, and marks streams
//! whose rows may be missing.

use crate::engine::backfill::call_result::CallAnswer;
use crate::engine::raw_json::{Fields, fields, raw, take_object};
use serde_json::json;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use synctop_core::format::names;
use synctop_core::protocol::{CLIENT_EMITTER, EndReason, Millis, Risk, State, source_state, time};

/// Risk of missing rows of a stream, as stored in the state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoredRisk {
    pub kind: Risk,
    /// Rows at risk, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// True if the run continued from the last checkpoint.
    #[serde(default)]
    pub kept: bool,
}

/// State of a run between its calls.
#[derive(Debug, Default)]
pub struct RunState {
    /// Sections of the engine in the state.
    pub sections: Fields,
    /// Calls whose counts are unknown because they broke before their end.
    pub uncounted: u64,
    /// Streams whose rows may be missing, until the next run.
    pub at_risk: BTreeMap<String, StoredRisk>,
    /// True if a stream at risk is not logged yet.
    pub has_unlogged_risks: bool,
    /// Streams that a limit interrupted in the last call, whose end cannot show the unread rows.
    pub cut_streams: Vec<String>,
    /// True if an unfinished stream continues from an earlier state than that of the end message.
    pub set_back: bool,
    /// True if a retry may read more of a stream.
    pub retryable_left: bool,
}

impl RunState {
    /// Marks a stream as at risk. [`Risk::StateAhead`] is never replaced.
    pub fn mark_at_risk(&mut self, stream: &str, risk: StoredRisk) {
        let known = self.at_risk.get(stream).copied();
        if known.is_none_or(|known| known.kind != Risk::StateAhead) {
            self.at_risk.insert(stream.to_owned(), risk);
            self.has_unlogged_risks |= known.map(|known| known.kind) != Some(risk.kind);
        }
    }

    /// Returns a log line with the streams at risk, if they changed. The reducer reads it.
    pub fn risk_line(&mut self, at: Millis) -> Option<String> {
        if !std::mem::take(&mut self.has_unlogged_risks) {
            return None;
        }
        let streams: Vec<_> = self.at_risk.keys().collect();
        let message = format!("rows of {} may be missing", names(&streams));
        let all: Vec<_> = self
            .at_risk
            .iter()
            .map(|(stream, risk)| json!({"stream": stream, "kind": risk.kind, "rows": risk.rows, "kept": risk.kept}))
            .collect();
        let log = json!({"level": "warn", "message": message, "data": {"at_risk": all}});
        Some(json!({"type": "log", "log": log, "_emitted_by": CLIENT_EMITTER, "_ts": time::iso(at)}).to_string() + "\n")
    }

    /// Updates the state from the answer: the returned state, or the checkpoints of a broken call.
    pub fn update(&mut self, call: &mut CallAnswer, run_id: &str) {
        let sent = streams_of(&self.sections);
        self.merge_answer(call, &sent, run_id);
        self.reopen_streams(call);
        let end = call.end.as_ref();
        let has_more = end.is_some_and(|end| end.has_more == Some(true) || end.word == EndReason::Limit);
        if end.is_some_and(|end| end.hides_unread_rows && has_more) {
            self.cut_streams = self.open_streams(call);
        }
    }

    /// Returns the streams of the state that are unfinished and did not fail permanently.
    fn open_streams(&self, call: &CallAnswer) -> Vec<String> {
        let kept = streams_of(&self.sections);
        let open = |(name, data): (&String, &RawValue)| {
            let state = source_state(data.get())?;
            let failed = call.failed.get(name).is_some_and(|failure| !failure.is_retryable());
            (state.done == Some(false) && state.failure.is_none() && !failed).then(|| name.clone())
        };
        kept.iter().map(|(name, data)| (name, &**data)).filter_map(open).collect()
    }

    /// Marks streams as started in the engine's sections that report them finished although the
    /// source state does not, so that the engine continues them.
    fn reopen_streams(&mut self, call: &CallAnswer) {
        let open = self.open_streams(call);
        self.retryable_left = !open.is_empty()
            || call.failed.iter().any(|(name, failure)| failure.is_retryable() && !call.completed.contains(name));
        let is_retryable = |name: &String| call.failed.get(name).is_some_and(|failure| failure.is_retryable());
        let again: Vec<_> =
            open.into_iter().filter(|name| is_retryable(name) || self.at_risk.contains_key(name)).collect();
        self.set_back =
            again.iter().any(|name| self.at_risk.get(name).is_some_and(|risk| risk.kind == Risk::StateAhead));
        for name in &again {
            for path in [&["sync_run", "progress", "streams"][..], &["engine", "streams"]] {
                edit_known(&mut self.sections, path, name, |stream| {
                    let over = |word: &RawValue| {
                        matches!(word.get(), "\"completed\"" | "\"complete\"" | "\"errored\"" | "\"error\"")
                    };
                    if stream.get("status").is_some_and(|word| over(word)) {
                        stream.insert("status".into(), raw(&"started"));
                        // Rows of ranges reported complete after the failure were not written.
                        for key in ["message", "completed_ranges"] {
                            stream.remove(key);
                        }
                    }
                });
            }
        }
    }

    /// Chooses the state to continue from for each stream: its last checkpoint of the call; without
    /// one the sent state, or the end's state if both have the same position. If the call has no
    /// checkpoints at all, a stream that completed without an error takes the end's state.
    fn merge_answer(&mut self, call: &mut CallAnswer, sent: &Fields, run_id: &str) {
        let returned = call.end.as_mut().and_then(|end| end.state.take());
        if let Some(mut state) = returned {
            let mut ends = streams_of(&state);
            let lost =
                state.contains_key("source") && ends.is_empty() && !(sent.is_empty() && call.checkpoints.is_empty());
            // Engines that fail early return a state without a read position; it is ignored.
            if !state.is_empty() && !lost {
                let lines = std::mem::take(&mut call.checkpoints);
                let checkpoints = !lines.is_empty();
                let mut kept = Fields::new();
                let names: BTreeSet<String> =
                    [&ends, sent, &lines].into_iter().flat_map(|fields| fields.keys().cloned()).collect();
                for name in names {
                    let end = ends.remove(&name);
                    let value = match (lines.get(&name), end) {
                        (Some(line), Some(end)) => {
                            let (before, after) = (state_of(line), state_of(&end));
                            if before.position != after.position {
                                let rows =
                                    after.position.known().map(|it| u64::from(it.page_rows)).filter(|rows| *rows > 0);
                                self.mark_at_risk(&name, StoredRisk { kind: Risk::StateAhead, rows, kept: true });
                            }
                            Some(line.clone())
                        }
                        (Some(line), None) => Some(line.clone()),
                        (None, Some(end)) => {
                            let before = sent.get(&name);
                            let same =
                                before.is_some_and(|before| state_of(before).position == state_of(&end).position);
                            let whole =
                                !checkpoints && call.completed.contains(&name) && !call.failed.contains_key(&name);
                            if same || whole { Some(end) } else { before.cloned() }
                        }
                        (None, None) => sent.get(&name).cloned(),
                    };
                    kept.extend(value.map(|value| (name, value)));
                }
                let global = call.checkpoint.take();
                if state.contains_key("source") || !kept.is_empty() || global.is_some() {
                    edit(&mut state, "source", |source| {
                        source.insert("streams".into(), raw(&kept));
                        source.extend(global.map(|global| ("global".to_owned(), global)));
                    });
                }
                self.sections = state;
                return;
            }
        }
        if call.checkpoints.is_empty() && call.checkpoint.is_none() {
            return;
        }
        edit(&mut self.sections, "source", |source| {
            edit(source, "streams", |streams| streams.append(&mut call.checkpoints));
            let global = call.checkpoint.take();
            source.extend(global.map(|global| ("global".to_owned(), global)));
            source.entry("global".into()).or_insert_with(|| raw(&json!({})));
        });
        self.sections.entry("destination".into()).or_insert_with(|| raw(&json!({})));
        let ceiling = call.ceiling.map(|at| raw(&time::iso(at)));
        if let Some(progress) = call.progress.take() {
            edit(&mut self.sections, "sync_run", |run| {
                run.insert("run_id".into(), raw(&run_id));
                run.insert("progress".into(), progress);
                if let Some(ceiling) = ceiling {
                    run.entry("time_ceiling".into()).or_insert(ceiling);
                }
            });
            return;
        }
        self.uncounted += 1;
        edit(&mut self.sections, "engine", |engine| {
            edit(engine, "streams", |known| {
                for (name, status) in std::mem::take(&mut call.streams) {
                    edit(known, &name, |stream| {
                        for key in ["status", "cumulative_record_count"] {
                            let said = status.get(key).filter(|said| *said != "range_complete");
                            stream.extend(said.map(|said| (key.to_owned(), raw(said))));
                        }
                    });
                }
            });
            edit(engine, "global", |global| {
                let totals = call.totals.take().unwrap_or_default();
                let said = totals.as_object().into_iter().flatten().filter(|(key, _)| key.starts_with("cumulative_"));
                global.extend(said.map(|(key, count)| (key.clone(), raw(count))));
                if let Some(ceiling) = ceiling {
                    global.entry("time_ceiling".into()).or_insert(ceiling);
                }
            });
        });
    }
}

fn state_of(data: &RawValue) -> State<'_> {
    source_state(data.get()).unwrap_or_default()
}

/// Returns the source states of the streams in a state.
pub fn streams_of(state: &Fields) -> Fields {
    let mut source = state.get("source").and_then(|source| fields(source)).unwrap_or_default();
    take_object(&mut source, "streams").unwrap_or_default()
}

/// Changes the object `name` below a path, if it exists.
fn edit_known(of: &mut Fields, path: &[&str], name: &str, change: impl FnOnce(&mut Fields)) {
    let (key, rest) = path.split_first().map_or((name, None), |(key, rest)| (*key, Some(rest)));
    let Some(mut inner) = of.get(key).and_then(|inner| fields(inner)) else { return };
    match rest {
        Some(rest) => edit_known(&mut inner, rest, name, change),
        None => change(&mut inner),
    }
    of.insert(key.to_owned(), raw(&inner));
}

/// Changes a field that is an object; creates a missing one.
fn edit(of: &mut Fields, key: &str, change: impl FnOnce(&mut Fields)) {
    let mut inner = of.get(key).and_then(|inner| fields(inner)).unwrap_or_default();
    change(&mut inner);
    of.insert(key.to_owned(), raw(&inner));
}
