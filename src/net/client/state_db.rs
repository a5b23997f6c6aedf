//! State stored between program starts: the error inbox of each service and the action log. One
//! SQLite file, shared by several processes.

use crate::util::sqlite::{self, StoreError};
use crate::util::sys::{lock, now, random_id};
use rusqlite::{Connection, OptionalExtension, params};
use std::cmp::Reverse;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use synctop_core::fleet::inbox::InboxItem;
use synctop_core::fleet::{ActionRecord, Inbox};

/// Schema migrations, in order. Triggers keep the action log append-only.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE inbox (service TEXT NOT NULL, fingerprint TEXT NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (service, fingerprint)) STRICT;
    CREATE TABLE actions (seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, who TEXT NOT NULL, service TEXT NOT NULL,
        action TEXT NOT NULL, pipeline TEXT NOT NULL, intent TEXT NOT NULL, why TEXT, phase TEXT NOT NULL, state TEXT,
        verdict TEXT, sentence TEXT) STRICT;
    CREATE INDEX actions_by_intent ON actions (intent);
    CREATE TRIGGER actions_are_not_changed BEFORE UPDATE ON actions BEGIN SELECT RAISE(ABORT, 'the log of actions is only added to'); END;
    CREATE TRIGGER actions_are_not_deleted BEFORE DELETE ON actions BEGIN SELECT RAISE(ABORT, 'the log of actions is only added to'); END;
"];

/// Maximum stored errors of one service.
const MAX_ITEMS: usize = 1_000;

/// Time for which resolved errors are stored, in milliseconds.
const RETENTION_MS: i64 = 90 * 86_400_000;

/// Action that is about to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// Identifier of the action, and its idempotency key: the same for every retry.
    pub id: String,
    pub who: String,
    pub action: String,
    pub pipeline: String,
    pub why: Option<String>,
    /// State of the pipeline before the action.
    pub before: String,
}

/// State database of one service.
pub struct StateDb {
    connection: Mutex<Connection>,
    service: String,
    /// Last `PRAGMA data_version`, which changes with each write of another process.
    version: AtomicI64,
}

impl StateDb {
    /// Opens the stored state of `service` in `folder`, which is created if missing.
    ///
    /// # Errors
    /// Returns `StoreError` if the folder cannot be created or the database cannot be opened.
    pub fn open(folder: &Path, service: &str) -> Result<Arc<Self>, StoreError> {
        std::fs::create_dir_all(folder).map_err(|error| StoreError::Sql(format!("{}: {error}", folder.display())))?;
        let connection = sqlite::open(&folder.join("fleet.db"), &MIGRATIONS)?;
        Ok(Arc::new(Self {
            connection: Mutex::new(connection),
            service: service.to_owned(),
            version: AtomicI64::new(0),
        }))
    }

    /// Reads the stored errors. Unreadable items are left out: they are observed again.
    ///
    /// # Errors
    /// Returns `StoreError::Sql` if the database cannot be read.
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

    /// Deletes items that were resolved long ago, and items beyond the limit, resolved and oldest
    /// ones first.
    ///
    /// # Errors
    /// Returns `StoreError::Sql` if the database cannot be written.
    pub fn prune(&self, inbox: &mut Inbox) -> Result<(), StoreError> {
        let mut all: Vec<_> = inbox.items.values().map(|it| (!it.state().open(), Reverse(it.last_at), it)).collect();
        all.sort_by_key(|(over, latest, _)| (*over, *latest));
        let old = |(at, (over, Reverse(last_at), _)): &(usize, &(bool, Reverse<i64>, _))| {
            *at >= MAX_ITEMS || (*over && now().saturating_sub(*last_at) > RETENTION_MS)
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

    /// Stores items. Keeps the stored acknowledgments, which another process may have changed,
    /// unless `acked` is set: then the given acknowledgments replace them.
    ///
    /// # Errors
    /// Returns `StoreError::Sql` if the database cannot be written.
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
                (item.acked, item.note) = (kept.acked, kept.note);
            }
            tx.prepare_cached("INSERT INTO inbox VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET doc = ?3")?
                .execute(params![self.service, item.fingerprint.as_ref(), serde_json::to_string(&item)?])?;
        }
        tx.commit()?;
        Ok(())
    }

    /// Records an action before it is sent.
    ///
    /// # Errors
    /// Returns `StoreError::Sql` if the database cannot be written.
    pub fn record_intent(&self, intent: &Intent) -> Result<(), StoreError> {
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

    /// Records the result of an action.
    ///
    /// # Errors
    /// Returns `StoreError::Sql` if the database cannot be written.
    pub fn record_result(&self, intent: &Intent, after: &str, verdict: &str, sentence: &str) -> Result<(), StoreError> {
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

    /// Records past actions with their results, oldest first, at their own times.
    ///
    /// # Errors
    /// Returns `StoreError::Sql` if the database cannot be written.
    pub fn import(&self, records: &[ActionRecord]) -> Result<(), StoreError> {
        let mut connection = lock(&self.connection);
        let tx = connection.transaction()?;
        for record in records {
            let id = random_id("intent");
            let mut insert = tx.prepare_cached(
                "INSERT INTO actions (at, who, service, action, pipeline, intent, why, phase, state, verdict, sentence) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?;
            let (who, service) = (&record.who, &self.service);
            let (action, pipeline, none) = (&record.action, &record.pipeline, None::<&str>);
            insert.execute(params![
                record.at,
                who,
                service,
                action,
                pipeline,
                id,
                record.why,
                "sent",
                record.before,
                none,
                none
            ])?;
            if let (Some(at), Some(verdict)) = (record.ended_at, &record.verdict) {
                let (after, sentence) = (&record.after, &record.sentence);
                insert.execute(params![
                    at, who, service, action, pipeline, id, none, "verdict", after, verdict, sentence
                ])?;
            }
        }
        tx.commit()?;
        Ok(())
    }

    /// True if another process wrote since the last call (`PRAGMA data_version`).
    #[must_use]
    pub fn changed(&self) -> bool {
        let connection = lock(&self.connection);
        let version = connection.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0)).unwrap_or_default();
        self.version.swap(version, Ordering::Relaxed) != version
    }

    /// Reads at most `most` actions with their results, the newest first.
    ///
    /// # Errors
    /// Returns `StoreError::Sql` if the database cannot be read.
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

/// Returns the acting user as `user@host`, for the action log.
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
    fn an_acknowledgment_of_another_screen_stays() {
        let folder = tempfile::tempdir().unwrap();
        let memory = StateDb::open(folder.path(), "http://a").unwrap();
        let json = serde_json::json!({"id": "p_p", "status": "error", "reason": {"message": "m", "fingerprint": "f"}});
        let mut fleet = synctop_core::fleet::Fleet::default();
        fleet.take_one(json, 1).unwrap();
        let mut inbox = Inbox::default();
        inbox.observe(&fleet.pipelines["p_p"], now());
        let ours: Vec<_> = inbox.items.values().cloned().collect();
        memory.keep(&ours, false).unwrap();
        // Another screen acknowledges the error. This screen stores its older items, which must
        // not revoke that.
        let mut other = memory.inbox().unwrap();
        memory.keep(&[other.acknowledge("f", "mira", Some("seen"), 5).unwrap()], true).unwrap();
        memory.keep(&ours, false).unwrap();
        assert_eq!(memory.inbox().unwrap().items["f"].acked, Some(("mira".into(), 5)));
        memory.keep(&ours, true).unwrap();
        assert_eq!(memory.inbox().unwrap().items["f"].acked, None);
    }

    #[test]
    fn the_action_log_is_append_only() {
        let folder = tempfile::tempdir().unwrap();
        let memory = StateDb::open(folder.path(), "http://a").unwrap();
        let other = StateDb::open(folder.path(), "http://b").unwrap();
        let intent = Intent {
            id: "intent_1".into(),
            who: "me".into(),
            action: "resume".into(),
            pipeline: "p".into(),
            why: Some("key fixed".into()),
            before: "error".into(),
        };
        memory.record_intent(&intent).unwrap();
        assert_eq!(memory.actions(9).unwrap()[0].verdict, None);
        memory.record_result(&intent, "ready", "took_effect", "ready after 3s").unwrap();
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
