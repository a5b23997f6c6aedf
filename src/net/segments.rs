//! Names of log segments of the pipeline service: `run-000007.00000000000001250163.ndjson.zst` is a
//! segment of run 7 and starts at that byte offset of its pipeline's log. The segments of one run
//! are one log.

use std::path::Path;

/// Parts of a segment's file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub run: u64,
    pub begin: u64,
    pub packed: bool,
}

impl Part {
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

/// True if a file continues the log of the one before it, and is no attempt of its own.
#[must_use]
pub fn goes_on(before: &Path, after: &Path) -> bool {
    let part = |path: &Path| Part::of(path.file_name()?.to_str()?);
    match (part(before), part(after)) {
        (Some(one), Some(next)) => one.run == next.run && one.begin < next.begin && before.parent() == after.parent(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parts_of_one_run_are_one_log() {
        let part = Part { run: 7, begin: 1_250_163, packed: true };
        assert_eq!(part.name(), "run-000007.00000000000001250163.ndjson.zst");
        assert_eq!(Part::of(&part.name()), Some(part));
        assert_eq!(Part::of("run-7.ndjson"), None);
        let goes = |one: &str, next: &str| goes_on(Path::new(one), Path::new(next));
        let (first, second) =
            ("a/run-000007.00000000000000000000.ndjson.zst", "a/run-000007.00000000000000000500.ndjson");
        assert!(goes(first, second) && !goes(second, first));
        assert!(!goes(first, "b/run-000007.00000000000000000500.ndjson"));
        assert!(!goes(first, "a/run-000008.00000000000000000500.ndjson") && !goes("a/x.ndjson", "a/y.ndjson"));
    }
}
