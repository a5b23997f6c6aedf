//! Selection of a service and its client, shared by all commands that use one.

use crate::cli::error::CommandError;
use crate::cli::exit;
use crate::cli::files::read_text_file;
use crate::cli::output::sentence;
use crate::cli::remote_args::ServiceArgs;
use crate::net::client::contexts::{self, Contexts, Token};
use crate::net::client::{Client, ClientError, ServiceAddress, StateDb};
use crate::net::source::engine_http::HttpClientError;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use synctop_core::ResultClass;

/// URL of a local service, used if nothing else is configured.
const LOCAL: &str = "http://127.0.0.1:4020";

/// Converts a client error into an error of the command.
pub(super) fn failure(trouble: &ClientError, place: &ServiceAddress) -> CommandError {
    CommandError { sentence: trouble.message(place), class: trouble.class() }
}

/// Reads the configuration. Without `named`, a missing file gives an empty configuration.
///
/// # Errors
///
/// Returns a [`CommandError`] if the file is unreadable or invalid.
pub(super) fn configuration(named: Option<&PathBuf>) -> Result<Contexts, CommandError> {
    let path = match named {
        Some(path) => path.clone(),
        None => match contexts::path().filter(|path| path.exists()) {
            Some(path) => path,
            None => return Ok(Contexts::default()),
        },
    };
    let text = read_text_file(&path, "configuration")?;
    let all = Contexts::read(&text).map_err(|why| CommandError {
        sentence: format!("The configuration {} cannot be read: {why}", path.display()),
        class: ResultClass::BadData,
    })?;
    Ok(Contexts { named: named.cloned(), ..all })
}

/// Selection of a service by the user.
enum ServiceChoice {
    Url(String),
    Context(String),
}

/// Returns the service selected on the command line, otherwise the one in the environment.
///
/// # Errors
///
/// Returns a usage error if SYNCTOP_URL and SYNCTOP_CONTEXT are both set.
fn requested_service(args: &ServiceArgs) -> Result<Option<ServiceChoice>, CommandError> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    Ok(match (&args.url, &args.context) {
        (Some(url), _) => Some(ServiceChoice::Url(url.clone())),
        (None, Some(name)) => Some(ServiceChoice::Context(name.clone())),
        (None, None) => match (set("SYNCTOP_URL"), set("SYNCTOP_CONTEXT")) {
            (Some(_), Some(_)) => {
                return Err(CommandError::usage(
                    "Which service? SYNCTOP_URL and SYNCTOP_CONTEXT are both set: unset one, or pass --url or --context.",
                ));
            }
            (Some(url), None) => Some(ServiceChoice::Url(url)),
            (None, name) => name.map(ServiceChoice::Context),
        },
    })
}

/// Resolves the address of the service. `word` is the URL or context argument of `connect`; without
/// it the options, the environment, the configuration and the local default apply, in this order.
pub(super) fn service_address(word: Option<&str>, args: &ServiceArgs) -> Result<ServiceAddress, CommandError> {
    let all = configuration(args.config.as_ref())?;
    match word {
        Some(word) if word.contains("://") => of_url(word),
        Some(word) if all.contexts.contains_key(word) => of_context(&all, word),
        Some(word) => Err(CommandError::usage(format!(
            "{word} is neither an address (http://127.0.0.1:4020) nor a context{}. See synctop config path.",
            all.known()
        ))),
        None => match (requested_service(args)?, &all.context) {
            (Some(ServiceChoice::Url(url)), _) => of_url(&url),
            (Some(ServiceChoice::Context(name)), _) => of_context(&all, &name),
            (None, Some(name)) => of_context(&all, name),
            (None, None) => match all.contexts.keys().next().filter(|_| all.contexts.len() == 1) {
                Some(only) => of_context(&all, only),
                None if all.contexts.is_empty() => of_url(LOCAL),
                None => Err(CommandError::usage(format!(
                    "Which service? Pass --context NAME{}, or --url URL.",
                    all.known()
                ))),
            },
        },
    }
}

fn of_context(all: &Contexts, name: &str) -> Result<ServiceAddress, CommandError> {
    all.place(name).map_err(|why| CommandError::usage(sentence(&why.to_string())))
}

fn of_url(url: &str) -> Result<ServiceAddress, CommandError> {
    let token = match std::env::var("SYNCTOP_TOKEN") {
        Ok(text) => Some(Token::new(&text).map_err(|why| CommandError::usage(format!("SYNCTOP_TOKEN: {why}.")))?),
        Err(_) => None,
    };
    ServiceAddress::of_url(url, token, false).map_err(|why| CommandError::usage(sentence(&why.to_string())))
}

pub(super) fn client(place: ServiceAddress) -> Result<Arc<Client>, CommandError> {
    let shown = place.shown();
    Client::new(place).map(Arc::new).map_err(|why| CommandError {
        sentence: format!("The certificate of {shown} cannot be verified: {why}."),
        class: match why {
            HttpClientError::Build(_) => ResultClass::Output,
            HttpClientError::UnreadableCa(..) => ResultClass::NoInput,
            HttpClientError::NoCa(_) => ResultClass::BadData,
        },
    })
}

/// Refuses an action in a read-only context.
///
/// # Errors
///
/// Returns exit code 77 if the context is read-only.
pub(super) fn require_writable(place: &ServiceAddress) -> Result<(), CommandError> {
    if place.read_only {
        return Err(CommandError {
            sentence: format!(
                "Context {} is read-only (read_only in its configuration): the action is refused.",
                place.name()
            ),
            class: ResultClass::NotAllowed,
        });
    }
    Ok(())
}

/// Opens the state database of a service in `folder`, or in the default state folder.
pub(super) fn open_state_db(folder: Option<&PathBuf>, place: &ServiceAddress) -> Result<Arc<StateDb>, CommandError> {
    let folder = match folder {
        Some(folder) => folder.clone(),
        None => contexts::state_folder().ok_or_else(|| {
            CommandError::usage(
                "There is no home folder for the error inbox and the action log: pass a folder with --data-dir.",
            )
        })?,
    };
    open_state_db_in(&folder, place)
}

/// Opens the state database of a service in `folder`.
pub(super) fn open_state_db_in(folder: &Path, place: &ServiceAddress) -> Result<Arc<StateDb>, CommandError> {
    StateDb::open(folder, &place.shown()).map_err(|error| CommandError {
        sentence: format!(
            "The action log in {} cannot be opened: {error}. Pass another folder with --data-dir.",
            folder.display()
        ),
        class: ResultClass::Output,
    })
}

/// Creates the runtime for background work of a screen or a command.
pub(super) fn background() -> Result<tokio::runtime::Runtime, CommandError> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("remote").enable_all().build()?)
}

/// Runs `work` until it ends or a signal arrives. After a signal, prints the message that `left`
/// returns, unless it is empty.
pub(super) fn until_signal(
    work: impl Future<Output = Result<u8, CommandError>>,
    left: impl Fn() -> String,
) -> Result<u8, CommandError> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = background()?;
    let code = runtime.block_on(async {
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let number = tokio::select! {
            done = work => return done,
            _ = int.recv() => 2,
            _ = term.recv() => 15,
        };
        let said = left();
        if !said.is_empty() {
            crate::cli::output::print_error(&said);
        }
        Ok(exit::signal(number))
    });
    runtime.shutdown_background();
    code
}

/// Prints one JSON value on stdout, without terminal control characters.
pub(super) fn print_json(value: &serde_json::Value) -> Result<(), CommandError> {
    crate::cli::files::print(&format!("{}\n", synctop_core::protocol::clean::json(value.to_string())))
}

/// Prints text on stdout, without terminal control characters.
pub(super) fn print_text(text: &str) -> Result<(), CommandError> {
    crate::cli::files::print(&synctop_core::protocol::clean::lines(text))
}
