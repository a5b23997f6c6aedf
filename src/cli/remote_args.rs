//! Arguments of the commands for pipelines of a service and for tasks of other APIs.

use crate::cli::values::{WaitLimit, group, limit};
use clap::{Args as ClapArgs, Subcommand};
use std::path::PathBuf;
use synctop_core::protocol::quantity::span;

/// Returns the parser of a name, which must not be empty.
fn name() -> clap::builder::NonEmptyStringValueParser {
    clap::builder::NonEmptyStringValueParser::new()
}

/// Selection of a service.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Service")]
pub struct ServiceArgs {
    /// Service URL, such as http://127.0.0.1:4020 (or SYNCTOP_URL; its token in SYNCTOP_TOKEN)
    #[arg(long, global = true, value_name = "URL", conflicts_with = "context")]
    pub url: Option<String>,
    /// Context of the configuration (or SYNCTOP_CONTEXT)
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Configuration file [default: see `synctop config path`]
    #[arg(long = "config", global = true, value_name = "FILE", env = "SYNCTOP_CONFIG")]
    pub config: Option<PathBuf>,
    /// Folder of the error inbox and the action log [default: $XDG_STATE_HOME/synctop]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
#[command(after_long_help = CONNECT_AFTER)]
pub struct ConnectArgs {
    /// URL or context; otherwise from --url, --context, the environment, or the local service
    #[arg(value_name = "URL|CONTEXT")]
    pub service: Option<String>,
    /// Start armed: actions are enabled without pressing w
    #[arg(long)]
    pub write: bool,
    #[command(flatten)]
    pub of: ServiceArgs,
}

const CONNECT_AFTER: &str = "\
Read-only until armed: w enables actions for ten minutes, and each action is confirmed with its effect. L shows the
action log: user, action, result.

Any pipeline service works: one without events is polled, and the screen says so.

Exit codes:
  0   quit    64 wrong usage, or no terminal    66 the configuration cannot be read    69 the service was never reached
  70  internal error    77 refused by the service    128+N signal N";

#[derive(Debug, ClapArgs)]
#[command(after_long_help = PIPELINES_AFTER)]
pub struct PipelinesArgs {
    #[command(subcommand)]
    pub verb: PipelinesVerb,
    #[command(flatten)]
    pub of: ServiceArgs,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
}

const PIPELINES_AFTER: &str = "\
Each action is verified: took_effect, nothing_ran (accepted without effect), parked_again_same_error,
parked_again_new_error, ran_and_failed, refused, unknown, held_back (skipped). Of several pipelines one is
tried first, then three, then the rest, at most one per second and five at once; it stops when the first one fails or the same
error returns twice.

Exit codes:
  0   took effect on all pipelines that were not left out (a parked or paused one does not run; --json lists left_out)
  1   no effect    2 not known yet    3 mixed
  4   no such pipeline, or none with that error    64 wrong usage    65 a file is not understood    66 a file cannot be read
  69  service unreachable    70 the action log cannot be written    77 not allowed, or the context is read-only

Examples:
  synctop pipelines list
  synctop pipelines list --group parked --json
  synctop pipelines resume acct_1 --why 'key fixed'
  synctop pipelines resume --group parked --dry-run
  synctop pipelines delete acct_1 --yes";

#[derive(Debug, Subcommand)]
pub enum PipelinesVerb {
    /// List all pipelines, trouble first
    List {
        /// Only pipelines of one group: parked, failing, late, stale, backfilling, ready, paused,
        /// deleting
        #[arg(long, value_parser = group)]
        group: Option<synctop_core::fleet::PipelineGroup>,
        /// Only pipelines whose name, engine or error contains this text
        #[arg(long, value_name = "TEXT")]
        grep: Option<String>,
    },
    /// Show all details of one pipeline
    Show {
        #[arg(value_parser = name())]
        pipeline: String,
    },
    /// Explain why a pipeline runs or does not: paused by a client, limit, backoff, schedule, node
    Why {
        #[arg(value_parser = name())]
        pipeline: String,
    },
    /// List the nodes of the service, and the number of pipelines that each one runs
    Nodes,
    /// Create a pipeline from a JSON file (`-`: stdin) with id, source and destination
    Create {
        file: PathBuf,
        /// Skip the engine's connection check
        #[arg(long)]
        skip_check: bool,
    },
    /// Create the destination's schema and tables; existing rows stay
    Setup {
        #[arg(value_parser = name())]
        pipeline: String,
    },
    /// Pause pipelines: they read nothing until they are resumed
    Pause(ActArgs),
    /// Resume paused or parked pipelines from their last checkpoint
    Resume(ActArgs),
    /// Start a run now that reads new data
    Sync(ActArgs),
    /// Start a new run that retries failed streams
    Retry(ActArgs),
    /// Tear down and permanently delete pipelines
    Delete(ActArgs),
}

#[derive(Debug, ClapArgs)]
pub struct ActArgs {
    #[arg(value_name = "PIPELINE", value_parser = name())]
    pub pipelines: Vec<String>,
    /// All pipelines of this group
    #[arg(long, value_parser = group)]
    pub group: Option<synctop_core::fleet::PipelineGroup>,
    /// All pipelines with this error (see `pipelines list --json`)
    #[arg(long, value_name = "FINGERPRINT")]
    pub fingerprint: Option<String>,
    /// Print the plan and the pipelines without changing anything
    #[arg(long)]
    pub dry_run: bool,
    /// Reason, stored in the action log
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
    /// Maximum time of verification; an effect is confirmed after 5 s
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = span)]
    pub timeout: std::time::Duration,
    /// Skip the confirmation (of deletions, and of more than five pipelines)
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_long_help = WAIT_AFTER)]
pub struct WaitArgs {
    #[arg(required = true, value_name = "PIPELINE", value_parser = name())]
    pub pipelines: Vec<String>,
    /// Conditions, all required: status=ready, progress, not-parked, stream:NAME=completed,
    /// error-count=0, deleted, create
    #[arg(long = "for", value_name = "CONDITION", default_value = "status=ready")]
    pub conditions: Vec<String>,
    /// Require only one of the conditions
    #[arg(long)]
    pub any: bool,
    /// Timeout for all pipelines together: 90s, 5m, 0 (check once), or `never`
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = limit, overrides_with = "timeout")]
    pub timeout: WaitLimit,
    /// Give up after this time without progress
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub stall_timeout: Option<std::time::Duration>,
    /// Maximum time to wait for a pipeline to be created
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub wait_for_create: Option<std::time::Duration>,
    /// Ignore events up to this cursor
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
    /// Exit with 1 instead of 0 if there is a doubt
    #[arg(long)]
    pub strict: bool,
    /// Exit code of a timeout instead of 2
    #[arg(long, value_name = "N")]
    pub timeout_exit_code: Option<u8>,
    /// Print errors only
    #[arg(long, short)]
    pub quiet: bool,
    #[command(flatten)]
    pub of: ServiceArgs,
}

const WAIT_AFTER: &str = "\
Prints one JSON object with the same shape for every result: id, target, for, status, desired_status, reached, timed_out, stalled,
reason, doubts, fingerprint, parked_inferred, retry, error, timeout, waited_ms, streams, cursor, resume_hint; for several pipelines
in \"targets\". Changes are on stderr. A broken connection, a 429 and a 5xx are retried. Ctrl-C stops only the wait.

Exit codes:
  0   reached
  1   cannot be reached without action: parked, paused, deleted, or no such stream
  2   timeout (--timeout-exit-code), or no movement (--stall-timeout)
  3   mixed, of several
  4   no such pipeline    64 wrong usage    77 not allowed    130, 143 signals
  69  the service was not reached within the first 5 s, or did not answer for 10 s at the timeout";

/// Options that select one of four ways to follow a task.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Task")]
pub struct PollingArgs {
    /// Submit, print the task's id on stdout, and exit
    #[arg(long, conflicts_with_all = ["task_id", "poll_once", "print_response", "output"])]
    pub submit_only: bool,
    /// Follow a task that was submitted before
    #[arg(long, value_name = "ID", value_parser = name())]
    pub task_id: Option<String>,
    /// Poll once: JSON on stdout; 0 done, 1 failed, 2 still running
    #[arg(long, requires = "task_id")]
    pub poll_once: bool,
    /// Print errors only
    #[arg(long, short)]
    pub quiet: bool,
    /// Polling interval of an API without waits [default: 15s]
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub poll_interval: Option<std::time::Duration>,
    /// Timeout [default: 600s]; then the exit code is 2 and the task may continue
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub timeout: Option<std::time::Duration>,
    /// Print the complete response on stdout
    #[arg(long)]
    pub print_response: bool,
    /// Write response.json and the run's log or the result to this folder
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
#[command(after_long_help = PATTERNS)]
pub struct SyncArgs {
    /// Pipeline to run; optional with --task-id
    #[arg(value_name = "PIPELINE", required_unless_present = "task_id", value_parser = name())]
    pub pipeline: Option<String>,
    #[command(flatten)]
    pub poll_args: PollingArgs,
    /// Exit with 1 instead of 0 if there is a doubt
    #[arg(long)]
    pub strict: bool,
    #[command(flatten)]
    pub of: ServiceArgs,
}

#[derive(Debug, ClapArgs)]
#[command(after_long_help = PATTERNS)]
pub struct TaskArgs {
    /// TOML file that describes the API; --print prints a sample
    #[arg(value_name = "PROFILE", required_unless_present = "print")]
    pub profile: Option<PathBuf>,
    /// Request: JSON, @FILE or - (stdin)
    #[arg(long, value_name = "JSON")]
    pub request: Option<String>,
    /// Print a sample profile and exit: video, vm
    #[arg(long, value_name = "NAME", exclusive = true)]
    pub print: Option<String>,
    #[command(flatten)]
    pub poll_args: PollingArgs,
}

const PATTERNS: &str = "\
Four ways:
  1  default: submit and poll until the end; the expected duration first, then one line per poll on stderr
  2  --submit-only: print the task's id; then --task-id ID --poll-once at any time
  3  --task-id ID: poll a task that was submitted before
  4  -q: any of them, errors only
One invocation never submits twice: an unanswered submission is repeated only with an idempotency key.

Exit codes:
  0   done
  1   failed: the message and the next step are on stderr
  2   not finished: still running, or timeout (the task may continue: --task-id ID)
  4   no such pipeline or task    64 wrong usage    65 the profile or request is invalid    66 it cannot be read
  69  unreachable    70 the result cannot be stored    77 not allowed    130, 143 signals (the task may continue)";

#[derive(Debug, ClapArgs)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub verb: ConfigVerb,
    /// Configuration file [default: $XDG_CONFIG_HOME/synctop/config.toml]
    #[arg(long, global = true, value_name = "FILE", env = "SYNCTOP_CONFIG")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Print the path of the configuration
    Path,
    /// Show the configuration, and whether its tokens can be read
    Show,
    /// Print a sample configuration
    Sample,
    /// Create a sample configuration unless one exists
    Init,
}
