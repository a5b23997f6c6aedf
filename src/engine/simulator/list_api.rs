//! Simulated list API: objects of every stream by creation time, newest first, in pages with a
//! cursor. Objects are computed, not stored: the nth object of a stream is always the same.

use crate::engine::failure_type::REFUSALS;
use crate::engine::simulator::rng::{SeededRng, body};
use crate::engine::simulator::scenario::{Fault, FaultKind, Scenario};
use std::cell::OnceCell;
use std::collections::HashMap;
use std::ops::Range;

/// Maximum objects of a page.
pub const PAGE_SIZE: u64 = 100;

/// Number of different bodies of objects.
const BODIES: usize = 256;

/// Selection of objects: created in `[gte, lt)` (seconds since 1970), older than the object at the
/// cursor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PageQuery {
    pub stream: usize,
    pub gte: i64,
    pub lt: i64,
    pub cursor: Option<String>,
}

/// Response to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum ListAnswer {
    Page(Page),
    Refused {
        status: u16,
        code: Option<&'static str>,
        message: String,
        /// Seconds of `Retry-After`.
        retry_after: Option<f64>,
    },
    /// The connection broke, with this message.
    Broken(&'static str),
    /// The engine crashes.
    Crash,
}

/// Page of objects, by number. Their order is newest (highest) first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub objects: Range<u64>,
    pub has_more: bool,
}

/// Simulated list API of one scenario.
pub struct Api {
    scenario: Scenario,
    /// Bodies of objects, created for the first object: most stored pipelines rest.
    bodies: OnceCell<Vec<String>>,
    /// Returned records of each stream.
    returned_records: Vec<u64>,
    /// Strikes of each fault.
    struck: Vec<u32>,
    /// Failed requests of each page, so that a retry draws another random number.
    tries: HashMap<PageQuery, u32>,
    /// Requests so far.
    requests: u64,
    /// Number of the call in the run: a permanent failure of one call may succeed in the next.
    call: u64,
}

/// Message of an unreachable simulated destination.
const UNREACHABLE: &str = "connect ECONNREFUSED 127.0.0.1:5432";

impl Api {
    #[must_use]
    pub fn new(scenario: Scenario) -> Self {
        Self {
            bodies: OnceCell::new(),
            returned_records: vec![0; scenario.streams.len()],
            struck: vec![0; scenario.faults.len()],
            tries: HashMap::new(),
            requests: 0,
            call: 0,
            scenario,
        }
    }

    #[must_use]
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Replaces the faults. Records that were returned before do not count for them.
    pub fn set_faults(&mut self, mut faults: Vec<Fault>) {
        for fault in &mut faults {
            let before = self.returned_records(self.stream_of(fault));
            fault.after = fault.after.map(|after| after + before);
        }
        self.struck = vec![0; faults.len()];
        self.scenario.faults = faults;
    }

    /// Starts a call of the engine; `number` distinguishes the calls of a run.
    pub fn begin(&mut self, number: u64) {
        self.call = number;
    }

    fn records(&self, stream: usize) -> u64 {
        self.scenario.streams.get(stream).map_or(0, |stream| stream.records)
    }

    /// Returns the creation time of an object in seconds. It never decreases with the number; some
    /// objects share a second.
    #[must_use]
    pub fn created(&self, stream: usize, number: u64) -> i64 {
        let (gte, lt) = (self.scenario.range.gte.div_euclid(1000), self.scenario.range.lt.div_euclid(1000));
        // One, two or three objects share a creation time, depending on the stream.
        let together = 1 + stream as u64 % 3;
        let first = number - number % together;
        let share = u128::from(first) * u128::from((lt - gte).max(1).unsigned_abs());
        gte + i64::try_from(share / u128::from(self.records(stream).max(1))).unwrap_or(0)
    }

    /// Returns the number of objects created before an instant.
    fn count_before(&self, stream: usize, at: i64) -> u64 {
        let (mut low, mut high) = (0, self.records(stream));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.created(stream, middle) < at { low = middle + 1 } else { high = middle }
        }
        low
    }

    fn prefix(&self, stream: usize) -> &str {
        let name = self.scenario.streams.get(stream).map_or("obj", |stream| stream.name.as_str());
        name.get(..3).unwrap_or(name)
    }

    #[must_use]
    pub fn id(&self, stream: usize, number: u64) -> String {
        format!("{}_{number:014}", self.prefix(stream))
    }

    /// Returns the number of an object; `None` if the id has none.
    #[must_use]
    pub fn number(&self, id: &str) -> Option<u64> {
        id.rsplit_once('_')?.1.parse().ok()
    }

    /// Appends the JSON data of an object.
    pub fn write(&self, stream: usize, number: u64, out: &mut String) {
        let mixed = (number ^ (stream as u64) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let body = usize::try_from(mixed).unwrap_or(0) % BODIES;
        out.push_str("{\"id\":\"");
        out.push_str(&self.id(stream, number));
        out.push_str(&format!("\",\"created\":{}", self.created(stream, number)));
        let bodies = self.bodies.get_or_init(|| {
            let mut rng = SeededRng::new(self.scenario.seed);
            (0..BODIES).map(|_| self::body(&mut rng, self.scenario.record_size)).collect()
        });
        if let Some(body) = bodies.get(body) {
            out.push(',');
            out.push_str(body);
        }
        out.push('}');
    }

    /// Returns the milliseconds of a request: a random latency, and the time of a stall.
    pub fn latency(&mut self, query: &PageQuery) -> u64 {
        let [low, high] = self.scenario.latency_ms;
        let mut rng = self.rng(query, u64::MAX);
        let latency = low + rng.below(high - low + 1);
        let mut late = 0.0;
        for at in 0..self.scenario.faults.len() {
            let seconds = self.scenario.faults.get(at).and_then(|fault| fault.seconds);
            if let Some(seconds) = seconds.filter(|_| self.strikes(at, query)) {
                late += seconds;
            }
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most some days")]
        let late = (late * 1000.0) as u64;
        latency + late
    }

    /// Answers a list request, with a page or the result of a fault.
    pub fn list(&mut self, query: &PageQuery) -> ListAnswer {
        self.requests += 1;
        for at in 0..self.scenario.faults.len() {
            let stalls = self.scenario.faults.get(at).is_some_and(|fault| fault.kind == FaultKind::Stall);
            if !stalls
                && self.strikes(at, query)
                && let Some(answer) = self.scenario.faults.get(at).and_then(|fault| self.fault_answer(fault, query))
            {
                *self.tries.entry(query.clone()).or_default() += 1;
                return answer;
            }
        }
        self.tries.remove(query);
        let page = self.page(query);
        if let Some(count) = self.returned_records.get_mut(query.stream) {
            *count += page.objects.end - page.objects.start;
        }
        ListAnswer::Page(page)
    }

    fn page(&self, query: &PageQuery) -> Page {
        let lowest = self.count_before(query.stream, query.gte);
        let highest = self.count_before(query.stream, query.lt);
        let cursor = query.cursor.as_deref().and_then(|cursor| self.number(cursor));
        let end = cursor.unwrap_or(highest).min(highest).max(lowest);
        let start = end.saturating_sub(PAGE_SIZE).max(lowest);
        Page { objects: start..end, has_more: start > lowest }
    }

    /// Returns the number of returned records of a stream, or of all.
    #[must_use]
    pub fn returned_records(&self, stream: Option<usize>) -> u64 {
        match stream {
            Some(stream) => self.returned_records.get(stream).copied().unwrap_or(0),
            None => self.returned_records.iter().sum(),
        }
    }

    /// Returns the message with which the destination fails, if it does, and counts the strike.
    #[must_use]
    pub fn destination_failure(&mut self) -> Option<String> {
        let due = |(at, fault): &(usize, &Fault)| {
            fault.kind == FaultKind::DestinationError
                && self.returned_records(self.stream_of(fault)) >= fault.after.unwrap_or(0)
                && self.struck.get(*at).is_some_and(|struck| *struck < fault.max_strikes())
        };
        let (at, fault) = self.scenario.faults.iter().enumerate().find(due)?;
        if let Some(struck) = self.struck.get_mut(at) {
            *struck += 1;
        }
        Some(fault.message.clone().unwrap_or_else(|| UNREACHABLE.into()))
    }

    /// Returns the message with which the destination fails on a page of a stream, if it does, and
    /// counts the strike. `first`: lowest object number of the page.
    #[must_use]
    pub fn destination_outage(&mut self, stream: usize, first: u64) -> Option<String> {
        let faults: Vec<_> = self.scenario.faults.iter().enumerate().map(|(at, fault)| (at, fault.clone())).collect();
        for (at, fault) in faults {
            let other = self.stream_of(&fault).is_some_and(|named| named != stream);
            let struck = self.struck.get(at).copied().unwrap_or(0);
            let early = self.returned_records(self.stream_of(&fault)) < fault.after.unwrap_or(0);
            if fault.kind != FaultKind::DestinationOutage || other || early || struck >= fault.max_strikes() {
                continue;
            }
            let parts = [stream as u64, first, u64::from(struck), at as u64];
            let seed = parts.iter().fold(self.scenario.seed, |seed, part| {
                (seed.rotate_left(23) ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            });
            #[expect(clippy::cast_precision_loss, reason = "a chance")]
            let missed = |chance: f64| SeededRng::new(seed).below(1_000_000) as f64 >= chance * 1e6;
            if fault.chance.is_some_and(missed) {
                continue;
            }
            if let Some(struck) = self.struck.get_mut(at) {
                *struck += 1;
            }
            return Some(fault.message.unwrap_or_else(|| UNREACHABLE.into()));
        }
        None
    }

    /// Returns the index of the stream that a fault is limited to.
    fn stream_of(&self, fault: &Fault) -> Option<usize> {
        let name = fault.stream.as_deref()?;
        self.scenario.streams.iter().position(|stream| stream.name == name)
    }

    /// Returns a generator whose numbers are the same for the same request, and different for its
    /// next retry.
    fn rng(&self, query: &PageQuery, fault: u64) -> SeededRng {
        let tries = self.tries.get(query).copied().unwrap_or(0);
        let cursor = query.cursor.as_deref().and_then(|cursor| self.number(cursor)).unwrap_or(u64::MAX);
        let parts =
            [query.stream as u64, query.gte.cast_unsigned(), query.lt.cast_unsigned(), cursor, u64::from(tries), fault];
        let seed = parts.iter().fold(self.scenario.seed ^ 0x51_7c_c1, |seed, part| {
            (seed.rotate_left(23) ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        SeededRng::new(seed)
    }

    /// True if a fault strikes a request. Counts the strike.
    fn strikes(&mut self, at: usize, query: &PageQuery) -> bool {
        let Some(fault) = self.scenario.faults.get(at) else { return false };
        let stream = self.stream_of(fault);
        if matches!(fault.kind, FaultKind::DestinationError | FaultKind::DestinationOutage)
            || stream.is_some_and(|stream| stream != query.stream)
        {
            return false;
        }
        let due = self.returned_records(stream) >= fault.after.unwrap_or(0);
        let left = self.struck.get(at).is_some_and(|struck| *struck < fault.max_strikes());
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let is_drawn = fault.chance.is_none_or(|chance| {
            let mut rng = self.rng(query, at as u64);
            rng.next();
            (rng.below(1_000_000) as f64) < chance * 1e6
        });
        let strikes = due && left && is_drawn;
        if let Some(struck) = self.struck.get_mut(at).filter(|_| strikes) {
            *struck += 1;
        }
        strikes
    }

    /// Returns the answer that a fault causes, if it changes the answer.
    fn fault_answer(&self, fault: &Fault, query: &PageQuery) -> Option<ListAnswer> {
        let name = self.scenario.streams.get(query.stream).map_or("", |stream| stream.name.as_str());
        let request =
            |status: u16, path: &str| format!(" [GET {path} ({status})] {{request-id=req_{:014}}}", self.requests);
        let message_or = |default: &str| fault.message.clone().unwrap_or_else(|| default.to_owned());
        let refused = |status: u16, message: String, retry_after: Option<f64>| {
            let message = message + &request(status, &format!("/v1/{name}s"));
            Some(ListAnswer::Refused { status, code: None, message, retry_after })
        };
        match fault.kind {
            FaultKind::RateLimit => {
                refused(429, message_or("Request rate limit exceeded."), Some(fault.retry_after.unwrap_or(1.0)))
            }
            FaultKind::ServerError => {
                refused(fault.status.unwrap_or(500), message_or("An error occurred at the other side."), None)
            }
            FaultKind::Reset => Some(ListAnswer::Broken("read ECONNRESET")),
            FaultKind::HalfBody => Some(ListAnswer::Broken("the answer ended in the middle of its body")),
            FaultKind::Refused => {
                let refusal = REFUSALS.iter().find(|it| Some(it.name) == fault.refusal.as_deref())?;
                let message = message_or(refusal.message) + &request(refusal.status, &format!("/v1/{name}s"));
                Some(ListAnswer::Refused { status: refusal.status, code: refusal.code, message, retry_after: None })
            }
            FaultKind::Denied => refused(403, message_or("The key may not read this."), None),
            FaultKind::BadRequest => refused(400, message_or("Received unknown parameter."), None),
            FaultKind::BadKey => {
                let message = message_or("Invalid API Key provided: sk_test_****zzzz") + &request(401, "/v1/account");
                Some(ListAnswer::Refused { status: 401, code: None, message, retry_after: None })
            }
            FaultKind::Crash => Some(ListAnswer::Crash),
            FaultKind::Stall | FaultKind::DestinationError | FaultKind::DestinationOutage => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::simulator::scenario::SCENARIOS;

    #[test]
    fn pages_have_every_object_once_newest_first() {
        let api = Api::new(Scenario::read(SCENARIOS[0].1).unwrap());
        let (gte, lt) = (api.scenario.range.gte / 1000, api.scenario.range.lt / 1000);
        for stream in 0..api.scenario.streams.len() {
            let middle = gte + (lt - gte) / 3;
            let mut seen = Vec::new();
            for (gte, lt) in [(middle, lt), (gte, middle)] {
                let mut query = PageQuery { stream, gte, lt, cursor: None };
                for _ in 0..200 {
                    let page = api.page(&query);
                    seen.extend(page.objects.clone().rev());
                    assert!(page.objects.clone().all(|n| (gte..lt).contains(&api.created(stream, n))));
                    query.cursor = Some(api.id(stream, page.objects.start));
                    if !page.has_more {
                        break;
                    }
                }
            }
            let all: Vec<u64> = (0..api.records(stream)).rev().collect();
            assert_eq!(seen, all, "stream {stream}");
        }
    }
}
