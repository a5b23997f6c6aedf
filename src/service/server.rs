//! HTTP server: connection limits, timeouts of clients, graceful shutdown.

use super::api::{App, Peer};
use crate::net::lock;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Timeout of a client's headers.
const HEADERS_WITHIN: Duration = Duration::from_secs(15);

/// Headers of a request, and bytes of them.
const HEADERS: usize = 64;
const HEADER_BYTES: usize = 64 * 1024;

/// Delay when no descriptor is left for a connection.
const BREATH: Duration = Duration::from_millis(100);

/// Time that running answers have once the service ends.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Serves until `app.service` ends; then all that is open comes to its end.
///
/// # Errors
/// When the socket cannot be asked for connections.
pub async fn serve(listener: TcpListener, app: Arc<App>, router: Router) -> io::Result<()> {
    let most = app.service.config.limits.connections;
    let room = Arc::new(Semaphore::new(most));
    let of_client = OfClient { most: app.service.config.limits.connections_per_client, open: Arc::default() };
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
                // One client that left, or no descriptor for another one: neither ends the service.
                tracing::warn!(target: "service", "a connection cannot be taken: {error}");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        // A checkpoint is sent at once.
        let _ = stream.set_nodelay(true);
        let (app, ip) = (Arc::clone(&app), canonical(peer.ip()));
        let Some(own) = of_client.enter(ip) else {
            // One client is not to take the room of all.
            drop(stream);
            continue;
        };
        let router = router.clone().layer(Extension(Peer(ip)));
        tokio::spawn(async move {
            let _permit = (permit, own);
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS_WITHIN)
                .max_headers(HEADERS)
                .max_buf_size(HEADER_BYTES)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
            tokio::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => return,
                () = app.service.ends() => {}
            }
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(LAST_WORDS, connection).await;
        });
    }
    // Until the last connection has let go.
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(LAST_WORDS, room.acquire_many(all)).await;
    Ok(())
}

/// Connections of each address.
struct OfClient {
    most: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One of them, until it is dropped.
struct Own(IpAddr, Arc<Mutex<HashMap<IpAddr, usize>>>);

impl OfClient {
    fn enter(&self, ip: IpAddr) -> Option<Own> {
        let mut open = lock(&self.open);
        let count = open.entry(ip).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Own(ip, Arc::clone(&self.open)))
    }
}

impl Drop for Own {
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

/// One client, whichever way he comes.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}
