//! Groups of streams on the screen.

/// Groups of streams, in the order of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum StreamGroup {
    Errored,
    Stalled,
    Started,
    Pending,
    Completed,
    Skipped,
}

impl StreamGroup {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the heading: in a run that has ended, no stream is about to do anything.
    #[must_use]
    pub fn title(self, is_running: bool) -> &'static str {
        match self {
            Self::Started if !is_running => "NOT DONE",
            Self::Pending if !is_running => "NOT STARTED",
            group => group.as_str(),
        }
    }
}
