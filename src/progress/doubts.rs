//! A claim is not evidence: where they disagree, that is a doubt beside the outcome.

use super::{Exit, Progress, count};
use crate::protocol::{EndWord, Status};
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Doubt {
    pub kind: &'static str,
    pub stream: Option<Arc<str>>,
    pub message: String,
}

/// All doubts about the last attempt, by stream.
#[must_use]
pub fn doubts(progress: &Progress) -> Vec<Doubt> {
    let mut all = Vec::new();
    let end = progress.attempt.end.as_ref();
    let ended = end.is_some() || progress.closed;
    let mut synced = false;
    for stream in progress.streams_by_name() {
        let mut doubt = |kind, message| all.push(Doubt { kind, stream: Some(stream.label.clone()), message });
        synced |= stream.took_part() || stream.complete_said || !matches!(stream.status, Status::NotStarted);
        if stream.overwritten {
            doubt("error_overwritten", "an error ended it, then the engine said \"complete\" over it".into());
        }
        if stream.left > 0 {
            doubt(
                "ranges_left",
                format!("the engine says complete, the source's state has {} ranges left to read", stream.left),
            );
        }
        if ended && stream.reported && stream.counted > 0 && stream.records.attempt.is_some_and(|n| n != stream.counted)
        {
            let said = stream.records.attempt.unwrap_or(0);
            doubt("record_count_mismatch", format!("{} reported, {} counted", count(said), count(stream.counted)));
        }
        if let Some((said, counted)) = stream.miscounted {
            let (said, counted) = (count(said), count(counted));
            doubt(
                "record_count_mismatch",
                format!("a checkpoint says {said} records since the one before, {counted} came"),
            );
        }
        if ended && stream.counted > 0 && !stream.hidden && stream.metered.is_some_and(|told| told != stream.counted) {
            let told = count(stream.metered.unwrap_or(0));
            doubt("record_count_mismatch", format!("{told} told by its metrics, {} counted", count(stream.counted)));
        }
        if ended && !progress.arrived(stream) {
            let there = count(stream.committed.unwrap_or(0));
            doubt(
                "record_count_mismatch",
                format!("{} emitted, {there} confirmed by the destination", count(stream.seen)),
            );
        }
        if progress.closed && end.is_none() && stream.asked && stream.status == Status::NotStarted {
            doubt("nothing_synced", "it was asked for, and the engine never spoke of it".into());
        }
        if stream.recounts() {
            doubt(
                "recount_after_resume",
                "it went on from an earlier attempt: rows read twice may be counted twice".into(),
            );
        }
    }
    let mut whole = |kind, message: String| all.push(Doubt { kind, stream: None, message });
    let stopped = progress.was_stopped();
    if progress.exit == Some(Exit::Code(0))
        && end.is_none()
        && let Some(open) = progress
            .streams_by_name()
            .find(|stream| stream.status == Status::Started || (stream.status == Status::Errored && stopped))
    {
        whole("exit_zero_open_stream", format!("the engine exited with 0 while {} was still open", open.label));
    }
    if let Some((said, counted)) = progress.commits.miscounted {
        let (said, counted) = (count(said), count(counted));
        let text = format!("a checkpoint of all streams says {said} records since the one before, {counted} came");
        whole("record_count_mismatch", text);
    }
    if let Some(end) = end {
        if end.word == EndWord::Unknown || (end.word == EndWord::Unsaid && end.has_more.is_none()) {
            let reason = end.reason.as_deref().unwrap_or("nothing");
            whole("unknown_end", format!("the engine ended with a reason that nobody knows: {reason}"));
        }
        let nothing_started =
            end.word == EndWord::StillStarted && end.has_more != Some(true) && progress.streams.is_empty();
        if !synced && (end.claims_complete() || nothing_started) {
            whole(
                "nothing_synced",
                "the engine came to an end and no stream was synced: is a name it was asked for unknown?".into(),
            );
        } else if end.claims_complete() {
            for name in progress.asked.iter().filter(|name| progress.stream(name).is_none()) {
                all.push(Doubt {
                    kind: "nothing_synced",
                    stream: Some(name.clone()),
                    message: "it was asked for, and the engine never spoke of it".into(),
                });
            }
        }
    }
    all
}
