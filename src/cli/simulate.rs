//! `synctop simulate SCENARIO`: generates a simulated log.

use crate::cli::args::{FormArg, SimulateArgs};
use crate::cli::error::CommandError;
use crate::cli::exit;
use crate::cli::files::print;
use crate::cli::track::{read_memory, write_state};
use crate::engine::simulator::call::{Call, CallError, Outlet, call};
use crate::engine::simulator::engine::Simulated;
use crate::engine::simulator::generator::{self, Plan};
use crate::engine::simulator::list_api::Api;
use crate::engine::simulator::rows::RowFile;
use crate::engine::simulator::scenario::{SCENARIOS, Scenario};
use crate::engine::simulator::serve;
use crate::engine::tracker::memory::Memory;
use crate::engine::tracker::wire::WireGeneration;
use crate::net::source::error::SourceError;
use crate::util::sys::now;
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use synctop_core::ResultClass;
use synctop_core::protocol::{Millis, time};

/// Start time of a reproducible log.
const START_TIME: &str = "2026-11-20T08:00:00.000Z";

/// Maximum number of calls of one scenario; more are reported as an error.
const MAX_CALLS: u32 = 10_000;

pub(super) fn simulate(args: &SimulateArgs) -> Result<u8, CommandError> {
    let name = args.scenario.as_str();
    let (of, size) = (&args.of_scenario, &args.of_size);
    let of_size = [
        ("--size", size.size.is_some()),
        ("--streams", size.streams.is_some()),
        ("--record-size", size.record_size.is_some()),
        ("--errors", size.errors.is_some()),
        ("--malformed", size.malformed.is_some()),
        ("--attempts", size.attempts.is_some()),
    ];
    let of_scenario = [
        ("--listen", of.listen.is_some()),
        ("--print", of.print),
        ("--records", of.records),
        ("--raw", of.raw),
        ("--state", of.state.is_some()),
        ("--time-limit", of.time_limit.is_some()),
        ("--state-limit", of.state_limit.is_some()),
        ("--destination", of.destination.is_some()),
    ];
    let wrong = if matches!(name, "read" | "sync") { &of_scenario[..] } else { &of_size[..] };
    if let Some((flag, _)) = wrong.iter().find(|(_, said)| *said) {
        return Err(CommandError::usage(format!("{flag} does not belong to {name}. See synctop simulate --help.")));
    }
    match name {
        "read" => generate(args, generator::LogKind::Read),
        "sync" => generate(args, generator::LogKind::Sync),
        name => play(args, name),
    }
}

fn generate(args: &SimulateArgs, scenario: generator::LogKind) -> Result<u8, CommandError> {
    let of = &args.of_size;
    let plan = Plan {
        scenario,
        generation: args.generation.map_or(WireGeneration::Trace, FormArg::form),
        seed: args.seed.unwrap_or(1),
        size: of.size.unwrap_or(10_000_000),
        streams: of.streams.unwrap_or(60),
        record_size: of.record_size.unwrap_or(800),
        errors: of.errors.unwrap_or(1_000),
        malformed: of.malformed.unwrap_or(0),
        attempts: of.attempts.unwrap_or(1),
        begin: time::parse(START_TIME).unwrap_or(0),
        pace: (!args.no_pace).then_some(args.speed),
    };
    match generator::write(&plan, &mut io::stdout().lock()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(unwritable(&error)),
        _ => Ok(exit::DONE),
    }
}

fn unwritable(error: &io::Error) -> CommandError {
    CommandError { sentence: format!("Cannot write the log: {error}."), class: ResultClass::Output }
}

/// Returns the TOML of a built-in scenario or of a file.
fn text(name: &str) -> Result<String, CommandError> {
    if let Some(text) = Scenario::named(name) {
        return Ok(text.to_owned());
    }
    match std::fs::read_to_string(name) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let known: Vec<_> = SCENARIOS.iter().map(|(name, _)| *name).collect();
            let known = known.join(", ");
            Err(CommandError {
                sentence: format!("There is no scenario {name}, and no such file. There are {known}, read and sync."),
                class: ResultClass::NoInput,
            })
        }
        Err(error) => Err(SourceError::of(name, &error).into()),
    }
}

fn play(args: &SimulateArgs, name: &str) -> Result<u8, CommandError> {
    let of = &args.of_scenario;
    let text = text(name)?;
    if of.print {
        print(&text)?;
        return Ok(exit::DONE);
    }
    let mut scenario = Scenario::read(&text).map_err(|why| CommandError {
        sentence: format!("The scenario {name} cannot be read: {why}"),
        class: ResultClass::BadData,
    })?;
    scenario.seed = args.seed.unwrap_or(scenario.seed);
    let rows = match &of.destination {
        None => None,
        Some(path) => {
            Some(RowFile::open(path).map_err(|error| CommandError::unwritable(path, "--destination", &error))?)
        }
    };
    if let Some(address) = of.listen {
        if !address.ip().is_loopback() {
            return Err(CommandError::usage(format!(
                "The simulated engine has no authentication: it listens on loopback only, such as 127.0.0.1:{}.",
                address.port()
            )));
        }
        let engine = Simulated::new(scenario, form(args), (!args.no_pace).then_some(args.speed), rows);
        return serve::run(address, engine, |address| print(&format!("http://{address}\n")).is_ok())
            .map(|()| 0)
            .map_err(|error| CommandError {
                sentence: format!("Cannot listen on {address}: {error}. Name another address, or port 0 for any."),
                class: ResultClass::Output,
            });
    }
    calls(args, scenario, rows)
}

/// Returns the generation of the messages. The default is `progress`, which counts at every
/// checkpoint; with `--raw` it is `trace`, the generation of raw source messages.
fn form(args: &SimulateArgs) -> WireGeneration {
    let default_form = if args.of_scenario.raw { WireGeneration::Trace } else { WireGeneration::Progress };
    args.generation.map_or(default_form, FormArg::form)
}

/// Calls the simulated engine until nothing is left, with the limits of the scenario; or once, with
/// the limits of the command line.
fn calls(args: &SimulateArgs, scenario: Scenario, rows: Option<RowFile>) -> Result<u8, CommandError> {
    let of = &args.of_scenario;
    let once = of.state.is_some() || of.time_limit.is_some() || of.state_limit.is_some() || of.raw;
    let own = scenario.calls.clone();
    let millis = |seconds: f64| u64::try_from(Duration::from_secs_f64(seconds).as_millis()).unwrap_or(u64::MAX);
    let begin = if args.no_pace { time::parse(START_TIME).unwrap_or(0) } else { now() };
    let mut outlet = Stdout { began: Instant::now(), begin, pace: (!args.no_pace).then_some(args.speed), rows };
    let api = Arc::new(Mutex::new(Api::new(scenario)));
    let mut memory = match &of.state {
        Some(path) => read_memory(path)?,
        None => Memory::default(),
    };
    let mut at = begin;
    let looped = !once && (own.time_limit.is_some() || own.state_limit.is_some());
    for _ in 0..MAX_CALLS {
        let call_request = Call {
            form: form(args),
            memory: std::mem::take(&mut memory),
            time_limit_ms: if once { of.time_limit } else { own.time_limit }.map(millis),
            state_limit: if once { of.state_limit } else { own.state_limit },
            begin: at,
            records: of.records,
            raw: of.raw,
            ..Call::default()
        };
        let called = match call(&api, call_request, &mut outlet) {
            Ok(called) => called,
            Err(CallError::Io(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(exit::DONE),
            Err(CallError::Io(error)) => return Err(unwritable(&error)),
            Err(error) => return Err(CommandError::usage(format!("{error}."))),
        };
        if let (Some(path), Some(_)) = (&of.state, &called.outcome) {
            write_state(path, &called.state)?;
        }
        let Some(outcome) = &called.outcome else {
            if of.raw {
                return Ok(exit::DONE);
            }
            return Err(CommandError {
                sentence: "The engine crashed, as the scenario specifies.".into(),
                class: ResultClass::Failed,
            });
        };
        if !looped || !outcome.has_more {
            return Ok(exit::DONE);
        }
        memory = Memory::read(&called.state.to_string()).unwrap_or_default();
        at = called.now.saturating_add(Millis::try_from(millis(own.pause)).unwrap_or(0));
    }
    Err(CommandError {
        sentence: format!("{MAX_CALLS} calls were made, and the scenario has not ended."),
        class: ResultClass::Failed,
    })
}

/// Output to stdout that delays each line until its simulated time, unless pacing is off.
struct Stdout {
    began: Instant,
    begin: Millis,
    pace: Option<f64>,
    rows: Option<RowFile>,
}

impl Outlet for Stdout {
    fn write_lines(&mut self, at: Millis, lines: &[u8]) -> io::Result<()> {
        if let Some(speed) = self.pace {
            let due = Duration::from_millis(u64::try_from(at - self.begin).unwrap_or(0)).div_f64(speed);
            std::thread::sleep(due.saturating_sub(self.began.elapsed()));
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(lines)?;
        stdout.flush()
    }

    fn rows(&mut self, api: &Api, stream: usize, objects: Range<u64>) -> io::Result<()> {
        self.rows.as_ref().map_or(Ok(()), |rows| rows.add(api, stream, objects))
    }
}
