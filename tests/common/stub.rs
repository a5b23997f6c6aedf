//! Small HTTP server on loopback whose answers come from a closure, including invalid ones.
#![allow(dead_code, reason = "each test uses a part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Answer of the stub.
#[derive(Debug, Clone)]
pub enum Reply {
    Json(u16, serde_json::Value),
    Text(u16, &'static str, String),
    /// Status, headers and body.
    With(u16, Vec<(&'static str, String)>, String),
    /// Body of half the announced length, then the end of the connection.
    Half(String),
    /// Silence of this duration, then the end of the connection.
    Hang(Duration),
    /// End of the connection without an answer.
    Close,
}

/// Server that ends with the test.
pub struct Stub {
    pub address: SocketAddr,
    pub asked: Arc<Mutex<Vec<Request>>>,
    over: Arc<AtomicBool>,
}

impl Stub {
    pub fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", answer)
    }

    pub fn at(address: &str, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Request>>> = Arc::default();
        let over = Arc::new(AtomicBool::new(false));
        let (seen, ended, answer) = (asked.clone(), over.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (seen, answer) = (seen.clone(), answer.clone());
                std::thread::spawn(move || {
                    let Some(request) = read(&stream) else { return };
                    seen.lock().unwrap().push(request.clone());
                    write(stream, answer(&request));
                });
            }
        });
        Self { address, asked, over }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Number of received requests with this method and path.
    pub fn count(&self, method: &str, path: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|it| it.method == method && it.path == path).count()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let mut input = BufReader::new(stream);
    let mut line = String::new();
    input.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
    input.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn write(mut stream: TcpStream, reply: Reply) {
    let mut send = |status: u16, headers: &[(&str, String)], body: &str, length: usize| {
        let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let _ = stream.write_all(format!("{head}\r\n{body}").as_bytes());
    };
    match reply {
        Reply::Json(status, json) => {
            let body = json.to_string();
            send(status, &[("Content-Type", "application/json".into())], &body, body.len());
        }
        Reply::Text(status, kind, body) => send(status, &[("Content-Type", kind.into())], &body, body.len()),
        Reply::With(status, headers, body) => send(status, &headers, &body, body.len()),
        Reply::Half(body) => send(200, &[("Content-Type", "application/json".into())], &body, body.len() * 2),
        Reply::Hang(time) => std::thread::sleep(time),
        Reply::Close => {}
    }
}
