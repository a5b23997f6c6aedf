//! Open connections, with limits in total and per client. A new connection takes the place of the
//! one that has been without a request for longest, so that half requests shut no client out.

use crate::util::sys::lock;
use axum::body::{Body, Bytes, HttpBody};
use hyper::body::Frame;
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::sync::Notify;

/// Open connections.
pub struct Connections {
    most: usize,
    /// Maximum of one client; `None` behind a proxy, which is the only client.
    most_per_client: Option<usize>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    open: Mutex<Open>,
    /// Signals that a connection or a request ended.
    ended: Notify,
}

#[derive(Default)]
struct Open {
    next: u64,
    all: HashMap<u64, State>,
    of_clients: HashMap<IpAddr, usize>,
}

struct State {
    ip: IpAddr,
    /// Requests that are being answered.
    busy: usize,
    /// Time since which no request is being answered.
    idle_since: Instant,
    close: Arc<Notify>,
}

/// Limit that a new connection exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// All connections of the client have open requests.
    Client,
    /// All connections of the service have open requests.
    Service,
}

/// Permit of one connection; released when dropped.
pub struct Connection {
    number: u64,
    shared: Arc<Shared>,
    close: Arc<Notify>,
}

/// Marks a request as open until its response has been sent.
pub struct Busy {
    number: u64,
    shared: Arc<Shared>,
}

impl Connections {
    #[must_use]
    pub fn new(most: usize, most_per_client: Option<usize>) -> Self {
        Self { most, most_per_client, shared: Arc::default() }
    }

    /// Admits a connection. Returns the permit, and the limit for which another one was closed.
    ///
    /// # Errors
    /// Returns the exceeded limit if no connection is without a request.
    pub fn enter(&self, ip: IpAddr) -> Result<(Connection, Option<Full>), Full> {
        let mut open = lock(&self.shared.open);
        let of_client = open.of_clients.get(&ip).copied().unwrap_or(0);
        let is_client_full = self.most_per_client.is_some_and(|most| of_client >= most);
        let is_full = open.all.len() >= self.most;
        let full = if is_client_full { Some(Full::Client) } else { is_full.then_some(Full::Service) };
        if let Some(full) = full {
            let rivals = open.all.iter().filter(|(_, it)| it.busy == 0 && (it.ip == ip || full == Full::Service));
            let idlest = rivals.min_by_key(|(_, it)| it.idle_since).map(|(number, _)| *number);
            let idlest = idlest.ok_or(full)?;
            if let Some(state) = open.remove(idlest) {
                state.close.notify_one();
            }
        }
        let number = open.next;
        open.next += 1;
        let close = Arc::new(Notify::new());
        open.all.insert(number, State { ip, busy: 0, idle_since: Instant::now(), close: Arc::clone(&close) });
        *open.of_clients.entry(ip).or_default() += 1;
        Ok((Connection { number, shared: Arc::clone(&self.shared), close }, full))
    }

    /// Waits until a connection or a request ends.
    pub async fn ended(&self) {
        self.shared.ended.notified().await;
    }

    /// Waits until all connections are closed.
    pub async fn all_closed(&self) {
        while !lock(&self.shared.open).all.is_empty() {
            self.ended().await;
        }
    }
}

impl Open {
    fn remove(&mut self, number: u64) -> Option<State> {
        let state = self.all.remove(&number)?;
        if let Some(count) = self.of_clients.get_mut(&state.ip) {
            *count -= 1;
            if *count == 0 {
                self.of_clients.remove(&state.ip);
            }
        }
        Some(state)
    }
}

impl Connection {
    /// Marks a request as open. Returns `None` if the connection has to close.
    #[must_use]
    pub fn begin_request(&self) -> Option<Busy> {
        lock(&self.shared.open).all.get_mut(&self.number)?.busy += 1;
        Some(Busy { number: self.number, shared: Arc::clone(&self.shared) })
    }

    /// Waits until another connection takes the place of this one.
    pub async fn replaced(&self) {
        self.close.notified().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        lock(&self.shared.open).remove(self.number);
        self.shared.ended.notify_one();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(state) = lock(&self.shared.open).all.get_mut(&self.number) {
            state.busy -= 1;
            state.idle_since = Instant::now();
        }
        self.shared.ended.notify_one();
    }
}

/// Body of a response whose request is open until the body ends.
pub struct BusyBody {
    body: Body,
    _busy: Busy,
}

impl BusyBody {
    #[must_use]
    pub fn new(body: Body, busy: Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl HttpBody for BusyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_without_a_request_gives_way() {
        let connections = Connections::new(3, Some(2));
        let [one, other]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
        let (first, _) = connections.enter(one).unwrap();
        let (second, _) = connections.enter(one).unwrap();
        let busy = second.begin_request().unwrap();
        // The limit of the client: its only connection without a request is closed.
        let (third, replaced) = connections.enter(one).unwrap();
        assert!(replaced == Some(Full::Client) && first.begin_request().is_none());
        let busy_too = third.begin_request();
        assert_eq!(connections.enter(one).err(), Some(Full::Client));
        // The limit of the service.
        let (_fourth, replaced) = connections.enter(other).unwrap();
        assert_eq!(replaced, None);
        assert_eq!(connections.enter("10.0.0.3".parse().unwrap()).unwrap().1, Some(Full::Service));
        drop((busy, busy_too));
        assert!(connections.enter(one).unwrap().1.is_some());
        drop((first, second, third));
    }
}
