//! `synctop store`: migration, check, export and import of the store of a service.

use crate::cli::args::{StoreArgs, StoreCommand, StorePlace};
use crate::cli::error::CommandError;
use crate::cli::exit;
use crate::cli::files::print;
use crate::cli::output::{print_note, sentence};
use crate::cli::serve::{connector, state_folder};
use crate::service::archive::Archive;
use crate::service::data_folder::{DataFolderError, lock_folder};
use crate::service::store::postgres::session::DatabaseSession;
use crate::service::store::postgres::{leases, schema, transfer as database};
use crate::service::store::transfer::{ExportTotals, StoreFinding, TransferError, Writer, read};
use crate::service::store::{DATABASE, StoreError, folder};
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use synctop_core::ResultClass;
use synctop_core::format::plural;
use synctop_core::protocol::mask;

/// zstd compression level of exports: zstd's default.
const LEVEL: i32 = 3;

/// Store of a command.
enum Place {
    Database(Box<DatabaseSession>, Option<Arc<Archive>>),
    /// Data folder, locked for as long as the command uses it.
    Folder(PathBuf, (File, File)),
}

pub(super) fn store(args: &StoreArgs) -> Result<u8, CommandError> {
    match &args.command {
        StoreCommand::Migrate { place } => migrate(place),
        StoreCommand::Check { place } => check(place),
        StoreCommand::Export { place, output } => export(place, output),
        StoreCommand::Import { place, input } => import(place, input),
    }
}

impl Place {
    /// Opens a store. A data folder without a database is accepted only if it may be `new`.
    fn open(place: &StorePlace, new: bool) -> Result<Self, CommandError> {
        if let Some(url) = &place.store {
            let password = match &place.store_password_file {
                Some(path) => Some(format!("file:{}", std::path::absolute(path)?.display())),
                None => None,
            };
            let session = DatabaseSession::new(connector(url, password.as_deref())?);
            let archive = place.archive.as_deref().map(Archive::open).transpose();
            let archive = archive.map_err(|error| CommandError::usage(format!("{error}.")))?;
            return Ok(Self::Database(Box::new(session.map_err(|error| failed(error.into()))?), archive));
        }
        let path = match &place.data_dir {
            Some(path) => path.clone(),
            None => state_folder()?,
        };
        if !new && !path.join(DATABASE).exists() {
            let sentence = format!("{} has no store: pass its folder with --data-dir, or --store.", path.display());
            return Err(CommandError { sentence, class: ResultClass::NoInput });
        }
        let locks = lock_folder(&path).map_err(|error| match error {
            DataFolderError::InUse(path) => failed(TransferError::InUse(path.display().to_string())),
            error => CommandError { sentence: sentence(&error.to_string()), class: ResultClass::Output },
        })?;
        Ok(Self::Folder(path, locks))
    }
}

/// Converts an error to a sentence with its class.
fn failed(error: TransferError) -> CommandError {
    let class = match &error {
        TransferError::Store(StoreError::Unreachable(..)) => ResultClass::Unavailable,
        TransferError::Store(StoreError::Damaged(_))
        | TransferError::Damaged(_)
        | TransferError::CutOff
        | TransferError::Later(_) => ResultClass::BadData,
        TransferError::NotEmpty | TransferError::NoArchive => ResultClass::Usage,
        // No error of the system: the contents are damaged.
        TransferError::Read(error) if error.raw_os_error().is_none() => ResultClass::BadData,
        TransferError::Read(_) => ResultClass::NoInput,
        _ => ResultClass::Output,
    };
    CommandError { sentence: format!("{}.", mask::secrets(sentence(&error.to_string()).trim_end_matches('.'))), class }
}

fn migrate(place: &StorePlace) -> Result<u8, CommandError> {
    match Place::open(place, true)? {
        Place::Database(mut session, _) => {
            let (before, after) = schema::migrate(&mut session).map_err(|error| failed(error.into()))?;
            print(&if before == after {
                format!("the store has version {} already\n", after.version)
            } else {
                format!("the store was migrated from version {} to {}\n", before.version, after.version)
            })?;
        }
        Place::Folder(path, _locks) => {
            let opened = crate::service::store::Store::open(&path).map_err(|error| failed(error.into()))?;
            opened.close();
            print(&format!("the store in {} is up to date\n", path.display()))?;
        }
    }
    Ok(exit::DONE)
}

/// Refuses a database without a store, and one of a newer version.
fn require_store(session: &mut DatabaseSession) -> Result<(), CommandError> {
    let version = schema::version(session).map_err(|error| failed(error.into()))?;
    if version.version == 0 {
        let sentence = "The database has no store: synctop store migrate creates it.".into();
        return Err(CommandError { sentence, class: ResultClass::NoInput });
    }
    schema::check(version).map_err(|error| failed(error.into()))
}

fn check(place: &StorePlace) -> Result<u8, CommandError> {
    let findings = match Place::open(place, false)? {
        Place::Database(mut session, archive) => {
            require_store(&mut session)?;
            database::check(&mut session, archive.as_deref())
        }
        Place::Folder(path, _locks) => folder::check(&path),
    };
    let findings = findings.map_err(failed)?;
    for StoreFinding { pipeline, sentence } in &findings {
        print(&format!("{}: {}\n", pipeline.as_deref().unwrap_or("store"), mask::secrets(sentence)))?;
    }
    if findings.is_empty() {
        print("the store is sound\n")?;
        return Ok(exit::DONE);
    }
    Ok(exit::code(ResultClass::Failed))
}

fn export(place: &StorePlace, output: &Path) -> Result<u8, CommandError> {
    let mut place = Place::open(place, false)?;
    let mut alive = 0;
    if let Place::Database(session, _) = &mut place {
        require_store(session)?;
        let nodes = leases::nodes(session).map_err(|error| failed(error.into()))?;
        alive = nodes.iter().filter(|node| node.is_alive).count();
    }
    let to_stdout = output == Path::new("-");
    let target: Box<dyn Write> = if to_stdout {
        Box::new(io::stdout())
    } else {
        // An export has the secrets that the store has.
        let file = File::options().create_new(true).write(true).mode(0o600).open(output);
        Box::new(file.map_err(|error| CommandError {
            sentence: match error.kind() {
                io::ErrorKind::AlreadyExists => format!("{} exists already: choose another name.", output.display()),
                _ => format!("{} cannot be created: {error}.", output.display()),
            },
            class: ResultClass::Output,
        })?)
    };
    let exported = write_export(&mut place, target);
    if exported.is_err() && !to_stdout {
        let _ = std::fs::remove_file(output);
    }
    let (totals, missing) = exported.map_err(failed)?;
    print_note(&format!("exported {totals}"));
    if missing > 0 {
        let parts = plural(missing, "part");
        print_note(&format!("{parts} of logs missing: synctop store check names the pipelines"));
    }
    if alive > 0 {
        print_note(&format!("exported beside {}: later changes are not in the export", plural(alive, "living node")));
    }
    Ok(exit::DONE)
}

fn write_export(place: &mut Place, target: Box<dyn Write>) -> Result<(ExportTotals, usize), TransferError> {
    let mut writer = Writer::new(zstd::Encoder::new(target, LEVEL).map_err(TransferError::Write)?);
    let missing = match place {
        Place::Database(session, archive) => {
            database::export(session, archive.as_deref(), &mut writer)?;
            0
        }
        Place::Folder(path, _) => folder::export(path, &mut writer)?,
    };
    let (encoder, totals) = writer.finish()?;
    encoder.finish().and_then(|mut output| output.flush()).map_err(TransferError::Write)?;
    Ok((totals, missing))
}

fn import(place: &StorePlace, input: &Path) -> Result<u8, CommandError> {
    let source: Box<dyn io::Read> = if input == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(input).map_err(|error| CommandError {
            sentence: format!("The export {} cannot be read: {error}.", input.display()),
            class: ResultClass::NoInput,
        })?)
    };
    let name = input.display();
    let decoder = zstd::Decoder::new(source).map_err(|error| failed(TransferError::Read(error)))?;
    let records = BufReader::new(decoder);
    let totals = match Place::open(place, true)? {
        Place::Folder(path, _locks) => folder::import(&path, records),
        Place::Database(mut session, _) => {
            schema::migrate(&mut session).map_err(|error| failed(error.into()))?;
            let mut importing = database::DatabaseImport::begin(&mut session).map_err(failed)?;
            match read(records, |record| importing.put(record)) {
                Ok(totals) => importing.commit().map(|()| totals),
                Err(error) => {
                    importing.abort();
                    Err(error)
                }
            }
        }
    };
    let totals = totals.map_err(|error| {
        let is_of_export = matches!(error, TransferError::Read(_) | TransferError::Damaged(_) | TransferError::CutOff);
        let mut error = failed(error);
        if is_of_export && error.class == ResultClass::BadData {
            error.sentence = format!("{name}: {} Export the store again.", error.sentence);
        }
        error
    })?;
    print_note(&format!("imported {totals}"));
    print_note("serve one of the two stores only: both have the same pipelines");
    Ok(exit::DONE)
}
