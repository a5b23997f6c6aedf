//! Metrics in the text format of Prometheus (version 0.0.4), for a scrape or for the textfile collector
//! of the node exporter. No label has an unbounded text.

use super::summary::Summary;
use std::fmt::Write as _;

/// Maximum number of streams with metrics of their own.
pub const MAX_STREAM_SERIES: usize = 1_000;

/// Writer of metric families.
#[derive(Debug, Default)]
pub struct MetricsText {
    text: String,
}

/// Type of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum MetricType {
    /// Value that goes up and down.
    Gauge,
    /// Value that only grows.
    Counter,
    /// Distribution in buckets.
    Histogram,
}

/// Labels of a series.
pub type MetricLabels<'a> = &'a [(&'a str, &'a str)];

impl MetricsText {
    /// Starts a family. Its series have to follow before the next family.
    pub fn family(&mut self, name: &str, kind: MetricType, help: &str) {
        let word: &str = kind.into();
        let _ = writeln!(self.text, "# HELP {name} {}", help.replace('\\', "\\\\").replace('\n', "\\n"));
        let _ = writeln!(self.text, "# TYPE {name} {word}");
    }

    /// Adds a series of the current family.
    pub fn series(&mut self, name: &str, labels: MetricLabels, value: f64) {
        self.text.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{label}=\"{escaped}\"");
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = match value {
            value if value == f64::INFINITY => writeln!(self.text, " +Inf"),
            value => writeln!(self.text, " {value}"),
        };
    }

    /// Adds a series if its value is known: unknown is not zero.
    pub fn known(&mut self, name: &str, labels: MetricLabels, value: Option<f64>) {
        if let Some(value) = value {
            self.series(name, labels, value);
        }
    }

    /// Adds a family with one series, if its value is known.
    pub fn single(&mut self, name: &str, kind: MetricType, help: &str, value: Option<f64>) {
        if value.is_some() {
            self.family(name, kind, help);
            self.known(name, &[], value);
        }
    }

    /// Returns the text.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }
}

/// Converts a count. Prometheus has no other numbers.
#[expect(clippy::cast_precision_loss, reason = "counts above 2^53 lose their last digits")]
#[must_use]
pub fn metric(count: u64) -> f64 {
    count as f64
}

/// Returns the metrics of a saved log.
#[must_use]
pub fn summary_metrics(summary: &Summary) -> String {
    let mut text = MetricsText::default();
    text.family("synctop_run_outcome", MetricType::Gauge, "Outcome of the last run of the log");
    text.series("synctop_run_outcome", &[("outcome", summary.outcome)], 1.0);
    let seconds = |millis: Option<u64>| millis.map(|millis| metric(millis) / 1000.0);
    let at = |text: &Option<String>| {
        let at = crate::protocol::time::parse(text.as_deref()?)?;
        u64::try_from(at).ok().map(|at| metric(at) / 1000.0)
    };
    let gauge = MetricType::Gauge;
    text.single("synctop_run_start_timestamp_seconds", gauge, "First message of the run", at(&summary.started_at));
    text.single("synctop_run_last_message_timestamp_seconds", gauge, "Latest message", at(&summary.ended_at));
    let wall = summary.wall_ms.and_then(|millis| u64::try_from(millis).ok());
    text.single("synctop_run_duration_seconds", gauge, "Time from the first to the latest message", seconds(wall));
    text.single("synctop_run_attempts", gauge, "Attempts of the run", Some(f64::from(summary.attempts)));
    let records = summary.records.cumulative.map(metric);
    text.single("synctop_run_records", gauge, "Records of all attempts of the run", records);
    text.single("synctop_run_checkpoints", gauge, "Checkpoints of all streams", Some(metric(summary.checkpoints)));
    let errors: usize = summary.errors.len();
    text.single("synctop_run_errors", gauge, "Groups of equal errors", Some(metric(errors as u64)));
    let doubts = metric(summary.doubts.len() as u64);
    text.single("synctop_run_doubts", gauge, "Doubts about the run", Some(doubts));
    text.family("synctop_stream_status", gauge, "Status of a stream");
    for stream in summary.streams.iter().take(MAX_STREAM_SERIES) {
        text.series("synctop_stream_status", &[("stream", &stream.name), ("status", stream.status)], 1.0);
    }
    text.family("synctop_stream_records", gauge, "Records of a stream in all attempts");
    for stream in summary.streams.iter().take(MAX_STREAM_SERIES) {
        let records = stream.records.cumulative.map(metric);
        text.known("synctop_stream_records", &[("stream", &stream.name)], records);
    }
    text.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_unknown_values_are_left_out() {
        let mut text = MetricsText::default();
        text.family("x", MetricType::Gauge, "A\nB");
        text.series("x", &[("a", "q\"\\\n"), ("b", "")], 1.5);
        text.known("x", &[], None);
        text.single("y", MetricType::Counter, "Y", None);
        assert_eq!(text.finish(), "# HELP x A\\nB\n# TYPE x gauge\nx{a=\"q\\\"\\\\\\n\",b=\"\"} 1.5\n");
    }
}
