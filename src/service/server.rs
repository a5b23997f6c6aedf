//! HTTP server: connection limits, timeouts of clients, graceful shutdown.

use crate::service::api::{App, Peer};
use crate::service::connections::{BusyBody, Connection, Connections, Full};
use crate::service::late_response::{LateResponse, MayBeLate, Rewound, keeps_alive, may_be_late, take_late};
use crate::service::tls::Tls;
use crate::util::sys::lock;
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// Timeout of the headers of a request, and of a TLS handshake.
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
pub async fn serve(listener: TcpListener, app: Arc<App>, router: Router, tls: Option<Arc<Tls>>) -> io::Result<()> {
    let limits = &app.service.config.limits;
    let per_client = (!app.is_behind_proxy).then_some(limits.connections_per_client);
    let connections = Connections::new(limits.connections, per_client);
    let mut words = Words::default();
    loop {
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
        let ip = canonical(peer.ip());
        let Some(connection) = admit(&connections, ip, &app, &mut words).await else { continue };
        let (app, tls) = (Arc::clone(&app), tls.clone());
        let router = router.clone();
        tokio::spawn(async move {
            let connection = Arc::new(connection);
            let served = async {
                match tls {
                    None => serve_connection(stream, router, Peer(ip), &connection, &app).await,
                    Some(tls) => {
                        // Boxed: a connection without TLS needs no room for its state.
                        let secured = Box::pin(async {
                            let accepted = tokio::time::timeout(HEADER_TIMEOUT, tls.acceptor().accept(stream)).await;
                            if let Ok(Ok(stream)) = accepted {
                                serve_connection(stream, router, Peer(ip), &connection, &app).await;
                            }
                        });
                        secured.await;
                    }
                }
            };
            tokio::select! {
                () = served => {}
                () = connection.replaced() => {}
            }
        });
    }
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, connections.all_closed()).await;
    Ok(())
}

/// Admits a connection; `None` if it is refused, or if the service ends. A full service lets it wait.
async fn admit(connections: &Connections, ip: IpAddr, app: &App, words: &mut Words) -> Option<Connection> {
    loop {
        match connections.enter(ip) {
            Ok((connection, replaced)) => {
                let whose = match replaced {
                    None => return Some(connection),
                    Some(Full::Client) => format!(" of {ip}"),
                    Some(Full::Service) => String::new(),
                };
                if words.may_say(&format!("replaced{whose}")) {
                    tracing::warn!(
                        target: "service",
                        "too many connections{whose}: the one without a request for longest is closed for each new one"
                    );
                }
                return Some(connection);
            }
            Err(Full::Client) => {
                // The limit per client keeps room for other clients.
                if words.may_say(&ip.to_string()) {
                    tracing::warn!(target: "service", "a connection of {ip} is refused: it has too many open requests");
                }
                return None;
            }
            Err(Full::Service) => {
                if words.may_say("full") {
                    tracing::warn!(target: "service", "connections wait: the service has too many open requests");
                }
                tokio::select! {
                    () = connections.ended() => {}
                    () = app.service.ends() => return None,
                }
            }
        }
    }
}

/// Serves one connection until it closes, or gracefully until the service ends.
async fn serve_connection<S>(stream: S, router: Router, peer: Peer, connection: &Arc<Connection>, app: &App)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut socket = Rewound::new(stream);
    // Boxed: a connection whose response is late has no room for the state of hyper.
    while let Some((late, returned)) = Box::pin(serve_requests(socket, router.clone(), peer, connection, app)).await {
        socket = returned;
        if !late.answer(&mut socket, || *app.service.ending.borrow()).await.unwrap_or(false) {
            return;
        }
    }
}

/// Serves the requests of a connection until it closes, or until a response is late.
async fn serve_requests<S>(
    socket: Rewound<S>,
    router: Router,
    peer: Peer,
    connection: &Arc<Connection>,
    app: &App,
) -> Option<(LateResponse, Rewound<S>)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Arc::clone(connection);
    let router = TowerToHyperService::new(router);
    let late = Arc::new(Mutex::new(None));
    let found = Arc::clone(&late);
    let requests = service_fn(move |mut request: hyper::Request<Incoming>| {
        // A layer of the router would copy all its routes for each connection.
        request.extensions_mut().insert(peer);
        if may_be_late(&request) {
            request.extensions_mut().insert(MayBeLate);
        }
        let keep_alive = keeps_alive(request.headers());
        let busy = connection.begin_request();
        let response = router.call(request);
        let late = Arc::clone(&late);
        async move {
            let busy = busy.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionAborted))?;
            let Ok(mut response) = response.await;
            if let Some(future) = take_late(&mut response) {
                *lock(&late) = Some(LateResponse::new(future, keep_alive, busy));
                // The connection leaves hyper, which drops this request.
                return std::future::pending().await;
            }
            Ok::<_, io::Error>(response.map(|body| BusyBody::new(body, busy)))
        }
    });
    let mut served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(socket), requests);
    let late = tokio::select! {
        late = next_late(&mut served, &found) => late,
        () = app.service.ends() => {
            Pin::new(&mut served).graceful_shutdown();
            tokio::time::timeout(SHUTDOWN_GRACE, next_late(&mut served, &found)).await.ok().flatten()
        }
    }?;
    let http1::Parts { io, read_buf, .. } = served.into_parts();
    Some((late, io.into_inner().with(&read_buf)))
}

/// Serves a connection until a response is late; `None` if the connection ends.
async fn next_late<C: Future + Unpin>(served: &mut C, late: &Mutex<Option<LateResponse>>) -> Option<LateResponse> {
    poll_fn(|context| {
        let ended = Pin::new(&mut *served).poll(context).is_ready();
        match lock(late).take() {
            None if !ended => Poll::Pending,
            late => Poll::Ready(late),
        }
    })
    .await
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

/// Maps IPv4 addresses in IPv6 form to IPv4, so that a client has one address.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}
