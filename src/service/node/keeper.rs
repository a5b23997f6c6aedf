//! Keeper thread of a node: renews its lease, reads changes, takes and hands over pipelines, shares
//! facts.

use crate::service::log::PipelineLog;
use crate::service::node::state::{Node, STOP_AFTER, lose};
use crate::service::registry::Service;
use crate::service::slot::finished_streams;
use crate::service::store::StoreError;
use crate::service::store::postgres::feed::{self};
use crate::service::store::postgres::leases::{self, LEASE_LENGTH, NodeIdentity, SharedFacts};
use crate::service::store::postgres::schema;
use crate::service::store::postgres::session::DatabaseSession;
use crate::util::sys::{lock, random_id};
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use synctop_core::format::plural;

/// Interval at which a lease is renewed.
pub(super) const RENEWAL: Duration = Duration::from_secs(LEASE_LENGTH.as_secs() / 3);

/// Interval of the poll for changes: a notification may be lost.
pub(super) const POLL: Duration = Duration::from_secs(1);

/// Interval at which pipelines are taken and handed over.
const BALANCE: Duration = Duration::from_secs(2);

/// Interval at which facts of running pipelines are shared.
const SHARE: Duration = Duration::from_secs(1);

/// Longest sleep of the keeper.
const MAX_SLEEP: Duration = Duration::from_millis(250);

/// Delay between a hint and the read, in which further changes gather.
const SETTLE: Duration = Duration::from_millis(5);

/// Maximum pipelines that are taken at once.
const MAX_TAKEN: u64 = 2_000;

/// Interval of log lines about a database that cannot be reached.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(30);

/// Thread of a node with a connection of its own.
pub(super) struct Keeper {
    node: Arc<Node>,
    service: Weak<Service>,
    runtime: tokio::runtime::Handle,
    complained: Option<Instant>,
    /// Leases of this node without a reconciler, as last seen.
    orphans: HashSet<(u64, u64)>,
}

/// Times of the next steps of the keeper.
struct Schedule {
    renewal: Instant,
    poll: Instant,
    balance: Instant,
    share: Instant,
}

impl Keeper {
    /// Starts the thread of a node.
    pub(super) fn start(node: &Arc<Node>, service: &Arc<Service>) -> Result<(), StoreError> {
        let keeper = Self {
            node: Arc::clone(node),
            service: Arc::downgrade(service),
            runtime: tokio::runtime::Handle::current(),
            complained: None,
            orphans: HashSet::new(),
        };
        let session = DatabaseSession::new(Arc::clone(&node.cluster.connector))?;
        let spawned = std::thread::Builder::new().name("node".into()).spawn(move || keeper.run(session));
        spawned.map(drop).map_err(|error| StoreError::Sql(error.to_string()))
    }

    fn run(mut self, mut session: DatabaseSession) {
        let now = Instant::now();
        let mut due = Schedule { renewal: now + RENEWAL, poll: now, balance: now, share: now };
        let mut listens = None;
        loop {
            let Some(service) = self.service.upgrade() else { return };
            let step = self.step(&service, &mut session, &mut due, &mut listens);
            match step {
                Ok(true) => {}
                Ok(false) => {
                    self.node.ended.notify_one();
                    return;
                }
                Err(error) => {
                    listens = None;
                    self.complain(&error);
                }
            }
            drop(service);
            let next = due.renewal.min(due.poll).min(due.balance);
            let sleep = next.saturating_duration_since(Instant::now()).min(MAX_SLEEP);
            let came = if listens.is_some() {
                session.notified(sleep)
            } else {
                std::thread::sleep(sleep.max(MAX_SLEEP / 2));
                false
            };
            if came {
                std::thread::sleep(SETTLE);
                due.poll = Instant::now();
            }
        }
    }

    fn complain(&mut self, error: &StoreError) {
        if self.complained.is_none_or(|at| at.elapsed() > COMPLAINT_INTERVAL) {
            self.complained = Some(Instant::now());
            tracing::warn!(target: "service", "{error}; the service tries again");
        }
    }

    /// Performs the steps that are due. False once the node has ended.
    fn step(
        &mut self,
        service: &Arc<Service>,
        session: &mut DatabaseSession,
        due: &mut Schedule,
        listens: &mut Option<u64>,
    ) -> Result<bool, StoreError> {
        let node = Arc::clone(&self.node);
        let now = Instant::now();
        if now >= due.renewal || node.renewed_at.borrow().elapsed() >= RENEWAL {
            due.renewal = now + RENEWAL / 5;
            self.renew(service, session)?;
            due.renewal = now + RENEWAL;
        }
        if *listens != Some(session.generation()) {
            session.batch(&format!("LISTEN {}", leases::CHANNEL))?;
            *listens = Some(session.generation());
        }
        if *service.ending.borrow() {
            return self.drain(service, session);
        }
        self.release(session)?;
        node.cluster.give_late_hint(session);
        if Instant::now() >= due.poll {
            let changes = feed::since(session, &node.position())?;
            self.runtime.block_on(node.apply_changes(service, changes))?;
            due.poll = Instant::now() + POLL;
        }
        if Instant::now() >= due.balance {
            self.balance(service, session)?;
            due.balance = Instant::now() + BALANCE;
        }
        if Instant::now() >= due.share {
            self.share(session)?;
            due.share = Instant::now() + SHARE;
        }
        if self.complained.take().is_some() {
            tracing::info!(target: "service", "the database answers again");
        }
        Ok(true)
    }

    /// Renews the lease, or registers again after it has ended.
    fn renew(&mut self, service: &Arc<Service>, session: &mut DatabaseSession) -> Result<(), StoreError> {
        let node = &self.node;
        let before = Instant::now();
        // The answer may come after the engines were stopped.
        let has_stopped =
            || node.has_stopped.load(Ordering::SeqCst) || node.renewed_at.borrow().elapsed() >= STOP_AFTER;
        if !has_stopped() && leases::renew(session, &node.identity().id)? && !has_stopped() {
            node.renewed_at.send_replace(before);
        } else {
            tracing::warn!(target: "service", "the lease of this node has ended: it registers again");
            node.lose_all(service);
            let old = node.identity();
            let identity = NodeIdentity { id: random_id("node"), name: node.name.clone(), ..old.clone() };
            leases::unregister(session, &old.id)?;
            let name = leases::register(session, &identity)?;
            *lock(&node.identity) = identity;
            node.note_name(name);
            node.keep_id();
            node.has_stopped.store(false, Ordering::SeqCst);
            node.renewed_at.send_replace(before);
        }
        let version = schema::version(session)?;
        if let Err(error) = schema::check(version) {
            node.too_old.send_replace(Some(error));
        }
        Ok(())
    }

    /// Gives up leases whose reconcilers have ended.
    fn release(&mut self, session: &mut DatabaseSession) -> Result<(), StoreError> {
        let given_up = lock(&self.node.given_up).clone();
        if given_up.is_empty() {
            return Ok(());
        }
        leases::release(session, &given_up)?;
        lock(&self.node.given_up).retain(|it| !given_up.contains(it));
        leases::notify(session)
    }

    /// Hands all pipelines over, each once its reconciler has ended. False once none is left.
    fn drain(&mut self, service: &Arc<Service>, session: &mut DatabaseSession) -> Result<bool, StoreError> {
        if !self.node.is_draining.swap(true, Ordering::Relaxed) {
            leases::drain(session, &self.node.identity().id)?;
        }
        self.release(session)?;
        if service.running_reconcilers() > 0 {
            return Ok(true);
        }
        leases::unregister(session, &self.node.identity().id)?;
        Ok(false)
    }

    /// Takes free pipelines up to the share of this node, and hands over the others.
    fn balance(&mut self, service: &Arc<Service>, session: &mut DatabaseSession) -> Result<(), StoreError> {
        let node = Arc::clone(&self.node);
        let identity = node.identity();
        node.note_names(leases::nodes(session)?);
        self.give_up_orphans(service, session)?;
        for group in leases::groups(session, &identity)? {
            let share = group.share();
            // Left-over ones go to any node that may run it.
            let room = share.saturating_sub(group.own).min(group.free).min(MAX_TAKEN);
            if room > 0 {
                let taken = leases::take(session, &identity, &group.requires, room)?;
                if !taken.is_empty() {
                    // Those that another node has created since the last poll are read first.
                    let read = feed::since(session, &node.position())
                        .and_then(|changes| self.runtime.block_on(node.apply_changes(service, changes)));
                    if let Err(error) = read {
                        let free = taken.iter().map(|it| (it.incarnation, it.fence));
                        lock(&node.given_up).extend(free);
                        return Err(error);
                    }
                    tracing::info!(target: "service", "{} taken over", plural(taken.len(), "pipeline"));
                    let _guard = self.runtime.enter();
                    node.begin(service, taken);
                }
            } else if group.own > share + share / 20 && group.free == 0 {
                self.hand_over(&group.requires, group.own - share);
            }
        }
        Ok(())
    }

    /// Gives up leases without a reconciler, whatever the reason, once they were seen twice; and hands
    /// over pipelines whose labels this node no longer has.
    fn give_up_orphans(&mut self, service: &Service, session: &mut DatabaseSession) -> Result<(), StoreError> {
        let identity = self.node.identity();
        let mut orphans = HashSet::new();
        for (incarnation, fence) in leases::of_node(session, &identity.id)? {
            let slot = lock(&self.node.known).get(&incarnation).cloned();
            if slot.as_ref().is_some_and(|slot| slot.fence() == Some(fence)) {
                continue;
            }
            if self.orphans.contains(&(incarnation, fence)) {
                if let Some(slot) = slot.filter(|slot| slot.fence().is_none_or(|own| own < fence))
                    && let PipelineLog::Chunks(log) = &slot.log
                {
                    lose(service, &slot, log);
                }
                lock(&self.node.given_up).push((incarnation, fence));
            }
            orphans.insert((incarnation, fence));
        }
        self.orphans = orphans;
        for (slot, _) in self.node.own() {
            let required = slot.pipeline().map(|it| it.config.required_labels()).unwrap_or_default();
            if required.iter().any(|label| !identity.labels.contains(label)) {
                slot.stopping.send_replace(true);
            }
        }
        Ok(())
    }

    /// Stops the reconcilers of some pipelines, so that other nodes take them: idle ones first.
    fn hand_over(&self, requires: &[String], most: u64) {
        let mut own = self.node.own();
        own.retain(|(slot, _)| slot.pipeline().is_some_and(|it| it.config.required_labels() == requires));
        own.sort_by_key(|(slot, _)| slot.pipeline().is_some_and(|it| it.task.is_some()));
        for (slot, _) in own.into_iter().take(usize::try_from(most).unwrap_or(usize::MAX)) {
            slot.stopping.send_replace(true);
        }
    }

    /// Shares the facts of running pipelines that have changed.
    fn share(&self, session: &mut DatabaseSession) -> Result<(), StoreError> {
        let mut all = Vec::new();
        for (slot, fence) in self.node.own() {
            if !slot.has_new_facts.swap(false, Ordering::Relaxed) {
                continue;
            }
            let facts = slot.facts.borrow().clone();
            let open = slot.pipeline().and_then(|it| it.task.clone());
            let progress = facts.of(open.as_ref());
            all.push(SharedFacts {
                incarnation: slot.incarnation,
                fence,
                checkpoints: facts.checkpoints,
                progress: progress.map(|it| finished_streams(it)),
                totals: progress.map(|it| crate::service::totals::totals(it).to_string()),
                task: open,
            });
        }
        if all.is_empty() {
            return Ok(());
        }
        all.sort_by_key(|it| it.incarnation);
        if let Err(error) = leases::share_facts(session, &all) {
            for facts in &all {
                if let Some(slot) = lock(&self.node.known).get(&facts.incarnation) {
                    slot.has_new_facts.store(true, Ordering::Relaxed);
                }
            }
            return Err(error);
        }
        self.node.cluster.give_hint(session);
        Ok(())
    }
}
