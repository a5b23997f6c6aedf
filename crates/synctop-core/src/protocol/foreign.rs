//! Logs of tools that print no feed of a known protocol, recognized by the form of a line.

use super::PlatformLog;

/// A tool, and texts that all stand in its log lines.
struct Foreign {
    log: PlatformLog,
    marks: &'static [&'static [&'static str]],
}

const NO_READER: &str = "synctop has no reader for it: see the log itself for the result of the run";

/// Tools whose logs were recorded. Each alternative of marks suffices.
const TOOLS: [Foreign; 4] = [
    Foreign {
        log: PlatformLog { name: "dlt's log", advice: NO_READER },
        marks: &[
            &["\"logger\":\"dlt\"", "\"dlt_version\""],
            &["|dlt|", ":"],
            &["dlt.pipeline.exceptions."],
            &["------ Extract "],
        ],
    },
    Foreign {
        log: PlatformLog { name: "CloudQuery's log", advice: NO_READER },
        marks: &[&["\"module\":\"cli\"", "\"invocation_id\""], &["\"cli_version\"", "\"source_errors\""]],
    },
    Foreign {
        log: PlatformLog { name: "dbt's log", advice: NO_READER },
        marks: &[&["\"info\": {", "\"invocation_id\": ", "\"code\": "], &["Running with dbt="]],
    },
    Foreign {
        log: PlatformLog { name: "Sling's log", advice: NO_READER },
        marks: &[&["\"lvl\":", "Sling CLI | "], &["\"lvl\":", "Sling Replication"]],
    },
];

/// Returns the tool that prints lines of this form.
pub(super) fn log_of(line: &str) -> Option<PlatformLog> {
    let has_all = |marks: &&&[&str]| marks.iter().all(|mark| line.contains(mark));
    TOOLS.iter().find(|tool| tool.marks.iter().any(|marks| has_all(&marks))).map(|tool| tool.log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_of_other_tools_are_named() {
        let lines = [
            (r#"{"process":1,"msg":"x","type":"log","logger":"dlt","version":{"dlt_version":"1.31.0"}}"#, "dlt's log"),
            (r#"{"level":"info","module":"cli","invocation_id":"3a0d","message":"Start sync"}"#, "CloudQuery's log"),
            (r#"{"data": {}, "info": {"code": "A001", "invocation_id": "6db2"}}"#, "dbt's log"),
            (r#"{"lvl":"info","msg":"Sling Replication [2 streams] | file:// -> DUCK"}"#, "Sling's log"),
        ];
        for (line, name) in lines {
            assert_eq!(log_of(line).map(|log| log.name), Some(name));
        }
        assert_eq!(log_of(r#"{"level":"info","message":"dlt and dbt"}"#), None);
    }
}
