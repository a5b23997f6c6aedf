//! Reports for people and programs, made from [`crate::reduce::Progress`]: verdict, summary as JSON
//! and as text, changes between two looks. Reads the reducer; the reducer knows nothing of it.
//!
//! ```text
//! verdict.rs   outcome, cause, next step    summary.rs  summary as JSON
//! headline.rs  headline of a run            text.rs     summary as text
//! advice.rs    next steps                   doubt_text.rs  doubts as sentences
//! changes.rs   changes between two looks    assessment.rs  verdict, doubts and coverage of a state
//! prometheus.rs  metrics in the text format
//! ```

mod advice;
mod assessment;
pub mod changes;
mod doubt_text;
mod headline;
pub mod lead_up;
pub mod prometheus;
mod summary;
pub mod text;
mod verdict;

pub use crate::protocol::Remedy;
pub use advice::{Advice, Audience, ReadAgain, Repeat};
pub use assessment::{Assessment, TimeLeft};
pub use headline::{Headline, HeadlineNote, describe_exit};
pub use summary::{Scopes, Summary, summary};
pub use text::report;
pub use verdict::{Verdict, not_understood, trouble, unreadable_feed_warning, verdict};
