//! Responses that come long after their requests, such as those of waits.
//!
//! While hyper answers a request, the connection has a read and a write buffer of 8 KB each, and each
//! layer of the router has a future. Thousands of waits may be open for minutes. So a handler may
//! return the future of its response ([`late`]): the connection leaves hyper, holds nothing but the
//! socket and this future, writes the response itself, and is served by hyper again.

use crate::service::connections::Busy;
use crate::util::sys::lock;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request, Version, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Body;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// Bytes from which on nothing is read ahead of a late response: a client may send its next requests
/// early. That it disconnects is then seen when the response is written.
const MAX_AHEAD: usize = 8 * 1024;

pub type ResponseFuture = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Extension of a request whose response may be late.
#[derive(Debug, Clone, Copy)]
pub struct MayBeLate;

/// Extension of a response that stands for a late one. Extensions have to be cloneable.
#[derive(Clone)]
struct Late(Arc<Mutex<Option<ResponseFuture>>>);

/// Returns a response that stands for the one of `future`. The request needs [`MayBeLate`].
pub fn late(future: impl Future<Output = Response> + Send + 'static) -> Response {
    let mut response = ().into_response();
    response.extensions_mut().insert(Late(Arc::new(Mutex::new(Some(Box::pin(future))))));
    response
}

/// Request that is answered late.
pub struct LateResponse {
    response: ResponseFuture,
    keep_alive: bool,
    busy: Busy,
}

/// True if the connection of a request may leave hyper: it has read the request to its end.
pub fn may_be_late<B: Body>(request: &Request<B>) -> bool {
    request.method() == Method::GET && request.version() == Version::HTTP_11 && request.body().is_end_stream()
}

/// True if the connection remains open after the response to a request of HTTP/1.1.
pub fn keeps_alive(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONNECTION).iter();
    let mut words = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    !words.any(|word| word.trim().eq_ignore_ascii_case("close"))
}

/// Takes the future that a response stands for.
pub fn take_late(response: &mut Response) -> Option<ResponseFuture> {
    response.extensions_mut().remove::<Late>().and_then(|Late(future)| lock(&future).take())
}

impl LateResponse {
    pub fn new(response: ResponseFuture, keep_alive: bool, busy: Busy) -> Self {
        Self { response, keep_alive, busy }
    }

    /// Waits for the response and writes it. Returns true if the connection remains open: not if the
    /// client closes it before, and not once the service ends.
    ///
    /// # Errors
    /// Returns the error of the connection.
    pub async fn answer<S>(self, socket: &mut Rewound<S>, is_ending: impl Fn() -> bool) -> io::Result<bool>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let response = tokio::select! {
            response = self.response => response,
            () = std::future::poll_fn(|context| socket.poll_closed(context)) => return Ok(false),
        };
        // A client that does not read keeps no place among the open requests.
        drop(self.busy);
        let keep_alive = self.keep_alive && !is_ending();
        let (head, body) = response.into_parts();
        // The body is in memory already.
        let body = axum::body::to_bytes(body, usize::MAX).await.map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(256 + body.len());
        write!(bytes, "HTTP/1.1 {} {}\r\n", head.status.as_str(), head.status.canonical_reason().unwrap_or_default())?;
        for (name, value) in head.headers.iter().filter(|(name, _)| **name != header::CONTENT_LENGTH) {
            bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        let close = if keep_alive { "" } else { "connection: close\r\n" };
        let date = httpdate::fmt_http_date(SystemTime::now());
        write!(bytes, "content-length: {}\r\n{close}date: {date}\r\n\r\n", body.len())?;
        bytes.extend_from_slice(&body);
        socket.write_all(&bytes).await?;
        socket.flush().await?;
        if !keep_alive {
            socket.shutdown().await?;
        }
        Ok(keep_alive)
    }
}

/// Socket with bytes that were read from it before.
pub struct Rewound<S> {
    before: Bytes,
    socket: S,
}

impl<S> Rewound<S> {
    pub fn new(socket: S) -> Self {
        Self { before: Bytes::new(), socket }
    }

    /// Returns the bytes that hyper has read from the socket, but not used, to it.
    #[must_use]
    pub fn with(self, unused: &Bytes) -> Self {
        Self { before: [&**unused, &*self.before].concat().into(), ..self }
    }
}

impl<S: AsyncRead + Unpin> Rewound<S> {
    /// Waits until the client closes its side. Bytes that it sends are kept, up to a limit.
    fn poll_closed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.before.len() < MAX_AHEAD {
            let mut bytes = [0; 512];
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.before = [&*self.before, buffer.filled()].concat().into(),
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf) -> Poll<io::Result<()>> {
        if self.before.is_empty() {
            return Pin::new(&mut self.socket).poll_read(context, buffer);
        }
        let count = self.before.len().min(buffer.remaining());
        buffer.put_slice(&self.before.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        all: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, all)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
