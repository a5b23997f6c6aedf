//! File names of the pipeline service's log segments: `run-000007.00000000000001250163.ndjson.zst`
//! is a segment of run 7 that starts at byte 1,250,163 of the pipeline's log. The segments of a run
//! form one log.

use std::path::Path;

/// Parts of a segment's file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentName {
    pub run: u64,
    pub begin: u64,
    pub packed: bool,
}

impl SegmentName {
    #[must_use]
    pub fn name(self) -> String {
        format!("run-{:06}.{:020}.ndjson{}", self.run, self.begin, if self.packed { ".zst" } else { "" })
    }

    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let (name, packed) = match name.strip_suffix(".zst") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let (run, begin) = name.strip_prefix("run-")?.strip_suffix(".ndjson")?.split_once('.')?;
        Some(Self { run: run.parse().ok()?, begin: begin.parse().ok()?, packed })
    }
}

/// True if `after` is a later segment of the same run as `before`. Other files count as a new
/// attempt.
#[must_use]
pub fn is_continuation(before: &Path, after: &Path) -> bool {
    let part = |path: &Path| SegmentName::of(path.file_name()?.to_str()?);
    match (part(before), part(after)) {
        (Some(one), Some(next)) => one.run == next.run && one.begin < next.begin && before.parent() == after.parent(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_segments_of_one_run_form_one_log() {
        let part = SegmentName { run: 7, begin: 1_250_163, packed: true };
        assert_eq!(part.name(), "run-000007.00000000000001250163.ndjson.zst");
        assert_eq!(SegmentName::of(&part.name()), Some(part));
        assert_eq!(SegmentName::of("run-7.ndjson"), None);
        let continues = |one: &str, next: &str| is_continuation(Path::new(one), Path::new(next));
        let (first, second) =
            ("a/run-000007.00000000000000000000.ndjson.zst", "a/run-000007.00000000000000000500.ndjson");
        assert!(continues(first, second) && !continues(second, first));
        assert!(!continues(first, "b/run-000007.00000000000000000500.ndjson"));
        assert!(!continues(first, "a/run-000008.00000000000000000500.ndjson"));
        assert!(!continues("a/x.ndjson", "a/y.ndjson"));
    }
}
