#!/usr/bin/env python3
"""Slow, simple reference for the golden summaries of recorded Airbyte, Singer and Meltano runs.

Reads every run from its raw log anew, in the plainest way, and compares with tests/goldens. Written from the
protocol notes and the design alone, without sight of the Rust code. One line a run: OK, or each field that differs
(golden value vs computed value). Exit 1 on any difference.

    python3 tests/slow_runs.py [CORPUS_DIR]

CORPUS_DIR holds airbyte/, singer/ and airbyte-singer-exit-codes.tsv. A run is NAME.ndjson[.zst], then NAME.stderr; where
there is only NAME.stderr (Meltano) that is the log. Needs Python 3.11, and zstd for .zst.
"""
import itertools, json, re, subprocess, sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

GOLDENS = Path(__file__).resolve().parent / "goldens"
AIRBYTE = {"RECORD": "record", "STATE": "state", "LOG": "log", "TRACE": "trace", "CONTROL": "control", "SPEC": "spec",
           "CATALOG": "catalog", "CONNECTION_STATUS": "connectionStatus", "DESTINATION_CATALOG": "destination_catalog"}
AIRBYTE_TRACES = {"STREAM_STATUS", "ESTIMATE", "ERROR", "ANALYTICS"}
SINGER = {"SCHEMA", "RECORD", "ACTIVATE_VERSION", "BATCH"}
SDK_LOG = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \| (\w+) *\| [^|]*\| (.*)")
CLASSIC_LOG = re.compile(r"^(CRITICAL|FATAL) (.*)")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


# ---------------------------------------------------------------- small helpers
def text_ms(value):
    """ISO time -> unix ms, cut off, or None."""
    try:
        return (datetime.fromisoformat(value.replace("Z", "+00:00")) - EPOCH) // timedelta(milliseconds=1)
    except (ValueError, AttributeError, TypeError):
        return None


def iso(ms):
    return None if ms is None else (EPOCH + timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (ms % 1000)


def parse(text):
    """-> (parsed?, value)"""
    try:
        return True, json.loads(text)
    except ValueError:
        return False, None


def metric_in(text):
    """The object after 'METRIC: ' in a text, or None."""
    _, mark, rest = text.partition("METRIC: {")
    ok, value = parse("{" + rest) if mark else (False, None)
    return value if ok and isinstance(value, dict) and "metric" in value else None


def grouped(errors):
    """(level, failure type, streams, count)... -> {(level, failure type): (all streams, sum of counts)}"""
    out = {}
    for level, failure, streams, count in errors:
        had = out.get((level, failure), ([], 0))
        out[level, failure] = (sorted(streams | set(had[0])), had[1] + count)
    return out


# ---------------------------------------------------------------- lines
def kind_of(o):
    """JSON value -> 'airbyte' | 'singer' | 'target' | 'meltano' | 'sdk_log' | 'unknown' | 'raw'."""
    if not isinstance(o, dict):
        return "raw"
    word = o.get("type")
    if isinstance(word, str):
        if word.upper() == "STATE" and "value" in o or word.upper() in SINGER and isinstance(o.get("stream"), str):
            return "singer"
        if word in AIRBYTE and isinstance(o.get(AIRBYTE[word]), dict):
            return "unknown" if word == "TRACE" and o["trace"].get("type") not in AIRBYTE_TRACES else "airbyte"
        if isinstance(o.get(word.lower()), dict):
            return "unknown"
    if isinstance(o.get("bookmarks"), dict) and word is None:
        return "target"
    if {"event", "level", "timestamp"} <= set(o):
        return "meltano"
    return "sdk_log" if {"logger_name", "ts", "message"} <= set(o) else "raw"


def classify(text):
    """One line of a log -> (class, kind, value). class: messages | raw | unknown | malformed"""
    ok, value = parse(text)
    if ok:
        kind = kind_of(value)
        return ("raw" if kind == "raw" else "unknown" if kind == "unknown" else "messages"), kind, value
    if metric_in(text) is not None:
        return "messages", "metric", metric_in(text)
    at = text.find('{"', 1)
    while at > 0:                                    # text glued before the JSON
        ok, value = parse(text[at:])
        if ok and kind_of(value) in ("airbyte", "singer"):
            return "messages", kind_of(value), value
        at = text.find('{"', at + 1)
    return ("malformed" if text.lstrip().startswith("{") else "raw"), None, None


# ---------------------------------------------------------------- one run
class Stream:
    def __init__(self):
        self.started = self.assumed = self.batches = False
        self.after_state = False        # something came after its last STATE
        self.record_lines = self.since_state = self.checkpoints = self.errors = self.line_bytes = self.data_chars = 0
        self.status = None              # completed | errored
        self.metered = self.committed = self.estimate = None
        self.limits, self.limited_ms, self.limited_since = 0, 0, None


class Run:
    def __init__(self, exit_code):
        self.exit, self.dialect, self.streams, self.bookmarks = exit_code, None, {}, {}
        self.now = self.first = None
        self.input = {"lines": 0, "bytes": 0, "messages": 0, "raw": 0, "unknown": 0, "malformed": 0, "truncated_line": False}
        self.checkpoints = self.target_states = 0
        self.errors, self.mismatch = [], set()          # errors: (level, failure_type, stream)
        self.error_log = self.extractor_failed = False  # error_log: an ERROR line without an exception
        self.roll_up = self.connection = self.reason = None     # reason: the status of Meltano's 'Run completed'
        self.spec_or_catalog = self.failed_metric = self.any_record = False
        self.statuses = False                           # any status of any stream in the run
        self.wire_counts = []                           # (stream key or None, recordCount, counted) of each Airbyte STATE

    def stream(self, name, namespace=None, started=True):
        s = self.streams.setdefault((namespace, name), Stream())
        s.started = s.started or started
        return s

    def time(self, ms):
        if ms is not None:
            self.now = max(ms, self.now or ms)          # never steps back
            self.first = self.first or self.now

    # -- reading
    def read(self, data, main):
        """The main log, then its stderr: only the main log counts as input, and stderr speaks no Airbyte."""
        self.logs_as_target = not main and b"| target-" in data and b"| tap-" not in data
        lines = data.split(b"\n")
        torn = lines[-1] != b""
        if not torn:
            lines.pop()
        tally = self.input if main else dict(self.input)
        tally.update(lines=len(lines), bytes=len(data))
        for i, line in enumerate(lines):
            text = line.decode("utf-8", "replace")
            cls, kind, value = classify(text)
            last_torn = torn and i == len(lines) - 1
            if last_torn and cls in ("raw", "malformed") and kind is None:
                cls, tally["truncated_line"] = "malformed", True
            tally[cls] += 1
            if cls == "messages" and (main or kind != "airbyte"):
                self.message(kind, value, text, len(line) + (0 if last_torn else 1))
        self.text_errors(data)
        self.stderr_said = not main and bool(data.strip())

    def message(self, kind, value, text, size):
        self.dialect = self.dialect or (kind if kind in ("airbyte", "meltano") else "singer")
        if kind == "airbyte":
            self.airbyte(value, size)
        elif kind == "singer":
            self.singer(value)
        elif kind == "target":
            self.checkpoints += 1
            self.target_states += 1
            for name in value["bookmarks"]:
                self.stream(name).checkpoints += 1
        elif kind == "metric":
            self.time(text_ms(text.split(" ")[0]))   # Meltano's console; singer-sdk's own has no zone, so no time
            self.metric(value, "producer")
        elif kind == "sdk_log":
            self.time(int(value["ts"] * 1000))
            if isinstance(value.get("metric_info"), dict):
                self.metric(value["metric_info"], "producer")
            self.log_word(value["level"], value.get("exception"))
        elif kind == "meltano":
            self.meltano(value)

    # -- Airbyte
    def airbyte(self, o, size):
        word, p = o["type"], o[AIRBYTE[o["type"]]]
        if word in ("RECORD", "TRACE", "CONTROL"):
            self.time(int(p["emitted_at"]))
        if word == "RECORD":
            s = self.stream(p["stream"], p.get("namespace"))
            self.any_record = s.after_state = True
            s.record_lines, s.since_state, s.line_bytes = s.record_lines + 1, s.since_state + 1, s.line_bytes + size
            data = json.dumps(p["data"], ensure_ascii=False, separators=(",", ":"))
            s.data_chars += len(data.encode("utf-16-le", "surrogatepass")) // 2
            self.unlimit(s)
        elif word == "STATE":
            self.airbyte_state(p)
        elif word == "TRACE":
            self.airbyte_trace(p)
        elif word in ("SPEC", "CATALOG"):
            self.spec_or_catalog = True
            for c in p.get("streams") or []:
                self.stream(c["name"], c.get("namespace"), started=False)
        elif word == "CONNECTION_STATUS":
            self.connection = p["status"]
            self.errors += [("global", None, None)] if self.connection == "FAILED" else []

    def airbyte_state(self, p):
        self.checkpoints += 1
        count = (p.get("sourceStats") or {}).get("recordCount")
        if p.get("type") == "GLOBAL":
            keys = [x["stream_descriptor"] for x in p["global"]["stream_states"]]
        elif isinstance(p.get("stream"), dict):
            keys = [p["stream"]["stream_descriptor"]]
        else:
            return
        listed = [((d.get("namespace"), d["name"]), self.stream(d["name"], d.get("namespace"))) for d in keys]
        self.wire_counts.append((listed[0][0] if p.get("type") != "GLOBAL" else None, count, sum(s.since_state for _, s in listed)))
        for _, s in listed:
            s.checkpoints += 1
            s.since_state, s.after_state = 0, False

    def airbyte_trace(self, p):
        q = p.get(p["type"].lower()) or {}
        if p["type"] == "STREAM_STATUS":
            d = q["stream_descriptor"]
            s = self.stream(d["name"], d.get("namespace"))
            self.statuses = True
            limited = any(r.get("type") == "RATE_LIMITED" for r in q.get("reasons") or [])
            if q["status"] == "RUNNING" and limited and s.limited_since is None:
                s.limits, s.limited_since = s.limits + 1, self.now
            elif not limited and q["status"] != "STARTED":
                self.unlimit(s)
            if q["status"] in ("COMPLETE", "INCOMPLETE") and s.status is None:
                s.status = "completed" if q["status"] == "COMPLETE" else "errored"
        elif p["type"] == "ESTIMATE" and q.get("type") == "STREAM":
            self.stream(q["name"], q.get("namespace")).estimate = (q.get("row_estimate"), q.get("byte_estimate"))
        elif p["type"] == "ERROR":
            d = q.get("stream_descriptor")
            if q.get("internal_message") == "Concurrent read failure" or \
                    (d is None and q.get("message", "").startswith("During the sync, the following streams did not sync successfully")):
                self.roll_up = q["message"]
            elif d is None:
                self.errors.append(("global", q.get("failure_type"), None))
            else:
                s = self.stream(d["name"], d.get("namespace"))
                s.errors, s.error_status = s.errors + 1, True
                level = "transient" if q.get("failure_type") == "transient_error" else "stream"
                self.errors.append((level, q.get("failure_type"), d["name"]))

    def unlimit(self, s):
        if s.limited_since is not None:
            s.limited_ms += self.now - s.limited_since
            s.limited_since = None

    # -- Singer
    def singer(self, o):
        word = o["type"].upper()
        if word != "STATE":
            s = self.stream(o["stream"])
            s.after_state = True
            if word == "RECORD":
                self.time(text_ms(o.get("time_extracted")))
                self.any_record = True
                s.record_lines += 1
            s.batches = s.batches or word == "BATCH"
            return
        self.checkpoints += 1
        value = o["value"] if isinstance(o["value"], dict) else {}
        new = value.get("bookmarks") if isinstance(value.get("bookmarks"), dict) else {}
        started = lambda name: (None, name) in self.streams and self.streams[None, name].started
        hit = [n for n in new if new[n] != self.bookmarks.get(n, KeyError) and started(n)]
        if not hit and started(value.get("currently_syncing")):
            hit = [value["currently_syncing"]]
        for name in hit:
            self.streams[None, name].checkpoints += 1
            self.streams[None, name].after_state = False
        self.bookmarks = new

    def metric(self, m, side):
        tags = m.get("tags") or {}
        name = tags.get("stream") or tags.get("endpoint")
        if m["metric"] == "job_duration" and not name and str(tags.get("job_type", "")).startswith("sync_"):
            name = tags["job_type"][len("sync_"):]
        if not name:
            return
        if m["metric"] == "record_count":
            s, field = self.stream(name), "committed" if side == "consumer" or self.logs_as_target else "metered"
            setattr(s, field, (getattr(s, field) or 0) + m["value"])
        elif m["metric"] in ("sync_duration", "job_duration") and side == "producer":
            s = self.stream(name)
            self.statuses = True
            if tags.get("status") == "failed":
                s.status, self.failed_metric = "errored", True
            elif tags.get("status") == "succeeded" and s.status is None:
                s.status = "completed"

    def log_word(self, level, exception):
        """A log line: CRITICAL, and ERROR with an exception, is an error; ERROR without one is only a log."""
        if level.upper() in ("CRITICAL", "FATAL") or level.upper() == "ERROR" and exception:
            self.errors.append(("global", None, None))
        self.error_log = self.error_log or level.upper() == "ERROR"

    def text_errors(self, data):
        """CRITICAL lines, and ERROR lines followed by a traceback, in text logs."""
        lines = data.decode("utf-8", "replace").split("\n")
        for i, line in enumerate(lines):
            head = SDK_LOG.match(line) or CLASSIC_LOG.match(line)
            if head:
                below = itertools.takewhile(lambda x: not SDK_LOG.match(x), lines[i + 1:])
                self.log_word(head.group(1), any(x.startswith("Traceback (most recent call last)") for x in below))

    # -- Meltano
    def meltano(self, o):
        inside = self.dialect == "singer"            # Meltano's JSON around a tap alone (meltano invoke)
        metric = o["metric_info"] if isinstance(o.get("metric_info"), dict) else metric_in(str(o["event"]))
        self.time(text_ms(o["timestamp"]))
        if metric is not None:
            self.metric(metric, "consumer" if o.get("consumer") else "producer")
        begins = re.match(r"Beginning sync of '([^']+)'", str(o["event"]))
        if begins:
            self.stream(begins.group(1))
        self.log_word(o["level"], o.get("plugin_exception"))
        if not inside:
            self.checkpoints += str(o["event"]).startswith("Incremental state has been updated")
            self.extractor_failed = self.extractor_failed or o["event"] == "Extractor failed"
            self.reason = o.get("status") if o["event"] == "Run completed" else self.reason

    # -- the end of the input
    def finish(self):
        started = [s for s in self.streams.values() if s.started]
        self.destination = self.dialect == "airbyte" and self.checkpoints > 0 and not self.any_record and not self.statuses
        for (key, count, counted) in self.wire_counts:
            if self.destination:
                if key is not None and count is not None:
                    self.streams[key].committed = (self.streams[key].committed or 0) + int(count)
            elif count is not None and count != counted:
                self.mismatch.add(key[1] if key else None)
        for (_, name), s in self.streams.items():
            if self.dialect == "singer" and s.record_lines and s.metered is not None and not s.batches and s.metered != s.record_lines:
                self.mismatch.add(name)
            if s.started and s.status is None and (getattr(s, "error_status", False) or self.exit is not None and 0 < self.exit <= 128):
                s.status = "errored"                 # an error names it, or it was started at a failing exit
            if self.dialect and s.status == "errored" and not s.errors and any(e[0] == "global" for e in self.errors):
                s.errors = 1                         # what failed the whole failed it
            if self.exit == 0 and not self.statuses and s.started and not s.after_state and s.checkpoints:
                s.status, s.assumed = "completed", True
        if self.dialect == "meltano" and self.extractor_failed and not self.errors:
            self.errors.append(("global", None, None))
        outcome = self.outcome(started)
        silent_death = self.input["lines"] == 0 and self.stderr_said
        if outcome == "failed" and not self.errors and self.roll_up is None and (self.error_log or silent_death):
            self.errors.append(("global", None, None))
        return outcome

    def outcome(self, started):
        signal = self.exit is not None and self.exit > 128
        failing = self.exit not in (None, 0) and not signal
        if self.dialect is None:
            return "failed" if failing else "truncated"
        if self.connection == "FAILED" or failing or any(e[0] == "global" for e in self.errors):
            return "failed"
        if self.dialect == "meltano":
            return {"success": "succeeded", "failure": "failed"}.get(self.reason, "truncated")
        if self.connection == "SUCCEEDED" or (self.spec_or_catalog and not started):
            return "succeeded"
        if signal:
            return "truncated"
        if self.dialect == "singer" and self.failed_metric:
            return "aborted"
        errored = any(s.status == "errored" for s in started)
        if errored and self.roll_up is not None:
            return "failed"
        if not started or any(s.status is None for s in started):
            return "truncated"
        return "completed_with_errors" if errored or self.errors else "succeeded"

    def records(self, s):
        if not s.started or self.destination or self.logs_as_target:
            return None
        if self.dialect == "airbyte" or s.record_lines and not s.batches:
            return s.record_lines
        return s.metered

    def summary(self):
        outcome = self.finish()
        streams = {}
        for key in sorted(self.streams, key=lambda k: (k[1], k[0] or "")):
            s = self.streams[key]
            name = ("%s." % key[0] if key[0] else "") + key[1]
            streams[name] = {
                "status": (s.status or "started") if s.started else "not_started", "assumed": s.assumed,
                "records": self.records(s), "checkpoints": s.checkpoints, "errors": s.errors,
                "bytes": (s.line_bytes, s.data_chars) if self.dialect == "airbyte" and s.record_lines else None,
                "estimate": s.estimate, "rate_limited": (s.limits, s.limited_ms) if s.limits else None,
                "metered": s.metered, "committed": s.committed}
        counts = [x["records"] for x in streams.values() if x["records"] is not None]
        told = [s.committed for s in self.streams.values() if s.committed is not None]
        alone = self.destination or self.target_states or self.dialect == "meltano" and (told or self.checkpoints)
        committed = (sum(told) if told else None, self.checkpoints) if alone else None
        doubts = {("record_count_mismatch", n) for n in self.mismatch}
        if outcome == "aborted" or self.exit == 0 and self.dialect and outcome == "truncated" and any(s.started and s.status is None for s in self.streams.values()):
            doubts.add(("exit_zero_open_stream", None))
        return {
            "dialect": self.dialect, "outcome": outcome, "reason": self.reason, "started_at": iso(self.first), "ended_at": iso(self.now),
            "wall_ms": None if self.first is None else self.now - self.first,
            "records": sum(counts) if counts else None, "checkpoints": self.checkpoints, "committed": committed,
            "roll_up": self.roll_up, "streams": streams,
            "errors": grouped((level, failure, {name} - {None}, 1) for level, failure, name in self.errors), "doubts": doubts, "input": self.input}


# ---------------------------------------------------------------- the golden, in the same terms
def golden_terms(g):
    streams = {}
    for s in g["streams"]:
        name = ("%s." % s["namespace"] if s["namespace"] else "") + s["name"]
        e, b, r = s.get("estimate"), s.get("bytes"), s.get("rate_limited")
        streams[name] = {
            "status": s["status"], "assumed": s.get("assumed", False), "records": s["records"]["cumulative"],
            "checkpoints": s["checkpoints"], "errors": s["errors"], "bytes": (b["lines"], b["data_chars"]) if b else None,
            "estimate": (e.get("rows"), e.get("bytes")) if e else None, "rate_limited": (r["count"], r["elapsed_ms"]) if r else None,
            "metered": s.get("metered"), "committed": s.get("committed")}
    c = g.get("committed")
    return {**{k: g.get(k) for k in ("dialect", "outcome", "reason", "started_at", "ended_at", "wall_ms", "checkpoints", "roll_up", "input")},
            "records": g["records"]["cumulative"], "committed": (c["records"], c["checkpoints"]) if c else None, "streams": streams,
            "errors": grouped((e["level"], e["failure_type"], set(e["streams"]), e["count"]) for e in g["errors"]), "doubts": {(d["kind"], d["stream"]) for d in g["doubts"]}}


def differences(golden, computed, path=""):
    out = []
    for k in sorted(set(golden) | set(computed), key=str):
        a, b, where = golden.get(k), computed.get(k), path + (k if isinstance(k, str) else "/".join(map(str, k)))
        if isinstance(a, dict) and isinstance(b, dict):
            out += differences(a, b, where + ".")
        elif a != b:
            out.append("%s: golden %r, computed %r" % (where, a, b))
    return out


def read(path):
    return subprocess.check_output(["zstd", "-dcq", str(path)]) if path.suffix == ".zst" else path.read_bytes()


def main():
    corpus = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "shared/corpus")
    exits = {}
    for line in (corpus / "airbyte-singer-exit-codes.tsv").read_text().splitlines():
        exits[line.split("\t")[0]] = int(line.split("\t")[1].split()[0])
    bad = seen = 0
    for path in sorted([*GOLDENS.glob("airbyte__*.json"), *GOLDENS.glob("singer__*.json")]):
        group, name = path.stem.split("__", 1)
        logs = [p for p in (corpus / group / (name + end) for end in (".ndjson", ".ndjson.zst", ".stderr")) if p.exists()]
        assert logs, "no log of %s" % path.stem
        run = Run(exits.get("%s/%s" % (group, name)))
        for log in logs:
            run.read(read(log), main=log == logs[0])
        diff = differences(golden_terms(json.loads(path.read_text())), run.summary())
        print("%s/%s: %s" % (group, name, "; ".join(diff) or "OK"), flush=True)
        seen, bad = seen + 1, bad + bool(diff)
    print("%d runs, %d differ" % (seen, bad))
    return 1 if bad or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
