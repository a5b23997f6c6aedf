//! `synctop summary FILE|-`

use super::args::{FeedArgs, SummaryArgs};
use super::{Failure, complain, exit, print};
use crate::net::chunks::Chunks;
use crate::net::{SourceError, decompress, parallel};
use crate::progress::{self, Progress};
use crate::protocol::{Decoder, clean};
use std::fs::File;
use std::io::{self, IsTerminal, Read};

pub(super) fn summary(args: &SummaryArgs, feed: &FeedArgs) -> Result<u8, Failure> {
    let name = args.file.display().to_string();
    let decoder = Decoder::new(feed.dialect());
    let mut progress = Progress::default();
    let read = if name == "-" {
        if io::stdin().is_terminal() {
            return Err(Failure::usage(
                "stdin is a terminal. Pipe a log into it, or name a file: synctop summary FILE",
            ));
        }
        read_all(io::stdin(), &mut progress, &decoder)
    } else {
        let file = File::open(&args.file).map_err(|error| SourceError::of(&name, &error))?;
        if file.metadata().is_ok_and(|found| found.is_dir()) {
            return Err(SourceError::Directory(name).into());
        }
        read_all(file, &mut progress, &decoder)
    };
    progress.close(None);
    let progress = &progress;
    if args.json {
        let summary = progress::summary(progress);
        let text = if io::stdout().is_terminal() {
            serde_json::to_string_pretty(&summary)
        } else {
            serde_json::to_string(&summary)
        };
        let text = text
            .map_err(|error| Failure { sentence: format!("Cannot write the summary: {error}."), code: exit::FAILED })?;
        print(&format!("{}\n", clean::json(text)))?;
    } else if !args.quiet {
        print(&progress::report(progress))?;
    }
    if let Err(error) = read {
        return Err(SourceError::of(&name, &error).into());
    }
    if progress.input.messages == 0 {
        if !args.quiet && !args.json {
            complain(&format!(
                "Nothing in {name} was understood. Is it the NDJSON of an engine? --dialect overrides the guess."
            ));
        }
        return Ok(exit::NOT_UNDERSTOOD);
    }
    Ok(progress::outcome(progress).exit_code())
}

fn read_all(input: impl Read + Send, progress: &mut Progress, decoder: &Decoder) -> io::Result<()> {
    let (_, input) = decompress::open(input)?;
    parallel::reduce(Chunks::new(input, 0), decoder, progress, parallel::workers())
}
