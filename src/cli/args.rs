//! Arguments of the command line, from which clap derives `--help`, the man page and the shell
//! completions.

use crate::cli::remote_args::{ConfigArgs, ConnectArgs, PipelinesArgs, SyncArgs, TaskArgs, WaitArgs};
use crate::cli::values::{address, at_least_one, copy, replay_speed, seconds, speed};
use crate::net::source::child::ChildInput;
use crate::net::source::error::SourceError;
use crate::net::source::sidecar::Sidecar;
use clap::{Args as ClapArgs, CommandFactory, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::sync::Arc;
use synctop_core::ResultClass;
use synctop_core::protocol::catalog::{self, Catalog};
use synctop_core::protocol::quantity::{size, span};
use synctop_core::protocol::{Decoder, MAX_STREAMS, ProtocolSelection};
use synctop_core::reduce::Exit;

/// top for data syncs: watch live syncs, replay saved logs, triage parked pipelines.
///
/// Without SOURCE on a terminal, synctop opens a demo: a pipeline service in the same process with
/// simulated pipelines, some of them parked. Piped input is read: `engine | synctop`.
#[derive(Debug, Parser)]
#[command(name = "synctop", version, max_term_width = 100)]
#[command(after_long_help = AFTER_HELP)]
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

const AFTER_HELP: &str = "\
Examples:
  synctop                              open the demo: a fleet of simulated pipelines
  synctop sync.ndjson                  watch a file through appends and rotation
  engine | synctop                     watch a pipe (keys still work)
  synctop run -- engine --flag         start an engine and watch it: an Airbyte connector, a Singer tap
  synctop summary sync.ndjson          summarize a saved log
  synctop summary --json sync.ndjson.zst
  synctop summary tap.ndjson --stderr tap.stderr --exit-code 0    with the stderr and exit code of a tap
  synctop summary --at 08:31:20 sync.ndjson
  synctop replay sync.ndjson           replay a saved log: play, step, jump to errors
  engine | synctop tee | loader        pass the bytes through; progress on stderr
  synctop simulate everything | synctop     a simulated log with most faults
  synctop backfill http://127.0.0.1:4010 --pipeline p.json --state s.json > log.ndjson
  synctop serve                        run the pipeline service on http://127.0.0.1:4020
  synctop connect http://127.0.0.1:4020    show its fleet; resume and verify
  synctop pipelines list               list the fleet without a screen
  synctop wait acct_1 --for status=ready --timeout 5m
  synctop sync acct_1                  run a pipeline now and wait for the result

Exit codes:
  0   done
  1   failed, or done with errors
  2   not finished: cut off by a limit, aborted, truncated, or still running
  3   mixed (several pipelines); 4 no such pipeline, task or address; 69 service or engine unreachable; 77 not allowed
  64  wrong usage; 65 nothing in the input was understood; 66 no such file
  70  output or terminal cannot be written; 101 a bug in synctop
  130 interrupted, 141 the reader of the output exited, 143 terminated (128 + signal); run: the engine's own non-zero code first
  tee, track: 0 when everything was passed on; tee --exit-status: as above; simulate: 0, also if its reader exited

Environment: NO_COLOR (no colors), SYNCTOP_THEME, SYNCTOP_GLYPHS.
synctop sends nothing anywhere: no telemetry, no update check. It connects only to the address that you give.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Summarize a saved log or a pipe, without a screen
    Summary(SummaryArgs),
    /// Replay a saved log: play, step, jump to errors and times
    Replay(ReplayArgs),
    /// Start an engine and watch it: stdout is the feed, stderr goes to the diagnostics
    Run(RunArgs),
    /// Pass an engine's output through, with progress on stderr: engine | synctop tee | next
    Tee(TeeArgs),
    /// Track raw connector messages: a progress stage as a filter
    Track(TrackArgs),
    /// Call an engine over HTTP until nothing is left: messages on stdout, progress on stderr
    Backfill(BackfillArgs),
    /// Generate a simulated sync: scenarios, paced or unpaced, or served over HTTP
    Simulate(SimulateArgs),
    /// Run the pipeline service: lifecycle of pipelines, HTTP API, waits, events
    Serve(ServeArgs),
    /// Migrate, check, export or import the store of a service
    Store(StoreArgs),
    /// Show the fleet of a service: all pipelines, trouble first; open, resume, verify
    Connect(ConnectArgs),
    /// Manage pipelines without a screen: list, show, create, setup, pause, resume, sync, retry,
    /// delete
    Pipelines(PipelinesArgs),
    /// Wait for a condition of pipelines: one JSON object on stdout, and an exit code
    Wait(WaitArgs),
    /// Run a pipeline and wait for its result: submit, poll, result
    Sync(SyncArgs),
    /// Submit a task to an asynchronous HTTP API described by a file, and wait for its result
    Task(TaskArgs),
    /// Show and edit the services of the configuration
    Config(ConfigArgs),
    /// Print completions for a shell
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff) of synctop or of one command
    Man {
        /// tee, track, backfill, simulate, ...
        command: Option<String>,
    },
}

#[derive(Debug, ClapArgs)]
pub struct WatchArgs {
    /// Read from the start of the file (the default)
    #[arg(long, conflicts_with = "tail")]
    pub from_start: bool,
    /// Start at the end of the file: show new lines only
    #[arg(long)]
    pub tail: bool,
    /// Wait for a missing file
    #[arg(long)]
    pub retry: bool,
    #[command(flatten)]
    pub catalog: CatalogArgs,
    /// Engine URL only: JSON file with source and destination
    #[arg(long, value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
    /// Engine URL only: file with the state of the call, replaced by the returned one
    #[arg(long, value_name = "FILE", requires = "pipeline")]
    pub state: Option<PathBuf>,
    /// Engine URL only: maximum time without output [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = span, requires = "pipeline")]
    pub stall_timeout: Option<std::time::Duration>,
    /// Demo only: store its pipelines in this folder and continue with them next time
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Play the built-in recording of a real engine instead of the demo, at this speed (multiple of
    /// real time)
    #[arg(long, value_name = "SPEED", num_args = 0..=1, require_equals = true, default_missing_value = "1", value_parser = speed)]
    pub recording: Option<f64>,
    /// Panic after the first frame, to test the restoration of the terminal
    #[arg(long, hide = true, value_parser = ["loop", "thread"])]
    pub panic_for_test: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub struct LookArgs {
    /// Colors: `auto` follows the terminal's background; `mono` uses none
    #[arg(long, global = true, value_enum, default_value = "auto", env = "SYNCTOP_THEME")]
    pub theme: ThemeArg,
    /// Characters for marks and bars: `auto` follows the locale
    #[arg(long, global = true, value_enum, default_value = "auto", env = "SYNCTOP_GLYPHS")]
    pub glyphs: GlyphsArg,
    /// Leave the mouse to the terminal, for text selection
    #[arg(long, global = true)]
    pub no_mouse: bool,
    /// Standard sizes of the panes: neither read nor remember those of earlier runs
    #[arg(long, global = true)]
    pub fresh: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ThemeArg {
    Auto,
    Dark,
    Light,
    Mono,
    ColorblindDark,
    ColorblindLight,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GlyphsArg {
    Auto,
    Unicode,
    /// Unicode without braille patterns
    Blocks,
    Ascii,
}

#[derive(Debug, ClapArgs)]
pub struct FeedArgs {
    /// Protocol of the feed; `auto` detects it by the first message
    #[arg(long, global = true, default_value = "auto", value_parser = clap::builder::PossibleValuesParser::new(ProtocolSelection::names()))]
    pub dialect: String,
    /// Maximum number of streams; the records and errors of further ones are only counted
    #[arg(long, global = true, value_name = "N", default_value_t = MAX_STREAMS, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10_000_000))]
    pub max_streams: usize,
}

impl FeedArgs {
    pub(super) fn decoder(&self) -> Decoder {
        let selection = ProtocolSelection::from_name(&self.dialect).unwrap_or_default();
        Decoder::new(selection).with_max_streams(self.max_streams)
    }
}

/// Sidecar files and data of a saved log.
#[derive(Debug, ClapArgs)]
pub struct SidecarArgs {
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

impl SidecarArgs {
    pub(super) fn read(&self) -> Result<Sidecar, crate::cli::error::CommandError> {
        let mut loaded =
            Sidecar { catalog: self.catalog.read()?, exit: self.exit_code.map(Exit::of_shell), ..Sidecar::default() };
        if let Some(path) = &self.stderr {
            let name = path.display().to_string();
            let read = std::fs::File::open(path).and_then(|file| loaded.read_stderr(file));
            read.map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => SourceError::Absent(name),
                _ => SourceError::of(&name, &error),
            })?;
        }
        Ok(loaded)
    }
}

#[derive(Debug, ClapArgs)]
pub struct CatalogArgs {
    /// Catalog of the expected streams: Airbyte's (configured, or `discover` output) or Singer's
    #[arg(long, value_name = "FILE")]
    pub catalog: Option<PathBuf>,
}

impl CatalogArgs {
    pub(super) fn read(&self) -> Result<Option<Arc<Catalog>>, crate::cli::error::CommandError> {
        let Some(path) = &self.catalog else { return Ok(None) };
        let text = crate::cli::files::read_text_file(path, "catalog")?;
        match catalog::read(&text) {
            Some(catalog) => Ok(Some(Arc::new(catalog))),
            None => Err(super::error::CommandError {
                sentence: format!(
                    "{} is not a catalog: it has no list of streams. Pass a configured catalog, or the output of `discover`.",
                    path.display()
                ),
                class: ResultClass::BadData,
            }),
        }
    }
}

#[derive(Debug, ClapArgs)]
pub struct SummaryArgs {
    /// Log, or the parts of one in order; `-` for stdin. May be .gz or .zst
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub beside: SidecarArgs,
    /// Summarize the log up to this position: 08:31:20, "2026-11-20 08:31", +10m, 50%, "line 1200"
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    pub at: Option<String>,
    /// Show the 60 seconds before this position, per stream: retries, records, checkpoints, events
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true, conflicts_with_all = ["at", "quiet"])]
    pub around: Option<String>,
    /// Print one JSON object, with the same shape for every outcome
    #[arg(long)]
    pub json: bool,
    /// Output: text, json, or prometheus for the textfile collector of the node exporter
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "json")]
    pub format: Option<FormatArg>,
    /// Print nothing; the exit code is the result
    #[arg(long, short, conflicts_with_all = ["json", "format"])]
    pub quiet: bool,
    /// Exit with 1 instead of 0 if there is a doubt
    #[arg(long)]
    pub strict: bool,
}

/// Output format of `summary`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    Text,
    Json,
    Prometheus,
}

#[derive(Debug, ClapArgs)]
pub struct ReplayArgs {
    /// Log, or the parts of one in order; `-` for stdin. May be .gz or .zst (decompressed
    /// into a temporary file)
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub beside: SidecarArgs,
    /// Start paused at this position: 08:31:20, "2026-11-20 08:31", +10m, 50%, "line 1200", end
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    pub at: Option<String>,
    /// Speed (multiple of real time): 0.25, 0.5, 1, 2, 4, 10, 30, 60, 100, 300, 1000; 0 is
    /// unlimited
    #[arg(long, default_value = "1", value_parser = replay_speed)]
    pub speed: f64,
    /// Start paused
    #[arg(long)]
    pub paused: bool,
    /// Skip silences of 30 seconds and more
    #[arg(long)]
    pub skip_gaps: bool,
}

#[derive(Debug, ClapArgs)]
pub struct TeeArgs {
    /// Write a copy to this file; compressed if the name ends in .zst
    #[arg(short, long, value_name = "FILE", value_parser = copy)]
    pub output: Option<PathBuf>,
    /// Exit with the code of the outcome instead of 0
    #[arg(long)]
    pub exit_status: bool,
    /// Exit with 1 instead of 0 if there is a doubt
    #[arg(long, requires = "exit_status")]
    pub strict: bool,
    #[command(flatten)]
    pub catalog: CatalogArgs,
    #[command(flatten)]
    pub show: ShowArgs,
}

#[derive(Debug, ClapArgs)]
pub struct TrackArgs {
    /// Requested streams: a file with a catalog message, or a JSON list of names
    #[arg(long, value_name = "FILE")]
    pub catalog: Option<PathBuf>,
    /// File with the state of the last attempt; the new state replaces it
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
    /// URL of the engine: http://127.0.0.1:4010
    #[arg(value_name = "ENGINE_URL")]
    pub engine: String,
    /// JSON file with source, destination and optionally streams
    #[arg(long, value_name = "FILE")]
    pub pipeline: PathBuf,
    /// State file, written after each call; the same command continues from it
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Time limit of one call in seconds [default: none]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub time_limit: Option<f64>,
    /// Checkpoint limit of one call [default: none]; published engines support it with --batch only
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub state_limit: Option<u64>,
    /// Call /pipeline_sync_batch, which returns one end message and no checkpoints: a stream that
    /// does not complete in a call is read again from the start of that call
    #[arg(long)]
    pub batch: bool,
    /// Exit with 1 instead of 0 if there is a doubt
    #[arg(long)]
    pub strict: bool,
    /// Alternative endpoint of the source's API
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// Maximum time a call may send nothing: 90, 90s, 5m
    #[arg(long, default_value = "2m", value_name = "TIME", value_parser = span)]
    pub stall_timeout: Option<std::time::Duration>,
    /// Give up after this many consecutive failed calls without a checkpoint
    #[arg(long, default_value = "8", value_name = "N")]
    pub retries: u32,
    /// Show the full screen; stdout then has no messages (write them to a file with -o)
    #[arg(long)]
    pub watch: bool,
    /// Write all messages to this file; a continued run appends to it, a new run replaces it;
    /// compressed if the name ends in .zst
    #[arg(short, long, value_name = "FILE", value_parser = copy)]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub show: ShowArgs,
}

#[derive(Debug, ClapArgs)]
#[command(after_long_help = SERVE_AFTER)]
pub struct ServeArgs {
    /// Listen address [default: 127.0.0.1:4020]; a token is required except on loopback; port 0
    /// picks a free port
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub listen: Option<std::net::SocketAddr>,
    /// Folder of pipelines, runs and logs [default: $XDG_STATE_HOME/synctop]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Configuration of engines, limits and log retention (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Database that several nodes share, such as postgres://synctop@db.example/synctop, instead of a
    /// file in the data folder
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// File with the password of the database (or the variable PGPASSWORD)
    #[arg(long, value_name = "FILE")]
    pub store_password_file: Option<PathBuf>,
    /// Object store to which closed parts of the logs move, such as file:///mnt/synctop: a folder that
    /// all nodes share
    #[arg(long, value_name = "URL", requires = "store")]
    pub archive: Option<String>,
    /// Name of this node in the list of nodes [default: the name of the machine]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Label of this node, such as region=eu, which pipelines may require (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,
    /// File with the token for full access (or the variable SYNCTOP_TOKEN)
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// File with the token for read access (or the variable SYNCTOP_READ_TOKEN)
    #[arg(long, value_name = "FILE")]
    pub read_token_file: Option<PathBuf>,
    /// Certificate chain of the service, a PEM file: it speaks HTTPS; SIGHUP reads both files again
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Allow plain HTTP off loopback: anyone on the network path can read the token
    #[arg(long, conflicts_with = "tls_cert")]
    pub insecure_http: bool,
    /// Only a proxy reaches this port, and does TLS: the last address of X-Forwarded-For is the
    /// client's; a token is required
    #[arg(long)]
    pub behind_proxy: bool,
    /// Folder of files to which requests may refer as file:/PATH in secret fields (repeatable)
    #[arg(long, value_name = "DIR")]
    pub secret_dir: Vec<PathBuf>,
    /// Log warnings and errors only
    #[arg(long, short)]
    pub quiet: bool,
    /// Print a sample configuration with all settings
    #[arg(long, conflicts_with_all = ["listen", "data_dir", "config", "token_file", "read_token_file"])]
    pub print_config: bool,
}

/// Arguments of `synctop store`.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = STORE_AFTER)]
pub struct StoreArgs {
    #[command(subcommand)]
    pub command: StoreCommand,
}

/// Store of a service: a database, or a data folder.
#[derive(Debug, ClapArgs)]
pub struct StorePlace {
    /// Database that several nodes share, such as postgres://synctop@db.example/synctop
    #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
    pub store: Option<String>,
    /// File with the password of the database (or the variable PGPASSWORD)
    #[arg(long, value_name = "FILE", requires = "store")]
    pub store_password_file: Option<PathBuf>,
    /// Object store with closed parts of the logs, such as file:///mnt/synctop
    #[arg(long, value_name = "URL", requires = "store")]
    pub archive: Option<String>,
    /// Folder of a service with one node [default: $XDG_STATE_HOME/synctop]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Create the tables, or bring them up to date; `serve` does the same when it starts
    Migrate {
        #[command(flatten)]
        place: StorePlace,
    },
    /// Check that all stored data and logs can be read and are whole
    Check {
        #[command(flatten)]
        place: StorePlace,
    },
    /// Write pipelines, states, runs, logs and actions to a file; a database may be in use
    Export {
        #[command(flatten)]
        place: StorePlace,
        /// New file, compressed with zstd and readable by its owner only; - for stdout
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
    /// Read an export into an empty store, completely or not at all
    Import {
        #[command(flatten)]
        place: StorePlace,
        /// Export to read; - for stdin
        #[arg(value_name = "FILE")]
        input: PathBuf,
    },
}

const STORE_AFTER: &str = "\
From one machine to a database that several nodes share, with the service stopped:
  synctop store export -o synctop.export
  synctop store import synctop.export --store postgres://synctop@db.example/synctop
  synctop serve --store postgres://synctop@db.example/synctop

An export has the secrets that were given as values; references stay references.

Exit codes:
  0   done; check: the store is sound
  1   check: something is damaged, one line each
  64  wrong usage, or the store of an import is not empty
  65  the export or the database is damaged, or of a newer synctop
  66  no such file or store; 69 the database cannot be reached
  70  the folder is in use, or the output cannot be written";

/// Parses a label such as `region=eu`.
fn label(text: &str) -> Result<(String, String), LabelError> {
    use synctop_core::fleet::requests::is_label;
    match text.split_once('=') {
        Some((name, value)) if is_label(name) && is_label(value) => Ok((name.to_owned(), value.to_owned())),
        _ => Err(LabelError),
    }
}

/// Label that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("expected NAME=VALUE of letters, digits, -, _, . and /")]
struct LabelError;

const SERVE_AFTER: &str = "\
Prints its address on stdout when ready, and events on stderr. The API is described at /openapi.json.

Example:
  synctop serve &
  curl -X POST localhost:4020/pipelines -d '{\"id\":\"demo\",\"source\":{\"type\":\"simulated\",\"simulated\":{\"speed\":20}},
    \"destination\":{\"type\":\"simulated\"}}'
  curl 'localhost:4020/pipelines/demo/wait?for=ready'
  curl -N 'localhost:4020/pipelines/demo/events?from=start' | synctop

Without a token only programs of this machine may connect. Off loopback the service needs a token, and
--tls-cert, --behind-proxy or --insecure-http.
On SIGTERM or SIGINT calls stop at a safe point, waits get 503 with Retry-After, and the exit code is 0.

Exit codes:
  0   stopped on request
  64  wrong usage, or a token is missing or too short
  65  the configuration or the certificate is invalid; 66 no such file; 77 it may not be read
  69  the database cannot be reached
  70  it cannot listen, the folder is in use or unusable, or a newer synctop wrote the store
  130, 143 a second signal";

/// Display options of commands that print progress on stderr.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub struct ShowArgs {
    /// Progress on stderr: `auto` draws in place on a terminal, otherwise prints one line per
    /// change and one per minute; `always` draws in place; `never` prints the result only
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
    /// Engine's stdin: `auto` passes piped input through, otherwise opens an idle terminal;
    /// `inherit` passes the input through or fails; `null` is empty
    #[arg(long, value_enum, default_value = "auto")]
    pub stdin: StdinArg,
    #[command(flatten)]
    pub catalog: CatalogArgs,
    /// Exit with 1 instead of 0 if there is a doubt
    #[arg(long)]
    pub strict: bool,
    /// Engine and its arguments
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
    /// Scenario by name (healthy, large, rate-limited, parked, flaky, everything) or TOML file; or
    /// a log of any size: `read` is mostly records, `sync` is transitions, checkpoints and logs
    #[arg(value_name = "SCENARIO")]
    pub scenario: String,
    /// Generation of the messages [default: progress, which counts at every checkpoint; read and
    /// sync: trace]
    #[arg(long, value_enum)]
    pub generation: Option<FormArg>,
    /// Write without pacing
    #[arg(long)]
    pub no_pace: bool,
    /// Speed of a paced log, a multiple of real time
    #[arg(long, default_value = "1", value_parser = speed, conflicts_with = "no_pace")]
    pub speed: f64,
    /// Random seed of the log [default: that of the scenario; read and sync: 1]
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub of_scenario: ScenarioArgs,
    #[command(flatten)]
    pub of_size: GeneratorArgs,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Options of scenarios")]
pub struct ScenarioArgs {
    /// Serve the scenario as an HTTP engine on this address (port 0 picks one; the address is
    /// printed): /health, /pipeline_check, /pipeline_setup, /pipeline_sync, /pipeline_read
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["raw", "records", "state", "time_limit", "state_limit"])]
    pub listen: Option<std::net::SocketAddr>,
    /// Print the TOML of the scenario
    #[arg(long)]
    pub print: bool,
    /// Include records in the output
    #[arg(long)]
    pub records: bool,
    /// Make one call and print the source's raw messages, for `synctop track`
    #[arg(long)]
    pub raw: bool,
    /// Make one call that continues from this state and replaces it (faults restart with each
    /// process)
    #[arg(long, value_name = "FILE", conflicts_with = "raw")]
    pub state: Option<PathBuf>,
    /// Make one call with this time limit in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub time_limit: Option<f64>,
    /// Make one call with this checkpoint limit
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub state_limit: Option<u64>,
    /// File to which the destination appends rows, one JSON line each
    #[arg(long, value_name = "FILE")]
    pub destination: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Options of read and sync")]
pub struct GeneratorArgs {
    /// Size of the log: 800, 64kB, 300MB, 2GiB [default: 10MB]
    #[arg(long, value_parser = size)]
    pub size: Option<u64>,
    /// Number of streams [default: 60]
    #[arg(long, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    pub streams: Option<usize>,
    /// Mean size of a record's data in bytes [default: 800]
    #[arg(long, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(50..=10_000_000))]
    pub record_size: Option<usize>,
    /// Errors per million checkpoints [default: 1000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub errors: Option<u32>,
    /// Damaged lines per million [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub malformed: Option<u32>,
    /// Calls of the engine, all but the last cut off by a limit [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub attempts: Option<u32>,
}

/// Global options of the screen and of the decoder, with the commands that use them. Every command
/// accepts them; only the help of `synctop` and of these commands lists them.
const USED_BY: [(&str, &[&str]); 6] = [
    ("theme", &["replay", "run", "tee", "backfill", "connect"]),
    ("glyphs", &["replay", "run", "tee", "backfill", "connect"]),
    ("no_mouse", &["replay", "run", "backfill", "connect"]),
    ("fresh", &["replay", "run", "backfill", "connect"]),
    ("dialect", &["summary", "replay", "run", "tee", "backfill"]),
    ("max_streams", &["summary", "replay", "run", "tee", "backfill"]),
];

/// Builds the clap command for parsing, help, man page and completions.
#[must_use]
pub fn command() -> clap::Command {
    let mut whole = Args::command();
    // `build` copies the global options into each command, where they can be hidden.
    whole.build();
    whole.mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        hide_unused(command, &name)
    })
}

fn hide_unused(command: clap::Command, name: &str) -> clap::Command {
    let used = |id: &str| USED_BY.iter().all(|(option, by)| *option != id || by.contains(&name));
    command
        .mut_args(|arg| if used(arg.get_id().as_str()) { arg } else { arg.hide(true) })
        .mut_subcommands(|inner| hide_unused(inner, name))
}

/// Returns the command whose name is most similar to `word`, if it is similar enough.
#[must_use]
pub fn similar_command(word: &str) -> Option<String> {
    const SIMILAR: f64 = 0.82;
    let command = Args::command();
    let names = command.get_subcommands().map(|it| it.get_name().to_owned());
    let scored = names.map(|name| (strsim::jaro_winkler(&name, word), name));
    let (score, name) = scored.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (score >= SIMILAR).then_some(name)
}
