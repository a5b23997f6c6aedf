//! Class of a result or an error, independent of its type. The command line maps each class to one
//! exit code.

/// Class of a result or an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResultClass {
    /// The work is done.
    Done,
    /// The work failed, or is done with errors.
    Failed,
    /// The work is not finished, or its result is unknown.
    Unfinished,
    /// Several targets, with different results.
    Mixed,
    /// The service has no such resource.
    NotFound,
    /// The command line or the request is invalid.
    Usage,
    /// Nothing in the input was understood.
    BadData,
    /// The input does not exist or cannot be read.
    NoInput,
    /// The service cannot be reached, or does not answer as expected.
    Unavailable,
    /// An output, a state or a terminal cannot be written.
    Output,
    /// The user is not allowed to do this.
    NotAllowed,
    /// A part of synctop panicked.
    Bug,
    /// The user interrupted the work.
    Interrupted,
}

impl ResultClass {
    /// Returns the class of several results: their common one, [`ResultClass::Done`] for none,
    /// otherwise [`ResultClass::Mixed`].
    #[must_use]
    pub fn of_all(classes: impl IntoIterator<Item = Self>) -> Self {
        let mut classes = classes.into_iter();
        let Some(first) = classes.next() else { return Self::Done };
        if classes.all(|class| class == first) { first } else { Self::Mixed }
    }
}
