//! Actions of an engine.

/// Action of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum EngineAction {
    Sync,
    Check,
    Setup,
    Teardown,
}

impl EngineAction {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
