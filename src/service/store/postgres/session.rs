//! Connection to PostgreSQL for one thread: statements with a timeout, reconnected when it breaks.
//!
//! tokio-postgres instead of sqlx, because the closures of the store run on threads of their own
//! and know their statements: neither a pool of futures nor a macro that needs a database to compile
//! would serve them.

use crate::util::secret_ref::SecretRef;
use crate::util::sqlite::StoreError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::BuilderVerifierExt as _;
use std::collections::HashMap;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Timeout of a statement by the client's clock: a broken network may keep silent.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Timeout of the attempt to connect, with TLS and the password.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time without a statement after which it is checked whether a connection still stands.
const IDLE: Duration = Duration::from_millis(50);

/// Settings of each connection. The server ends the transactions of clients that are gone.
const SETTINGS: &str = "SET statement_timeout = '10s'; SET idle_in_transaction_session_timeout = '15s'; \
     SET client_min_messages = warning; SET TIME ZONE 'UTC'";

/// Address of a store that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreAddressError {
    #[error("it is no address of a store: expected postgres://USER@HOST/DATABASE")]
    NoAddress,
    #[error("{0}")]
    Invalid(String),
    #[error(
        "it contains a password, which other users of the machine can see: put the password into a file and pass it with --store-password-file"
    )]
    Password,
    #[error("the password {0}")]
    PasswordReference(String),
    #[error("the certificates of {}: {error}", path.display())]
    Certificates { path: PathBuf, error: String },
}

/// Address of a database, and the way to connect.
pub struct Connector {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    /// Address for messages, without a password.
    pub shown: String,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("shown", &self.shown).finish_non_exhaustive()
    }
}

impl Connector {
    /// Reads an address such as `postgres://synctop@db.example/synctop`. The password is a reference
    /// (`file:/PATH`, `env:NAME`), or `PGPASSWORD`. Off this machine, TLS is required and the
    /// server's certificate verified; `sslmode=disable` turns it off, `sslrootcert` names the
    /// certificates of a private authority.
    ///
    /// # Errors
    /// Returns the mistake as an [`StoreAddressError`].
    pub fn new(address: &str, password: Option<&str>) -> Result<Arc<Self>, StoreAddressError> {
        let mut url = reqwest::Url::parse(address).map_err(|_| StoreAddressError::NoAddress)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(StoreAddressError::NoAddress);
        }
        if url.password().is_some() || url.query_pairs().any(|(key, _)| key == "password") {
            return Err(StoreAddressError::Password);
        }
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let value = |key: &str| pairs.iter().rev().find(|(it, _)| it == key).map(|(_, value)| value.clone());
        let (mode, root) = (value("sslmode"), value("sslrootcert"));
        let rest: Vec<_> = pairs.iter().filter(|(key, _)| key != "sslmode" && key != "sslrootcert").collect();
        url.set_query(None);
        if !rest.is_empty() {
            url.query_pairs_mut().extend_pairs(rest);
        }
        let invalid = |error: &dyn std::fmt::Display| StoreAddressError::Invalid(error.to_string());
        let mut config: tokio_postgres::Config = url.as_str().parse().map_err(|error| invalid(&error))?;
        let is_local = config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
            Host::Unix(_) => true,
        });
        config.ssl_mode(match mode.as_deref() {
            None if is_local => SslMode::Disable,
            Some("disable") => SslMode::Disable,
            None | Some("require" | "verify-ca" | "verify-full") => SslMode::Require,
            Some("prefer") => SslMode::Prefer,
            Some(other) => {
                return Err(StoreAddressError::Invalid(format!("sslmode {other} is none of disable, prefer, require")));
            }
        });
        let password = match password {
            Some(reference) => {
                let parsed = SecretRef::parse(reference).ok_or_else(|| {
                    StoreAddressError::PasswordReference("is no reference: expected file:/PATH or env:NAME".into())
                })?;
                Some(
                    parsed
                        .read()
                        .map_err(|error| StoreAddressError::PasswordReference(format!("cannot be read: {error}")))?,
                )
            }
            None => std::env::var("PGPASSWORD").ok(),
        };
        if let Some(password) = password {
            config.password(password);
        }
        config.application_name("synctop");
        config.connect_timeout(CONNECT_TIMEOUT);
        config.tcp_user_timeout(STATEMENT_TIMEOUT);
        config.keepalives_idle(Duration::from_secs(15));
        let tls = MakeRustlsConnect::new(tls_config(root.as_deref().map(Path::new))?);
        Ok(Arc::new(Self { config, tls, shown: url.to_string() }))
    }
}

/// Returns the TLS configuration: the authorities of the system, or those of a file.
fn tls_config(root: Option<&Path>) -> Result<rustls::ClientConfig, StoreAddressError> {
    let bad = |error: &dyn std::fmt::Display| {
        let path = root.unwrap_or(Path::new("the system")).to_owned();
        StoreAddressError::Certificates { path, error: error.to_string() }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&error))?;
    let Some(path) = root else {
        return Ok(builder.with_platform_verifier().map_err(|error| bad(&error))?.with_no_client_auth());
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(&error))? {
        roots.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Parameters of a statement.
pub type Parameters<'p> = &'p [&'p (dyn ToSql + Sync)];

/// Connection of one thread.
pub struct DatabaseSession {
    connector: Arc<Connector>,
    runtime: Runtime,
    client: Option<Client>,
    statements: HashMap<&'static str, Statement>,
    notifications: Option<mpsc::Receiver<()>>,
    used_at: Instant,
    /// True within a transaction, which ends with its connection.
    in_transaction: bool,
    /// Number of connections so far.
    generation: u64,
}

impl DatabaseSession {
    /// Creates a session that connects with its first statement.
    ///
    /// # Errors
    /// Returns [`StoreError::Sql`] if the runtime of the thread cannot be started.
    pub fn new(connector: Arc<Connector>) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::Sql(error.to_string()))?;
        Ok(Self {
            connector,
            runtime,
            client: None,
            statements: HashMap::new(),
            notifications: None,
            used_at: Instant::now(),
            in_transaction: false,
            generation: 0,
        })
    }

    /// Connects, unless the connection stands.
    ///
    /// # Errors
    /// Returns [`StoreError::Unreachable`] with the reason.
    pub fn connect(&mut self) -> Result<&Client, StoreError> {
        if self.client.is_some() && self.used_at.elapsed() > IDLE {
            // A connection that the server has closed shows it once its task has run.
            self.runtime.block_on(async {
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
            });
        }
        self.used_at = Instant::now();
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.disconnect();
            if self.in_transaction {
                // The rest of a transaction must not run on another connection.
                let why = "the connection broke within a transaction".to_owned();
                return Err(StoreError::Unreachable(self.connector.shown.clone(), why));
            }
            let connector = Arc::clone(&self.connector);
            let connected = self.runtime.block_on(async {
                let connecting = async {
                    let (client, mut connection) = connector.config.connect(connector.tls.clone()).await?;
                    let (sender, notifications) = mpsc::channel(1);
                    tokio::spawn(async move {
                        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                            if matches!(message, AsyncMessage::Notification(_)) {
                                // One that waits already stands for this one.
                                let _ = sender.try_send(());
                            }
                        }
                    });
                    client.batch_execute(SETTINGS).await?;
                    Ok::<_, tokio_postgres::Error>((client, notifications))
                };
                tokio::time::timeout(CONNECT_TIMEOUT * 2, connecting).await
            });
            let (client, notifications) = match connected {
                Ok(Ok(connected)) => connected,
                Ok(Err(error)) => return Err(StoreError::Unreachable(self.connector.shown.clone(), refusal(&error))),
                Err(_) => {
                    return Err(StoreError::Unreachable(self.connector.shown.clone(), "it does not answer".into()));
                }
            };
            self.client = Some(client);
            self.generation += 1;
            self.notifications = Some(notifications);
        }
        self.client.as_ref().ok_or(StoreError::Closed)
    }

    /// Closes the connection.
    pub fn disconnect(&mut self) {
        self.statements.clear();
        self.notifications = None;
        self.client = None;
    }

    /// Returns the number of connections so far.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Runs statements without parameters.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if a statement fails.
    pub fn batch(&mut self, statements: &str) -> Result<(), StoreError> {
        let connected = self.connect().map(|_| ());
        if statements == "COMMIT" || statements == "ROLLBACK" {
            self.in_transaction = false;
        }
        connected?;
        let Some(client) = &self.client else { return Err(StoreError::Closed) };
        let done = self
            .runtime
            .block_on(async { tokio::time::timeout(STATEMENT_TIMEOUT, client.batch_execute(statements)).await });
        let done = self.result(done);
        if done.is_ok() && statements.starts_with("BEGIN") {
            self.in_transaction = true;
        }
        done
    }

    /// Returns a prepared statement. A text is prepared once per connection.
    fn prepared(&mut self, sql: &'static str) -> Result<Statement, StoreError> {
        self.connect()?;
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let Some(client) = &self.client else { return Err(StoreError::Closed) };
        let done = self.runtime.block_on(async { tokio::time::timeout(STATEMENT_TIMEOUT, client.prepare(sql)).await });
        let statement = self.result(done)?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    /// Runs a query and returns its rows.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the query fails.
    pub fn query(&mut self, sql: &'static str, parameters: Parameters) -> Result<Vec<Row>, StoreError> {
        let statement = self.prepared(sql)?;
        let Some(client) = &self.client else { return Err(StoreError::Closed) };
        let querying = client.query(&statement, parameters);
        let done = self.runtime.block_on(async { tokio::time::timeout(STATEMENT_TIMEOUT, querying).await });
        self.result(done)
    }

    /// Runs a statement and returns the number of its rows.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the statement fails.
    pub fn execute(&mut self, sql: &'static str, parameters: Parameters) -> Result<u64, StoreError> {
        let statement = self.prepared(sql)?;
        let Some(client) = &self.client else { return Err(StoreError::Closed) };
        let executing = client.execute(&statement, parameters);
        let done = self.runtime.block_on(async { tokio::time::timeout(STATEMENT_TIMEOUT, executing).await });
        self.result(done)
    }

    /// Undoes the open transaction, or closes the connection if that fails.
    pub fn roll_back(&mut self) {
        if self.client.is_some() && self.batch("ROLLBACK").is_err() {
            self.disconnect();
        }
        self.in_transaction = false;
    }

    /// Waits for a notification, at most this time. True if one came.
    pub fn notified(&mut self, wait: Duration) -> bool {
        let Some(notifications) = &mut self.notifications else {
            std::thread::sleep(wait);
            return false;
        };
        let came = self.runtime.block_on(async { tokio::time::timeout(wait, notifications.recv()).await });
        match came {
            Ok(Some(())) => true,
            Ok(None) => {
                // The connection broke: the next statement connects again.
                self.disconnect();
                std::thread::sleep(wait.min(Duration::from_millis(200)));
                false
            }
            Err(_) => false,
        }
    }

    /// Converts the result of a statement; a connection that does not answer is closed.
    fn result<T>(
        &mut self,
        done: Result<Result<T, tokio_postgres::Error>, tokio::time::error::Elapsed>,
    ) -> Result<T, StoreError> {
        match done {
            Ok(Ok(value)) => Ok(value),
            // A value that does not fit a column is a bug, and not the network's.
            Ok(Err(error)) if error.as_db_error().is_none() && (error.is_closed() || is_io(&error)) => {
                self.disconnect();
                Err(StoreError::Unreachable(self.connector.shown.clone(), words(&error)))
            }
            Ok(Err(error)) => {
                if error.code() == Some(&SqlState::ADMIN_SHUTDOWN) || error.code() == Some(&SqlState::CRASH_SHUTDOWN) {
                    self.disconnect();
                }
                Err(StoreError::Sql(words(&error)))
            }
            Err(_) => {
                self.disconnect();
                let seconds = STATEMENT_TIMEOUT.as_secs();
                Err(StoreError::Unreachable(self.connector.shown.clone(), format!("no answer within {seconds} s")))
            }
        }
    }
}

/// True if an error comes from the network.
fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

/// Returns the message of an error: that of the server, or the innermost cause.
fn words(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return error.message().to_owned();
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

/// Returns the reason that a connection was not made, with the next step.
fn refusal(error: &tokio_postgres::Error) -> String {
    let words = words(error);
    let next = match error.code() {
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => "create it with createdb, or correct the address",
        Some(code) if [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(code) => {
            "check the user of the address and the password (--store-password-file)"
        }
        Some(_) => return words,
        None if words.contains("does not support TLS") => {
            "inside a private network, add ?sslmode=disable to the address"
        }
        None => "check that it runs, and the host and port of the address",
    };
    format!("{words}; {next}")
}

/// Converts a number to a column.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Converts a column to a number.
pub fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
