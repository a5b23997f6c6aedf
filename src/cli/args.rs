//! The command line. `--help`, the man page and the completions are made from this.

use super::remote_args::{ConfigArgs, ConnectArgs, PipelinesArgs, SyncArgs, TaskArgs, WaitArgs};
use crate::net::SourceError;
use crate::net::beside::Sidecar;
use crate::net::child::ChildInput;
use crate::progress::Exit;
use crate::protocol::Reading;
use crate::protocol::catalog::{self, Catalog};
use crate::protocol::quantity::{size, span};
use clap::{Args as ClapArgs, CommandFactory, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::sync::Arc;

/// top for data syncs: watch live syncs, replay saved logs, triage parked pipelines.
///
/// Without SOURCE on a terminal, synctop opens a demo: a pipeline service in the same process with simulated pipelines, some of
/// them parked, so that everything can be tried.
/// With something piped in, it reads that: `engine | synctop`.
#[derive(Debug, Parser)]
#[command(name = "synctop", version, max_term_width = 100)]
#[command(after_long_help = AFTER)]
pub struct Args {
    /// Input: a file (followed by name; may be .gz or .zst), `-` for stdin, an engine URL
    /// (http://127.0.0.1:4010/pipeline_sync), called once with --pipeline, or a service URL
    /// (http://127.0.0.1:4020)
    #[arg(value_name = "SOURCE")]
    pub source: Option<String>,
    #[command(flatten)]
    pub watch: WatchArgs,
    #[command(flatten)]
    pub look: LookArgs,
    #[command(flatten)]
    pub feed: FeedArgs,
    #[command(subcommand)]
    pub command: Option<Command>,
}

const AFTER: &str = "\
Examples:
  synctop                              the demo: a fleet of simulated pipelines, to try everything with
  synctop sync.ndjson                  watch a file through appends and rotation
  engine | synctop                     watch a pipe (keys still work)
  synctop run -- engine --flag         start an engine and watch it: an Airbyte connector, a Singer tap (both of its pipes)
  synctop summary sync.ndjson          what became of a saved log, as text
  synctop summary --json sync.ndjson.zst
  synctop summary tap.ndjson --stderr tap.stderr --exit-code 0    what taps tell beside their feed
  synctop summary --at 08:31:20 sync.ndjson
  synctop replay sync.ndjson           the dashboard at any instant of a saved log: play, step, jump to errors
  engine | synctop tee | loader        hand the bytes on; progress on stderr
  synctop simulate everything | synctop     most that can go wrong, in one log
  synctop backfill http://127.0.0.1:4010 --pipeline p.json --state s.json > log.ndjson
  synctop serve                        pipelines as a service on http://127.0.0.1:4020
  synctop connect http://127.0.0.1:4020    its fleet: what is parked and why, resumed and verified
  synctop pipelines list               the same without a screen
  synctop wait acct_1 --for status=ready --timeout 5m
  synctop sync acct_1                  run it now, and see it through

Exit codes:
  0   done
  1   failed, or done with errors
  2   not finished: cut off by a limit, aborted, truncated, or still running
  3   mixed (several pipelines); 4 no such pipeline, task or address; 69 the other side cannot be reached; 77 not allowed
  64  wrong use; 65 nothing in the input was understood; 66 no such file
  70  output or terminal cannot be written; 101 a bug in synctop
  130 interrupted, 141 the reader has gone, 143 terminated (128 + signal); run: the engine's own non-zero code first
  tee, track: 0 when all was handed on; tee --exit-status: as above; simulate: 0, also when its reader has gone

Environment: NO_COLOR (no colours), SYNCTOP_THEME, SYNCTOP_GLYPHS.
synctop sends nothing anywhere: no telemetry, no update check. It calls the engine or service whose address you type.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Summarize a saved log or a pipe, without a screen
    Summary(SummaryArgs),
    /// Go through a saved log with a clock: play, step, jump to errors and times
    Replay(ReplayArgs),
    /// Start an engine and watch its stdout; its stderr goes to the diagnostics
    Run(RunArgs),
    /// Hand an engine's output on byte for byte, and show its progress on stderr: engine | synctop tee | next
    Tee(TeeArgs),
    /// The engine's progress stage as a filter: raw connector messages in, an engine's messages out
    Track(TrackArgs),
    /// Call an engine over HTTP until nothing is left; its messages on stdout, the progress on stderr
    Backfill(BackfillArgs),
    /// A source and an engine out of nothing, to try things with: scenarios, paced like an engine, flat out, or served over HTTP
    Simulate(SimulateArgs),
    /// The pipeline service: pipelines with a lifecycle, an HTTP API to watch them and to wait on them
    Serve(ServeArgs),
    /// The fleet: all pipelines of a service, the parked ones first; open one, act on many
    Connect(ConnectArgs),
    /// Pipelines of a service without a screen: list, show, create, setup, pause, resume, sync, retry, delete
    Pipelines(PipelinesArgs),
    /// Wait for a condition of pipelines: one JSON object on stdout, and an exit code
    Wait(WaitArgs),
    /// Run a pipeline and see it through: submit, poll, result
    Sync(SyncArgs),
    /// Submit a task to any asynchronous HTTP API that a file describes, and see it through
    Task(TaskArgs),
    /// Show and edit the services of the configuration
    Config(ConfigArgs),
    /// Print completions for a shell
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff), of all of it or of one command
    Man {
        /// tee, track, backfill, simulate, ...
        command: Option<String>,
    },
}

#[derive(Debug, ClapArgs)]
pub struct WatchArgs {
    /// Read a file from its begin (the default)
    #[arg(long, conflicts_with = "tail")]
    pub from_start: bool,
    /// Start at the end of a file: only new lines
    #[arg(long)]
    pub tail: bool,
    /// Wait for a file that is not there yet
    #[arg(long)]
    pub retry: bool,
    #[command(flatten)]
    pub catalog: CatalogArgs,
    /// Engine URL only: JSON file with source and destination
    #[arg(long, value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
    /// Of an engine's URL: the state that the call goes on from, replaced by its own
    #[arg(long, value_name = "FILE", requires = "pipeline")]
    pub state: Option<PathBuf>,
    /// Engine URL only: maximum silence [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = span, requires = "pipeline")]
    pub stall_timeout: Option<std::time::Duration>,
    /// Of the demo: keep its pipelines there, and go on with them the next time
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Instead of the demo play the built-in recording of a real engine, so many times as fast as it was made
    #[arg(long, value_name = "SPEED", num_args = 0..=1, require_equals = true, default_missing_value = "1", value_parser = speed)]
    pub recording: Option<f64>,
    /// Panic after the first picture, to test that the terminal is given back
    #[arg(long, hide = true, value_parser = ["loop", "thread"])]
    pub panic_for_test: Option<String>,
}

fn speed(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|speed| (0.01..=1e6).contains(speed))
        .ok_or_else(|| "a number from 0.01 to 1000000".into())
}

#[derive(Debug, ClapArgs)]
pub struct LookArgs {
    /// Colours: dark and light follow the terminal when `auto`; mono uses none
    #[arg(long, global = true, value_enum, default_value = "auto", env = "SYNCTOP_THEME")]
    pub theme: ThemeArg,
    /// Characters for marks and bars: `auto` asks the locale
    #[arg(long, global = true, value_enum, default_value = "auto", env = "SYNCTOP_GLYPHS")]
    pub glyphs: GlyphsArg,
    /// Leave the mouse to the terminal (for selecting text)
    #[arg(long, global = true)]
    pub no_mouse: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ThemeArg {
    Auto,
    Dark,
    Light,
    Mono,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GlyphsArg {
    Auto,
    Unicode,
    Ascii,
}

#[derive(Debug, ClapArgs)]
pub struct FeedArgs {
    /// Protocol of the feed; `auto` detects it by the first message
    #[arg(long, global = true, default_value = "auto", value_parser = clap::builder::PossibleValuesParser::new(Reading::NAMES))]
    pub dialect: String,
}

impl FeedArgs {
    pub(super) fn dialect(&self) -> Reading {
        Reading::named(&self.dialect).unwrap_or_default()
    }
}

/// Facts about a saved log that stand beside it.
#[derive(Debug, ClapArgs)]
pub struct BesideArgs {
    /// File with the engine's stderr (taps report errors, statuses and counts there); may be .gz or
    /// .zst
    #[arg(long, value_name = "FILE")]
    pub stderr: Option<PathBuf>,
    /// Exit code of the engine's process, as a shell reports it (128 + signal)
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(i32).range(0..=255))]
    pub exit_code: Option<i32>,
    #[command(flatten)]
    pub catalog: CatalogArgs,
}

impl BesideArgs {
    pub(super) fn read(&self) -> Result<Sidecar, super::CommandError> {
        let mut beside = Sidecar::default();
        beside.catalog = self.catalog.read()?;
        beside.exit = self.exit_code.map(|code| match Exit::Code(code).signal() {
            Some(signal) => Exit::Signal(signal),
            None => Exit::Code(code),
        });
        if let Some(path) = &self.stderr {
            let name = path.display().to_string();
            let read = std::fs::File::open(path).and_then(|file| beside.stderr(file));
            read.map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => SourceError::Absent(name),
                _ => SourceError::of(&name, &error),
            })?;
        }
        Ok(beside)
    }
}

#[derive(Debug, ClapArgs)]
pub struct CatalogArgs {
    /// Catalog of the expected streams: Airbyte's (configured, or `discover` output) or Singer's
    #[arg(long, value_name = "FILE")]
    pub catalog: Option<PathBuf>,
}

impl CatalogArgs {
    pub(super) fn read(&self) -> Result<Option<Arc<Catalog>>, super::CommandError> {
        let Some(path) = &self.catalog else { return Ok(None) };
        let text = super::text_of(path, "catalog")?;
        match catalog::read(&text) {
            Some(catalog) => Ok(Some(Arc::new(catalog))),
            None => Err(super::CommandError {
                sentence: format!(
                    "{} is no catalog: it has no list of streams. Name a configured catalog, or what `discover` printed.",
                    path.display()
                ),
                code: super::exit::NOT_UNDERSTOOD,
            }),
        }
    }
}

#[derive(Debug, ClapArgs)]
pub struct SummaryArgs {
    /// Log, or several as attempts in order; `-` for stdin. May be .gz or .zst
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub beside: BesideArgs,
    /// Summary as of a place: 08:31:20, "2026-11-20 08:31", +10m, 50%, "line 1200"
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    pub at: Option<String>,
    /// One JSON object, the same shape for every outcome
    #[arg(long)]
    pub json: bool,
    /// Print nothing; the exit code is the result
    #[arg(long, short, conflicts_with = "json")]
    pub quiet: bool,
    /// End with 1 where a doubt stands and it would have been 0
    #[arg(long)]
    pub strict: bool,
}

#[derive(Debug, ClapArgs)]
pub struct ReplayArgs {
    /// Logs, as attempts in order; `-` for stdin. May be .gz or .zst (decompressed into a temporary
    /// file)
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub beside: BesideArgs,
    /// Begin there, paused: 08:31:20, "2026-11-20 08:31", +10m, 50%, "line 1200", end
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    pub at: Option<String>,
    /// Multiple of the log's clock: 0.25, 0.5, 1, 2, 4, 10, 30, 60, 100, 300, 1000; 0 is unlimited
    #[arg(long, default_value = "1", value_parser = replay_speed)]
    pub speed: f64,
    /// Begin paused
    #[arg(long)]
    pub paused: bool,
    /// Pass over silences of 30 seconds and more
    #[arg(long)]
    pub skip_gaps: bool,
}

fn replay_speed(text: &str) -> Result<f64, String> {
    let known = crate::app::SPEEDS;
    let asked = text.trim_end_matches('x').parse::<f64>().ok();
    asked.filter(|speed| known.contains(speed)).ok_or_else(|| {
        let known: Vec<_> = known.iter().map(ToString::to_string).collect();
        format!("one of {}", known.join(", "))
    })
}

#[derive(Debug, ClapArgs)]
pub struct TeeArgs {
    /// Keep a copy there; packed if the name ends in .zst
    #[arg(short, long, value_name = "FILE", value_parser = copy)]
    pub output: Option<PathBuf>,
    /// End with the exit code of the outcome, not with 0
    #[arg(long)]
    pub exit_status: bool,
    /// End with 1 where a doubt stands and it would have been 0
    #[arg(long, requires = "exit_status")]
    pub strict: bool,
    #[command(flatten)]
    pub catalog: CatalogArgs,
    #[command(flatten)]
    pub show: ShowArgs,
}

fn copy(text: &str) -> Result<PathBuf, String> {
    match std::path::Path::new(text).extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Err("a copy is written plain or as .zst".into()),
        _ => Ok(text.into()),
    }
}

#[derive(Debug, ClapArgs)]
pub struct TrackArgs {
    /// The streams that are asked for: a catalog message, or a JSON list of names
    #[arg(long, value_name = "FILE")]
    pub catalog: Option<PathBuf>,
    /// The state of the last attempt, which this one goes on from; replaced by its own at its end
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Generation of the written messages
    #[arg(long, value_enum, default_value = "trace")]
    pub generation: FormArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormArg {
    Trace,
    Progress,
}

#[derive(Debug, ClapArgs)]
pub struct BackfillArgs {
    /// The engine: http://127.0.0.1:4010
    #[arg(value_name = "ENGINE_URL")]
    pub engine: String,
    /// JSON file with source, destination and optionally streams
    #[arg(long, value_name = "FILE")]
    pub pipeline: PathBuf,
    /// File that stores the state of the run after each call; the same command continues from it
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Seconds of one call [default: no limit]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub time_limit: Option<f64>,
    /// Checkpoints of one call [default: no limit]; published engines know it with --batch only
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub state_limit: Option<u64>,
    /// Call /pipeline_sync_batch, which answers one end message and no checkpoints: a stream that does not complete in a call
    /// is read again from where the call started
    #[arg(long)]
    pub batch: bool,
    /// End with 1 where a doubt stands and it would have been 0
    #[arg(long)]
    pub strict: bool,
    /// Another endpoint for the API that the source reads
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// The longest silence of a call: 90, 90s, 5m
    #[arg(long, default_value = "2m", value_name = "TIME", value_parser = span)]
    pub stall_timeout: Option<std::time::Duration>,
    /// Consecutive failed calls without a checkpoint before it gives up
    #[arg(long, default_value = "8", value_name = "N")]
    pub retries: u32,
    /// On the full screen; the messages are on stdout without it, and in a file with -o
    #[arg(long)]
    pub watch: bool,
    /// Keep all messages there too, those of a run that goes on behind the others (a new run replaces them); packed if the name
    /// ends in .zst
    #[arg(short, long, value_name = "FILE", value_parser = copy)]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub show: ShowArgs,
}

fn at_least_one(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "a whole number from 1".into())
}

#[derive(Debug, ClapArgs)]
#[command(after_long_help = SERVE_AFTER)]
pub struct ServeArgs {
    /// Listen address [default: 127.0.0.1:4020]; off loopback a token is required; port 0 picks one
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub listen: Option<std::net::SocketAddr>,
    /// Folder of pipelines, runs and logs [default: $XDG_STATE_HOME/synctop]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Engines, limits, and how much of the logs is kept (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A file with the token of those who may do everything (or the variable SYNCTOP_TOKEN)
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// A file with the token of those who may look (or the variable SYNCTOP_READ_TOKEN)
    #[arg(long, value_name = "FILE")]
    pub read_token_file: Option<PathBuf>,
    /// Log warnings and errors only
    #[arg(long, short)]
    pub quiet: bool,
    /// Print a sample configuration with all settings
    #[arg(long, conflicts_with_all = ["listen", "data_dir", "config", "token_file", "read_token_file"])]
    pub print_config: bool,
}

fn address(text: &str) -> Result<std::net::SocketAddr, String> {
    let plain = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    plain.as_deref().unwrap_or(text).parse().map_err(|_| "an address such as 127.0.0.1:4020 or [::1]:4020".into())
}

const SERVE_AFTER: &str = "\
It prints its address on stdout when it serves, and what happens on stderr. The API is described at /openapi.json.

Example:
  synctop serve &
  curl -X POST localhost:4020/pipelines -d '{\"id\":\"demo\",\"source\":{\"type\":\"simulated\",\"simulated\":{\"speed\":20}},
    \"destination\":{\"type\":\"simulated\"}}'
  curl 'localhost:4020/pipelines/demo/wait?for=ready'
  curl -N 'localhost:4020/pipelines/demo/events?from=start' | synctop

Without a token only programs of this machine are heard. It speaks no TLS: off this machine put a proxy that does in front of it.
On SIGTERM or SIGINT it brings calls to a safe point, answers waits with 503 and Retry-After, and ends with 0.

Exit codes:
  0   ended as asked
  64  wrong use, a token that is missing or too short
  65  the configuration is not understood; 66 there is no such file; 77 it may not be read
  70  it cannot listen, or the folder is taken or cannot be used
  130, 143 a second signal";

/// Display options of commands that print progress on stderr.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub struct ShowArgs {
    /// Progress on stderr: `auto` draws in place on a terminal, otherwise one line per change and
    /// one per minute; `always` draws; `never` prints the end only
    #[arg(long, value_enum, default_value = "auto", value_name = "WHEN")]
    pub progress: ProgressArg,
    /// Print nothing on stderr
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressArg {
    Auto,
    Always,
    Never,
}

#[derive(Debug, ClapArgs)]
pub struct RunArgs {
    /// Engine's stdin: `auto` passes piped input on, otherwise opens an idle terminal; `inherit`
    /// passes the input on or fails; `null` is empty
    #[arg(long, value_enum, default_value = "auto")]
    pub stdin: StdinArg,
    #[command(flatten)]
    pub catalog: CatalogArgs,
    /// End with 1 where a doubt stands and it would have been 0
    #[arg(long)]
    pub strict: bool,
    /// The engine and its arguments
    #[arg(last = true, required = true, value_name = "ENGINE")]
    pub engine: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StdinArg {
    Auto,
    Null,
    Inherit,
}

impl From<StdinArg> for ChildInput {
    fn from(stdin: StdinArg) -> Self {
        match stdin {
            StdinArg::Auto => Self::Auto,
            StdinArg::Null => Self::Null,
            StdinArg::Inherit => Self::Inherit,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub struct SimulateArgs {
    /// A scenario by its name (healthy, large, rate-limited, parked, flaky, everything) or a TOML file of your own; or a log of any size:
    /// `read` is nearly all records, `sync` is transitions, checkpoints and logs
    #[arg(value_name = "SCENARIO")]
    pub scenario: String,
    /// Generation of the messages [default: progress, which counts at every checkpoint; read and
    /// sync: trace]
    #[arg(long, value_enum)]
    pub generation: Option<FormArg>,
    /// Write as fast as possible, not when each line's time comes
    #[arg(long)]
    pub no_pace: bool,
    /// Multiple of the clock at which a paced log is written
    #[arg(long, default_value = "1", value_parser = speed, conflicts_with = "no_pace")]
    pub speed: f64,
    /// Another number is another log; a scenario has one of its own
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub of_scenario: OfScenarioArgs,
    #[command(flatten)]
    pub of_size: OfSizeArgs,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Of a scenario")]
pub struct OfScenarioArgs {
    /// Be an HTTP engine there (port 0: any that is free; the address is printed): /health, /pipeline_check, /pipeline_setup,
    /// /pipeline_sync, /pipeline_read
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["raw", "records", "state", "time_limit", "state_limit"])]
    pub listen: Option<std::net::SocketAddr>,
    /// Print the scenario's TOML, to begin one of your own with
    #[arg(long)]
    pub print: bool,
    /// The records are part of the output
    #[arg(long)]
    pub records: bool,
    /// The source's own messages in one call, for `synctop track`
    #[arg(long)]
    pub raw: bool,
    /// One call that continues from this state and replaces it (faults restart with each process)
    #[arg(long, value_name = "FILE", conflicts_with = "raw")]
    pub state: Option<PathBuf>,
    /// One call of so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub time_limit: Option<f64>,
    /// One call of so many checkpoints
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub state_limit: Option<u64>,
    /// Rows that arrive at the destination are added there, a JSON line each
    #[arg(long, value_name = "FILE")]
    pub destination: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|seconds| *seconds > 0.0 && *seconds <= 1e9)
        .ok_or_else(|| "a number of seconds, more than 0".into())
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Of read and sync")]
pub struct OfSizeArgs {
    /// Bytes after which the log comes to its end: 800, 64kB, 300MB, 2GiB [default: 10MB]
    #[arg(long, value_parser = size)]
    pub size: Option<u64>,
    /// [default: 60]
    #[arg(long, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    pub streams: Option<usize>,
    /// Mean bytes of a record's data [default: 800]
    #[arg(long, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(50..=10_000_000))]
    pub record_size: Option<usize>,
    /// Errors in a million checkpoints [default: 1000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub errors: Option<u32>,
    /// Damaged lines in a million [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub malformed: Option<u32>,
    /// Calls of the engine, each but the last cut off by a limit [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub attempts: Option<u32>,
}

/// The whole command line, for help, man page and completions.
#[must_use]
pub fn command() -> clap::Command {
    Args::command()
}
