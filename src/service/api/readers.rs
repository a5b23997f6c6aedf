//! Readers of events that are open at once.

use crate::service::problem::Problem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts open readers, with a limit.
#[derive(Clone)]
pub struct Readers {
    most: usize,
    open: Arc<AtomicUsize>,
}

/// Admission of one reader; released when dropped.
pub struct ReaderPermit(Arc<AtomicUsize>);

impl Drop for ReaderPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Readers {
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, open: Arc::default() }
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Admits a reader.
    ///
    /// # Errors
    /// Returns 429 if the limit is reached.
    pub fn enter(&self) -> Result<ReaderPermit, Problem> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let permit = ReaderPermit(Arc::clone(&self.open));
        if before >= self.most {
            let sentence = format!("{before} readers follow events, which is the limit of the service");
            return Err(Problem::new(429, "too_many_readers", sentence).after(5));
        }
        Ok(permit)
    }
}
