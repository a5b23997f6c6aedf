//! TLS of the service, its reload, and the rules for plain HTTP off loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "common/serve.rs"]
mod serve;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serve::folder;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Writes a certificate for this machine, its key, and the authority that signed it.
fn write_certificate(folder: &Path, authority: &str) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    std::fs::write(folder.join(authority), ca.pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), leaf.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

struct TlsServer {
    child: Child,
    url: String,
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synctop"));
    command
        .current_dir(folder)
        .args(arguments)
        .env_remove("SYNCTOP_TOKEN")
        .env_remove("SYNCTOP_READ_TOKEN")
        .env_remove("SSL_CERT_FILE")
        .stdin(Stdio::null());
    command
}

fn started(folder: &Path) -> TlsServer {
    let log = std::fs::File::create(folder.join("stderr")).unwrap();
    let arguments =
        ["serve", "--listen", "127.0.0.1:0", "--data-dir", "data", "--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let mut child = command(folder, &arguments).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    TlsServer { child, url: url.trim().to_owned() }
}

/// Lists the pipelines with an authority as the only one.
fn list(folder: &Path, url: &str, authority: &str) -> Output {
    let ca = folder.join(authority);
    let config = format!("[contexts.a]\nurl = {url:?}\nca = {:?}\n", ca.to_str().unwrap());
    std::fs::write(folder.join("contexts.toml"), config).unwrap();
    command(folder, &["pipelines", "list", "--context", "a", "--config", "contexts.toml"]).output().unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[test]
fn service_speaks_tls_and_reloads_its_certificate() {
    let folder = folder();
    let folder = folder.path();
    write_certificate(folder, "first.pem");
    let server = started(folder);
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    let listed = list(folder, &server.url, "first.pem");
    assert_eq!(listed.status.code(), Some(0), "{}", words(&listed));
    // The answer to a wait is written outside hyper.
    let pipeline =
        r#"{"id":"pipe_tls","source":{"type":"simulated","simulated":{"speed":0}},"destination":{"type":"simulated"}}"#;
    std::fs::write(folder.join("pipeline.json"), pipeline).unwrap();
    let with_context = |arguments: &[&str]| {
        command(folder, &[arguments, &["--context", "a", "--config", "contexts.toml"]].concat()).output().unwrap()
    };
    let created = with_context(&["pipelines", "create", "pipeline.json"]);
    assert_eq!(created.status.code(), Some(0), "{}", words(&created));
    let ready = with_context(&["wait", "pipe_tls"]);
    assert!(ready.status.code() == Some(0) && words(&ready).contains("\"ready\""), "{}", words(&ready));
    let late = with_context(&["wait", "pipe_tls", "--for", "status=paused", "--timeout", "1s"]);
    assert_eq!(late.status.code(), Some(2), "{}", words(&late));
    // The authorities of the system do not know this certificate.
    let unknown = command(folder, &["pipelines", "list", "--url", &server.url]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(69), "{}", words(&unknown));
    assert!(words(&unknown).contains("certificate"), "{}", words(&unknown));
    // Plain HTTP on the port gets no answer of the service.
    let mut plain = std::net::TcpStream::connect(server.url.strip_prefix("https://").unwrap()).unwrap();
    plain.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
    // A damaged file changes nothing; a new certificate is used from the signal on.
    let hangup = || {
        let pid = rustix::process::Pid::from_raw(server.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    };
    let logged = |text: &str| {
        let begin = Instant::now();
        while !std::fs::read_to_string(folder.join("stderr")).unwrap().contains(text) {
            assert!(begin.elapsed() < Duration::from_secs(20), "no {text:?} in the log");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    std::fs::write(folder.join("cert.pem"), "no certificate").unwrap();
    hangup();
    logged("the certificate stays as it was: cert.pem holds no certificate");
    assert_eq!(list(folder, &server.url, "first.pem").status.code(), Some(0));
    write_certificate(folder, "second.pem");
    hangup();
    logged("certificate and key were read again");
    assert_eq!(list(folder, &server.url, "second.pem").status.code(), Some(0));
    assert_eq!(list(folder, &server.url, "first.pem").status.code(), Some(69));
}

#[test]
fn certificates_that_cannot_be_used_are_named() {
    let folder = folder();
    let folder = folder.path();
    write_certificate(folder, "ca.pem");
    std::fs::write(folder.join("text"), "text").unwrap();
    let other = KeyPair::generate().unwrap().serialize_pem();
    std::fs::write(folder.join("other.pem"), other).unwrap();
    for (cert, key, code, part) in [
        ("missing", "key.pem", 66, "missing: No such file"),
        ("text", "key.pem", 65, "text holds no certificate"),
        ("cert.pem", "text", 65, "text holds no private key"),
        ("cert.pem", "other.pem", 65, "cert.pem and other.pem"),
    ] {
        let arguments =
            ["serve", "--listen", "127.0.0.1:0", "--data-dir", "data", "--tls-cert", cert, "--tls-key", key];
        let output = command(folder, &arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", words(&output));
        assert!(words(&output).contains(part), "{}", words(&output));
    }
    // The client names the file as well.
    let output = list(folder, "https://127.0.0.1:1", "text");
    assert!(words(&output).contains("holds no certificate"), "{}", words(&output));
    assert_eq!(output.status.code(), Some(65), "{}", words(&output));
    let output = list(folder, "https://127.0.0.1:1", "missing");
    assert_eq!(output.status.code(), Some(66), "{}", words(&output));
}

#[test]
fn plain_http_off_loopback_needs_a_word() {
    let folder = folder();
    let refused = |arguments: &[&str], token: bool| {
        let all = [&["serve", "--data-dir", "data"], arguments].concat();
        let mut command = command(folder.path(), &all);
        if token {
            command.env("SYNCTOP_TOKEN", "a-token-of-enough-length");
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{}", words(&output));
        words(&output)
    };
    assert!(refused(&["--listen", "0.0.0.0:0"], false).contains("a token is required"));
    assert!(refused(&["--listen", "0.0.0.0:0"], true).contains("--tls-cert and --tls-key"));
    assert!(refused(&["--listen", "127.0.0.1:0", "--behind-proxy"], false).contains("a token is required"));
    assert!(refused(&["--tls-cert", "cert.pem"], true).contains("--tls-key"));
    for option in ["--insecure-http", "--behind-proxy"] {
        let arguments = ["serve", "--data-dir", "data", "--listen", "0.0.0.0:0", option];
        let mut child = command(folder.path(), &arguments)
            .env("SYNCTOP_TOKEN", "a-token-of-enough-length")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(url.starts_with("http://0.0.0.0:"), "{option}: {url}");
    }
}
