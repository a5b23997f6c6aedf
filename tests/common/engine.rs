//! Simulated engine over HTTP in a separate process that ends with the test.
#![allow(dead_code, reason = "each test uses a part")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

pub struct Engine {
    pub child: Child,
    pub address: String,
}

impl Engine {
    pub fn start(arguments: &[&str], address: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_synctop"))
            .args(["simulate", "--listen", address])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("http://127.0.0.1:"), "{line:?}");
        Self { child, address: line.trim().to_owned() }
    }

    /// Kills the engine with SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
