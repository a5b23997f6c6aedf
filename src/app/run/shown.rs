//! Snapshot on screen, assessed once.

use crate::net::source::ingest::Snapshot;
use std::cell::{Cell, OnceCell};
use synctop_core::reduce::Digest;
use synctop_core::report::Assessment;

/// Snapshot on screen with its assessment, which a key or a passing second does not change.
#[derive(Default)]
pub(crate) struct Shown {
    snapshot: Snapshot,
    assessment: OnceCell<Assessment>,
    /// Digest of the state before, if this one is not assessed yet.
    before: Cell<Digest>,
}

impl Shown {
    /// Replaces the snapshot.
    pub(crate) fn set(&mut self, snapshot: Snapshot) {
        self.snapshot = snapshot;
        if let Some(assessment) = self.assessment.take() {
            self.before.set(assessment.digest);
        }
    }

    pub(crate) fn assessment(&self) -> &Assessment {
        self.assessment.get_or_init(|| Assessment::after(self.before.take(), &self.snapshot.progress))
    }

    /// Changes the link alone.
    pub(crate) fn set_link(&mut self, link: synctop_core::reduce::Link) {
        self.snapshot.link = link;
    }
}

impl std::ops::Deref for Shown {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}
