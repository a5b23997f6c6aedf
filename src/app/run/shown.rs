//! Snapshot on screen, assessed once.

use crate::net::source::ingest::Snapshot;
use std::cell::OnceCell;
use synctop_core::report::Assessment;

/// Snapshot on screen with its assessment, which a key or a passing second does not change.
#[derive(Default)]
pub(crate) struct Shown {
    snapshot: Snapshot,
    assessment: OnceCell<Assessment>,
}

impl Shown {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self { snapshot, assessment: OnceCell::new() }
    }

    pub(crate) fn assessment(&self) -> &Assessment {
        self.assessment.get_or_init(|| Assessment::of(&self.snapshot.progress))
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
