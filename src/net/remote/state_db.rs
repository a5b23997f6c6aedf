//! State kept between starts: error inbox of each service and the action log. One SQLite file,
//! shared by several processes.

use crate::net::sqlite::{self, StoreError};
use crate::net::{lock, now};
use rusqlite::{Connection, OptionalExtension, params};
use std::cmp::Reverse;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use synctop_core::fleet::inbox::InboxItem;
use synctop_core::fleet::{ActionRecord, Inbox};

/// Step by step; the log of actions is only ever added to.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE inbox (service TEXT NOT NULL, fingerprint TEXT NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (service, fingerprint)) STRICT;
    CREATE TABLE actions (seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, who TEXT NOT NULL, service TEXT NOT NULL,
        action TEXT NOT NULL, pipeline TEXT NOT NULL, intent TEXT NOT NULL, why TEXT, phase TEXT NOT NULL, state TEXT,
        verdict TEXT, sentence TEXT) STRICT;
    CREATE INDEX actions_by_intent ON actions (intent);
    CREATE TRIGGER actions_are_not_changed BEFORE UPDATE ON actions BEGIN SELECT RAISE(ABORT, 'the log of actions is only added to'); END;
    CREATE TRIGGER actions_are_not_deleted BEFORE DELETE ON actions BEGIN SELECT RAISE(ABORT, 'the log of actions is only added to'); END;
"];

/// Errors of one service that are remembered, and how long those that are over are, in
/// milliseconds.
const ITEMS: usize = 1_000;
const KEPT_MS: i64 = 90 * 86_400_000;

/// Something that is about to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// One action, however often it is sent; its idempotency key too.
    pub id: String,
    pub who: String,
    pub action: String,
    pub pipeline: String,
    pub why: Option<String>,
    /// State of the pipeline before the action.
    pub before: String,
}

/// State database.
pub struct StateDb {
    connection: Mutex<Connection>,
    service: String,
    /// Version of changes by other processes.
    version: AtomicI64,
}

impl StateDb {
    /// Opens the stored state of `service` in `folder`, which is created if missing.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(folder: &Path, service: &str) -> Result<Arc<Self>, StoreError> {
        std::fs::create_dir_all(folder).map_err(|error| StoreError::Sql(format!("{}: {error}", folder.display())))?;
        let connection = sqlite::open(&folder.join("fleet.db"), &MIGRATIONS)?;
        Ok(Arc::new(Self {
            connection: Mutex::new(connection),
            service: service.to_owned(),
            version: AtomicI64::new(0),
        }))
    }

    /// Stored errors. An unreadable item is left out: it will be seen again.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn inbox(&self) -> Result<Inbox, StoreError> {
        let connection = lock(&self.connection);
        let mut statement = connection.prepare_cached("SELECT doc FROM inbox WHERE service = ?1")?;
        let docs = statement.query_map([&self.service], |row| row.get::<_, String>(0))?;
        let mut inbox = Inbox::default();
        for doc in docs {
            if let Ok(item) = serde_json::from_str::<InboxItem>(&doc?) {
                inbox.items.insert(Arc::clone(&item.fingerprint), Arc::new(item));
            }
        }
        Ok(inbox)
    }

    /// Deletes items that are over for long, and those beyond a bound.
    ///
    /// # Errors
    /// When that cannot be kept.
    pub fn prune(&self, inbox: &mut Inbox) -> Result<(), StoreError> {
        let mut all: Vec<_> = inbox.items.values().map(|it| (!it.state().open(), Reverse(it.last_at), it)).collect();
        all.sort_by_key(|(over, latest, _)| (*over, *latest));
        let old = |(at, (over, Reverse(last_at), _)): &(usize, &(bool, Reverse<i64>, _))| {
            *at >= ITEMS || (*over && now().saturating_sub(*last_at) > KEPT_MS)
        };
        let old: Vec<_> =
            all.iter().enumerate().filter(old).map(|(_, (.., item))| Arc::clone(&item.fingerprint)).collect();
        let connection = lock(&self.connection);
        for fingerprint in old {
            connection.execute(
                "DELETE FROM inbox WHERE service = ?1 AND fingerprint = ?2",
                params![self.service, fingerprint.as_ref()],
            )?;
            inbox.items.remove(&fingerprint);
        }
        Ok(())
    }

    /// Stores items. Acknowledgments may have been changed by another process meanwhile, unless
    /// `acked`: the acknowledgment itself changed.
    ///
    /// # Errors
    /// When they cannot be kept.
    pub fn keep(&self, items: &[Arc<InboxItem>], acked: bool) -> Result<(), StoreError> {
        let mut connection = lock(&self.connection);
        let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for item in items {
            let kept: Option<String> = tx
                .prepare_cached("SELECT doc FROM inbox WHERE service = ?1 AND fingerprint = ?2")?
                .query_row(params![self.service, item.fingerprint.as_ref()], |row| row.get(0))
                .optional()?;
            let kept = kept.and_then(|doc| serde_json::from_str::<InboxItem>(&doc).ok());
            let mut item = InboxItem::clone(item);
            if let Some(kept) = kept.filter(|kept| !acked && kept.returns() == item.returns()) {
                item.acked = kept.acked;
            }
            tx.prepare_cached("INSERT INTO inbox VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET doc = ?3")?
                .execute(params![self.service, item.fingerprint.as_ref(), serde_json::to_string(&item)?])?;
        }
        tx.commit()?;
        Ok(())
    }

    /// Notes that something is about to be done; before it is.
    ///
    /// # Errors
    /// When it cannot be noted.
    pub fn intend(&self, intent: &Intent) -> Result<(), StoreError> {
        let row = params![
            now(),
            intent.who,
            self.service,
            intent.action,
            intent.pipeline,
            intent.id,
            intent.why,
            "sent",
            intent.before,
        ];
        lock(&self.connection).execute(
            "INSERT INTO actions (at, who, service, action, pipeline, intent, why, phase, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            row,
        )?;
        Ok(())
    }

    /// Records the result.
    ///
    /// # Errors
    /// When it cannot be noted.
    pub fn came_of(&self, intent: &Intent, after: &str, verdict: &str, sentence: &str) -> Result<(), StoreError> {
        let row = params![
            now(),
            intent.who,
            self.service,
            intent.action,
            intent.pipeline,
            intent.id,
            "verdict",
            after,
            verdict,
            sentence,
        ];
        lock(&self.connection).execute(
            "INSERT INTO actions (at, who, service, action, pipeline, intent, phase, state, verdict, sentence) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            row,
        )?;
        Ok(())
    }

    /// True if another process wrote since the last call (`PRAGMA data_version`).
    #[must_use]
    pub fn changed(&self) -> bool {
        let connection = lock(&self.connection);
        let version = connection.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0)).unwrap_or_default();
        self.version.swap(version, Ordering::Relaxed) != version
    }

    /// The last actions, the newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn actions(&self, most: usize) -> Result<Vec<ActionRecord>, StoreError> {
        let connection = lock(&self.connection);
        let mut statement = connection.prepare_cached(
            "SELECT sent.seq, sent.at, sent.who, sent.action, sent.pipeline, sent.why, sent.state, over.state, over.verdict, over.sentence, over.at \
             FROM actions AS sent LEFT JOIN actions AS over ON over.intent = sent.intent AND over.phase = 'verdict' \
             WHERE sent.service = ?1 AND sent.phase = 'sent' ORDER BY sent.seq DESC LIMIT ?2",
        )?;
        let actions = statement.query_map(params![self.service, i64::try_from(most).unwrap_or(i64::MAX)], |row| {
            Ok(ActionRecord {
                seq: row.get(0)?,
                at: row.get(1)?,
                who: row.get(2)?,
                action: row.get(3)?,
                pipeline: row.get(4)?,
                why: row.get(5)?,
                before: row.get(6)?,
                after: row.get(7)?,
                verdict: row.get(8)?,
                sentence: row.get(9)?,
                ended_at: row.get(10)?,
            })
        })?;
        Ok(actions.collect::<Result<_, _>>()?)
    }
}

/// Name of the acting user of this machine.
#[must_use]
pub fn who() -> String {
    let name = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).filter(|name| !name.is_empty());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{}@{host}", name.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_of_another_screen_stays() {
        let folder = tempfile::tempdir().unwrap();
        let memory = StateDb::open(folder.path(), "http://a").unwrap();
        let told = serde_json::json!({"id": "p_p", "status": "error", "reason": {"message": "m", "fingerprint": "f"}});
        let mut fleet = synctop_core::fleet::Fleet::default();
        fleet.take_one(told, 1).unwrap();
        let mut inbox = Inbox::default();
        inbox.observe(&fleet.pipelines["p_p"], now());
        let ours: Vec<_> = inbox.items.values().cloned().collect();
        memory.keep(&ours, false).unwrap();
        // Another screen acknowledges it; ours stores its items, and then takes the acknowledgment
        // over.
        let mut other = memory.inbox().unwrap();
        memory.keep(&[other.acknowledge("f", "mira", 5).unwrap()], true).unwrap();
        memory.keep(&ours, false).unwrap();
        assert_eq!(memory.inbox().unwrap().items["f"].acked, Some(("mira".into(), 5)));
        memory.keep(&ours, true).unwrap();
        assert_eq!(memory.inbox().unwrap().items["f"].acked, None);
    }

    #[test]
    fn the_log_of_actions_is_only_added_to() {
        let folder = tempfile::tempdir().unwrap();
        let memory = StateDb::open(folder.path(), "http://a").unwrap();
        let other = StateDb::open(folder.path(), "http://b").unwrap();
        let intent = Intent {
            id: "intent_1".into(),
            who: "me".into(),
            action: "resume".into(),
            pipeline: "p".into(),
            why: Some("key mended".into()),
            before: "error".into(),
        };
        memory.intend(&intent).unwrap();
        assert_eq!(memory.actions(9).unwrap()[0].verdict, None);
        memory.came_of(&intent, "ready", "took_effect", "ready after 3s").unwrap();
        let actions = memory.actions(9).unwrap();
        assert_eq!(
            (actions.len(), actions[0].verdict.as_deref(), actions[0].before.as_deref()),
            (1, Some("took_effect"), Some("error"))
        );
        assert!(other.actions(9).unwrap().is_empty());
        let connection = lock(&memory.connection);
        for sql in ["DELETE FROM actions", "UPDATE actions SET who = 'nobody'"] {
            assert!(connection.execute(sql, []).unwrap_err().to_string().contains("only added to"));
        }
    }
}
