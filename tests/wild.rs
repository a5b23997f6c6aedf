//! Real cases: logs re-created from public bug reports, or recorded from live runs, with their
//! right answers. Each answer was written down before the program was run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use common::fixture;
use serde_json::Value;
use std::process::Command;

/// One case: its files and options, and the right values.
struct Case {
    /// Log, and further parts of it, in `fixtures/wild`.
    log: &'static str,
    /// Options of `summary`; files are those of the case.
    options: &'static str,
    outcome: &'static str,
    exit: i32,
    /// Streams as `name status records`; records `-` if they are unknown.
    streams: &'static [&'static str],
    /// Text in *why* or *next*, and kinds of the doubts.
    says: &'static [&'static str],
    doubts: &'static [&'static str],
}

const fn case(log: &'static str, options: &'static str, outcome: &'static str, exit: i32) -> Case {
    Case { log, options, outcome, exit, streams: &[], says: &[], doubts: &[] }
}

impl Case {
    const fn streams(self, streams: &'static [&'static str]) -> Self {
        Self { streams, ..self }
    }
    const fn says(self, says: &'static [&'static str]) -> Self {
        Self { says, ..self }
    }
    const fn doubts(self, doubts: &'static [&'static str]) -> Self {
        Self { doubts, ..self }
    }
}

const ZERO: &str = "--exit-code 0";
const ONE: &str = "--exit-code 1";

const CASES: [Case; 68] = [
    case("01-badcreds.ndjson", ONE, "failed", 1)
        .streams(&["assignees errored 0"])
        .says(&["Bad credentials", "check the key"]),
    case("02-stitch500.ndjson", "--stderr 02-stitch500.stderr", "failed", 1)
        .streams(&["commits errored 1", "releases completed 3"])
        .says(&["HTTP-error-code: 500"]),
    case("03-nothing-selected.ndjson", ZERO, "succeeded", 0).says(&["NOTHING SYNCED"]).doubts(&["nothing_synced"]),
    case("04-ppw-mysql.ndjson", "--stderr 04-ppw-mysql.stderr --exit-code 1", "failed", 1)
        .streams(&["tap_mysql_test-binlog_1 completed 2", "tap_mysql_test-binlog_2 errored 1"])
        .says(&["Lost connection to MySQL server during query", "reachable"]),
    case("05-ppw-pg-logbased.ndjson", "--stderr 05-ppw-pg-logbased.stderr --exit-code 1", "failed", 1)
        .streams(&["public-orders errored 0"])
        .says(&["replication slot \"pipelinewise_db\" is active for PID 4711"]),
    case("07-nan.ndjson", ZERO, "succeeded", 0).streams(&["Opportunity completed 5"]).says(&["not_json_number"]),
    case("08-target-states.ndjson", ZERO, "succeeded", 0).streams(&["dw-profile completed -"]).says(&["checkpoints 4"]),
    case("09-hotglue.ndjson", "--stderr 09-hotglue.stderr --exit-code 0", "completed_with_errors", 1)
        .streams(&["contacts completed -"])
        .says(&["400 Client Error: email is invalid"]),
    case("10-meltano-false-success.ndjson", ZERO, "completed_with_errors", 1)
        .streams(&["shop-orders completed 109299"])
        .says(&["target-bigquery", "RetryError: Timeout of 60.0s exceeded"]),
    case("11-meltano-oom.ndjson", ONE, "failed", 1)
        .streams(&["zb-domain errored 100000"])
        .says(&["the extractor was killed by signal 9 (SIGKILL)", "memory"]),
    case("12-meltano-loader.ndjson", ONE, "failed", 1)
        .streams(&["users completed 42"])
        .says(&["PermissionError: [Errno 13] Permission denied: '/tmp/users.csv.gz'", "the loader exited with 1"]),
    case("13-prefect.ndjson", "", "failed", 1)
        .streams(&["deals errored 12"])
        .says(&["the extractor exited with 1", "BrokenPipeError"]),
    case("14-airflow.ndjson", ZERO, "succeeded", 0)
        .streams(&["lines completed 3", "orders completed 7"])
        .says(&["checkpoints 2"]),
    case("15-docker-jsonfile.ndjson", ONE, "failed", 1)
        .streams(&["orders errored 1", "users completed 5"])
        .says(&["config_error, HTTP 403 on orders"]),
    case("16-cri.ndjson", ZERO, "succeeded", 0).streams(&["docs completed 3"]),
    case("17-kubectl.ndjson", ZERO, "succeeded", 0).streams(&["users completed 4"]).says(&["(07:00)"]),
    case("19-journald.ndjson", ONE, "failed", 1)
        .streams(&["orders errored 5"])
        .says(&["429", "lower the request rate"]),
    case("20-gha.ndjson", "", "succeeded", 0).streams(&["issues completed 77"]),
    case("21-utf16.ndjson", ZERO, "succeeded", 0).streams(&["orders completed 9"]),
    case("21b-plain.ndjson", "--exit-code 0 --catalog 21c-utf16-catalog.json", "truncated", 2)
        .streams(&["lines not_started -", "orders completed 1"])
        .doubts(&["nothing_synced"]),
    case("22-crlf-bom.ndjson", ZERO, "succeeded", 0).streams(&["users completed 6"]),
    case("23-script.ndjson", "", "failed", 1).streams(&["users errored 2"]).says(&["boom: token expired"]),
    case("24-rot.log.2.gz 24-rot.log.1.gz 24-rot.log", ZERO, "succeeded", 0).streams(&["orders completed 30"]),
    case("24b-multi.gz", ZERO, "succeeded", 0).streams(&["orders completed 30"]),
    case("24c-cut.gz", ZERO, "truncated", 66).streams(&["orders started 9"]).doubts(&["exit_zero_open_stream"]),
    case("25b-java-error.ndjson", ONE, "failed", 1)
        .streams(&["accounts errored 2"])
        .says(&["permission denied for table accounts"]),
    case("26-worker.log", "", "unknown", 65)
        .says(&["Airbyte's job log, which is not a feed", "run the connector itself"]),
    case("28-shopify.ndjson", ONE, "failed", 1)
        .streams(&["articles completed 4", "metafield_articles errored 0"])
        .says(&["metafield_articles: system_error, FAIL to test error per stream"]),
    case("29-sendgrid.ndjson", ONE, "failed", 1)
        .streams(&["bounces completed 2", "segments errored 0", "stats_automations errored 0"])
        .says(&["status code 403 and error message access forbidden"]),
    case("30-github-nocommit.ndjson", ONE, "failed", 1)
        .streams(&["commits errored 44"])
        .says(&["transient_error, GitHub answered 502"]),
    case("31-all403.ndjson", "--exit-code 0 --catalog 31-catalog.json", "failed", 1)
        .streams(&["issues skipped -", "pulls skipped -"])
        .says(&["403 Client Error: Forbidden", "permission"]),
    case("31-all403.ndjson", ZERO, "failed", 1).streams(&["issues skipped -", "pulls skipped -"]),
    case("35b-pyairbyte-log.txt", ONE, "failed", 1).says(&["none is a message"]),
    case("36b-stripe-faithful.ndjson", "", "failed", 1)
        .streams(&[
            "charge completed 30",
            "customer completed 30",
            "invoice completed 30",
            "price errored 0",
            "product errored 0",
            "refund errored 0",
        ])
        .says(&["price, product, refund: Request rate limit exceeded"]),
    case("38-mssql-dies.ndjson", "--exit-code 137", "truncated", 2).streams(&["big started 24"]).says(&["signal 9"]),
    case("40-sdk-tempstream.ndjson", "--stderr 40-sdk-tempstream.stderr --exit-code 1", "failed", 1)
        .streams(&["repositories errored 0"])
        .says(&["403 Client Error", "rate limit exceeded"]),
    case("42-only-states.ndjson", ZERO, "succeeded", 0).says(&["checkpoints 3"]),
    case("44-torn-merge.ndjson", ZERO, "succeeded", 0).streams(&["orders completed 4"]).doubts(&["lines_lost"]),
    case("46-cloudwatch.ndjson", ONE, "failed", 1).streams(&["orders errored 5"]).says(&["Connection reset by peer"]),
    case("48-check.ndjson", ZERO, "failed", 1).says(&["401 Unauthorized: invalid_grant", "check the key"]),
    case("49-fulltable-nostate.ndjson", ZERO, "succeeded", 0)
        .streams(&["countries completed 3", "orders completed 2"])
        .doubts(&["exit_zero_open_stream"]),
    case("none.stderr", "--stderr 31-all403.stderr --exit-code 0", "failed", 1)
        .streams(&["issues skipped -", "pulls skipped -"])
        .says(&["403 Client Error: Forbidden", "permission"]),
    case("40-sdk-tempstream.ndjson", "--stderr 40-sdk-tempstream.stderr --exit-code 0", "completed_with_errors", 1)
        .streams(&["repositories completed 0"])
        .says(&["403 Client Error", "rate limit exceeded"])
        .doubts(&["exit_zero_open_stream"]),
    case("55-unavailable.ndjson", ZERO, "completed_with_errors", 1)
        .streams(&["issues completed 1", "pulls skipped -"])
        .says(&["pulls", "unavailable"]),
    case("59-three-streams.ndjson", "--stderr 59-three-streams.stderr --exit-code 1", "failed", 1)
        .streams(&["accounts completed 2", "leads completed 1", "tasks errored 1"])
        .says(&["Error syncing tasks: QUERY_TIMEOUT"]),
    case("60-meltano-oom-run.ndjson", ONE, "failed", 1)
        .streams(&["events started 900"])
        .says(&["the loader was killed by signal 9 (SIGKILL)"]),
    case("63-nostatus.ndjson", ZERO, "succeeded", 0).streams(&["rates completed 3"]),
    case("66-secrets.ndjson", ONE, "failed", 1).streams(&["orders errored 1"]).says(&["401", "***"]),
    case("72-faros.ndjson", ZERO, "completed_with_errors", 1)
        .streams(&["faros_builds completed 1"])
        .says(&["403 Forbidden"]),
    case("73-fatal-notrace.ndjson", ONE, "failed", 1)
        .streams(&["a errored 1"])
        .says(&["Connection to host db.internal:5432 refused"]),
    case("77-stripe-joined-late.ndjson", "", "failed", 1)
        .streams(&[
            "charge completed 30",
            "customer completed 30",
            "invoice completed 30",
            "price errored 0",
            "product errored 0",
            "refund errored 0",
        ])
        .says(&["records      90"]),
    case("79-human-loader-fails.txt", "", "failed", 1)
        .streams(&["users completed 42"])
        .says(&["Incorrect username or password was specified", "the loader exited with 1"]),
    case("79b-human44-loader-fails.txt", "", "failed", 1)
        .streams(&["events completed 2500"])
        .says(&["OSError: [Errno 28] No space left on device", "free space"]),
    case("95-namespace.ndjson", "--exit-code 0 --catalog 95-catalog.json", "truncated", 2)
        .streams(&["charges completed 2", "charges not_started -"])
        .says(&["stripe.charges", "unknown_stream"])
        .doubts(&["nothing_synced"]),
    case("96-cron-append-airbyte.ndjson", ZERO, "succeeded", 0)
        .streams(&["users completed 2"])
        .says(&["earlier      1 run"]),
    case("96b-append-then-dies.ndjson", "", "truncated", 2).streams(&["users started 1"]).says(&["earlier      1 run"]),
    case("97-cron-append-singer.ndjson", ZERO, "succeeded", 0)
        .streams(&["orders completed 2"])
        .says(&["earlier      1 run"]),
    case("97b-append-singer-dies.ndjson", "--exit-code 137", "truncated", 2).streams(&["orders started 2"]),
    case("98-dup-close.ndjson", ZERO, "succeeded", 0).streams(&["users completed 2"]).says(&["record_after_complete"]),
    case("L1-decl.ndjson", "--exit-code 1 --catalog L1-cat3.json", "failed", 1)
        .streams(&["forbidden errored 0", "late500 errored 100", "ok completed 200"])
        .says(&["Forbidden (HTTP 403)"]),
    case("L2-smoke.ndjson.zst", ZERO, "succeeded", 0)
        .streams(&[
            "CamelCaseStreamName completed 1",
            "array_of_primitives completed 3",
            "basic_types completed 3",
            "column_naming_edge_cases completed 1",
            "duplicate_primary_keys completed 6",
            "empty_stream completed 0",
            "large_batch_stream completed 5000",
            "large_decimals_and_numbers completed 3",
            "large_string_values completed 2",
            "long_column_names completed 1",
            "nested_json_objects completed 2",
            "null_handling completed 3",
            "schema_with_no_primary_key completed 3",
            "single_record_stream completed 1",
            "sparse_records completed 7",
            "special_number_values completed 7",
            "table_naming_edge_cases completed 1",
            "time_types completed 3",
            "timestamp_types completed 3",
            "unicode_and_special_strings completed 4",
            "union_types completed 3",
            "wide_table_50_columns completed 2",
        ])
        .says(&["records      5,059", "streams      22: 22 completed"]),
    case("L4-netdown.ndjson", ONE, "failed", 1).streams(&["ok errored 0"]).says(&["Connection refused", "reachable"]),
    case("L5.ndjson.zst", "--stderr L5.stderr --exit-code 0", "succeeded", 0).streams(&["events completed 2500"]),
    case("L6.ndjson", "--stderr L6.stderr --exit-code 0", "succeeded", 0)
        .streams(&["events completed 121"])
        .says(&["Skipping invalid JSON at"])
        .doubts(&["rows_left_out"]),
    case("L9-meltano-tapkill.ndjson", ONE, "failed", 1)
        .streams(&["events errored -"])
        .says(&["the extractor was killed by signal 9 (SIGKILL)"]),
    case("L9-meltano-full.ndjson", ONE, "failed", 1)
        .streams(&["events completed 2500"])
        .says(&["target-full: FileNotFoundError: [Errno 2] No such file or directory: '/proc/nope'"]),
    case("L9-human-fail.txt", ONE, "failed", 1)
        .streams(&["events started -"])
        .says(&["FileNotFoundError: [Errno 2] No such file or directory: '/proc/nope'"]),
    case("L11-diskfull.ndjson", "--stderr L11-diskfull.stderr --exit-code 1 --dialect singer", "failed", 1)
        .says(&["No space left on device", "free space"]),
];

/// Runs of published connectors and of Meltano, recorded in November 2026.
const LIVE: [Case; 22] = [
    case("none.stderr", "--stderr live-target-sigkill.stderr --exit-code 137", "truncated", 2)
        .streams(&["first completed 500", "second errored 9500"])
        .says(&["too little memory is likely", "give it more memory"]),
    case("live-tap-closed-pipefail.ndjson", "--stderr live-tap-closed-pipefail.stderr --exit-code 1", "failed", 1)
        .streams(&["people errored 4"])
        .says(&["the program that reads its output has ended"]),
    case("live-meltano-loader-sigkill.ndjson", ONE, "failed", 1)
        .streams(&["first completed 500", "second started -"])
        .says(&["a plugin stopped reading before its input ended"]),
    case("live-meltano-loader-sigkill-human.ndjson", ONE, "failed", 1)
        .streams(&["first completed 500", "second started -"])
        .says(&["BrokenPipeError (the program that reads the output has ended)"]),
    case("live-meltano-tap-exit3.ndjson", ONE, "failed", 1)
        .streams(&["rows not_started -"])
        .says(&["the extractor exited with 3: quota of the day is used up"]),
    case("live-meltano-tap-exit3-human.ndjson", ONE, "failed", 1)
        .streams(&["rows not_started -"])
        .says(&["the extractor failed: quota of the day is used up"]),
    case("live-meltano-loader-denied-human.ndjson", ONE, "failed", 1)
        .says(&["target-fails: FileNotFoundError", "check the path"]),
    case("live-meltano-already-running.ndjson", ONE, "failed", 1)
        .says(&["is already running", "wait until the other run has ended"]),
    case("none.stderr", "--stderr live-meltano-stderr-sigint-uncolored.stderr --exit-code 1", "failed", 1)
        .streams(&["first completed 500", "second errored 15000"])
        .says(&["it was stopped: second"]),
    case("live-meltano-sigterm.ndjson", "--exit-code 143", "aborted", 2)
        .streams(&["first completed 500", "second errored 11700"])
        .says(&["it was stopped: second"]),
    case("none.stderr", "--stderr live-csv-old-crash-interleaved.stderr --exit-code 1", "failed", 1)
        .streams(&["people errored 257"])
        .says(&["has no attribute 'MutableMapping'"]),
    case("none.stderr", "--stderr live-full-tee.stderr --exit-code 1", "failed", 1)
        .streams(&["people errored 478"])
        .says(&["why          OSError: [Errno 28] No space left on device"]),
    case("live-decl-wrong-config.ndjson", "--stderr live-decl-wrong-config.stderr --exit-code 1", "failed", 1)
        .says(&["Invalid config: `__injected", "correct the configuration"]),
    case("none.stderr", "--stderr live-tap-not-installed-in-pipe.stderr --exit-code 0", "failed", 1)
        .says(&["tap-postgres: command not found", "install the command"]),
    case("none.stderr", "--stderr live-tap-sigkill-in-pipe.stderr --exit-code 0", "truncated", 2)
        .streams(&["first completed 500", "second started -"])
        .says(&["was killed by signal 9 (SIGKILL)"])
        .doubts(&["exit_zero_open_stream"]),
    case("none.stderr", "--stderr live-tap-not-executable.stderr --exit-code 126", "failed", 1)
        .says(&["make the file executable"]),
    case("none.stderr", "--stderr live-meltano-stderr-killed-quiet-json.stderr --exit-code 1", "failed", 1)
        .streams(&["first completed 500", "second started -"])
        .says(&["why          the loader was killed by signal 9"]),
    case("live-meltano-key-value-ok.ndjson", ZERO, "unknown", 65)
        .says(&["Meltano's log in a format without messages", "--log-format json"]),
    case("none.stderr", "--stderr live-jsonl-catalog-onlyabsent.stderr --exit-code 0", "succeeded", 0)
        .says(&["NOTHING SYNCED"])
        .doubts(&["nothing_synced"]),
    case("none.stderr", "--stderr live-ro-csv.stderr --exit-code 1", "failed", 1)
        .streams(&["people errored 256"])
        .says(&["Read-only file system", "make that file system writable"]),
    case("live-faker-absent-stream.ndjson", ZERO, "completed_with_errors", 1)
        .streams(&["invoices skipped -", "products completed 100"])
        .says(&["discover the streams again"]),
    case(
        "live-smoke-absent-stream.ndjson",
        "--stderr live-smoke-absent-stream.stderr --exit-code 0",
        "completed_with_errors",
        1,
    )
    .streams(&["basic_types completed 3", "invoices skipped -", "timestamp_types completed 3"])
    .says(&["invoices left out: Stream 'invoices' not found"]),
];

fn summary(case: &Case, json: bool) -> (i32, String) {
    let path = |name: &str| fixture(&format!("wild/{name}")).display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_synctop"));
    command.arg("summary").args(case.log.split(' ').map(path));
    for word in case.options.split_whitespace() {
        let is_file = word.contains('.');
        command.arg(if is_file { path(word) } else { word.to_owned() });
    }
    if json {
        command.arg("--json");
    }
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn every_case_has_its_right_answer() {
    let mut wrong = Vec::new();
    for case in CASES.iter().chain(&LIVE) {
        let name = format!("{} {}", case.log, case.options);
        let (_, json) = summary(case, true);
        let (exit, text) = summary(case, false);
        let json: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut compare = |what: &str, found: String, right: String| {
            if found != right {
                wrong.push(format!("{name}: {what} {found}, right {right}"));
            }
        };
        compare("outcome", json["outcome"].as_str().unwrap().to_owned(), case.outcome.to_owned());
        compare("exit", exit.to_string(), case.exit.to_string());
        let streams: Vec<String> = json["streams"]
            .as_array()
            .unwrap()
            .iter()
            .map(|stream| {
                let records = stream["records"]["cumulative"].as_u64().map_or("-".into(), |count| count.to_string());
                format!("{} {} {records}", stream["name"].as_str().unwrap(), stream["status"].as_str().unwrap())
            })
            .collect();
        compare("streams", format!("{streams:?}"), format!("{:?}", case.streams));
        let doubts: Vec<&str> =
            json["doubts"].as_array().unwrap().iter().map(|doubt| doubt["kind"].as_str().unwrap()).collect();
        compare("doubts", format!("{doubts:?}"), format!("{:?}", case.doubts));
        for says in case.says {
            if !text.contains(says) {
                compare("text", text.clone(), (*says).to_owned());
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn independent_reading_agrees() {
    // The small copies lack the stderr of most recorded runs: without the corpus only the cases count.
    let corpus = common::logs::corpus_root();
    let logs = corpus.clone().unwrap_or_else(common::logs::fixture_root);
    let script = common::logs::root().join("tests/slow_runs.py");
    let binary = env!("CARGO_BIN_EXE_synctop");
    let output =
        Command::new("python3").arg(script).arg(logs).args(["--synctop", binary]).output().expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let differs: Vec<_> = text.lines().filter(|line| !line.ends_with("OK")).collect();
    assert!(text.contains("wild cases, 0 differ"), "{differs:#?}");
    assert!(corpus.is_none() || output.status.success(), "{differs:#?}");
}

#[test]
fn no_secret_of_a_pasted_log_is_printed() {
    let case = CASES.iter().find(|case| case.log.starts_with("66")).unwrap();
    for (_, text) in [summary(case, true), summary(case, false)] {
        for secret in ["hidden111", "secret111", "cs-hidden-222", "hidden333", "hidden444", "hidden555"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}
