//! `synctop man` and `synctop completions`: print the manual page and shell completions.

use crate::cli::error::CommandError;
use crate::cli::files::print;
use crate::cli::{args, exit};
use crate::views::action::Binding;
use crate::views::fleet::action::FLEET_ACTIONS;
use crate::views::run::action::ACTIONS;

/// Paths that the program reads or writes.
const FILES: [(&str, &str); 5] = [
    (
        "$XDG_CONFIG_HOME/synctop/config.toml",
        "Contexts: names, addresses and token references of services. Default base: ~/.config.",
    ),
    (
        "$XDG_STATE_HOME/synctop/fleet.db",
        "Error inbox and action log of connect and pipelines. Default base: ~/.local/state.",
    ),
    ("$XDG_STATE_HOME/synctop/screen.json", "Sizes of the panes. --fresh neither reads nor writes it."),
    ("$XDG_STATE_HOME/synctop/synctop.db", "Store of serve: pipelines, runs, keys, live events, actions."),
    ("$XDG_STATE_HOME/synctop/logs/", "Logs of the runs of serve, in segments that replay opens."),
];

const ENVIRONMENT: [(&str, &str); 8] = [
    ("SYNCTOP_URL, SYNCTOP_CONTEXT", "Service of a command, unless --url or --context selects one."),
    ("SYNCTOP_TOKEN, SYNCTOP_READ_TOKEN", "Token of a service: full access, read access."),
    ("SYNCTOP_CONFIG", "Path of the configuration."),
    ("SYNCTOP_THEME, SYNCTOP_GLYPHS", "Theme and characters of the screen."),
    ("NO_COLOR", "Disables colors."),
    ("SSL_CERT_FILE", "Certificates of the trusted authorities instead of those of the system."),
    ("SYNCTOP_ENGINE_TAG", "Set for engines: marks all their processes, which synctop ends with them."),
    ("XDG_CONFIG_HOME, XDG_STATE_HOME", "Base folders of configuration and state."),
];

const EXIT_STATUS: [(&str, &str); 12] = [
    ("0", "Done."),
    ("1", "Failed, or done with errors; with --strict also done with a doubt."),
    ("2", "Not finished: cut off, aborted, truncated, still running; unknown ending; timeout of a wait."),
    ("3", "Mixed results of several pipelines."),
    ("4", "No such pipeline, task or address."),
    ("64", "Wrong usage."),
    ("65", "Nothing in the input was understood."),
    ("66", "No such file."),
    ("69", "Service or engine unreachable."),
    ("70, 101", "Output or terminal cannot be written; a bug in synctop."),
    ("77", "Not allowed, or read-only."),
    ("128 + n", "Ended by signal n: 130 interrupted, 141 reader gone, 143 terminated."),
];

const EXAMPLES: [(&str, &str); 8] = [
    ("synctop", "Opens the demo: a fleet of simulated pipelines."),
    ("synctop sync.ndjson", "Watches a file through appends and rotation."),
    ("synctop run -- engine --flag", "Starts an engine and watches it."),
    ("synctop replay sync.ndjson", "Replays a saved log."),
    ("synctop summary --json sync.ndjson.zst", "Prints the outcome of a saved log as JSON."),
    ("engine | synctop tee | loader", "Passes bytes through, with progress on stderr."),
    ("synctop connect http://127.0.0.1:4020", "Opens the fleet of a service."),
    ("synctop wait acct_1 --for status=ready --timeout 5m", "Waits for a pipeline."),
];

pub(super) fn man(of: Option<&str>) -> Result<u8, CommandError> {
    let whole = args::command();
    let command = match of {
        None => whole,
        Some(name) => {
            let Some(command) = whole.find_subcommand(name) else {
                let known: Vec<_> =
                    whole.get_subcommands().map(clap::Command::get_name).filter(|it| *it != "help").collect::<Vec<_>>();
                return Err(CommandError::usage(format!(
                    "There is no command {name}. There are {}.",
                    known.join(", ")
                )));
            };
            command.clone()
        }
    };
    let mut page = Vec::new();
    let manual = clap_mangen::Man::new(command);
    manual.render_title(&mut page)?;
    manual.render_name_section(&mut page)?;
    manual.render_synopsis_section(&mut page)?;
    manual.render_description_section(&mut page)?;
    manual.render_options_section(&mut page)?;
    if of.is_none() {
        manual.render_subcommands_section(&mut page)?;
    }
    let owned = |table: &[(&str, &str)]| {
        table.iter().map(|(term, text)| ((*term).to_owned(), (*text).to_owned())).collect::<Vec<_>>()
    };
    match of {
        None => {
            section(&mut page, "KEYS OF A RUN", &keys(ACTIONS));
            section(&mut page, "KEYS OF A FLEET", &keys(FLEET_ACTIONS));
        }
        Some("replay" | "run" | "backfill") => section(&mut page, "KEYS", &keys(ACTIONS)),
        Some("connect") => section(&mut page, "KEYS", &keys(FLEET_ACTIONS)),
        Some(_) => {}
    }
    for (title, table) in [
        ("FILES", owned(&FILES)),
        ("ENVIRONMENT", owned(&ENVIRONMENT)),
        ("EXIT STATUS", owned(&EXIT_STATUS)),
        ("EXAMPLES", owned(&EXAMPLES)),
    ] {
        section(&mut page, title, &table);
    }
    if of.is_none() {
        manual.render_version_section(&mut page)?;
    }
    print(&String::from_utf8_lossy(&page))?;
    Ok(exit::DONE)
}

/// Returns the keys of a table with their effects.
fn keys<O>(table: &[Binding<O>]) -> Vec<(String, String)> {
    table.iter().map(|binding| (binding.keys.join(", "), binding.does.to_owned())).collect()
}

/// Appends a section of terms and their descriptions.
fn section(page: &mut Vec<u8>, title: &str, terms: &[(String, String)]) {
    // `\&` keeps roff from reading a leading dot or quote as a request.
    let escaped = |text: &str| format!("\\&{}", text.replace('\\', "\\e").replace('-', "\\-"));
    page.extend_from_slice(format!(".SH \"{title}\"\n").as_bytes());
    for (term, text) in terms {
        page.extend_from_slice(format!(".TP\n\\fB{}\\fR\n{}\n", escaped(term), escaped(text)).as_bytes());
    }
}

pub(super) fn completions(shell: clap_complete::Shell) -> Result<u8, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "synctop", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(exit::DONE)
}
