//! Arguments of commands for pipelines of a service and for tasks of other APIs.

use crate::protocol::quantity::span;
use clap::{Args as ClapArgs, Subcommand};
use std::path::PathBuf;

/// A name that is not empty.
fn name() -> clap::builder::NonEmptyStringValueParser {
    clap::builder::NonEmptyStringValueParser::new()
}

/// Selection of a service.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Which service")]
pub struct ServiceArgs {
    /// Its address, such as http://127.0.0.1:4020 (else SYNCTOP_URL; its token, if it needs one, in SYNCTOP_TOKEN)
    #[arg(long, global = true, value_name = "URL", conflicts_with = "context")]
    pub url: Option<String>,
    /// Its name in the configuration (else SYNCTOP_CONTEXT)
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Another configuration than the one `synctop config path` names
    #[arg(long = "config", global = true, value_name = "FILE", env = "SYNCTOP_CONFIG")]
    pub config: Option<PathBuf>,
    /// Folder of the error inbox and the action log [default: $XDG_STATE_HOME/synctop]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
#[command(after_long_help = CONNECT_AFTER)]
pub struct ConnectArgs {
    /// URL or name of a context; otherwise --url, --context, the environment, the local service
    #[arg(value_name = "URL|CONTEXT")]
    pub service: Option<String>,
    /// Armed from the begin: things can be done without pressing w first
    #[arg(long)]
    pub write: bool,
    #[command(flatten)]
    pub of: ServiceArgs,
}

const CONNECT_AFTER: &str = "\
Nothing is changed before it is armed: w arms it for ten minutes, and each action is confirmed with its consequence. What was done, by
whom and what came of it is kept, and shown with L.

It works with any pipeline service: one that tells no events is polled, and the screen says so.

Exit codes:
  0   left    64 wrong use, or no terminal    66 the configuration cannot be read    69 the service was never reached
  70  a failure of our own    77 the service says no to who asks    128+N signal N";

#[derive(Debug, ClapArgs)]
#[command(after_long_help = PIPELINES_AFTER)]
pub struct PipelinesArgs {
    #[command(subcommand)]
    pub verb: PipelinesVerb,
    #[command(flatten)]
    pub of: ServiceArgs,
    /// JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
}

const PIPELINES_AFTER: &str = "\
What is asked of a pipeline is followed until it is known whether it helped: took_effect, nothing_ran (accepted, and nothing came of it),
parked_again_same_error, parked_again_new_error, ran_and_failed, refused, unknown, held_back (not touched). Of several pipelines one is
tried first, then three, then the rest, at most one a second and five at once; it stops by itself when the first one fails or the same
error comes back twice.

Exit codes:
  0   it took effect, of all that were not left out (of several: what is parked or paused is no run now; --json names them in left_out)
  1   it did not    2 it cannot be told yet    3 of some it did
  4   no such pipeline, or none with that error    64 wrong use    65 a file is not understood    66 a file cannot be read
  69  the service cannot be reached    70 it cannot be noted    77 not allowed, or the context is read-only

Examples:
  synctop pipelines list
  synctop pipelines list --group parked --json
  synctop pipelines resume acct_1 --why 'key mended'
  synctop pipelines resume --group parked --dry-run
  synctop pipelines delete acct_1 --yes";

#[derive(Debug, Subcommand)]
pub enum PipelinesVerb {
    /// All pipelines, trouble first
    List {
        /// Only this group: parked, failing, stale, backfilling, ready, paused, deleting
        #[arg(long, value_parser = group)]
        group: Option<crate::fleet::PipelineGroup>,
        /// Only pipelines whose name, engine or error contains this text
        #[arg(long, value_name = "TEXT")]
        grep: Option<String>,
    },
    /// All that is known of one
    Show {
        #[arg(value_parser = name())]
        pipeline: String,
    },
    /// Make one out of a JSON file (`-`: stdin) with id, source and destination
    Create {
        file: PathBuf,
        /// Do not ask the engine first whether it can be reached
        #[arg(long)]
        skip_check: bool,
    },
    /// Create the destination's schema and tables; existing rows stay
    Setup {
        #[arg(value_parser = name())]
        pipeline: String,
    },
    /// Nothing is read any more until it is resumed
    Pause(ActArgs),
    /// Set to active: a paused or parked pipeline continues from its last checkpoint
    Resume(ActArgs),
    /// Start a run now, for new data
    Sync(ActArgs),
    /// A new run, in which streams that failed are tried again
    Retry(ActArgs),
    /// Tear it down; it is gone for good
    Delete(ActArgs),
}

fn group(text: &str) -> Result<crate::fleet::PipelineGroup, String> {
    let all = crate::fleet::PipelineGroup::ALL;
    let words: Vec<_> = all.iter().map(|it| it.word().to_lowercase()).collect();
    all.into_iter()
        .find(|it| it.word().eq_ignore_ascii_case(text))
        .ok_or_else(|| format!("one of {}", words.join(", ")))
}

#[derive(Debug, ClapArgs)]
pub struct ActArgs {
    #[arg(value_name = "PIPELINE", value_parser = name())]
    pub pipelines: Vec<String>,
    /// All of this group
    #[arg(long, value_parser = group)]
    pub group: Option<crate::fleet::PipelineGroup>,
    /// All with this error (see `pipelines list --json`)
    #[arg(long, value_name = "FINGERPRINT")]
    pub fingerprint: Option<String>,
    /// Print the plan and the targets, change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Reason, stored in the action log
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
    /// Maximum time of verification; an effect is confirmed after 5 s
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = span)]
    pub timeout: std::time::Duration,
    /// Do it without asking (a deletion, and more than five)
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
    /// One of several conditions is enough
    #[arg(long)]
    pub any: bool,
    /// For all pipelines together: 90s, 5m, 0 (look once), or `never`
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = limit, overrides_with = "timeout")]
    pub timeout: Limit,
    /// Give up when nothing moves for so long
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub stall_timeout: Option<std::time::Duration>,
    /// Time a pipeline may take to appear
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub wait_for_create: Option<std::time::Duration>,
    /// Ignore events up to this cursor
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
    /// End with 1 where a doubt stands and it would have been 0
    #[arg(long)]
    pub strict: bool,
    /// Another exit code than 2 when the time is over
    #[arg(long, value_name = "N")]
    pub timeout_exit_code: Option<u8>,
    /// Print errors only
    #[arg(long, short)]
    pub quiet: bool,
    #[command(flatten)]
    pub of: ServiceArgs,
}

const WAIT_AFTER: &str = "\
One JSON object on stdout, of the same shape however it ended: id, target, for, status, desired_status, reached, timed_out, stalled,
reason, doubts, fingerprint, parked_inferred, retry, error, timeout, waited_ms, streams, cursor, resume_hint; of several pipelines they stand in
\"targets\". What happens meanwhile is on stderr. A connection that breaks is no result, nor is a 429 or a 500: it is asked again. Ctrl-C
stops the waiting and nothing else.

Exit codes:
  0   reached
  1   it ended elsewhere: parked, paused, deleted, without such a stream, and cannot come to be so by itself
  2   not yet when the time was over (--timeout-exit-code), or nothing moved (--stall-timeout)
  3   mixed, of several
  4   no such pipeline    64 wrong use    77 not allowed    130, 143 signals
  69  the service was not reached within 5 s at the begin, or did not answer for 10 s when the time was over";

/// A time; none is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub Option<std::time::Duration>);

fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "0" | "0s" => Ok(Limit(Some(std::time::Duration::ZERO))),
        "never" => Ok(Limit(None)),
        text => span(text).map(|it| Limit(Some(it))).map_err(|why| format!("{why}, 0 or never")),
    }
}

/// The four ways to see work through.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "How")]
pub struct PatternArgs {
    /// Submit, print the task's id alone on stdout, and leave
    #[arg(long, conflicts_with_all = ["task_id", "poll_once", "print_response", "output"])]
    pub submit_only: bool,
    /// A task that was submitted before: nothing is submitted
    #[arg(long, value_name = "ID", value_parser = name())]
    pub task_id: Option<String>,
    /// Ask exactly once: its JSON on stdout; 0 done, 1 failed, 2 still running
    #[arg(long, requires = "task_id")]
    pub poll_once: bool,
    /// Print errors only
    #[arg(long, short)]
    pub quiet: bool,
    /// Polling interval [default: 15s]
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub poll_interval: Option<std::time::Duration>,
    /// Timeout [default: 600s]; then the exit code is 2 and the task may continue
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub timeout: Option<std::time::Duration>,
    /// Print the whole answer on stdout
    #[arg(long)]
    pub print_response: bool,
    /// Keep response.json and the run's log or the result there
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
#[command(after_long_help = PATTERNS)]
pub struct SyncArgs {
    /// Pipeline; not needed with --task-id
    #[arg(value_name = "PIPELINE", required_unless_present = "task_id", value_parser = name())]
    pub pipeline: Option<String>,
    #[command(flatten)]
    pub how: PatternArgs,
    /// End with 1 where a doubt stands and it would have been 0
    #[arg(long)]
    pub strict: bool,
    #[command(flatten)]
    pub of: ServiceArgs,
}

#[derive(Debug, ClapArgs)]
#[command(after_long_help = PATTERNS)]
pub struct TaskArgs {
    /// A TOML file that describes the API; --print gives one to begin with
    #[arg(value_name = "PROFILE", required_unless_present = "print")]
    pub profile: Option<PathBuf>,
    /// Request: JSON, @FILE or - (stdin)
    #[arg(long, value_name = "JSON")]
    pub request: Option<String>,
    /// Print a profile to begin one's own with: video, vm
    #[arg(long, value_name = "NAME", exclusive = true)]
    pub print: Option<String>,
    #[command(flatten)]
    pub how: PatternArgs,
}

const PATTERNS: &str = "\
Four ways:
  1  submit and poll until it is over: the default. The expected wait first, then a line each time on stderr
  2  --submit-only: the task's id on stdout; then --task-id ID --poll-once, as often as one likes
  3  --task-id ID: the whole poll on a task that was submitted before
  4  -q: any of them, errors only
One invocation never submits twice: what got no answer is sent again only where a key makes it the same submission.

Exit codes:
  0   done
  1   failed: the message and what can be done about it are on stderr
  2   not finished: still running, or the time is over (the task may go on: --task-id ID)
  4   no such pipeline or task    64 wrong use    65 the profile or request is not understood    66 it cannot be read
  69  it cannot be reached    70 what came of it cannot be kept    77 not allowed    130, 143 signals (the task may go on)";

#[derive(Debug, ClapArgs)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub verb: ConfigVerb,
    /// Another configuration than $XDG_CONFIG_HOME/synctop/config.toml
    #[arg(long, global = true, value_name = "FILE", env = "SYNCTOP_CONFIG")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Print the path of the configuration
    Path,
    /// Show the configuration, and which tokens resolve
    Show,
    /// Print one to begin with
    Sample,
    /// Write one to begin with where the configuration is, if there is none yet
    Init,
}
