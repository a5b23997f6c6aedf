//! `synctop simulate SCENARIO`

use super::args::{GenerationArg, ScenarioArg, SimulateArgs};
use super::{Failure, exit};
use crate::engine::generator::{self, Generation, Plan, Scenario};
use crate::protocol::time;
use std::io::{self, ErrorKind};

/// Where the clock of a log begins that is as it always is.
const BEGIN: &str = "2026-11-20T08:00:00.000Z";

pub(super) fn simulate(args: &SimulateArgs) -> Result<u8, Failure> {
    let plan = Plan {
        scenario: match args.scenario {
            ScenarioArg::Read => Scenario::Read,
            ScenarioArg::Sync => Scenario::Sync,
        },
        generation: match args.generation {
            GenerationArg::Trace => Generation::Trace,
            GenerationArg::Progress => Generation::Progress,
        },
        seed: args.seed,
        size: args.size,
        streams: args.streams,
        record_size: args.record_size,
        errors: args.errors,
        malformed: args.malformed,
        attempts: args.attempts,
        begin: time::parse(BEGIN).unwrap_or(0),
        pace: (!args.no_pace).then_some(args.speed),
    };
    match generator::write(&plan, &mut io::stdout().lock()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure { sentence: format!("Cannot write the log: {error}."), code: exit::FAILED })
        }
        _ => Ok(0),
    }
}
