//! Archive of run logs: closed parts of the logs in a database move to an object store, compressed,
//! and leave the database. Readers of any node read them there.
//!
//! ```text
//! logs/PIPELINE.INCARNATION/run-000001.00000000000000000000.ndjson.zst
//! ```
//!
//! An object is written before the database refers to it, and removed after the database has forgotten
//! it: a crash between the two leaves an object that nothing refers to, and never a missing one.

use crate::net::source::engine_http::install_crypto_provider;
use crate::net::timeline::segments::SegmentName;
use crate::service::store::postgres::Cluster;
use crate::service::store::postgres::segments::{self, ClosedPart, StoredSegment};
use crate::util::sqlite::StoreError;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Age at which a closed part of a log moves to the archive; a small one waits sixty times as long.
pub const ARCHIVE_AFTER: Duration = Duration::from_secs(60);

/// Interval of the passes.
pub const PASS: Duration = Duration::from_secs(20);

/// Maximum uncompressed bytes of an object: a reader holds one in memory.
pub const MAX_SEGMENT: u64 = 4 << 20;

/// Maximum objects that a node writes in one pass.
const MAX_PER_PASS: i64 = 50;

/// zstd compression level: zstd's default.
const LEVEL: i32 = 3;

/// Address of an archive that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveAddressError {
    #[error("{0} is no address of an archive: expected file:///FOLDER{CLOUD}")]
    NoAddress(String),
    #[error("there is no folder {0} for the archive: create or mount it first")]
    NoFolder(PathBuf),
    #[error("the archive {0} cannot be used: {1}")]
    Unusable(String, String),
}

/// Schemes of the build.
#[cfg(feature = "cloud")]
const CLOUD: &str = ", s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX";
#[cfg(not(feature = "cloud"))]
const CLOUD: &str = " (s3, gs and az need a build with --features cloud)";

/// Error of an operation of the archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the archive: {0}")]
    Object(#[from] object_store::Error),
    #[error("an object of the archive is damaged: {0}")]
    Damaged(std::io::Error),
}

/// Object store with the closed parts of all logs.
pub struct Archive {
    store: Box<dyn ObjectStore>,
    prefix: ObjectPath,
}

impl Archive {
    /// Opens an archive by its address: a folder, or a bucket with the credentials of the environment.
    ///
    /// # Errors
    /// Returns an [`ArchiveAddressError`].
    pub fn open(address: &str) -> Result<Arc<Self>, ArchiveAddressError> {
        let no_address = || ArchiveAddressError::NoAddress(address.to_owned());
        let url = reqwest::Url::parse(address).map_err(|_| no_address())?;
        if !matches!(url.scheme(), "file" | "s3" | "gs" | "az") || (url.scheme() != "file" && !cfg!(feature = "cloud"))
        {
            return Err(no_address());
        }
        let unusable =
            |error: &dyn std::fmt::Display| ArchiveAddressError::Unusable(address.to_owned(), error.to_string());
        if url.scheme() == "file" {
            let folder = url.to_file_path().map_err(|()| no_address())?;
            // A folder that is not mounted must not be created on the disk below.
            if !folder.is_dir() {
                return Err(ArchiveAddressError::NoFolder(folder));
            }
        }
        install_crypto_provider();
        // Credentials and endpoints, such as AWS_ACCESS_KEY_ID and AWS_ENDPOINT.
        let known = |name: &str| ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|prefix| name.starts_with(prefix));
        let options =
            std::env::vars().filter(|(name, _)| known(name)).map(|(name, value)| (name.to_lowercase(), value));
        let (store, prefix) = object_store::parse_url_opts(&url, options).map_err(|error| unusable(&error))?;
        Ok(Arc::new(Self { store, prefix }))
    }

    /// Returns the path of an object.
    fn path(&self, name: &str) -> ObjectPath {
        self.prefix.parts().chain(ObjectPath::from(name).parts()).collect()
    }

    /// Moves closed parts of logs to the archive, those of the pipelines that a node runs. Returns the
    /// number of objects.
    ///
    /// # Errors
    /// Returns the first error; what was moved before stays.
    pub async fn store_closed(&self, cluster: &Cluster, node: &str, after: Duration) -> Result<usize, ArchiveError> {
        let own = node.to_owned();
        let after = after.as_secs_f64();
        let parts =
            cluster.run(move |session| segments::closed(session, &own, after, MAX_SEGMENT, MAX_PER_PASS)).await?;
        let count = parts.len();
        for part in parts {
            self.store_part(cluster, part).await?;
        }
        Ok(count)
    }

    async fn store_part(&self, cluster: &Cluster, part: ClosedPart) -> Result<(), ArchiveError> {
        let range = (part.incarnation, part.start, part.end);
        let bytes = cluster.run(move |session| segments::bytes(session, range)).await?;
        if bytes.len() as u64 != part.end - part.start {
            // Its beginning has expired meanwhile.
            return Ok(());
        }
        let name = SegmentName { run: part.run, begin: part.start, packed: true }.name();
        let path = format!("logs/{}.{}/{name}", part.pipeline, part.incarnation);
        let packed = zstd::encode_all(bytes.as_slice(), LEVEL).map_err(ArchiveError::Damaged)?;
        let size = packed.len() as u64;
        self.store.put(&self.path(&path), PutPayload::from(packed)).await?;
        // A node that has lost its lease meanwhile leaves the chunks to the next one.
        cluster.run(move |session| segments::replace(session, &part, size, &path)).await?;
        Ok(())
    }

    /// Reads an object.
    ///
    /// # Errors
    /// Returns [`ArchiveError::Object`] if it cannot be read, [`ArchiveError::Damaged`] if it differs
    /// from the stored part.
    pub async fn read(&self, segment: &StoredSegment) -> Result<Vec<u8>, ArchiveError> {
        let packed = self.store.get(&self.path(&segment.path)).await?.bytes().await?;
        let mut bytes = Vec::new();
        // A damaged object must not fill the memory.
        let decoder = zstd::Decoder::new(packed.as_ref()).map_err(ArchiveError::Damaged)?;
        decoder.take(segment.length + 1).read_to_end(&mut bytes).map_err(ArchiveError::Damaged)?;
        if bytes.len() as u64 == segment.length {
            Ok(bytes)
        } else {
            let length = format!("it has {} bytes instead of {}", bytes.len(), segment.length);
            Err(ArchiveError::Damaged(std::io::Error::new(std::io::ErrorKind::InvalidData, length)))
        }
    }

    /// Removes the objects beyond the retention of the logs.
    ///
    /// # Errors
    /// Returns the first error; a later pass removes the rest.
    pub async fn prune(&self, cluster: &Cluster, age: Duration, size: u64) -> Result<(), ArchiveError> {
        let gone = cluster.run(move |session| segments::expired(session, age, size)).await?;
        for segment in gone {
            let path = self.path(&segment.path);
            cluster.run(move |session| segments::forget(session, &segment)).await?;
            match self.store.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Writes and removes an object, to show that the archive can be used.
    ///
    /// # Errors
    /// Returns [`ArchiveError::Object`] if it cannot.
    pub async fn probe(&self) -> Result<(), ArchiveError> {
        let path = self.path(&format!("probe-{}", crate::util::sys::random_id("a")));
        let mut packed = zstd::Encoder::new(Vec::new(), LEVEL).map_err(ArchiveError::Damaged)?;
        packed.write_all(b"probe\n").map_err(ArchiveError::Damaged)?;
        self.store.put(&path, PutPayload::from(packed.finish().map_err(ArchiveError::Damaged)?)).await?;
        self.store.delete(&path).await?;
        Ok(())
    }
}
