//! Waits that are open at once.

use crate::service::problem::Problem;
use crate::util::sys::lock;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// Counts open waits, with limits in total and per client address of another machine.
pub struct Waits {
    most: usize,
    per_client: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Permit of one wait; released when dropped.
pub struct WaitPermit {
    ip: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for WaitPermit {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(count) = open.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.ip);
            }
        }
    }
}

impl Waits {
    #[must_use]
    pub fn new(most: usize, per_client: usize) -> Self {
        Self { most, per_client, open: Arc::default() }
    }

    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.open).values().sum()
    }

    /// Admits a wait of a client.
    ///
    /// # Errors
    /// Returns 429 if a limit is reached.
    pub fn enter(&self, ip: IpAddr) -> Result<WaitPermit, Problem> {
        let mut open = lock(&self.open);
        let all: usize = open.values().sum();
        let own = open.get(&ip).copied().unwrap_or(0);
        if all >= self.most {
            let sentence = format!("{all} waits are open, which is the limit of the service");
            return Err(Problem::new(429, "too_many_waits", sentence).after(5));
        }
        // All programs of this machine share its address.
        if own >= self.per_client && !ip.is_loopback() {
            let sentence = format!("{ip} has {own} waits open, which is the limit of one client");
            return Err(Problem::new(429, "too_many_waits", sentence).after(5));
        }
        *open.entry(ip).or_default() += 1;
        Ok(WaitPermit { ip, open: Arc::clone(&self.open) })
    }
}
