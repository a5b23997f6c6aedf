//! Sizes of the panes, remembered between runs in a state file.

use crate::net::client::contexts::state_folder;
use crate::views::ui::Sizes;
use std::path::PathBuf;

/// Name of the file in the folder of stored state.
const FILE: &str = "screen.json";

/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 64 << 10;

#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
struct AllSizes {
    run: Sizes,
    fleet: Sizes,
}

/// State file of the pane sizes. A file that cannot be read or written changes nothing: the screen
/// works with its standard sizes.
#[derive(Debug, Clone, Default)]
pub struct SizesFile {
    path: Option<PathBuf>,
    kept: AllSizes,
}

impl SizesFile {
    /// Reads the file; with `fresh` it is neither read nor written.
    #[must_use]
    pub fn open(fresh: bool) -> Self {
        let path = if fresh { None } else { state_folder().map(|folder| folder.join(FILE)) };
        let is_small = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|it| it.is_file() && it.len() <= MAX_BYTES);
        let text = path.as_ref().filter(|path| is_small(path)).and_then(|path| std::fs::read_to_string(path).ok());
        let kept = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Self { path, kept }
    }

    pub(crate) fn run(&self) -> Sizes {
        self.kept.run
    }

    pub(crate) fn fleet(&self) -> Sizes {
        self.kept.fleet
    }

    pub(crate) fn keep_run(&mut self, sizes: Sizes) {
        self.keep(AllSizes { run: sizes, ..self.kept });
    }

    pub(crate) fn keep_fleet(&mut self, sizes: Sizes) {
        self.keep(AllSizes { fleet: sizes, ..self.kept });
    }

    /// Writes the file if the sizes changed: to a temporary file, so that no half of it is read.
    fn keep(&mut self, sizes: AllSizes) {
        if sizes == self.kept {
            return;
        }
        self.kept = sizes;
        let Some((path, folder)) = self.path.as_ref().and_then(|path| Some((path, path.parent()?))) else { return };
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(folder)?;
            let file = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer(file.as_file(), &sizes)?;
            file.persist(path)?;
            Ok(())
        };
        if let Err(error) = write() {
            tracing::warn!("sizes of the panes are not remembered: {}: {error}", path.display());
        }
    }
}
