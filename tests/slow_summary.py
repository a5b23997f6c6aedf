#!/usr/bin/env python3
"""Slow, simple reference for `synctop summary --json` (Stripe dialect). Whole file in memory. Written from the rules alone, without sight of the Rust code."""
import hashlib, json, re, subprocess, sys
from datetime import datetime, timezone

KINDS = {"catalog", "record", "source_state", "trace", "stream_status", "progress", "connection_status", "log",
         "control", "spec", "eof", "source_input", "start", "end"}
TRACES = {"error", "stream_status", "estimate", "global_progress"}
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


def normalise(m):
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
        self.inserted = self.updated = self.deleted = None
        self.reset_flags()

    def reset_flags(self):           # per attempt
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

    # -- small
    def stream(self, name, from_message=True):
        if name not in self.streams:
            self.streams[name] = Stream()
        if from_message and self.catalog is not None and name not in self.catalog:
            self.anomaly("unknown_stream", name)
        return self.streams[name]

    def anomaly(self, kind, stream):
        self.anomalies[(kind, stream)] = self.anomalies.get((kind, stream), 0) + 1

    def doubt(self, kind, stream, message):
        self.doubts.setdefault((kind, stream or ""), {"kind": kind, "stream": stream, "message": message})

    # -- attempts
    def begin(self):
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
            if s.status == "started":
                s.status = "not_started"
            s.attempt = None
            s.lines = 0
            s.base = s.cumulative or 0
            s.reset_flags()

    def need_attempt(self):          # before a stream message
        if self.attempts == 0 or self.ended is not None:
            self.begin()

    # -- errors
    def standing(self, stream):
        return [e for e in self.errors if e["stream"] == stream and not e["cleared"]]

    def add_error(self, message, failure_type, stream, level=None):
        if level not in LEVELS:
            level = "global" if stream is None else "transient" if failure_type == "transient_error" else "stream"
        self.errors.append({"level": level, "failure_type": failure_type, "stream": stream, "message": message,
                            "norm": normalise(message), "attempt": self.attempts, "at": self.now,
                            "final": False, "cleared": False, "from_log": False})
        if stream is not None:
            s = self.streams[stream]
            s.error_now = True
            s.message = message

    def repeat(self, stream, message, same_attempt_only=False):
        n = normalise(message)
        return any(e["norm"] == n and (not same_attempt_only or e["attempt"] == self.attempts) for e in self.standing(stream))

    # -- stream lifecycle
    def set_status(self, name, status, explicit_event):
        s = self.streams[name]
        if status == "started":
            if explicit_event:
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
        status = STATUS.get(status)
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
        if kind not in ("log", "control", "spec", "source_input", "connection_status", "eof", "end") and \
                not (kind == "trace" and p["trace_type"] == "error"):
            self.error_last_word = False
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
        s.lines += 1
        s.lines_all += 1

    def on_source_state(self, p):
        self.need_attempt()
        self.checkpoints += 1
        name = p.get("stream")
        if p.get("state_type", "stream") != "stream" or not isinstance(name, str):
            return
        s = self.stream(name)
        s.checkpoints += 1
        data = p.get("data") if isinstance(p.get("data"), dict) else {}
        trace = "backfill" in data or "page_cursor" in data
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
            if q.get("status") == "error" and not old and not (told and all(e["failure_type"] for e in told)):
                self.add_error(str(q.get("error", "")), None, q["stream"])
            if q.get("status") == "skip":
                self.streams[q["stream"]].message = q.get("reason")
        elif tt == "global_progress":
            if self.attempts == 0:
                self.begin()
            self.global_progress(q)
        elif tt == "estimate" and isinstance(q.get("stream"), str):
            self.need_attempt()
            self.stream(q["stream"])

    def trace_counts(self, s, q, name):
        if isinstance(q.get("run_record_count"), int):
            s.attempt = q["run_record_count"]
        if isinstance(q.get("cumulative_record_count"), int):
            s.cumulative = q["cumulative_record_count"]
        if s.attempt and s.cumulative is not None and s.cumulative > s.attempt:
            self.doubt("recount_after_resume", name, "resumed; may include rows read twice")

    def global_progress(self, q):
        if "run_record_count" in q:
            self.total_attempt = q["run_record_count"]
        if "cumulative_record_count" in q:
            self.total_cumulative = q["cumulative_record_count"]
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
        if status == "error" and not old and not (told and all(e["failure_type"] != p.get("failure_type") for e in told)):
            self.add_error(str(p.get("error", "")), p.get("failure_type"), name)
        if status == "skip":
            s.message = p.get("reason")

    def on_progress(self, p, at_end=False):
        d = p.get("derived") if isinstance(p.get("derived"), dict) else {}
        total, states, started = d.get("total_record_count"), d.get("total_state_count"), p.get("started_at")
        if self.attempts == 0:
            self.begin()
        elif self.p_raw and not at_end and self.ended is None and started != self.p_raw[2] and p.get("elapsed_ms") == 0 \
                and (total or 0) <= self.p_raw[0] and (states or 0) <= self.p_raw[1] \
                and ((total or 0), (states or 0)) != self.p_raw[:2]:
            self.begin()
        if self.p_raw and self.p_fresh and (total or 0) < self.p_raw[0]:        # counter reset
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
        self.p_raw = (total or 0, states or 0, started, p.get("elapsed_ms", 0))
        for name, q in (p.get("streams") or {}).items():
            s = self.stream(name)
            n = q.get("record_count")
            if isinstance(n, int):
                if s.raw is not None and n < s.raw:
                    s.offset += s.raw
                s.raw = n
                s.cumulative = s.offset + n
                s.attempt = s.cumulative - s.base
                if s.base and s.attempt:
                    self.doubt("recount_after_resume", name, "resumed; may include rows read twice")
            for mine, theirs in (("inserted", "insert_count"), ("updated", "update_count"), ("deleted", "delete_count")):
                if theirs in q:
                    setattr(s, mine, q[theirs])
            if rng(q.get("total_range")):
                s.total = rng(q["total_range"])
            if isinstance(q.get("completed_ranges"), list):
                s.done = merge(s.done + [r for r in map(rng, q["completed_ranges"]) if r])
            status = STATUS.get(q.get("status"))
            if status and status != s.status and status != "not_started":
                self.set_status(name, status, False)
            if isinstance(q.get("message"), str):
                s.message = q["message"]
                if status in ("errored", "completed") and not self.repeat(name, q["message"]):
                    self.add_error(q["message"], None, name)
        for e in p.get("errors") or []:
            name = e.get("stream")
            if name is not None:
                self.stream(name)
            if not any(x["norm"] == normalise(e.get("message", "")) and x["stream"] == name and not x["cleared"] for x in self.errors):
                self.add_error(e.get("message", ""), e.get("failure_type"), name, e.get("error_level"))

    def on_connection_status(self, p):
        self.connection = p.get("status")
        if p.get("status") == "failed":
            self.add_error(str(p.get("message") or "connection failed"), None, None)

    def on_log(self, p):
        if p.get("level") in ("error", "fatal") and p.get("message"):
            self.last_error_log = (p["message"], self.now)

    def on_end(self, p):
        self.on_eof(p)

    def on_eof(self, p):
        if self.attempts == 0 or self.ended is not None:
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
        # what kind of end
        if reason == "aborted":
            kind = "aborted"
        elif reason in ("error", "failed"):
            kind = "failed"
        elif reason in ("time_limit", "state_limit", "started") or has_more:
            kind = "limit"
        elif reason in ("complete", "succeeded") or (reason is None and has_more is False):
            kind = "complete"
        else:
            kind = "limit"
            self.doubt("unknown_end", None, "ended for a reason nobody knows: %s" % reason)
        self.ended = {"reason": reason, "has_more": has_more, "kind": kind}
        # stream_progress of the trace generation
        sp = p.get("stream_progress") or {}
        for name, q in sp.items():
            s = self.stream(name)
            self.trace_counts(s, q, name)
            if kind == "complete" and STATUS.get(q.get("status")):
                self.set_status(name, STATUS[q["status"]], False)
            for e in q.get("errors") or []:
                if not self.repeat(name, e.get("message", "")):
                    self.add_error(e.get("message", ""), e.get("failure_type"), name)
        # returned source state
        state = p.get("state") or p.get("ending_state") or {}
        returned = (state.get("source") or {}).get("streams")
        if isinstance(returned, dict):
            for name, data in returned.items():
                s = self.stream(name)
                self.state_ranges(s, data)
                st = data.get("status")
                if isinstance(st, str) and st.endswith("_error") and not self.standing(name):
                    self.add_error("returned source state says %s" % st, st, name, "stream")
                if kind == "complete" and st == "pending":
                    self.doubt("ranges_left", name, "source state is still pending")
        if kind != "complete" and isinstance(returned, dict):
            for name, s in self.streams.items():
                if s.status == "completed" and s.started_now:
                    data = returned.get(name) or {}
                    if not (data.get("status") == "complete" or data.get("remaining") == []):
                        s.status = "started"
        # ranges left
        for name, s in self.streams.items():
            if s.remaining and (kind == "complete" or (kind == "failed" and s.status == "completed")):
                self.doubt("ranges_left", name, "%d ranges left in the returned state" % len(s.remaining))
        if (kind == "complete" and not any(s.started_now or s.completed_now or s.status != "not_started" for s in self.streams.values())) or \
                (reason == "started" and has_more is False and not self.streams):
            self.doubt("nothing_synced", None, "the engine says complete, yet no stream started")
        self.end_attempt()

    def end_attempt(self):
        """final and cleared, at the end of an attempt or of the input"""
        for e in self.errors:
            s = self.streams.get(e["stream"])
            if e["attempt"] == self.attempts and s is not None and s.status in ("completed", "errored"):
                e["final"] = True
            if e["attempt"] < self.attempts and s is not None and s.started_now and s.completed_now \
                    and s.status == "completed" and not s.error_now:
                e["cleared"] = True
                s.message = None
            if e["attempt"] < self.attempts and s is None and self.ended and self.ended["kind"] == "complete":
                e["cleared"] = True

    # -- the end of the input
    def outcome(self):
        self.end_attempt()
        stand = [e for e in self.errors if not e["cleared"]]
        kind = self.ended["kind"] if self.ended else None
        started = [n for n, s in self.streams.items() if s.started_now]
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
            return "succeeded" if self.connection == "succeeded" and not self.streams else "truncated"
        if kind == "limit":
            return "cut_off"
        if stand or any(d["kind"] == "ranges_left" for d in self.doubts.values()):
            return "completed_with_errors"
        return "succeeded"

    def summary(self, inp):
        outcome = self.outcome()
        if outcome == "failed":
            for e in self.errors:
                s = self.streams.get(e["stream"])
                if e["attempt"] == self.attempts and (s is None or (not s.started_now and not s.completed_now)):
                    e["final"] = True
            if not any(not e["cleared"] for e in self.errors) and self.last_error_log:
                self.add_error(self.last_error_log[0], None, None)
                self.errors[-1].update(at=self.last_error_log[1], final=True, from_log=True)
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
            cov = None
            if s.total and s.total[0] is not None and s.total[1] > s.total[0] and all(r[0] is not None for r in s.done):
                g, l = s.total
                cov = sum(max(0, min(l, r[1]) - max(g, r[0])) for r in s.done) / (l - g)
            streams.append({
                "name": name, "namespace": None, "status": s.status,
                "settling": self.ended is None and s.status == "completed" and s.completes == 1 and s.completed_now and not self.progress_generation,
                "records": {"attempt": a, "cumulative": c}, "checkpoints": s.checkpoints,
                "errors": sum(e["stream"] == name for e in self.errors), "message": s.message,
                "inserted": s.inserted, "updated": s.updated, "deleted": s.deleted,
                "total_range": rng_json(s.total), "completed_ranges": [rng_json(r) for r in s.done], "coverage": cov})
        larger = lambda own, parts: max([x for x in [own, sum(parts) if parts else None] if x is not None], default=None)
        records = {"attempt": larger(self.total_attempt, sum_a), "cumulative": larger(self.total_cumulative, sum_c)}
        requests = self.requests
        if requests == 0 and records["cumulative"]:
            requests = None
        groups = {}
        for e in self.errors:
            groups.setdefault((e["norm"], e["level"], e["failure_type"]), []).append(e)
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
        return {
            "synctop": "0.1.0", "dialect": "stripe" if inp["messages"] else None,
            "outcome": outcome, "reason": self.ended["reason"] if self.ended else None,
            "has_more": self.ended["has_more"] if self.ended else None,
            "started_at": iso(self.first), "ended_at": iso(self.last), "elapsed_ms": self.elapsed,
            "wall_ms": None if self.first is None else self.last - self.first,
            "attempts": self.attempts, "records": records, "requests": {"attempt": self.attempt_requests, "cumulative": requests},
            "checkpoints": self.checkpoints, "streams": streams, "errors": errors,
            "doubts": [self.doubts[k] for k in sorted(self.doubts)],
            "anomalies": [{"kind": k, "stream": n, "count": c} for (k, n), c in sorted(self.anomalies.items())],
            "input": inp}

    progress_generation = False


def summarise(data):
    lines = data.split(b"\n")
    torn = lines[-1] != b""
    if not torn:
        lines.pop()
    inp = {"lines": len(lines), "bytes": len(data), "messages": 0, "raw": 0, "unknown": 0, "malformed": 0, "truncated_line": False}
    key = {"message": "messages", "raw": "raw", "unknown": "unknown", "malformed": "malformed"}
    o = Oracle()
    for i, line in enumerate(lines):
        cls, obj = classify(line)
        if torn and i == len(lines) - 1 and obj is None:
            cls = "malformed"
            inp["truncated_line"] = True
        inp[key[cls]] += 1
        if cls == "message":
            if obj["type"] in ("stream_status", "progress"):
                o.progress_generation = True
            o.apply(obj)
    return o.summary(inp)


def read(path):
    if path.endswith(".zst"):
        return subprocess.run(["zstd", "-dc", path], stdout=subprocess.PIPE, check=True).stdout
    return open(path, "rb").read()


if __name__ == "__main__":
    print(json.dumps(summarise(read(sys.argv[1])), indent=1, ensure_ascii=False))
