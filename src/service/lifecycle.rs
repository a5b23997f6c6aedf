//! Lifecycle of a pipeline: desired state, phase, next transition. Pure; one table.
//!
//! ```text
//!            create                      nothing left                     run requested
//!   (none) --------> setup --set up--> backfill ---------> ready -----------------------.
//!                      |                  ^  |               |  ^--live events, kept here  |
//!                      |                  '--|---------------|-----------------------------'
//!                      '-------.             |               |
//!   global permanent error     '--> error <--+---------------'      from error: resume clears it, backfill goes on
//!   desired paused, and the running call reached a safe point --> paused    resume: earlier phase
//!   desired deleted, from anywhere --> teardown --torn down--> (gone)       final
//! ```
//!
//! A request changes only the desired state, which is stored before the response; the next
//! transition follows from the stored state ([`Life::todo`]). So a crash between a request and its
//! effect loses nothing: the transition is performed after the restart.

use serde::{Deserialize, Serialize};
use synctop_core::fleet::{DesiredStatus, PipelineStatus};

/// Phase of the lifecycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Setup,
    Backfill,
    Ready,
}

/// Reason that the pipeline does not proceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    None,
    Paused,
    /// A permanent global error: a person has to act.
    Parked,
    Teardown,
}

/// Stored state of a lifecycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Life {
    pub desired: DesiredStatus,
    pub phase: Phase,
    pub hold: Hold,
}

/// Event of the lifecycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LifecycleEvent {
    /// Request: new desired state.
    Want(DesiredStatus),
    /// Request: new run.
    Run,
    /// Result: the setup succeeded.
    SetUp,
    /// Result: the run has nothing left to read.
    Through,
    /// Result: the run of a pipeline that was ready was canceled.
    RunCanceled,
    /// Result: a global permanent error.
    Parked,
    /// Result: no call is running.
    Halted,
    /// Result: the teardown succeeded.
    TornDown,
}

/// Next transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Todo {
    SetUp,
    Sync,
    /// Syncs live events as they arrive.
    Live,
    /// Stops the running call at a safe point.
    Halt,
    TearDown,
    Nothing,
}

/// Reason that a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    #[error("it is deleted, which is final: create a new pipeline instead")]
    Deleted,
    #[error("it is paused: resume it first (PATCH desired_status \"active\")")]
    Paused,
    #[error("it is parked with an error: see its reason, then resume it (PATCH desired_status \"active\")")]
    Parked,
    #[error("it is not set up yet: wait until it is ready")]
    NotSetUp,
}

impl Default for Life {
    fn default() -> Self {
        Self { desired: DesiredStatus::Active, phase: Phase::Setup, hold: Hold::None }
    }
}

impl Life {
    /// Returns the status on the wire.
    #[must_use]
    pub fn status(self) -> PipelineStatus {
        match (self.hold, self.phase) {
            (Hold::Teardown, _) => PipelineStatus::Teardown,
            (Hold::Parked, _) => PipelineStatus::Error,
            (Hold::Paused, _) => PipelineStatus::Paused,
            (Hold::None, Phase::Setup) => PipelineStatus::Setup,
            (Hold::None, Phase::Backfill) => PipelineStatus::Backfill,
            (Hold::None, Phase::Ready) => PipelineStatus::Ready,
        }
    }

    /// Returns the lifecycle after an event; `None` once the pipeline is deleted.
    ///
    /// # Errors
    /// Returns the reason if a request is refused. Results are never refused; late ones change
    /// nothing.
    pub fn after(self, event: LifecycleEvent) -> Result<Option<Self>, Refusal> {
        use {DesiredStatus as D, Hold as H, LifecycleEvent as E, Phase as P};
        let with = |life: Self| Ok(Some(life));
        match (event, self.hold) {
            // Teardown is final, also for late results.
            (E::TornDown, H::Teardown) => Ok(None),
            (E::Want(D::Deleted), _) => with(Self { desired: D::Deleted, hold: H::Teardown, ..self }),
            (E::Want(_) | E::Run, H::Teardown) => Err(Refusal::Deleted),
            (_, H::Teardown) | (E::TornDown, _) => with(self),

            // Resuming a parked pipeline clears the error and starts a new run, even if nothing was
            // left to read.
            (E::Want(D::Active), H::Parked) => {
                let phase = if self.phase == P::Setup { P::Setup } else { P::Backfill };
                with(Self { desired: D::Active, hold: H::None, phase })
            }
            (E::Want(D::Active), H::None | H::Paused) => with(Self { desired: D::Active, hold: H::None, ..self }),
            // A parked pipeline stays parked; only its desired state changes.
            (E::Want(D::Paused), H::Parked | H::Paused | H::None) => with(Self { desired: D::Paused, ..self }),

            (E::Run, H::Parked) => Err(Refusal::Parked),
            (E::Run, H::Paused) => Err(Refusal::Paused),
            (E::Run, H::None) if self.desired == D::Paused => Err(Refusal::Paused),
            (E::Run, H::None) => match self.phase {
                P::Setup => Err(Refusal::NotSetUp),
                P::Backfill | P::Ready => with(Self { phase: P::Backfill, ..self }),
            },

            (E::Halted, H::None) if self.desired == D::Paused => with(Self { hold: H::Paused, ..self }),
            (E::Halted, _) => with(self),

            // Results advance the phase, whatever the desired state is.
            (E::SetUp, _) if self.phase == P::Setup => with(Self { phase: P::Backfill, ..self }),
            (E::Through | E::RunCanceled, _) if self.phase == P::Backfill => with(Self { phase: P::Ready, ..self }),
            (E::Parked, H::None) => with(Self { hold: H::Parked, ..self }),
            (E::SetUp | E::Through | E::RunCanceled | E::Parked, _) => with(self),
        }
    }

    /// Returns the next transition.
    #[must_use]
    pub fn todo(self) -> Todo {
        match (self.hold, self.desired, self.phase) {
            (Hold::Teardown, ..) => Todo::TearDown,
            (Hold::Parked | Hold::Paused, ..) => Todo::Nothing,
            (Hold::None, DesiredStatus::Paused | DesiredStatus::Deleted, _) => Todo::Halt,
            (Hold::None, DesiredStatus::Active, Phase::Setup) => Todo::SetUp,
            (Hold::None, DesiredStatus::Active, Phase::Backfill) => Todo::Sync,
            (Hold::None, DesiredStatus::Active, Phase::Ready) => Todo::Live,
        }
    }

    /// True if the status matches the desired state: no transition follows by itself.
    #[must_use]
    pub fn is_settled(self) -> bool {
        match self.desired {
            DesiredStatus::Active => self.status() == PipelineStatus::Ready,
            DesiredStatus::Paused => self.status() == PipelineStatus::Paused,
            DesiredStatus::Deleted => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use strum::VariantArray as _;

    const EVENTS: [LifecycleEvent; 10] = [
        LifecycleEvent::Want(DesiredStatus::Active),
        LifecycleEvent::Want(DesiredStatus::Paused),
        LifecycleEvent::Want(DesiredStatus::Deleted),
        LifecycleEvent::Run,
        LifecycleEvent::SetUp,
        LifecycleEvent::Through,
        LifecycleEvent::RunCanceled,
        LifecycleEvent::Parked,
        LifecycleEvent::Halted,
        LifecycleEvent::TornDown,
    ];

    /// Event of a successful transition.
    fn done(todo: Todo) -> Option<LifecycleEvent> {
        match todo {
            Todo::SetUp => Some(LifecycleEvent::SetUp),
            Todo::Sync => Some(LifecycleEvent::Through),
            Todo::Halt => Some(LifecycleEvent::Halted),
            Todo::TearDown => Some(LifecycleEvent::TornDown),
            Todo::Live | Todo::Nothing => None,
        }
    }

    proptest! {
        /// Sequences of requests and results in any order, also late and duplicate ones: the last
        /// accepted request stands, every state is valid, and without further requests the
        /// pipeline reaches its desired state.
        #[test]
        fn no_sequence_loses_the_desired_state(events in proptest::collection::vec(0..EVENTS.len(), 0..60)) {
            let mut life = Some(Life::default());
            let mut wanted = DesiredStatus::Active;
            for event in events.into_iter().filter_map(|at| EVENTS.get(at).copied()) {
                let Some(before) = life else { break };
                match before.after(event) {
                    Ok(after) => {
                        if let LifecycleEvent::Want(desired) = event {
                            wanted = desired;
                        }
                        prop_assert!(after.is_some() || (event == LifecycleEvent::TornDown && wanted == DesiredStatus::Deleted));
                        life = after;
                    }
                    Err(refusal) => {
                        prop_assert!(matches!(event, LifecycleEvent::Want(_) | LifecycleEvent::Run), "a result was refused: {refusal}");
                        prop_assert!(refusal != Refusal::Deleted || wanted == DesiredStatus::Deleted);
                    }
                }
                let Some(life) = life else { break };
                prop_assert_eq!(life.desired, wanted);
                prop_assert_eq!(life.hold == Hold::Teardown, wanted == DesiredStatus::Deleted);
                prop_assert!(PipelineStatus::VARIANTS.contains(&life.status()));
            }
            // Without further requests.
            for _ in 0..4 {
                let Some(now) = life else { break };
                let Some(event) = done(now.todo()) else { break };
                life = now.after(event).unwrap();
            }
            match (life, wanted) {
                (None, DesiredStatus::Deleted) => {}
                (Some(life), wanted) => {
                    prop_assert!(wanted != DesiredStatus::Deleted, "not torn down: {life:?}");
                    prop_assert!(life.is_settled() || life.status() == PipelineStatus::Error, "{life:?}");
                    // Resuming continues from an error too.
                    let resumed = life.after(LifecycleEvent::Want(DesiredStatus::Active)).unwrap().unwrap();
                    prop_assert!(resumed.status() != PipelineStatus::Error && resumed.status() != PipelineStatus::Paused);
                    prop_assert!(resumed.todo() != Todo::Nothing);
                }
                (None, _) => prop_assert!(false, "gone without being wanted so"),
            }
        }
    }

    #[test]
    fn transitions_follow_the_table() {
        use {DesiredStatus as D, LifecycleEvent as E, PipelineStatus as S};
        let go = |events: &[LifecycleEvent]| {
            events
                .iter()
                .try_fold(Life::default(), |life, event| life.after(*event).map(|life| life.expect("is there")))
        };
        let status = |events: &[LifecycleEvent]| go(events).map(|life| (life.desired, life.status()));
        let (pause, resume, delete) = (E::Want(D::Paused), E::Want(D::Active), E::Want(D::Deleted));
        for (events, after) in [
            (&[][..], Ok((D::Active, S::Setup))),
            (&[E::SetUp], Ok((D::Active, S::Backfill))),
            (&[E::SetUp, E::Through], Ok((D::Active, S::Ready))),
            (&[E::SetUp, E::Through, E::Run], Ok((D::Active, S::Backfill))),
            // A pause waits for the safe point, and a resume before it has nothing to undo.
            (&[E::SetUp, pause], Ok((D::Paused, S::Backfill))),
            (&[E::SetUp, pause, E::Halted], Ok((D::Paused, S::Paused))),
            (&[E::SetUp, pause, resume, E::Halted], Ok((D::Active, S::Backfill))),
            (&[E::SetUp, pause, E::Halted, resume], Ok((D::Active, S::Backfill))),
            // The run ended before the pause took effect.
            (&[E::SetUp, pause, E::Through, E::Halted, resume], Ok((D::Active, S::Ready))),
            (&[E::Parked], Ok((D::Active, S::Error))),
            (&[E::Parked, resume], Ok((D::Active, S::Setup))),
            (&[E::SetUp, E::Through, E::Parked, resume], Ok((D::Active, S::Backfill))),
            (&[E::SetUp, E::Parked, pause], Ok((D::Paused, S::Error))),
            (&[E::SetUp, E::Parked, pause, resume], Ok((D::Active, S::Backfill))),
            (&[E::SetUp, delete, E::Through, E::Parked], Ok((D::Deleted, S::Teardown))),
            (&[delete, resume], Err(Refusal::Deleted)),
            (&[delete, pause], Err(Refusal::Deleted)),
            (&[delete, E::Run], Err(Refusal::Deleted)),
            (&[E::Run], Err(Refusal::NotSetUp)),
            (&[E::SetUp, E::Parked, E::Run], Err(Refusal::Parked)),
            (&[E::SetUp, pause, E::Run], Err(Refusal::Paused)),
        ] {
            assert_eq!(status(events), after, "{events:?}");
        }
        assert_eq!(go(&[delete]).unwrap().after(E::TornDown), Ok(None));
    }
}
