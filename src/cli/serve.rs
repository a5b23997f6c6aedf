//! `synctop serve`

use super::args::ServeArgs;
use super::{CommandError, exit, print, sentence, text_of};
use crate::service::api::{Access, App, router};
use crate::service::config::{Config, SAMPLE};
use crate::service::registry::{StartError, Service};
use crate::service::{api, server};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// Default listen address, the same as the published service.
const LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 4020);

/// A shorter one can be guessed.
const SHORTEST_TOKEN: usize = 16;

pub(super) fn serve(args: &ServeArgs) -> Result<u8, CommandError> {
    if args.print_config {
        print(SAMPLE)?;
        return Ok(0);
    }
    let config = match &args.config {
        None => Config::default(),
        Some(path) => Config::read(&text_of(path, "configuration")?).map_err(|why| CommandError {
            sentence: format!("The configuration {} cannot be read: {why}", path.display()),
            code: exit::NOT_UNDERSTOOD,
        })?,
    };
    let address = args.listen.or(config.listen).unwrap_or_else(|| SocketAddr::from(LISTEN));
    let folder = match args.data_dir.as_ref().or(config.data_dir.as_ref()) {
        Some(folder) => folder.clone(),
        None => state_folder()?,
    };
    let write = token("SYNCTOP_TOKEN", args.token_file.as_ref().or(config.token_file.as_ref()))?;
    let read = token("SYNCTOP_READ_TOKEN", args.read_token_file.as_ref().or(config.read_token_file.as_ref()))?;
    if !address.ip().is_loopback() && write.is_none() && read.is_none() {
        return Err(CommandError::usage(format!(
            "Whoever reaches {address} could do everything: off loopback a token is needed. Put one of at least {SHORTEST_TOKEN} \
             characters into a file and name it after --token-file, or into SYNCTOP_TOKEN. TLS is for a proxy in front of it."
        )));
    }
    if write.is_some() && write == read {
        return Err(CommandError::usage(
            "The token of those who look is that of those who may do everything: take another one.",
        ));
    }
    say_on_stderr(args.quiet);
    more_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(run(config, address, &folder, (write, read)));
    // Threads of abandoned engines end by themselves; nothing waits for them.
    runtime.shutdown_background();
    code
}

async fn run(
    config: Config,
    address: SocketAddr,
    folder: &Path,
    (write, read): (Option<String>, Option<String>),
) -> Result<u8, CommandError> {
    // Heard from the begin.
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (service, address, serving) = begin(config, address, folder, (write, read)).await?;
    print(&format!("http://{address}\n"))?;
    tracing::info!(target: "service", "pipelines are kept in {}", folder.display());
    let served = tokio::spawn(serving);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    tracing::info!(target: "service", "ending: calls come to a safe point; a second signal ends it at once");
    let ended = async {
        service.end().await;
        let _ = served.await;
        service.store.close();
    };
    tokio::select! {
        () = ended => Ok(0),
        _ = term.recv() => {
            service.engines.kill_all();
            Ok(exit::signal(15))
        }
        _ = int.recv() => {
            service.engines.kill_all();
            Ok(exit::signal(2))
        }
    }
}

/// Opens the store in `folder` and listens. Returns the service, its address and the server.
pub(super) async fn begin(
    config: Config,
    address: SocketAddr,
    folder: &Path,
    (write, read): (Option<String>, Option<String>),
) -> Result<(Arc<Service>, SocketAddr, impl Future<Output = ()> + Send + 'static), CommandError> {
    let limits = config.limits.clone();
    let service = Service::begin(config, folder).map_err(|error| {
        let code = if matches!(error, StartError::Engine(_)) { exit::NOT_UNDERSTOOD } else { exit::FAILED };
        CommandError { sentence: sentence(&error.to_string()), code }
    })?;
    let listener = tokio::net::TcpListener::bind(address).await.map_err(|error| CommandError {
        sentence: format!(
            "Cannot listen on {address}: {error}. Name another address after --listen, or port 0 for any."
        ),
        code: exit::FAILED,
    })?;
    let app = Arc::new(App {
        access: Access::new(write, read, limits.requests_per_second),
        waits: api::Waits::new(limits.waits, limits.waits_per_client),
        readers: api::Readers::new(limits.streams),
        bodies: Arc::new(tokio::sync::Semaphore::new(api::BODY_BUDGET_KB)),
        service: Arc::clone(&service),
    });
    let router = router(&app).map_err(|why| CommandError { sentence: format!("{why}."), code: exit::PANICKED })?;
    let address = listener.local_addr()?;
    let serving = async move {
        let _ = server::serve(listener, app, router).await;
    };
    Ok((service, address, serving))
}

/// As many open files as we may have: each connection is one, and each log that is written.
fn more_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
}

/// `$XDG_STATE_HOME/synctop`, else `~/.local/state/synctop`.
fn state_folder() -> Result<PathBuf, CommandError> {
    crate::net::remote::contexts::state_folder().ok_or_else(|| {
        CommandError::usage("There is no home folder to keep pipelines in: name a folder after --data-dir.")
    })
}

/// A token from its file, else from the environment; never from the command line, which everybody
/// can read.
fn token(variable: &str, file: Option<&PathBuf>) -> Result<Option<String>, CommandError> {
    let (text, from) = match file {
        Some(path) => (text_of(path, "token")?, path.display().to_string()),
        None => match std::env::var(variable) {
            Ok(text) => (text, variable.to_owned()),
            Err(_) => return Ok(None),
        },
    };
    let text = text.trim().to_owned();
    if text.len() < SHORTEST_TOKEN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(CommandError::usage(format!(
            "The token in {from} can be guessed or sent badly: take at least {SHORTEST_TOKEN} letters and digits, such as those of \
             `openssl rand -hex 32`."
        )));
    }
    Ok(Some(text))
}

/// Logs service events on stderr, one line each.
fn say_on_stderr(quiet: bool) {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::prelude::*;
    let level = if quiet { LevelFilter::WARN } else { LevelFilter::INFO };
    let ours = Targets::new().with_target("service", level).with_target("engine", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let _ = tracing_subscriber::registry().with(lines.with_filter(ours)).try_init();
}
