//! HTTP server: connection limits, timeouts of clients, graceful shutdown.

use crate::service::api::{App, Peer};
use crate::util::sys::lock;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Timeout of the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of headers of a request, and their size in bytes.
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Delay after a connection could not be accepted.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Maximum time for open responses once the service shuts down.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// Serves until `app.service` shuts down, then waits for open connections.
///
/// # Errors
/// Returns none at present: connections that cannot be accepted are logged.
pub async fn serve(listener: TcpListener, app: Arc<App>, router: Router) -> io::Result<()> {
    let most = app.service.config.limits.connections;
    let room = Arc::new(Semaphore::new(most));
    let per_client = ClientConnections { most: app.service.config.limits.connections_per_client, open: Arc::default() };
    let mut words = Words::default();
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&room).acquire_owned() => permit,
            () = app.service.ends() => break,
        };
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = app.service.ends() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // A client disconnected, or no file descriptor is free: the service continues.
                if words.may_say("accept") {
                    tracing::warn!(target: "service", "connections cannot be accepted: {error}");
                }
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        // Small messages are sent without delay.
        let _ = stream.set_nodelay(true);
        let (app, ip) = (Arc::clone(&app), canonical(peer.ip()));
        let Some(own) = per_client.enter(ip) else {
            // The limit per client keeps room for other clients.
            drop(stream);
            if words.may_say(&ip.to_string()) {
                tracing::warn!(target: "service", "{ip} has {} connections, which is its limit", per_client.most);
            }
            continue;
        };
        let router = router.clone().layer(Extension(Peer(ip)));
        tokio::spawn(async move {
            let _permit = (permit, own);
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_headers(MAX_HEADERS)
                .max_buf_size(MAX_HEADER_BYTES)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
            tokio::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => return,
                () = app.service.ends() => {}
            }
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(SHUTDOWN_GRACE, connection).await;
        });
    }
    // All permits are free once the last connection is closed.
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, room.acquire_many(all)).await;
    Ok(())
}

/// Pause between two log lines about the same trouble.
const WORD_INTERVAL: Duration = Duration::from_secs(60);

/// Maximum number of troubles that are told apart.
const MAX_WORDS: usize = 1_000;

/// Limits log lines about clients and connections, so that an attack does not fill the log.
#[derive(Default)]
struct Words(HashMap<String, Instant>);

impl Words {
    /// True if a line about this trouble is due.
    fn may_say(&mut self, trouble: &str) -> bool {
        if self.0.len() >= MAX_WORDS {
            self.0.retain(|_, at| at.elapsed() < WORD_INTERVAL);
        }
        let is_due = self.0.get(trouble).is_none_or(|at| at.elapsed() >= WORD_INTERVAL) && self.0.len() < MAX_WORDS;
        if is_due {
            self.0.insert(trouble.to_owned(), Instant::now());
        }
        is_due
    }
}

/// Counts the connections of each address, with a limit.
struct ClientConnections {
    most: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Permit of one connection; released when dropped.
struct ConnectionPermit(IpAddr, Arc<Mutex<HashMap<IpAddr, usize>>>);

impl ClientConnections {
    /// Admits a connection; `None` if the client has too many.
    fn enter(&self, ip: IpAddr) -> Option<ConnectionPermit> {
        let mut open = lock(&self.open);
        let count = open.entry(ip).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(ConnectionPermit(ip, Arc::clone(&self.open)))
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = lock(&self.1);
        if let Some(count) = open.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.0);
            }
        }
    }
}

/// Maps IPv4 addresses in IPv6 form to IPv4, so that a client has one address.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}
