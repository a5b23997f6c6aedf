//! `synctop serve`: runs the pipeline service.

use crate::cli::args::ServeArgs;
use crate::cli::error::CommandError;
use crate::cli::exit;
use crate::cli::files::{print, read_text_file};
use crate::cli::output::sentence;
use crate::service::alerts::delivery::deliver;
use crate::service::alerts::watch::watch;
use crate::service::api::{Access, App, router};
use crate::service::archive::Archive;
use crate::service::config::{Config, SAMPLE};
use crate::service::node::{self, NodeSettings};
use crate::service::registry::{Service, StartError};
use crate::service::store::StoreError;
use crate::service::store::postgres::session::Connector;
use crate::service::tls::{Tls, TlsError, TlsFiles};
use crate::service::{api, server};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use synctop_core::ResultClass;
use tokio::signal::unix::{SignalKind, signal};

/// Default listen address, the same as that of the published service.
const DEFAULT_ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 4020);

/// Minimum length of a token, in characters.
const MIN_TOKEN_LENGTH: usize = 16;

pub(super) fn serve(args: &ServeArgs) -> Result<u8, CommandError> {
    if args.print_config {
        print(SAMPLE)?;
        return Ok(exit::DONE);
    }
    let mut config = match &args.config {
        None => Config::default(),
        Some(path) => Config::read(&read_text_file(path, "configuration")?).map_err(|why| CommandError {
            sentence: format!("The configuration {} cannot be read: {why}", path.display()),
            class: ResultClass::BadData,
        })?,
    };
    config.tls_cert = args.tls_cert.clone().or(config.tls_cert);
    config.tls_key = args.tls_key.clone().or(config.tls_key);
    config.store.url = args.store.clone().or(config.store.url);
    if let Some(path) = &args.store_password_file {
        config.store.password = Some(format!("file:{}", std::path::absolute(path)?.display()));
    }
    config.archive.url = args.archive.clone().or(config.archive.url);
    config.node.name = args.node_name.clone().or(config.node.name);
    if config.node.name.as_ref().is_some_and(|name| name.trim().is_empty()) {
        return Err(CommandError::usage("The name of a node is empty: name it, or leave out --node-name."));
    }
    config.node.labels.extend(args.label.iter().cloned());
    config.insecure_http |= args.insecure_http;
    config.behind_proxy |= args.behind_proxy;
    for folder in &args.secret_dir {
        let folder = std::path::absolute(folder)?;
        if !folder.is_dir() {
            let sentence = format!("--secret-dir: there is no folder {}.", folder.display());
            return Err(CommandError { sentence, class: ResultClass::NoInput });
        }
        config.secrets.dirs.push(folder);
    }
    let address = args.listen.or(config.listen).unwrap_or_else(|| SocketAddr::from(DEFAULT_ADDRESS));
    let folder = match args.data_dir.as_ref().or(config.data_dir.as_ref()) {
        Some(folder) => folder.clone(),
        // Several nodes may run on one machine.
        None if config.store.url.is_some() => state_folder()?.join("nodes").join(node_name(&config)),
        None => state_folder()?,
    };
    let write = token("SYNCTOP_TOKEN", args.token_file.as_ref().or(config.token_file.as_ref()))?;
    let read = token("SYNCTOP_READ_TOKEN", args.read_token_file.as_ref().or(config.read_token_file.as_ref()))?;
    let tls = tls(&config)?;
    require_protection(address, &config, write.is_some() || read.is_some(), tls.is_some())?;
    if write.is_some() && write == read {
        return Err(CommandError::usage(
            "The tokens for read access and for full access are the same: use different ones.",
        ));
    }
    init_logging(args.quiet);
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(run(config, address, &folder, (write, read), tls));
    // Threads of abandoned engines end by themselves: the exit does not wait for them.
    runtime.shutdown_background();
    code
}

async fn run(
    config: Config,
    address: SocketAddr,
    folder: &Path,
    (write, read): (Option<String>, Option<String>),
    tls: Option<Arc<Tls>>,
) -> Result<u8, CommandError> {
    // Installed first, so that a signal during the start is not lost.
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let reloading = tls.clone().map(reload_on_hangup).transpose()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let (service, address, serving) = start(config, address, folder, (write, read), tls).await?;
    print(&format!("{scheme}://{address}\n"))?;
    if service.peers.is_none() {
        tracing::info!(target: "service", "pipelines are kept in {}", folder.display());
    }
    let served = tokio::spawn(serving);
    let _reloading = reloading.map(tokio::spawn);
    let outdated = async {
        match &service.peers {
            Some(peers) => peers.outdated().await,
            None => std::future::pending().await,
        }
    };
    let outdated = tokio::select! {
        _ = term.recv() => None,
        _ = int.recv() => None,
        error = outdated => Some(error),
    };
    if let Some(error) = &outdated {
        tracing::error!(target: "service", "{error}; this node leaves");
    }
    tracing::info!(target: "service", "ending: calls come to a safe point; a second signal ends it at once");
    let ended = async {
        service.end().await;
        let _ = served.await;
        service.store.close();
    };
    tokio::select! {
        () = ended => match outdated {
            None => Ok(exit::DONE),
            Some(error) => Err(CommandError { sentence: sentence(&error.to_string()), class: ResultClass::Output }),
        },
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
pub(super) async fn start(
    config: Config,
    address: SocketAddr,
    folder: &Path,
    (write, read): (Option<String>, Option<String>),
    tls: Option<Arc<Tls>>,
) -> Result<(Arc<Service>, SocketAddr, impl Future<Output = ()> + Send + 'static), CommandError> {
    let (limits, is_behind_proxy) = (config.limits.clone(), config.behind_proxy);
    let listener = tokio::net::TcpListener::bind(address).await.map_err(|error| CommandError {
        sentence: format!(
            "Cannot listen on {address}: {error}. Pass another address with --listen, or port 0 for a free one."
        ),
        class: ResultClass::Output,
    })?;
    let address = listener.local_addr()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let own_address = format!("{scheme}://{address}");
    let shared = match &config.store.url {
        None => None,
        Some(url) => {
            let connector = connector(url, config.store.password.as_deref())?;
            let archive = match &config.archive.url {
                Some(url) => Some(archive(url).await?),
                None => None,
            };
            Some(
                node::join(&connector, node_settings(&config, &own_address), folder, archive)
                    .map_err(|error| start_error(&error.into()))?,
            )
        }
    };
    let begun = Service::begin(
        config,
        folder,
        shared,
        crate::service::reconciler::reconcile,
        &[|it| Box::pin(watch(it)), |it| Box::pin(deliver(it))],
    )
    .await;
    let service = begun.map_err(|error| start_error(&error))?;
    let app = Arc::new(App {
        access: Access::new(write, read, limits.requests_per_second).with_https(tls.is_some()),
        is_behind_proxy,
        waits: api::Waits::new(limits.waits, limits.waits_per_client),
        readers: api::Readers::new(limits.streams),
        bodies: Arc::new(tokio::sync::Semaphore::new(api::BODY_BUDGET_KB)),
        events: Arc::new(tokio::sync::Semaphore::new(api::EVENT_BUDGET_KB)),
        service: Arc::clone(&service),
    });
    let router = router(&app).map_err(|why| CommandError { sentence: format!("{why}."), class: ResultClass::Bug })?;
    let serving = async move {
        let _ = server::serve(listener, app, router, tls).await;
    };
    Ok((service, address, serving))
}

/// Returns the name of this node: that of the machine, unless the configuration has one.
fn node_name(config: &Config) -> String {
    let machine = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    config.node.name.clone().unwrap_or_else(machine)
}

/// Opens the archive of closed parts of the logs, and tries it.
async fn archive(url: &str) -> Result<Arc<Archive>, CommandError> {
    let archive = Archive::open(url).map_err(|error| CommandError::usage(format!("{error}.")))?;
    let probed = archive.probe().await;
    probed.map_err(|error| CommandError { sentence: sentence(&error.to_string()), class: ResultClass::Output })?;
    Ok(archive)
}

/// Returns the name, address and labels of this node.
fn node_settings(config: &Config, address: &str) -> NodeSettings {
    let labels = config.node.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let address = config.node.address.clone().unwrap_or_else(|| address.to_owned());
    NodeSettings { name: node_name(config), address, labels }
}

/// Returns an error of the start as a sentence with its class.
fn start_error(error: &StartError) -> CommandError {
    let class = match error {
        StartError::Engine(_) => ResultClass::BadData,
        StartError::Store(StoreError::Unreachable(..)) => ResultClass::Unavailable,
        StartError::Store(StoreError::NeedsArchive) => ResultClass::Usage,
        _ => ResultClass::Output,
    };
    CommandError { sentence: sentence(&error.to_string()), class }
}

/// Reads the address of a database.
///
/// # Errors
///
/// Returns a usage error that names the mistake.
pub(super) fn connector(url: &str, password: Option<&str>) -> Result<Arc<Connector>, CommandError> {
    Connector::new(url, password).map_err(|error| CommandError::usage(format!("The store: {error}.")))
}

/// Requires a token and TLS of a service that other machines reach.
///
/// # Errors
///
/// Returns a usage error with the missing options.
fn require_protection(
    address: SocketAddr,
    config: &Config,
    has_token: bool,
    has_tls: bool,
) -> Result<(), CommandError> {
    let is_local = address.ip().is_loopback();
    let mut missing = Vec::new();
    if !has_token && (!is_local || config.behind_proxy) {
        missing.push(format!(
            "a token is required: put one of at least {MIN_TOKEN_LENGTH} characters into a file and pass it with \
             --token-file, or set SYNCTOP_TOKEN"
        ));
    }
    if !has_tls && !is_local && !config.insecure_http && !config.behind_proxy {
        missing.push(
            "plain HTTP shows the token to anyone on the network path: pass --tls-cert and --tls-key, or \
             --behind-proxy if only a proxy with TLS reaches the port, or --insecure-http"
                .to_owned(),
        );
    }
    if missing.is_empty() {
        return Ok(());
    }
    let place = if is_local { "is behind a proxy" } else { "is not a loopback address" };
    Err(CommandError::usage(format!("{address} {place}: {}.", missing.join(". And "))))
}

/// Reads certificate and key of TLS, if the configuration names them.
fn tls(config: &Config) -> Result<Option<Arc<Tls>>, CommandError> {
    let (cert, key) = match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) => (cert.clone(), key.clone()),
        (None, None) => return Ok(None),
        _ => return Err(CommandError::usage("TLS needs both tls_cert and tls_key.")),
    };
    Tls::read(TlsFiles { cert, key }).map(|tls| Some(Arc::new(tls))).map_err(|error| {
        let class = match &error {
            TlsError::Unreadable(_, error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                ResultClass::NotAllowed
            }
            TlsError::Unreadable(..) => ResultClass::NoInput,
            _ => ResultClass::BadData,
        };
        CommandError { sentence: format!("Certificate or key of TLS cannot be used: {error}."), class }
    })
}

/// Reads certificate and key again on each SIGHUP.
fn reload_on_hangup(tls: Arc<Tls>) -> Result<impl Future<Output = ()> + Send + 'static, CommandError> {
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            match tls.reload() {
                Ok(()) => tracing::info!(target: "service", "certificate and key were read again"),
                Err(error) => tracing::warn!(target: "service", "the certificate stays as it was: {error}"),
            }
        }
    })
}

/// Raises the limit of open files to its maximum: each connection and each open log takes one.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
}

/// Returns `$XDG_STATE_HOME/synctop`, or `~/.local/state/synctop` without that variable.
pub(super) fn state_folder() -> Result<PathBuf, CommandError> {
    crate::net::client::contexts::state_folder().ok_or_else(|| {
        CommandError::usage("There is no home folder to store pipelines in: pass a folder with --data-dir.")
    })
}

/// Reads a token from its file, otherwise from the environment. There is no command-line option for
/// it, because other users can see command lines.
///
/// # Errors
///
/// Returns a usage error if the token is too short or has other than printable ASCII characters.
fn token(variable: &str, file: Option<&PathBuf>) -> Result<Option<String>, CommandError> {
    let (text, from) = match file {
        Some(path) => (read_text_file(path, "token")?, path.display().to_string()),
        None => match std::env::var(variable) {
            Ok(text) => (text, variable.to_owned()),
            Err(_) => return Ok(None),
        },
    };
    let text = text.trim().to_owned();
    if text.len() < MIN_TOKEN_LENGTH || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(CommandError::usage(format!(
            "The token in {from} is too short or has unsuitable characters: use at least {MIN_TOKEN_LENGTH} letters and digits, such as those of \
             `openssl rand -hex 32`."
        )));
    }
    Ok(Some(text))
}

/// Logs service events on stderr, one line each.
fn init_logging(quiet: bool) {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::prelude::*;
    let level = if quiet { LevelFilter::WARN } else { LevelFilter::INFO };
    let ours = Targets::new().with_target("service", level).with_target("engine", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let _ = tracing_subscriber::registry().with(lines.with_filter(ours)).try_init();
}
