//! `synctop connect URL|CONTEXT` and `synctop URL`: show the fleet of a service. `synctop` without
//! arguments: shows the demo, a service in the same process with simulated pipelines.

use crate::app::{FleetEnded, FleetOptions, OpenError, Presentation, Session, SimulatedCauses, SizesFile};
use crate::cli::args::{LookArgs, WatchArgs};
use crate::cli::error::CommandError;
use crate::cli::exit;
use crate::cli::files::print;
use crate::cli::remote_args::{ConnectArgs, ServiceArgs};
use crate::cli::screen::{need_a_terminal, resolve_look};
use crate::cli::service::{
    background, client, configuration, open_state_db, open_state_db_in, require_writable, service_address,
};
use crate::demo::{DemoError, DemoPlan, history, incidents};
use crate::net::client::actions::EFFECT_TIMEOUT;
use crate::net::client::poller::Watcher;
use crate::net::client::state_db::who;
use crate::net::client::{Client, ServiceAddress, StateDb};
use crate::service::config::Config;
use crate::service::registry::Service;
use crate::service::store::DATABASE;
use crate::util::sys::now;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use synctop_core::ResultClass;
use synctop_core::protocol::Decoder;

/// Maximum time that the service of a stored demo has to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn connect(args: &ConnectArgs, look: &LookArgs) -> Result<u8, CommandError> {
    fleet(args.service.as_deref(), &args.of, args.write, look)
}

/// Shows the fleet of the service at `url`, for `synctop URL`.
pub(super) fn watch(url: &str, look: &LookArgs) -> Result<u8, CommandError> {
    let of = ServiceArgs { url: None, context: None, config: None, data_dir: None };
    fleet(Some(url), &of, false, look)
}

fn fleet(word: Option<&str>, of: &ServiceArgs, write: bool, look: &LookArgs) -> Result<u8, CommandError> {
    let place = service_address(word, of)?;
    need_a_terminal(&format!("synctop pipelines list {}", place.argument()))?;
    if write {
        require_writable(&place)?;
    }
    let session = Session::new()?;
    let runtime = background()?;
    let all = configuration(of.config.as_ref())?;
    let remembered = open_state_db(of.data_dir.as_ref(), &place)?;
    let watcher = start_watcher(&runtime, client(place)?, remembered);
    let contexts = all.shown();
    let (handle, folder) = (runtime.handle().clone(), of.data_dir.clone());
    let go = Arc::new(move |name: &str| {
        let place = all.place(name)?;
        let remembered =
            open_state_db(folder.as_ref(), &place).map_err(|failure| OpenError::Failed(failure.sentence))?;
        let client = client(place).map_err(|failure| OpenError::Failed(failure.sentence))?;
        let _inside = handle.enter();
        Ok(Watcher::begin(client, remembered))
    });
    let options = FleetOptions { contexts, go, write, ..options(watcher, &runtime, look) };
    let ended = session.open_terminal(presentation(look), None).and_then(|terminal| terminal.run_fleet(options));
    let code = leave(ended);
    runtime.shutdown_background();
    code
}

fn presentation(args: &LookArgs) -> Presentation {
    let (look, ask) = resolve_look(args);
    Presentation { look, ask, mouse: !args.no_mouse }
}

/// Returns the default options of the fleet screen.
fn options(watcher: Arc<Watcher>, runtime: &tokio::runtime::Runtime, look: &LookArgs) -> FleetOptions {
    FleetOptions {
        decoder: Decoder::default(),
        watcher,
        background: runtime.handle().clone(),
        contexts: Vec::new(),
        go: Arc::new(|name| Err(OpenError::Failed(format!("there is no context {name}")))),
        who: who(),
        write: false,
        demo: None,
        patience: EFFECT_TIMEOUT,
        sizes: SizesFile::open(look.fresh),
    }
}

/// Starts the background poller of a service.
fn start_watcher(runtime: &tokio::runtime::Runtime, client: Arc<Client>, memory: Arc<StateDb>) -> Arc<Watcher> {
    let _inside = runtime.enter();
    Watcher::begin(client, memory)
}

fn no_terminal(error: std::io::Error) -> CommandError {
    CommandError {
        sentence: format!("Cannot use this terminal: {error}. For text: synctop pipelines list"),
        class: ResultClass::Output,
    }
}

/// Prints the final message after the screen has closed and returns the exit code.
fn leave(ended: std::io::Result<FleetEnded>) -> Result<u8, CommandError> {
    let ended = ended.map_err(no_terminal)?;
    if ended.panicked {
        return Ok(exit::BUG);
    }
    if let (Some((sentence, class)), None) = (ended.unreached, ended.signal) {
        return Err(CommandError { sentence, class });
    }
    if ended.signal != Some(1) {
        print(&ended.exit_summary)?;
    }
    Ok(ended.signal.map_or(0, exit::signal))
}

/// Simulated causes of a service in this process.
struct DemoCauses(Arc<Service>);

impl SimulatedCauses for DemoCauses {
    fn fix(&self, pipelines: &[Arc<str>]) {
        incidents::fix(&self.0, pipelines);
    }
}

/// Starts a service in this process with simulated pipelines and their history, and shows its fleet.
pub(super) fn demo(args: &WatchArgs, look: &LookArgs) -> Result<u8, CommandError> {
    need_a_terminal("synctop summary FILE")?;
    // The history takes a moment.
    let terminal = Session::new()?
        .open_terminal(presentation(look), Some("Starting the demo: two weeks of runs of simulated pipelines ..."))
        .map_err(no_terminal)?;
    let runtime = background()?;
    // Without --data-dir the demo leaves no files behind.
    let own = match &args.data_dir {
        Some(_) => None,
        None => Some(tempfile::tempdir()?),
    };
    let folder = args.data_dir.as_deref().or(own.as_ref().map(tempfile::TempDir::path)).unwrap_or(Path::new("."));
    let demo_failure = |error: DemoError| CommandError {
        sentence: format!("The demo cannot start: {error}. Select another folder with --data-dir."),
        class: ResultClass::Output,
    };
    let plan = Arc::new(DemoPlan::read().map_err(demo_failure)?);
    let is_new = !folder.join(DATABASE).exists();
    let history = is_new.then(|| history::simulate(&plan, now())).transpose().map_err(demo_failure)?;
    // The port differs between starts: a fixed URL keeps the stored errors and actions of the demo.
    let stored_as = ServiceAddress::of_url("http://demo.localhost", None, false).map_err(CommandError::usage)?;
    let remembered = open_state_db_in(folder, &stored_as)?;
    if let Some(history) = history {
        runtime.block_on(history::write(history, folder, &remembered)).map_err(demo_failure)?;
    }
    let config = Config::default();
    let begun = crate::cli::serve::start(config, ([127, 0, 0, 1], 0).into(), folder, (None, None), None);
    let (service, address, serving) = runtime.block_on(begun)?;
    let mut place = ServiceAddress::of_url(&format!("http://{address}"), None, false).map_err(CommandError::usage)?;
    place.title = Some("demo".into());
    let client = client(place)?;
    let served = runtime.spawn(serving);
    let happening = runtime.spawn(incidents::run(Arc::clone(&service), Arc::clone(&client), plan.incidents.clone()));
    let watcher = start_watcher(&runtime, client, remembered);
    let causes = Arc::new(DemoCauses(Arc::clone(&service)));
    let ended = terminal.run_fleet(FleetOptions { demo: Some(causes), ..options(watcher, &runtime, look) });
    happening.abort();
    let code = leave(ended);
    if args.data_dir.is_some() {
        // Only a demo with --data-dir has state that has to reach a safe point.
        runtime.block_on(async {
            let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, service.end()).await;
            service.store.close();
        });
    }
    served.abort();
    runtime.shutdown_timeout(Duration::from_millis(200));
    code
}
