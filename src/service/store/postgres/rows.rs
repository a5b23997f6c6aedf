//! Operations of a transaction in PostgreSQL. Concurrent writes of one pipeline wait for each other
//! at its row; those of one idempotency key at an advisory lock.

use crate::service::alerts::cause::Incident;
use crate::service::model::{StoredPipeline, Task};
use crate::service::store::postgres::session::{DatabaseSession, count, signed};
use crate::service::store::transaction::{
    DamagedTask, KEY_RETENTION, MAX_ACTIONS, MAX_TASKS, PipelineRow, StoredAction, StoredState, Transaction, read_task,
    readable,
};
use crate::util::sqlite::StoreError;
use crate::util::sys::{fnv, now};
use serde_json::Value;
use std::collections::HashMap;
use synctop_core::protocol::Millis;
use tokio_postgres::Row;

/// Rows of the database as one transaction sees them.
pub struct DatabaseRows<'s> {
    session: &'s mut DatabaseSession,
    /// True if the rows that are read are locked until the commit.
    is_write: bool,
}

impl<'s> DatabaseRows<'s> {
    /// Rows of a transaction that changes some of them.
    pub fn of_write(session: &'s mut DatabaseSession) -> Self {
        Self { session, is_write: true }
    }

    /// Rows outside a transaction.
    pub fn of_read(session: &'s mut DatabaseSession) -> Self {
        Self { session, is_write: false }
    }
}

/// Number of an advisory lock for a text. Two texts with one number only wait for each other.
fn lock_number(text: &str) -> i64 {
    fnv(text.as_bytes()).cast_signed()
}

impl Transaction for DatabaseRows<'_> {
    fn pipeline(&mut self, id: &str) -> Result<Option<StoredPipeline>, StoreError> {
        let sql = if self.is_write {
            "SELECT doc FROM pipelines WHERE id = $1 FOR UPDATE"
        } else {
            "SELECT doc FROM pipelines WHERE id = $1"
        };
        let rows = self.session.query(sql, &[&id])?;
        Ok(rows.first().map(|row| serde_json::from_str(row.get(0))).transpose()?)
    }

    fn pipelines(&mut self) -> Result<Vec<PipelineRow>, StoreError> {
        let rows = self.session.query("SELECT id, incarnation, doc FROM pipelines ORDER BY id", &[])?;
        Ok(rows
            .iter()
            .map(|row| PipelineRow::read(row.get(0), count(row.get(1)), row.get::<_, &str>(2).as_bytes()))
            .collect())
    }

    fn next_incarnation(&mut self) -> Result<u64, StoreError> {
        let rows = self.session.query("SELECT nextval('incarnations')", &[])?;
        Ok(rows.first().map_or(0, |row| count(row.get(0))))
    }

    fn put_pipeline(&mut self, pipeline: &StoredPipeline) -> Result<bool, StoreError> {
        let doc = readable::<StoredPipeline>(pipeline)?;
        let (incarnation, revision) = (signed(pipeline.incarnation), signed(pipeline.revision));
        let requires = pipeline.config.required_labels();
        let updated = self.session.execute(
            "UPDATE pipelines SET doc = $3, revision = $4, requires = $5, changed = pg_current_xact_id()
             WHERE id = $1 AND incarnation = $2",
            &[&pipeline.id, &incarnation, &doc, &revision, &requires],
        )?;
        if updated > 0 {
            return Ok(true);
        }
        let created = self.session.execute(
            "INSERT INTO pipelines (id, incarnation, revision, doc, requires) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (id) DO NOTHING",
            &[&pipeline.id, &incarnation, &revision, &doc, &requires],
        )?;
        if created == 0 {
            return Ok(false);
        }
        self.session.execute("INSERT INTO leases (incarnation) VALUES ($1)", &[&incarnation])?;
        Ok(true)
    }

    fn delete_pipeline(&mut self, id: &str, incarnation: u64) -> Result<(), StoreError> {
        self.session.execute(
            "WITH gone AS (DELETE FROM pipelines WHERE id = $1 AND incarnation = $2 RETURNING id, incarnation)
             INSERT INTO deleted (id, incarnation) SELECT id, incarnation FROM gone
             ON CONFLICT (id) DO UPDATE SET incarnation = excluded.incarnation, at = clock_timestamp(),
                 changed = pg_current_xact_id()",
            &[&id, &signed(incarnation)],
        )?;
        Ok(())
    }

    fn is_deleted(&mut self, id: &str) -> Result<bool, StoreError> {
        Ok(!self.session.query("SELECT 1 FROM deleted WHERE id = $1", &[&id])?.is_empty())
    }

    fn prune_expired(&mut self, before: Millis) -> Result<(), StoreError> {
        self.session.execute(
            "DELETE FROM tasks WHERE created_at < $1 AND NOT EXISTS
                 (SELECT 1 FROM pipelines p WHERE p.id = tasks.pipeline AND p.incarnation = tasks.incarnation)",
            &[&before],
        )?;
        self.session.execute(
            "DELETE FROM idempotency WHERE at < clock_timestamp() - $1::int8 * interval '1 ms'",
            &[&KEY_RETENTION],
        )?;
        self.session.execute("DELETE FROM deleted WHERE at < to_timestamp($1::int8 / 1000.0)", &[&before])?;
        Ok(())
    }

    fn state(&mut self, id: &str) -> Result<StoredState, StoreError> {
        let sql = "SELECT state, checkpoints, call_from FROM states WHERE pipeline = $1";
        let rows = self.session.query(sql, &[&id])?;
        Ok(rows.first().map_or_else(StoredState::default, |row| StoredState {
            state: row.get(0),
            checkpoints: count(row.get(1)),
            call_from: row.get::<_, Option<i64>>(2).map(count),
        }))
    }

    fn put_state(&mut self, id: &str, state: &StoredState) -> Result<(), StoreError> {
        self.session.execute(
            "INSERT INTO states (pipeline, state, checkpoints, call_from) VALUES ($1, $2, $3, $4)
             ON CONFLICT (pipeline) DO UPDATE SET state = $2, checkpoints = $3, call_from = $4",
            &[&id, &state.state, &signed(state.checkpoints), &state.call_from.map(signed)],
        )?;
        Ok(())
    }

    fn task(&mut self, id: &str) -> Result<Option<Task>, StoreError> {
        let rows = self.session.query("SELECT doc FROM tasks WHERE id = $1", &[&id])?;
        Ok(rows.first().and_then(|row| read_task(id, row.get::<_, &str>(0).as_bytes())))
    }

    fn tasks_of_page(&mut self, ids: &[String]) -> Result<HashMap<String, Task>, StoreError> {
        let rows = self.session.query("SELECT id, doc FROM tasks WHERE id = ANY($1)", &[&ids])?;
        let read = |row: &Row| {
            let id: String = row.get(0);
            read_task(&id, row.get::<_, &str>(1).as_bytes()).map(|task| (id, task))
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    fn states_of_page(&mut self, ids: &[String]) -> Result<HashMap<String, String>, StoreError> {
        let sql = "SELECT pipeline, state FROM states WHERE pipeline = ANY($1) AND state IS NOT NULL";
        let rows = self.session.query(sql, &[&ids])?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    fn tasks(
        &mut self,
        pipeline: &str,
        incarnation: u64,
        before: u64,
        limit: usize,
    ) -> Result<Vec<Result<Task, DamagedTask>>, StoreError> {
        let rows = self.session.query(
            "SELECT doc, id, number FROM tasks WHERE pipeline = $1 AND incarnation = $2 AND number < $3
             ORDER BY number DESC LIMIT $4",
            &[&pipeline, &signed(incarnation), &signed(before), &signed(limit as u64)],
        )?;
        let read = |row: &tokio_postgres::Row| {
            serde_json::from_str(row.get(0)).map_err(|_| DamagedTask { id: row.get(1), number: count(row.get(2)) })
        };
        Ok(rows.iter().map(read).collect())
    }

    fn put_task(&mut self, task: &Task) -> Result<(), StoreError> {
        let doc = readable::<Task>(task)?;
        let (incarnation, number) = (signed(task.incarnation), signed(task.number));
        self.session.execute(
            "INSERT INTO tasks (id, pipeline, incarnation, number, over, created_at, doc) VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (id) DO UPDATE SET over = $5, doc = $7",
            &[&task.id, &task.pipeline, &incarnation, &number, &task.state.is_finished(), &task.created_at, &doc],
        )?;
        if task.state.is_finished() && task.number > MAX_TASKS {
            self.session.execute(
                "DELETE FROM tasks WHERE pipeline = $1 AND incarnation = $2 AND over AND number <= $3",
                &[&task.pipeline, &incarnation, &signed(task.number - MAX_TASKS)],
            )?;
        }
        Ok(())
    }

    fn stored_answer(&mut self, key: &str, scope: &str) -> Result<Option<(String, String)>, StoreError> {
        let number = lock_number(&format!("{scope}\n{key}"));
        self.session.query("SELECT pg_advisory_xact_lock($1)", &[&number])?;
        let rows = self.session.query(
            "SELECT request, answer FROM idempotency WHERE key = $1 AND scope = $2
             AND at >= clock_timestamp() - $3::int8 * interval '1 ms'",
            &[&key, &scope, &KEY_RETENTION],
        )?;
        Ok(rows.first().map(|row| (row.get(0), row.get(1))))
    }

    fn put_answer(&mut self, key: &str, scope: &str, request: &str, answer: &str) -> Result<(), StoreError> {
        self.session.execute(
            "INSERT INTO idempotency (key, scope, request, answer) VALUES ($1, $2, $3, $4)
             ON CONFLICT (key, scope) DO UPDATE SET request = $3, answer = $4, at = clock_timestamp()",
            &[&key, &scope, &request, &answer],
        )?;
        Ok(())
    }

    fn put_input(&mut self, pipeline: &str, body: &str) -> Result<(u64, u64), StoreError> {
        self.session
            .execute("INSERT INTO inputs (pipeline, at, body) VALUES ($1, $2, $3)", &[&pipeline, &now(), &body])?;
        // The node that runs the pipeline reads the event with the changes.
        self.session.execute("UPDATE pipelines SET changed = pg_current_xact_id() WHERE id = $1", &[&pipeline])?;
        let rows = self.session.query(
            "SELECT count(*), coalesce(sum(length(body)), 0)::int8 FROM inputs WHERE pipeline = $1",
            &[&pipeline],
        )?;
        Ok(rows.first().map_or((0, 0), |row| (count(row.get(0)), count(row.get(1)))))
    }

    fn inputs(&mut self, pipeline: &str, limit: usize) -> Result<Vec<(u64, String)>, StoreError> {
        let rows = self.session.query(
            "SELECT seq, body FROM inputs WHERE pipeline = $1 ORDER BY seq LIMIT $2",
            &[&pipeline, &signed(limit as u64)],
        )?;
        Ok(rows.iter().map(|row| (count(row.get(0)), row.get(1))).collect())
    }

    fn drop_inputs(&mut self, pipeline: &str, upto: u64) -> Result<(), StoreError> {
        let sql = "DELETE FROM inputs WHERE pipeline = $1 AND seq <= $2";
        self.session.execute(sql, &[&pipeline, &signed(upto)])?;
        Ok(())
    }

    fn log_action(
        &mut self,
        client: &str,
        action: &str,
        pipeline: Option<&str>,
        detail: Option<&Value>,
    ) -> Result<(), StoreError> {
        let rows = self.session.query(
            "INSERT INTO actions (at, client, action, pipeline, detail) VALUES ($1, $2, $3, $4, $5) RETURNING seq",
            &[&now(), &client, &action, &pipeline, &detail.map(Value::to_string)],
        )?;
        // Pruned in steps: each removal of a single row would lock the oldest one for all writers.
        let seq = rows.first().map_or(0, |row| count(row.get(0)));
        if seq > MAX_ACTIONS && seq.is_multiple_of(1_000) {
            self.session.execute("DELETE FROM actions WHERE seq <= $1", &[&signed(seq - MAX_ACTIONS)])?;
        }
        Ok(())
    }

    fn actions(&mut self, pipeline: Option<&str>, before: u64, limit: usize) -> Result<Vec<StoredAction>, StoreError> {
        let rows = self.session.query(
            "SELECT seq, at, client, action, pipeline, detail FROM actions
             WHERE ($1::text IS NULL OR pipeline = $1) AND seq < $2 ORDER BY seq DESC LIMIT $3",
            &[&pipeline, &signed(before), &signed(limit as u64)],
        )?;
        let read = |row: &tokio_postgres::Row| StoredAction {
            seq: count(row.get(0)),
            at: row.get(1),
            client: row.get(2),
            action: row.get(3),
            pipeline: row.get(4),
            detail: row.get::<_, Option<&str>>(5).and_then(|detail| serde_json::from_str(detail).ok()),
        };
        Ok(rows.iter().map(read).collect())
    }

    fn incident(&mut self, key: &str) -> Result<Option<Incident>, StoreError> {
        if self.is_write {
            // Also for one that does not exist yet.
            self.session.query("SELECT pg_advisory_xact_lock($1)", &[&lock_number(&format!("incident {key}"))])?;
        }
        let rows = self.session.query("SELECT doc FROM incidents WHERE key = $1", &[&key])?;
        Ok(rows.first().and_then(|row| serde_json::from_str(row.get(0)).ok()))
    }

    fn incidents(&mut self) -> Result<Vec<(String, Incident)>, StoreError> {
        let rows = self.session.query("SELECT key, doc FROM incidents ORDER BY key", &[])?;
        Ok(rows.iter().filter_map(|row| Some((row.get(0), serde_json::from_str(row.get(1)).ok()?))).collect())
    }

    fn due_incidents(&mut self, now: Millis) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT key FROM incidents WHERE due <= $1 ORDER BY due LIMIT 100";
        Ok(self.session.query(sql, &[&now])?.iter().map(|row| row.get(0)).collect())
    }

    fn put_incident(&mut self, key: &str, incident: &Incident) -> Result<(), StoreError> {
        if incident.is_done() {
            self.session.execute("DELETE FROM incidents WHERE key = $1", &[&key])?;
            return Ok(());
        }
        self.session.execute(
            "INSERT INTO incidents (key, due, doc) VALUES ($1, $2, $3)
             ON CONFLICT (key) DO UPDATE SET due = $2, doc = $3",
            &[&key, &incident.due(), &serde_json::to_string(incident)?],
        )?;
        Ok(())
    }

    fn require_lease(&mut self, incarnation: u64, fence: u64) -> Result<(), StoreError> {
        let rows = self.session.query(
            "SELECT 1 FROM leases WHERE incarnation = $1 AND fence = $2 AND node IS NOT NULL FOR SHARE",
            &[&signed(incarnation), &signed(fence)],
        )?;
        if rows.is_empty() { Err(StoreError::Fenced) } else { Ok(()) }
    }

    fn log_end(&mut self, incarnation: u64) -> Result<Option<u64>, StoreError> {
        let rows = self.session.query("SELECT log_end FROM leases WHERE incarnation = $1", &[&signed(incarnation)])?;
        Ok(rows.first().map(|row| count(row.get(0))))
    }
}
