#!/usr/bin/env python3
"""Slow, simple reference for `synctop summary --json`, schema 2 (Stripe dialect). Whole file in memory, two passes: the first
finds where runs begin, the second reads each run with a fresh reducer. Written from DESIGN.md 3 and 4 alone, without sight of
the Rust code. Compare meanings: `synctop`, `fingerprint` and the message of a doubt are free.

    python3 tests/slow_summary.py LOG[.zst] [--exit-code N]
"""
import hashlib, json, re, subprocess, sys
from datetime import datetime, timezone

KINDS = {"catalog", "record", "source_state", "trace", "stream_status", "progress", "connection_status", "log",
         "control", "spec", "eof", "source_input", "start", "end"}
TRACES = {"error", "stream_status", "estimate", "global_progress", "progress"}      # "progress": the generation before trace
STATUS = {"start": "started", "started": "started", "complete": "completed", "completed": "completed",
          "error": "errored", "errored": "errored", "skip": "skipped", "skipped": "skipped", "not_started": "not_started"}
LEVELS = ["global", "stream", "transient"]


# ---------------------------------------------------------------- small helpers
def to_ms(v):
    """ISO string, unix seconds or unix milliseconds -> unix ms (int)."""
    if isinstance(v, bool) or v is None:
        return None
    if isinstance(v, (int, float)):
        return int(v * 1000) if abs(v) < 1e11 else int(v)
    try:
        d = datetime.fromisoformat(v.replace("Z", "+00:00"))
    except (ValueError, AttributeError):
        return None
    if d.tzinfo is None:
        d = d.replace(tzinfo=timezone.utc)
    delta = d - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return delta.days * 86400000 + delta.seconds * 1000 + delta.microseconds // 1000


def iso(ms):
    if ms is None:
        return None
    d = datetime.fromtimestamp(ms // 1000, timezone.utc)
    return d.strftime("%Y-%m-%dT%H:%M:%S") + ".%03dZ" % (ms % 1000)


def rng(r):
    """{gte,lt} on the wire -> (gte_ms or None, lt_ms) or None."""
    if not isinstance(r, dict) or to_ms(r.get("lt")) is None:
        return None
    return (to_ms(r.get("gte")), to_ms(r["lt"]))


def merge(ranges):
    low = lambda x: float("-inf") if x is None else x
    out = []
    for g, l in sorted(ranges, key=lambda r: (low(r[0]), r[1])):
        if out and low(g) <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], l))
        else:
            out.append((g, l))
    return out


def rng_json(r):
    return None if r is None else {"gte": iso(r[0]), "lt": iso(r[1])}


def status_word(w):
    """the five statuses; `auth_error` and the like (the generation before trace) are errored"""
    return STATUS.get(w) or ("errored" if isinstance(w, str) and w.endswith("_error") else None)


def as_dict(v):
    return v if isinstance(v, dict) else {}


def cause(m):
    return m.split(" (table=")[0].split("(table=")[0]


def normalise(m):
    m = cause(m)
    m = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "<time>", m)
    m = re.sub(r'"[^"\n]*"', "<quoted>", m)
    m = re.sub(r"'[^'\n]*'", "<quoted>", m)
    m = re.sub(r"\breq_\w+", "<request>", m)
    m = re.sub(r"(https?://\S+|(?<![\w.])/[\w./{}-]+)", "<path>", m)
    m = re.sub(r"\b[a-z]+_(?=\w*\d)\w{8,}", "<id>", m)
    m = re.sub(r"\b[0-9a-f]{8}-[0-9a-f-]{20,}\b", "<id>", m)
    m = re.sub(r"\d+", "<n>", m)
    return m


# ---------------------------------------------------------------- lines
def envelope(o):
    """'message', 'unknown' or 'raw' for parsed JSON."""
    if not isinstance(o, dict) or not isinstance(o.get("type"), str) or not isinstance(o.get(o["type"]), dict):
        return "raw"
    if o["type"] not in KINDS or (o["type"] == "trace" and o["trace"].get("trace_type") not in TRACES):
        return "unknown"
    return "message"


def classify(line):
    """-> (class, object or None)"""
    if not line.strip():
        return "raw", None
    try:
        o = json.loads(line.decode("utf-8", "replace"))
        return envelope(o), o
    except ValueError:
        pass
    at = line.find(b'{"', 1)
    while at > 0:
        try:
            o = json.loads(line[at:].decode("utf-8", "replace"))
            if envelope(o) == "message":
                return "message", o
        except ValueError:
            pass
        at = line.find(b'{"', at + 1)
    return ("malformed" if line.lstrip().startswith(b"{") else "raw"), None


# ---------------------------------------------------------------- state
class Stream:
    def __init__(self):
        self.status = "not_started"
        self.attempt = None          # reported count of this attempt
        self.cumulative = None       # reported count of all attempts
        self.raw = None              # progress generation: last raw run count of the engine
        self.offset = 0              # progress generation: counts lost by an engine that restarted its own
        self.base = 0                # cumulative at the begin of the attempt
        self.lines = 0               # record lines in this attempt
        self.lines_all = 0
        self.checkpoints = 0
        self.message = None
        self.total = None
        self.done = []
        self.remaining = None        # last known list
        self.retries = 0
        self.deleted_lines = 0
        self.sent = None             # data of the last source_state of this attempt
        self.finished_before = False # an earlier attempt of the run finished it, or counted nothing behind its last checkpoint
        self.at_checkpoint = None    # count in the first report behind the last checkpoint of this attempt
        self.uncounted = False       # a checkpoint that no report followed yet
        self.dest_failed = False     # a log of the destination names it in an error
        self.inserted = self.updated = self.deleted = None
        self.reset_flags()

    def reset_flags(self):           # per attempt
        self.began = False           # a start or a sign of life in this attempt, not only a last word
        self.started_now = False     # a start (or terminal word) seen in this attempt
        self.completes = 0
        self.was_errored = False
        self.completed_now = False
        self.error_now = False


class Oracle:
    def __init__(self):
        self.streams = {}
        self.catalog = None
        self.now = self.first = self.last = None
        self.attempts = 0
        self.ended = None            # None, or the end of the current attempt: dict(reason, has_more, kind)
        self.checkpoints = 0
        self.records_seen = False
        self.total_attempt = self.total_cumulative = None
        self.p_raw = None            # last raw (records, states, started_at) of the progress generation
        self.p_offset = 0
        self.p_base = 0
        self.requests = None
        self.attempt_requests = None
        self.elapsed = None
        self.elapsed_base = 0
        self.errors = []             # occurrences
        self.doubts = {}
        self.anomalies = {}
        self.connection = None
        self.last_error_log = None
        self.ever_started = False
        self.error_last_word = False
        self.p_fresh = True          # no progress seen yet in this attempt
        self.retries = 0
        self.error_logs = []         # (texts, streams, is the end repeated)
        self.exchange = False        # anything of a sync, beside logs, control, spec and connection_status
        self.reports = False         # the engine's own reports of progress
        self.joined = False          # its first report came late
        self.resumable = []          # hybrid: streams open at a cut
        self.index = 0               # of the message
        self.seg = []                # attempts: start, id, first, has_more
        self.failed_attempts = set() # the engine or the connection said so, with an error that was reported
        self.pending = None          # (index, run id): logs of the next run

    # -- small
    def stream(self, name, from_message=True):
        if name not in self.streams:
            self.streams[name] = Stream()
        if from_message and self.catalog is not None and name not in self.catalog:
            self.catalog.add(name)            # once a stream
            self.anomaly("unknown_stream", name)
        return self.streams[name]

    def anomaly(self, kind, stream):
        self.anomalies[(kind, stream)] = self.anomalies.get((kind, stream), 0) + 1

    def doubt(self, kind, stream, message):
        """one doubt for all streams of one text"""
        d = self.doubts.setdefault((kind, message), set())
        if stream is not None:
            d.add(stream)

    # -- attempts
    def begin(self):
        if self.connection == "failed" and self.attempts:
            self.failed_attempts.add(self.attempts)
        if self.resumable:
            for n in self.resumable:
                self.doubt("resumed_after_cut", n, "cut by a limit and resumed; the end state cannot show what was left")
            self.resumable = []
        prev = self.p_raw[0] if self.p_raw else self.total_cumulative if self.total_cumulative is not None else \
            sum(s.cumulative or 0 for s in self.streams.values()) if self.reports else None
        self.seg.append({"start": self.pending[0] if self.pending else self.index, "id": self.pending and self.pending[1],
                         "first": None, "prev": prev, "has_more": None, "reported": False})
        self.pending = None
        self.attempts += 1
        self.ended = None
        self.catalog = None
        self.error_last_word = False
        self.connection = None
        self.total_attempt = None
        self.p_base = self.total_cumulative or 0
        self.elapsed_base = self.elapsed or 0
        self.p_fresh = True
        for s in self.streams.values():
            read = s.lines if s.attempt is None else s.attempt
            past = read > 0 if s.at_checkpoint is None else read > s.at_checkpoint
            s.finished_before = s.status in ("completed", "skipped") or not past
            s.at_checkpoint, s.uncounted = None, False
            s.sent = None
            if s.status == "started":
                s.status = "not_started"
            s.attempt = None
            s.lines = 0
            s.base = s.cumulative or 0
            s.reset_flags()

    def over(self):                  # the next message of a stream begins an attempt
        return self.attempts == 0 or self.ended is not None or self.pending is not None

    def restart(self):
        """progress generation without an end; a start right before the report was the first line of the new attempt"""
        at, name, twice = self.last_start
        if at == self.index - 1 and twice:
            key = ("duplicate_start", name)
            self.anomalies[key] -= 1
            if not self.anomalies[key]:
                del self.anomalies[key]
        self.begin()
        if at == self.index - 1:
            self.seg[-1]["start"] = at
            self.streams[name].started_now = self.streams[name].began = True

    def need_attempt(self):          # before a stream message
        if self.over():
            self.begin()

    def report(self, total):
        """pass 1: does the first report of this attempt carry the totals of the one before on?"""
        a = self.seg[-1] if self.seg else None
        if a and a["first"] is None and total is not None:
            a["first"] = "nothing" if not a["prev"] else "carried" if total > 0 and total >= a["prev"] else "fresh"

    # -- errors
    def norm(self, message):
        """the cause: values, relations and names of streams do not count"""
        m = normalise(message)
        for n in sorted(self.streams, key=len, reverse=True):
            if n in m:
                m = re.sub(r"\b(?:\w+\.)?%s\b" % re.escape(n), "<stream>", m)
        return m

    def standing(self, stream):
        return [e for e in self.errors if e["stream"] == stream and not e["cleared"]]

    def add_error(self, message, failure_type, stream, level=None):
        if level not in LEVELS:
            level = "global" if stream is None else "transient" if failure_type == "transient_error" else "stream"
        self.errors.append({"level": level, "failure_type": failure_type, "stream": stream, "message": message,
                            "norm": self.norm(message), "attempt": self.attempts, "at": self.now,
                            "final": False, "cleared": False, "from_log": False})
        if stream is not None:
            s = self.streams[stream]
            s.error_now = True
            s.message = message

    def repeat(self, stream, message, same_attempt_only=False):
        n = self.norm(message)
        return any(e["norm"] == n and (not same_attempt_only or e["attempt"] == self.attempts) for e in self.standing(stream))

    # -- stream lifecycle
    def set_status(self, name, status, explicit_event):
        s = self.streams[name]
        if status == "started":
            if explicit_event:
                self.last_start = (self.index, name, s.started_now)
                s.began = True
                if s.started_now:
                    self.anomaly("duplicate_start", name)
                s.started_now = True
            self.ever_started = True
        if status in ("completed", "errored", "skipped") and explicit_event:
            s.started_now = True
        if status == "errored":
            s.was_errored = True
        if status == "completed":
            if s.status == "errored" and s.was_errored and s.error_now:
                self.doubt("error_overwritten", name, "reported an error, then complete in the same attempt")
            s.completed_now = True
        s.status = status

    def word(self, name, status, progress_generation):
        """a stream_status line"""
        s = self.stream(name)
        status = status_word(status)
        if status is None:
            return
        if status == "completed":
            s.completes += 1
        if status == "started" and not s.started_now:
            s.message = None if not self.standing(name) else s.message
        self.set_status(name, status, True)

    # -- messages
    def apply(self, o):
        kind, p = o["type"], o[o["type"]]
        t = to_ms(o.get("_ts"))
        if t is None and kind == "record":
            t = to_ms(p.get("emitted_at"))
        if t is not None:
            self.now = t if self.now is None else max(self.now, t)
            self.first = self.now if self.first is None else self.first
            self.last = self.now
        if kind not in ("log", "control", "spec", "connection_status"):
            self.exchange = True
        if kind not in ("log", "control", "spec", "source_input", "connection_status", "eof", "end") and \
                not (kind == "trace" and p["trace_type"] == "error"):
            self.error_last_word = False
        self.emitter = o.get("_emitted_by") if isinstance(o.get("_emitted_by"), str) else ""
        getattr(self, "on_" + kind, lambda p: None)(p)

    def on_catalog(self, p):
        self.begin()
        self.catalog = set()
        for s in p.get("streams") or []:
            if isinstance(s, dict) and isinstance(s.get("name"), str):
                self.catalog.add(s["name"])
                self.stream(s["name"])

    def on_start(self, p):
        self.begin()
        self.catalog = set()
        for s in (p.get("configured_catalog") or {}).get("streams") or []:
            name = s.get("name") or (s.get("stream") or {}).get("name")
            if name:
                self.catalog.add(name)
                self.stream(name)

    def on_record(self, p):
        if not isinstance(p.get("stream"), str):
            return
        self.need_attempt()
        self.records_seen = True
        s = self.stream(p["stream"])
        s.began = True
        if p.get("recordDeleted") is True:       # a deletion is no record
            s.deleted_lines += 1
            return
        s.lines += 1
        s.lines_all += 1
        if s.lines_all > s.lines and not s.finished_before:
            self.doubt("recount_after_resume", p["stream"], "resumed; may include rows read twice")

    def on_source_state(self, p):
        self.need_attempt()
        self.checkpoints += 1
        name = p.get("stream")
        if p.get("state_type", "stream") != "stream" or not isinstance(name, str):
            return
        s = self.stream(name)
        s.checkpoints += 1
        s.uncounted = True
        data = p.get("data") if isinstance(p.get("data"), dict) else {}
        s.sent = data
        s.began = True
        # the trace and hybrid generations: the destination sends the states back, so they come late
        trace = "backfill" in data or "page_cursor" in data or self.emitter.startswith("destination/")
        if not s.started_now:
            self.anomaly("state_before_start", name)
        elif s.completed_now and not trace:
            self.anomaly("state_after_complete", name)
        if s.status == "not_started":     # the sign of life
            s.status = "started"
            self.ever_started = True
        self.state_ranges(s, data)

    def state_ranges(self, s, data):
        b = data.get("backfill")
        if isinstance(b, dict):
            s.total = rng(b.get("range")) or s.total
            s.done = merge([r for r in map(rng, b.get("completed") or []) if r])
        if rng(data.get("accounted_range")):
            s.total = rng(data["accounted_range"])
        if isinstance(data.get("remaining"), list):
            s.remaining = data["remaining"]

    def on_trace(self, p):
        tt = p["trace_type"]
        q = p.get(tt) if isinstance(p.get(tt), dict) else {}
        if tt == "error":
            name = q.get("stream") if isinstance(q.get("stream"), str) else None
            if name is not None:
                self.need_attempt()
                self.stream(name)
            self.add_error(str(q.get("message", "")), q.get("failure_type"), name)
            self.error_last_word = name is None
        elif tt == "stream_status" and isinstance(q.get("stream"), str):
            self.need_attempt()
            known = self.streams.get(q["stream"])
            before = known is not None and not known.started_now
            old = before and any(e["message"] == q.get("error") for e in self.standing(q["stream"]))
            self.word(q["stream"], q.get("status"), False)
            self.trace_counts(self.streams[q["stream"]], q, q["stream"])
            if rng(q.get("range_complete")):
                self.streams[q["stream"]].done = merge(self.streams[q["stream"]].done + [rng(q["range_complete"])])
            told = [e for e in self.errors if e["stream"] == q["stream"] and e["attempt"] == self.attempts and e["message"] == q.get("error")]
            if q.get("status") == "error" and q.get("error") is not None and not old and not (told and all(e["failure_type"] for e in told)):
                self.add_error(str(q.get("error", "")), None, q["stream"])
            if q.get("status") == "skip":
                self.streams[q["stream"]].message = q.get("reason")
        elif tt in ("global_progress", "progress"):
            if self.attempts == 0 or self.pending:
                self.begin()
            self.global_progress(q)
        elif tt == "estimate" and isinstance(q.get("stream"), str):
            self.need_attempt()
            self.stream(q["stream"])

    def trace_counts(self, s, q, name):
        if isinstance(q.get("cumulative_record_count"), int):
            self.reports = True
            a = self.seg[-1]
            a["reported"] = True
            if a["first"] is None and s.base and isinstance(q.get("run_record_count"), int):
                a["first"] = "carried" if q["cumulative_record_count"] > q["run_record_count"] else "fresh"
        if isinstance(q.get("run_record_count"), int):
            s.attempt = q["run_record_count"]
        if isinstance(q.get("cumulative_record_count"), int):
            s.cumulative = q["cumulative_record_count"]
        self.counted(s)
        if s.attempt and s.cumulative is not None and s.cumulative > s.attempt and not s.finished_before:
            self.doubt("recount_after_resume", name, "resumed; may include rows read twice")

    def counted(self, s):
        """a count of the stream was reported"""
        if s.uncounted and s.attempt is not None:
            s.at_checkpoint, s.uncounted = s.attempt, False

    def global_progress(self, q):
        self.reports = True
        self.seg[-1]["reported"] = True
        if isinstance(q.get("cumulative_record_count"), int):
            self.report(q["cumulative_record_count"] - (q.get("run_record_count") or 0))
        elif not self.seg[-1]["prev"]:
            self.report(0)
        if "run_record_count" in q:
            self.total_attempt = q["run_record_count"]
        if "cumulative_record_count" in q:
            self.total_cumulative = q["cumulative_record_count"]
        elif isinstance(q.get("run_record_count"), int):       # only the attempt is reported: what was there and the new count
            self.total_cumulative = self.p_base + q["run_record_count"]
        self.attempt_requests = q.get("request_count")
        if "cumulative_request_count" in q:
            self.requests = q["cumulative_request_count"]
        if "cumulative_elapsed_ms" in q:
            self.elapsed = q["cumulative_elapsed_ms"]
        elif "elapsed_ms" in q:
            self.elapsed = self.elapsed_base + q["elapsed_ms"]

    def on_stream_status(self, p):
        name = p.get("stream")
        if not isinstance(name, str):
            return
        self.need_attempt()
        s = self.stream(name)
        old = not s.started_now and any(e["message"] == p.get("error") for e in self.standing(name))
        status = p.get("status")
        if rng(p.get("time_range")):
            s.total = rng(p["time_range"])
        if rng(p.get("range_complete")):
            s.done = merge(s.done + [rng(p["range_complete"])])
        self.word(name, status, True)
        told = [e for e in self.errors if e["stream"] == name and e["attempt"] == self.attempts and e["message"] == p.get("error")]
        if status == "error" and p.get("error") is not None and not old and not (told and all(e["failure_type"] != p.get("failure_type") for e in told)):
            self.add_error(str(p.get("error", "")), p.get("failure_type"), name)
        if status == "skip":
            s.message = p.get("reason")

    def on_progress(self, p, at_end=False):
        d = p.get("derived") if isinstance(p.get("derived"), dict) else {}
        total, states, started = d.get("total_record_count"), d.get("total_state_count"), p.get("started_at")
        parts = [q.get("record_count") for q in as_dict(p.get("streams")).values() if isinstance(q, dict)]
        counted = total if isinstance(total, int) else sum(n for n in parts if isinstance(n, int))   # hybrid: no total
        states = states if isinstance(states, int) else p.get("global_state_count") if total is None else states
        if self.attempts == 0 or (self.pending and not at_end):
            self.begin()
        elif self.p_raw and not self.p_fresh and not at_end and self.ended is None and started != self.p_raw[2] and p.get("elapsed_ms") == 0 \
                and counted <= self.p_raw[0] and (states or 0) <= self.p_raw[1] \
                and (counted, (states or 0)) != self.p_raw[:2]:
            self.restart()
        elif self.ended is not None and not at_end and self.p_raw and not self.same_report(p, counted, states):
            self.begin()             # the next attempt reports before any stream of it spoke
        if self.p_raw is None and counted and p.get("elapsed_ms"):
            self.joined = True       # no start was seen: what it reports as started is
        self.reports = True
        self.seg[-1]["reported"] = True
        if total is not None or not self.seg[-1]["prev"]:       # hybrid: counts of the attempt only, its end will tell
            self.report(counted)
        if self.p_raw and self.p_fresh and total is not None and counted < self.p_raw[0]:        # counter reset
            self.p_offset += self.p_raw[0]
        if self.p_fresh:
            self.p_elapsed_offset = self.elapsed_base if self.p_raw and p.get("elapsed_ms", 0) < self.p_raw[3] else \
                getattr(self, "p_elapsed_offset", 0)
        self.p_fresh = False
        if total is not None:
            self.total_cumulative = self.p_offset + total
            self.total_attempt = self.total_cumulative - self.p_base
        if isinstance(p.get("elapsed_ms"), int):
            self.elapsed = self.p_elapsed_offset + p["elapsed_ms"]
        self.p_raw = (counted, states or 0, started, p.get("elapsed_ms", 0))
        c = as_dict(p.get("connection_status"))
        if c.get("status") == "failed":          # the hybrid generation repeats it here
            self.connection = "failed"
            if not self.repeat(None, str(c.get("message") or "connection failed")):
                self.add_error(str(c.get("message") or "connection failed"), None, None)
        for name, q in as_dict(p.get("streams")).items():
            if not isinstance(q, dict):
                continue
            s = self.stream(name)
            n = q.get("record_count")
            if isinstance(n, int):
                if s.raw is not None and n < s.raw:
                    s.offset += s.raw
                s.raw = n
                s.cumulative = s.offset + n
                s.attempt = s.cumulative - s.base
                self.counted(s)
                if s.base and s.attempt and not s.finished_before:
                    self.doubt("recount_after_resume", name, "resumed; may include rows read twice")
            for mine, theirs in (("inserted", "insert_count"), ("updated", "update_count"), ("deleted", "delete_count")):
                if theirs in q:
                    setattr(s, mine, q[theirs])
            if rng(q.get("total_range")):
                s.total = rng(q["total_range"])
            if isinstance(q.get("completed_ranges"), list):
                s.done = merge(s.done + [r for r in map(rng, q["completed_ranges"]) if r])
            status = status_word(q.get("status"))
            if status and status != s.status and status != "not_started":
                self.set_status(name, status, False)
            if status == "started" and self.joined:
                s.started_now = True
            if isinstance(q.get("message"), str):
                s.message = q["message"]
                if status in ("errored", "completed") and not self.repeat(name, q["message"]):
                    self.add_error(q["message"], None, name)
        for e in p.get("errors") or []:
            name = e.get("stream")
            if name is not None:
                self.stream(name)
            if not any(x["norm"] == self.norm(e.get("message", "")) and x["stream"] == name and not x["cleared"] for x in self.errors):
                self.add_error(e.get("message", ""), e.get("failure_type"), name, e.get("error_level"))

    def same_report(self, p, counted, states):
        return (counted, states or 0, p.get("started_at")) == self.p_raw[:3]

    def on_connection_status(self, p):
        self.connection = p.get("status")
        if p.get("status") == "failed" and not self.repeat(None, str(p.get("message") or "connection failed"), True):
            self.add_error(str(p.get("message") or "connection failed"), None, None)

    def on_log(self, p):
        d = as_dict(p.get("data"))
        rid = d.get("run_id")
        if isinstance(rid, str) and rid and self.pending is None:
            if not self.seg or self.seg[-1]["id"] not in (None, rid):
                self.pending = (self.index, rid)
            else:
                self.seg[-1]["id"] = rid
        if "attempt" in d and "delay_ms" in d:
            self.retries += 1
            m = re.search(r"\(([^()]+)\)$", d.get("label") or "")
            name = d.get("stream") or (m and m.group(1))
            if name in self.streams:
                self.streams[name].retries += 1
        if p.get("level") in ("error", "fatal"):
            texts = [x for x in (p.get("message"), d.get("error"), as_dict(d.get("err")).get("message"),
                                 as_dict(as_dict(as_dict(d.get("err")).get("body")).get("error")).get("message"))
                     if isinstance(x, str) and x.strip()]
            names = ([d["stream"]] if isinstance(d.get("stream"), str) else []) + list(d.get("failed_streams") or [])
            if texts:
                self.last_error_log = (texts[0], self.now)
            self.error_logs.append((texts, names, "eof" in d, self.attempts))
            if str(d.get("name")).startswith("destination") and names:
                for n in names:
                    if n in self.streams:
                        self.streams[n].dest_failed = True

    def on_end(self, p):
        self.on_eof(p)

    def on_eof(self, p):
        if self.over():
            self.begin()
        reason = p.get("reason") if p.get("reason") is not None else p.get("status")
        has_more = p.get("has_more")
        if has_more is None and p.get("reason") is not None:
            has_more = p["reason"] in ("time_limit", "state_limit")
        # totals
        if isinstance(p.get("global_progress"), dict):
            self.global_progress(p["global_progress"])
        if isinstance(p.get("elapsed_ms"), int) and not isinstance(p.get("global_progress"), dict):
            self.elapsed = self.elapsed_base + p["elapsed_ms"]
        if isinstance(p.get("run_progress"), dict):
            self.on_progress(p["run_progress"], at_end=True)
        rp = p.get("request_progress")
        if isinstance(rp, dict):
            if p.get("run_progress") is None:
                self.on_progress(rp, at_end=True)
            n = (rp.get("derived") or {}).get("total_record_count")
            if n is not None:
                self.total_attempt = n
            for name, q in (rp.get("streams") or {}).items():
                if isinstance(q.get("record_count"), int):
                    self.stream(name).attempt = q["record_count"]
                    if q["record_count"] and self.stream(name).base and not self.stream(name).finished_before:
                        self.doubt("recount_after_resume", name, "resumed; may include rows read twice")
        state = as_dict(p.get("state") or p.get("ending_state"))
        returned = as_dict(state.get("source")).get("streams")
        rid = as_dict(state.get("sync_run")).get("run_id")
        if isinstance(rid, str) and rid:
            self.seg[-1]["id"] = rid
        self.seg[-1]["has_more"] = has_more
        # an up-to-date sync: nothing to do, all of its streams are at their end
        up_to_date = reason == "started" and has_more is False and isinstance(returned, dict) and bool(returned) \
            and not any(as_dict(d).get("remaining") for d in returned.values()) \
            and not [e for e in self.errors if not e["cleared"] and (e["stream"] is not None or e["attempt"] == self.attempts)]
        # what kind of end
        if reason == "aborted":
            kind = "aborted"
        elif reason in ("error", "failed"):
            kind = "failed"
        elif up_to_date:
            kind = "complete"
        elif reason in ("time_limit", "state_limit", "started") or has_more:
            kind = "limit"
        elif reason in ("complete", "succeeded") or (reason is None and has_more is False):
            kind = "complete"
        else:
            kind = "limit"
            self.doubt("unknown_end", None, "ended for a reason nobody knows: %s" % reason)
        self.ended = {"reason": reason, "has_more": has_more, "kind": kind, "up_to_date": up_to_date, "left": False}
        # stream_progress of the trace generation
        sp = p.get("stream_progress") or {}
        for name, q in sp.items():
            s = self.stream(name)
            self.trace_counts(s, q, name)
            if kind == "complete" and status_word(q.get("status")):
                self.set_status(name, status_word(q["status"]), False)
            for e in q.get("errors") or []:
                if not self.repeat(name, e.get("message", "")):
                    self.add_error(e.get("message", ""), e.get("failure_type"), name)
        # returned source state
        if isinstance(returned, dict):
            for name, data in returned.items():
                s = self.stream(name)
                data = as_dict(data)
                if s.sent is not None and s.sent != data:
                    self.doubt("state_ahead", name, "the end state differs from the last source_state: rows are lost if a client goes on from it")
                self.state_ranges(s, data)
                st = data.get("status")
                if isinstance(st, str) and st.endswith("_error"):
                    s.error_now = True           # told earlier or not, it stands
                if isinstance(st, str) and st.endswith("_error") and not self.standing(name):
                    self.add_error("returned source state says %s" % st, st, name, "stream")
                if kind == "complete" and st == "pending":
                    self.doubt("ranges_left", name, "ranges left in the returned state")
                    self.ended["left"] = True
        if kind != "complete" and isinstance(returned, dict):
            for name, s in self.streams.items():
                if s.status == "completed" and s.started_now:
                    data = as_dict(returned.get(name))
                    if not (data.get("status") == "complete" or data.get("remaining") == []):
                        s.status = "started"
        # ranges left
        for name, s in self.streams.items():
            if s.remaining and (kind == "complete" or (kind == "failed" and s.status == "completed")):
                self.doubt("ranges_left", name, "ranges left in the returned state")
                self.ended["left"] = True
            elif kind == "complete" and not up_to_date and s.status == "started" and self.connection != "failed" and \
                    all(e["cleared"] for e in self.errors):      # begun, never done, and nobody said why
                self.doubt("ranges_left", name, "ranges left in the returned state")
                self.ended["left"] = True
        # the hybrid generation (top-level statuses, an end with a reason) cannot show what a cut left
        if kind == "limit" and isinstance(p.get("reason"), str) and self.progress_generation:
            self.resumable = [n for n, s in self.streams.items() if s.status == "started"]
        if (kind == "complete" and not up_to_date and not any(s.started_now or s.completed_now or s.status != "not_started" for s in self.streams.values())) or \
                (reason == "started" and has_more is False and not self.streams):
            self.doubt("nothing_synced", None, "the engine says complete, yet no stream started")
        self.end_attempt()

    def end_attempt(self):
        """final and cleared, at the end of an attempt or of the input"""
        if ((self.ended and self.ended["kind"] == "failed") or self.connection == "failed") and \
                any(e["attempt"] == self.attempts for e in self.errors):
            self.failed_attempts.add(self.attempts)
        for name, s in self.streams.items():     # errored, and nobody said why
            if s.status == "errored" and s.was_errored and not self.standing(name):
                self.add_error(s.message or "the engine says errored", None, name)
        for e in self.errors:
            s = self.streams.get(e["stream"])
            if e["attempt"] == self.attempts and s is not None and s.status in ("completed", "errored"):
                e["final"] = True
            if e["attempt"] < self.attempts and s is not None and s.began and s.completed_now \
                    and s.status == "completed" and not s.error_now:
                e["cleared"] = True
                s.message = None
            if e["attempt"] < self.attempts and s is None and self.ended and self.ended["kind"] == "complete":
                e["cleared"] = True

    # -- the end of the input
    def settling(self, s):
        return self.ended is None and s.status == "completed" and s.completes == 1 and s.completed_now and not self.progress_generation

    def outcome(self, exit_code, torn):
        self.end_attempt()
        own = self.own_outcome(torn)
        if exit_code is None or own == "running":
            return own
        if 128 < exit_code <= 192:               # a signal
            return "failed" if own == "failed" else "truncated"
        if exit_code != 0:
            return "failed"
        if own != "unknown":
            return own
        stand = [e for e in self.errors if not e["cleared"]]
        began = any(s.status != "not_started" or s.started_now or s.lines_all for s in self.streams.values())
        if self.connection == "succeeded" and not self.exchange:
            return "succeeded"                   # a check
        if not began:
            if self.streams:
                return "truncated"               # a catalog, and nothing of it began
            if self.error_logs:
                return "failed"
            self.doubt("nothing_synced", None, "exit 0, yet no stream and no position")
            return "succeeded"
        return "completed_with_errors" if stand else "succeeded"

    def own_outcome(self, torn):
        stand = [e for e in self.errors if not e["cleared"]]
        kind = self.ended["kind"] if self.ended else None
        # a feed joined late: what the first attempt is reported to have begun has started, too
        started = [n for n, s in self.streams.items() if s.started_now or (self.attempts == 1 and s.status != "not_started")]
        final = {e["stream"] for e in stand if e["final"]}
        glob = [e for e in stand if e["stream"] is None]
        if kind == "aborted":
            return "aborted"
        if kind == "failed" or self.connection == "failed":
            return "failed"
        if any(e["failure_type"] != "transient_error" for e in glob):
            return "failed"
        if started and all(n in final for n in started):
            return "failed"
        if stand and not self.ever_started and not started:
            return "failed"
        if kind is None and self.error_last_word:
            return "failed"
        if kind is None:
            if not self.understood:
                return "unknown"
            begun = [s for s in self.streams.values() if s.status != "not_started"]
            is_open = any(s.status == "started" or (self.reports and self.settling(s)) for s in begun) or torn or \
                (begun and len(begun) < len(self.streams)) or (self.connection == "succeeded" and self.exchange)
            return "truncated" if is_open else "unknown"
        if kind == "limit" or (self.ended["up_to_date"] and stand):
            return "cut_off"
        if stand or self.ended["left"]:
            return "completed_with_errors"
        return "succeeded"

    def explained(self, texts, names):
        """a logged error that a reported one explains"""
        reported = [e for e in self.errors if not e["from_log"]]
        if names and all(any(e["stream"] == n for e in reported) for n in names):
            return True
        return any(cause(x) in e["message"] or cause(e["message"]) in x for x in texts for e in reported if e["message"].strip())

    def coverage(self, s):
        if s.remaining is not None:
            left = [rng(r) for r in s.remaining]
            if not left and s.status == "completed":
                return 1.0
            if not s.total or s.total[0] is None or s.total[1] <= s.total[0] or any(r is None or r[0] is None for r in left):
                return None
            g, l = s.total
            c = round(1 - sum(max(0, min(l, r[1]) - max(g, r[0])) for r in merge(left)) / (l - g), 4)
            return min(max(c, 0.0), 0.9999)
        if s.total and s.total[0] is not None and s.total[1] > s.total[0] and all(r[0] is not None for r in s.done):
            g, l = s.total
            c = sum(max(0, min(l, r[1]) - max(g, r[0])) for r in s.done) / (l - g)
            return c if c in (0, 1) else min(round(c, 4), 0.9999)
        return None

    def finish(self, exit_code=None, torn=False, lost=0):
        """-> outcome, streams, errors, doubts, records of this run"""
        outcome = self.outcome(exit_code, torn)
        if outcome == "failed":
            for e in self.errors:
                s = self.streams.get(e["stream"])
                if e["attempt"] == self.attempts and (s is None or (not s.started_now and not s.completed_now)):
                    e["final"] = True
            if not any(not e["cleared"] for e in self.errors) and self.last_error_log:
                self.add_error(self.last_error_log[0], None, None)
                self.errors[-1].update(at=self.last_error_log[1], final=True, from_log=True)
        if outcome in ("succeeded", "completed_with_errors"):
            open_logs = [names for texts, names, end, attempt in self.error_logs
                         if not end and attempt not in self.failed_attempts and not self.explained(texts, names)]
            if open_logs:
                self.doubt("errors_logged", None, "errors were logged that no reported error explains")
        if lost and self.understood and outcome != "truncated":
            self.doubt("lines_lost", None, "%d lines did not parse" % lost)
        streams, sum_a, sum_c = [], [], []
        for name in sorted(self.streams):
            s = self.streams[name]
            a, c = s.attempt, s.cumulative
            if self.records_seen:
                if a is not None and s.lines and a != s.lines:
                    self.doubt("record_count_mismatch", name, "reported %d, counted %d" % (a, s.lines))
                a = s.lines if a is None else a
                c = s.lines_all if c is None else c
            sum_a += [] if a is None else [a]
            sum_c += [] if c is None else [c]
            o = {"name": name, "namespace": None, "status": s.status, "settling": self.settling(s),
                 "records": {"attempt": a, "cumulative": c}, "checkpoints": s.checkpoints, "retries": s.retries,
                 "errors": sum(e["stream"] == name for e in self.errors), "message": s.message,
                 "inserted": s.inserted, "updated": s.updated,
                 "deleted": s.deleted if s.deleted is not None else s.deleted_lines or None,
                 "total_range": rng_json(s.total), "completed_ranges": [rng_json(r) for r in s.done], "coverage": self.coverage(s)}
            if c and any("(table=" in e["message"] or e["message"].startswith("upsertWithStats failed") or s.dest_failed
                         for e in self.standing(name)):
                o["unwritten_up_to"] = min(99, c)
            streams.append(o)
        larger = lambda own, parts: max([x for x in [own, sum(parts) if parts else None] if x is not None], default=None)
        records = {"attempt": larger(self.total_attempt, sum_a), "cumulative": larger(self.total_cumulative, sum_c)}
        return outcome, streams, records

    def error_groups(self):
        groups = {}
        for e in self.errors:                    # names that were not known yet when it came
            groups.setdefault((self.norm(e["message"]), e["level"], e["failure_type"]), []).append(e)
        errors = []
        for (norm, level, ft), es in groups.items():
            g = {"level": level, "failure_type": ft,
                 "fingerprint": hashlib.sha256(repr((norm, level, ft)).encode()).hexdigest()[:16],
                 "streams": sorted({e["stream"] for e in es if e["stream"] is not None}), "message": es[-1]["message"],
                 "count": len(es), "attempt": es[-1]["attempt"], "final": any(e["final"] for e in es),
                 "cleared": all(e["cleared"] for e in es), "first_at": iso(es[0]["at"]), "last_at": iso(es[-1]["at"])}
            if any(e["from_log"] for e in es):
                g["from_log"] = True
            errors.append(g)
        errors.sort(key=lambda g: (LEVELS.index(g["level"]), -g["count"], g["streams"], g["message"]))
        return errors

    def doubt_list(self):
        out = [{"kind": k, "stream": min(n) if n else None, "streams": sorted(n), "message": m} for (k, m), n in self.doubts.items()]
        return sorted(out, key=lambda d: (d["kind"], d["streams"]))

    progress_generation = False
    understood = False
    emitter = ""
    last_start = (-2, None, False)


UNTOUCHED = {"namespace": None, "status": "not_started", "settling": False, "records": {"attempt": None, "cumulative": None},
             "checkpoints": 0, "retries": 0, "errors": 0, "message": None, "inserted": None, "updated": None, "deleted": None,
             "total_range": None, "completed_ranges": [], "coverage": None}


def feed(o, index, obj):
    o.index = index
    o.understood = True
    if obj["type"] in ("stream_status", "progress"):
        o.progress_generation = True
    o.apply(obj)


def run_starts(messages):
    """indexes of the messages with which a run begins, the first one being 0"""
    o = Oracle()
    for i, (_, obj) in enumerate(messages):
        feed(o, i, obj)
    starts, run_id = [0], None
    for k, a in enumerate(o.seg):
        if k:
            other = run_id is not None and a["id"] is not None and a["id"] != run_id
            same = run_id is not None and a["id"] == run_id
            first = a["first"] or ("fresh" if a["reported"] else None)
            fresh = o.seg[k - 1]["has_more"] is False and (first == "fresh" or (first == "nothing" and not same))
            if other or fresh:
                starts.append(a["start"])
                run_id = None
        run_id = a["id"] or run_id
    if o.pending and o.seg:                      # logs of a run of which nothing else came
        starts.append(o.pending[0])
    return starts


def summarise(data, exit_code=None):
    lines = data.split(b"\n")
    torn = lines[-1] != b""
    if not torn:
        lines.pop()
    inp = {"lines": len(lines), "bytes": len(data), "messages": 0, "raw": 0, "unknown": 0, "malformed": 0, "joined": 0,
           "truncated_line": False}
    key = {"message": "messages", "raw": "raw", "unknown": "unknown", "malformed": "malformed"}
    messages, malformed = [], []
    for i, line in enumerate(lines):
        cls, obj = classify(line)
        if torn and i == len(lines) - 1 and obj is None:
            cls = "malformed"
            inp["truncated_line"] = True
        elif cls == "malformed":
            malformed.append(i)
        inp[key[cls]] += 1
        if cls == "message":
            messages.append((i, obj))
    starts = run_starts(messages)
    names, runs, now = set(), [], None
    for k, start in enumerate(starts):
        stop = starts[k + 1] if k + 1 < len(starts) else len(messages)
        last = k + 1 == len(starts)
        first_line = messages[start][0] if k else 0
        end_line = messages[stop][0] if not last else len(lines)
        o = Oracle()
        o.now = now
        for i in range(start, stop):
            feed(o, i, messages[i][1])
        now = o.now
        outcome, streams, records = o.finish(exit_code if last else None, last and inp["truncated_line"],
                                             sum(first_line <= m < end_line for m in malformed))
        if last:
            break
        names |= set(o.streams)
        runs.append({"outcome": outcome, "attempts": o.attempts, "records": records, "started_at": iso(o.first),
                     "ended_at": iso(o.last), "exit": None})
    streams = sorted(streams + [dict(UNTOUCHED, name=n) for n in names - set(o.streams)], key=lambda s: s["name"])
    requests = o.requests
    if requests == 0 and records["cumulative"]:
        requests = None
    return {
        "synctop": "0.2.0", "schema": 2, "dialect": "stripe" if inp["messages"] else None,
        "outcome": outcome, "reason": o.ended["reason"] if o.ended else None, "has_more": o.ended["has_more"] if o.ended else None,
        "started_at": iso(o.first), "ended_at": iso(o.last), "elapsed_ms": o.elapsed,
        "wall_ms": None if o.first is None else o.last - o.first,
        "attempts": o.attempts, "records": records, "requests": {"attempt": o.attempt_requests, "cumulative": requests},
        "retries": o.retries, "checkpoints": o.checkpoints, "runs": runs, "streams": streams, "errors": o.error_groups(),
        "doubts": o.doubt_list(),
        "anomalies": [{"kind": k, "stream": n, "count": c} for (k, n), c in sorted(o.anomalies.items())],
        "input": inp}


def read(path):
    if path.endswith(".zst"):
        return subprocess.run(["zstd", "-dc", path], stdout=subprocess.PIPE, check=True).stdout
    return open(path, "rb").read()


if __name__ == "__main__":
    args = sys.argv[1:]
    code = int(args[args.index("--exit-code") + 1]) if "--exit-code" in args else None
    print(json.dumps(summarise(read(args[0]), code), indent=1, ensure_ascii=False))
