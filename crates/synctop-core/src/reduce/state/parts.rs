//! Parts of lines that container platforms split.

use crate::protocol::envelope::Output;

/// Part of a line, from one or several lines of the input.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Part {
    /// Text so far, at most one line limit.
    pub(crate) text: String,
}

/// Unfinished lines, one for each output of the program.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Parts {
    stdout: Option<Box<Part>>,
    stderr: Option<Box<Part>>,
}

impl Parts {
    fn slot(&mut self, output: Option<Output>) -> &mut Option<Box<Part>> {
        match output {
            Some(Output::Stderr) => &mut self.stderr,
            Some(Output::Stdout) | None => &mut self.stdout,
        }
    }

    pub(crate) fn take(&mut self, output: Option<Output>) -> Option<Part> {
        self.slot(output).take().map(|part| *part)
    }

    pub(crate) fn put(&mut self, output: Option<Output>, part: Part) {
        *self.slot(output) = Some(Box::new(part));
    }

    /// Takes the unfinished lines at the end of the input.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Part> + use<> {
        [self.stdout.take(), self.stderr.take()].into_iter().flatten().map(|part| *part)
    }
}
