#!/usr/bin/env python3
"""Slow, simple reference for summaries of Airbyte, Singer and Meltano runs (Stripe's: slow_summary.py, which is used here).

Reads every run from its raw log anew, in the plainest way. Written from the protocol notes and the design alone, without
sight of the Rust code. Recorded runs are compared with tests/goldens, wild cases with what `synctop summary --json` says.
One line a run: OK, or each field that differs. Exit 1 on any difference.

    python3 tests/slow_runs.py [CORPUS_DIR] [--synctop PATH]

CORPUS_DIR holds airbyte/, singer/ and airbyte-singer-exit-codes.tsv. A run is NAME.ndjson[.zst], then NAME.stderr; where
there is only NAME.stderr (Meltano) that is the log. PATH is target/debug/synctop unless told. Needs Python 3.11, and zstd
for .zst.
"""
import argparse, gzip, json, re, shlex, subprocess, sys, zlib
from datetime import datetime, timedelta, timezone
from pathlib import Path

import slow_summary

HERE = Path(__file__).resolve().parent
GOLDENS, WILD_DIR = HERE / "goldens", HERE / "fixtures/wild"
# logs (parts of one log when several), then options as they are typed
WILD = """
01-badcreds.ndjson --exit-code 1
02-stitch500.ndjson --stderr 02-stitch500.stderr
03-nothing-selected.ndjson --exit-code 0
04-ppw-mysql.ndjson --stderr 04-ppw-mysql.stderr --exit-code 1
05-ppw-pg-logbased.ndjson --stderr 05-ppw-pg-logbased.stderr --exit-code 1
07-nan.ndjson --exit-code 0
08-target-states.ndjson --exit-code 0
09-hotglue.ndjson --stderr 09-hotglue.stderr --exit-code 0
10-meltano-false-success.ndjson --exit-code 0
11-meltano-oom.ndjson --exit-code 1
12-meltano-loader.ndjson --exit-code 1
13-prefect.ndjson
14-airflow.ndjson --exit-code 0
15-docker-jsonfile.ndjson --exit-code 1
16-cri.ndjson --exit-code 0
17-kubectl.ndjson --exit-code 0
19-journald.ndjson --exit-code 1
20-gha.ndjson
21-utf16.ndjson --exit-code 0
21b-plain.ndjson --exit-code 0 --catalog 21c-utf16-catalog.json
22-crlf-bom.ndjson --exit-code 0
23-script.ndjson
24-rot.log.2.gz 24-rot.log.1.gz 24-rot.log --exit-code 0
24b-multi.gz --exit-code 0
24c-cut.gz --exit-code 0
25b-java-error.ndjson --exit-code 1
26-worker.log
28-shopify.ndjson --exit-code 1
29-sendgrid.ndjson --exit-code 1
30-github-nocommit.ndjson --exit-code 1
31-all403.ndjson --exit-code 0 --catalog 31-catalog.json
none.stderr --stderr 31-all403.stderr --exit-code 0
31-all403.ndjson --exit-code 0
35b-pyairbyte-log.txt --exit-code 1
36b-stripe-faithful.ndjson
38-mssql-dies.ndjson --exit-code 137
40-sdk-tempstream.ndjson --stderr 40-sdk-tempstream.stderr --exit-code 1
40-sdk-tempstream.ndjson --stderr 40-sdk-tempstream.stderr --exit-code 0
42-only-states.ndjson --exit-code 0
44-torn-merge.ndjson --exit-code 0
46-cloudwatch.ndjson --exit-code 1
48-check.ndjson --exit-code 0
49-fulltable-nostate.ndjson --exit-code 0
55-unavailable.ndjson --exit-code 0
59-three-streams.ndjson --stderr 59-three-streams.stderr --exit-code 1
60-meltano-oom-run.ndjson --exit-code 1
63-nostatus.ndjson --exit-code 0
66-secrets.ndjson --exit-code 1
72-faros.ndjson --exit-code 0
73-fatal-notrace.ndjson --exit-code 1
77-stripe-joined-late.ndjson
79-human-loader-fails.txt
79b-human44-loader-fails.txt
95-namespace.ndjson --exit-code 0 --catalog 95-catalog.json
96-cron-append-airbyte.ndjson --exit-code 0
96b-append-then-dies.ndjson
97-cron-append-singer.ndjson --exit-code 0
97b-append-singer-dies.ndjson --exit-code 137
98-dup-close.ndjson --exit-code 0
L1-decl.ndjson --exit-code 1 --catalog L1-cat3.json
L2-smoke.ndjson.zst --exit-code 0
L4-netdown.ndjson --exit-code 1
L5.ndjson.zst --stderr L5.stderr --exit-code 0
L6.ndjson --stderr L6.stderr --exit-code 0
L9-meltano-tapkill.ndjson --exit-code 1
L9-meltano-full.ndjson --exit-code 1
L9-human-fail.txt --exit-code 1
L11-diskfull.ndjson --stderr L11-diskfull.stderr --exit-code 1 --dialect singer
"""
AIRBYTE = {"RECORD": "record", "STATE": "state", "LOG": "log", "TRACE": "trace", "CONTROL": "control", "SPEC": "spec",
           "CATALOG": "catalog", "CONNECTION_STATUS": "connectionStatus", "DESTINATION_CATALOG": "destination_catalog"}
AIRBYTE_TRACES = {"STREAM_STATUS", "ESTIMATE", "ERROR", "ANALYTICS"}
SINGER = {"SCHEMA", "RECORD", "ACTIVATE_VERSION", "BATCH"}
CORE = {"airbyte", "singer", "target", "meltano"}        # what stands for a protocol by itself; a metric alone does not
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
ZONES = {"UTC": "+00:00", "GMT": "+00:00"}      # other names of zones are ambiguous: taken for UTC
ROLL_UP = "During the sync, the following streams did not sync successfully"
TRACEBACK = "Traceback (most recent call last)"


# ---------------------------------------------------------------- small helpers
def text_ms(value):
    """ISO time -> unix ms, cut off, or None."""
    try:
        return (datetime.fromisoformat(value.replace("Z", "+00:00")) - EPOCH) // timedelta(milliseconds=1)
    except (ValueError, AttributeError, TypeError):
        return None


def iso(ms):
    return None if ms is None else (EPOCH + timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (ms % 1000)


def parse(text, constant=None):
    """-> (parsed?, value)"""
    try:
        return True, json.loads(text, parse_constant=constant)
    except ValueError:
        return False, None


def metric_in(text):
    """The object after 'METRIC: ' in a text, or None."""
    _, mark, rest = text.partition("METRIC: {")
    if not mark:
        return None
    try:                                             # Meltano's console puts its own fields behind the object
        value = json.JSONDecoder().raw_decode("{" + rest)[0]
    except ValueError:
        return None
    return value if isinstance(value, dict) and "metric" in value else None


def label(key):
    return ("%s." % key[0] if key[0] else "") + key[1]


def grouped(errors):
    """(level, failure type, streams, count, final)... -> {(level, failure type): (all streams, sum of counts, any final)}"""
    out = {}
    for level, failure, streams, count, final in errors:
        had = out.get((level, failure), ([], 0, False))
        out[level, failure] = (sorted(streams | set(had[0])), had[1] + count, had[2] or final)
    return out


# ---------------------------------------------------------------- bytes and lines
def unpack(path):
    data = path.read_bytes()
    if path.suffix == ".zst":
        data = subprocess.check_output(["zstd", "-dcq", str(path)])
    if data[:2] == b"\x1f\x8b":
        packed, data = data, b""
        while packed:                                # one member after the other; a cut one gives what it holds
            member = zlib.decompressobj(31)
            data, packed = data + member.decompress(packed), member.unused_data
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = data.decode("utf-16").encode()
    return data.removeprefix(b"\xef\xbb\xbf")


def opened(o):
    """JSON that a log collector puts around a line -> (text, its stream, ms), or None."""
    if isinstance(o.get("log"), str) and {"stream", "time", "date", "source", "container_id", "kubernetes"} & set(o):
        when = o.get("time") or o.get("date") or o.get("@timestamp")        # docker json-file, Fluent Bit, FireLens
        return o["log"], o.get("stream") or o.get("source"), int(when * 1000) if isinstance(when, float) else text_ms(when)
    if isinstance(o.get("MESSAGE"), str) and "__REALTIME_TIMESTAMP" in o:
        return o["MESSAGE"] + "\n", None, int(o["__REALTIME_TIMESTAMP"]) // 1000
    if "logName" in o or "insertId" in o or "textPayload" in o:
        payload = o.get("textPayload", o.get("jsonPayload"))
        return (payload if isinstance(payload, str) else json.dumps(payload)) + "\n", None, text_ms(o.get("timestamp"))
    if isinstance(o.get("message"), str) and "ddsource" in o:
        return o["message"] + "\n", None, text_ms(o.get("timestamp"))
    return None


CRI = re.compile(r"(\d{4}-\d\d-\d\dT\S+) (stdout|stderr) ([PF])(?::\S*)? ?(.*)", re.S)
PREFIXES = [re.compile(x, re.S) for x in (
    r"(?P<at>\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)) (?:[\w.-]+/[\w.-]+/[\w.-]+ )?(?!\[\w+ *\])(?P<rest>.*)",     # kubectl, Actions; CloudWatch
    r"\[(?P<day>\d{4}-\d\d-\d\d), (?P<clock>\d\d:\d\d:\d\d) (?P<zone>[A-Z]+)\] \{[^}]*\} \w+ - (?P<rest>.*)",           # Airflow
    r"\[(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4})\] \w+ - [\w.]+ \| (?P<rest>.*)",                                # Prefect
    r"(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}) - dagster - \w+ - (?:\S+ - ){1,4}(?P<rest>.*)",                  # Dagster
    r"(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}Z) +(?:tap|target|main) - (?P<rest>.*)",                               # Stitch
    r"[\w.-]+-\d+ +\| (?P<rest>.*)")]                                                                                   # docker compose
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def peel(text):
    """Takes prefixes and envelopes off a line -> (text, ms or None, joined: it was in an envelope, 1 if more of it follows)"""
    at, joined, part, source = None, False, 0, None
    for _ in range(4):
        if text.startswith("{"):
            ok, o = parse(text)
            inner = opened(o) if ok and isinstance(o, dict) else None
            if inner is None:
                break
            text, source, when = inner
            at, joined, part = at or when, True, 0 if text.endswith("\n") else 1
            text = text.rstrip("\r\n")
            continue
        cri = CRI.match(text)
        if cri:
            at, source, part, text = text_ms(cri[1]), cri[2], int(cri[3] == "P"), cri[4]
            continue
        hit = next((m for m in (x.match(text) for x in PREFIXES) if m), None)
        if hit is None:
            break
        d = hit.groupdict()
        stamp = d.get("at") or (d["day"] + "T" + d["clock"] + ZONES.get(d["zone"], "+00:00") if d.get("day") else "")
        at = at or text_ms(stamp.replace(",", ".").replace(" +", "+").replace(" -", "-"))
        text = d["rest"]
    return text, at, joined, part, source


def lines_of(data):
    """-> (text, size in bytes, ms of a prefix or envelope, joined?, torn?), one for each line that was printed"""
    lines, held = data.split(b"\n"), {}
    torn = lines[-1] != b""
    if not torn:
        lines.pop()
    for i, line in enumerate(lines):
        last = i == len(lines) - 1
        size = len(line) + (0 if last and torn else 1)
        whole = line.decode("utf-8", "replace").removesuffix("\r")
        whole = whole if whole.startswith("{") else ANSI.sub("", whole)
        text, at, joined, part, source = peel(whole)
        if text is not whole:                        # a line counts as what it holds
            size = len(text.encode()) + (0 if part else 1)
        if source in held:                           # the rest of a line that was cut into parts
            text, size, at, joined = held[source][0] + text, held[source][1] + size, held[source][2], True
            del held[source]
        if part and not last:
            held[source] = (text, size, at)
        else:
            yield text, size, at, joined, last and torn
    for text, size, at in held.values():
        yield text, size, at, True, True


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
    if word is None and (isinstance(o.get("bookmarks"), dict) or "currently_syncing" in o):
        return "target"
    if {"event", "level", "timestamp"} <= set(o):
        return "meltano"
    return "sdk_log" if {"logger_name", "ts", "message"} <= set(o) else "raw"


CONSOLE = re.compile(r"(\d{4}-\d\d-\d\dT[\d:.]+Z) \[(\w+) *\] ?(.*)", re.S)


def console_line(text):
    """A line of Meltano's console -> the same as its JSON log has it, or None."""
    m = CONSOLE.match(text)
    if not m:
        return None
    rest, o = m[3], {"level": m[2], "timestamp": m[1]}
    fields = re.search(r" +(?=(?:cmd_type|block_type)=)", rest)             # Meltano 2: fields behind the text
    name = re.match(r"(meltano|tap-\S+|target-\S+) ", rest)                 # Meltano 4: a column for the name before it
    if fields:
        more, rest = rest[fields.end():], rest[:fields.start()]
        plugin = re.search(r"\bname=(\S+)", more)
        o.update(name=plugin and plugin[1], consumer="consumer=True" in more)
        if "success=" in more:
            o["success"] = "success=True" in more
    elif name:
        rest = rest[max(12, len(name[1])) + 1:]
        o.update(name=name[1], consumer=name[1].startswith("target"))
    return {**o, "event": rest, "console": True}


def classify(text):
    """One line of a log -> (class, kind, value, bare NaN and the like). class: messages | raw | unknown | malformed"""
    bare = []
    ok, value = parse(text, lambda x: bare.append(x))
    if ok:
        kind = kind_of(value)
        return ("raw" if kind == "raw" else "unknown" if kind == "unknown" else "messages"), kind, value, len(bare)
    if console_line(text):
        return "messages", "meltano", console_line(text), 0
    if not text.startswith("{") and metric_in(text) is not None:
        return "messages", "metric", metric_in(text), 0
    at = text.find('{"', 1)
    quoted = re.match(r"\w+: ", text)                # `message: {...}` in a text log quotes a message, it is none
    while at > 0 and not quoted:                     # text glued before the JSON
        ok, value = parse(text[at:])
        if ok and kind_of(value) in ("airbyte", "singer"):
            return "messages", kind_of(value), value, 0
        at = text.find('{"', at + 1)
    return ("malformed" if text.lstrip().startswith("{") else "raw"), None, None, 0


# ---------------------------------------------------------------- what was logged
WORDS = [re.compile(x, re.S) for x in (
    r"(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) \| (?P<level>\w+) *\| (?P<logger>[^|]*?) *\| (?P<text>.*)",
    r"time=(?P<at>\S+ \S+) (?:logger_)?name=(?P<logger>\S+) (?:file=\S+ )?(?:log_)?level=(?P<level>\w+) message=(?P<text>.*)",
    r"(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) - (?P<level>[A-Z]+) - (?P<text>.*)",
    r"(?P<level>CRITICAL|FATAL|ERROR|WARNING|WARN|INFO|DEBUG) (?P<text>.*)")]
FAILED_WORDS = re.compile(r"fail|error|exception|could not|unable|refus|reject|invalid", re.I)
LEFT_OUT = re.compile(r"(skipping|ignoring|dropping|discarding)\b.*\b(json|rows?|records?|lines?)\b", re.I)
SKIPPED = re.compile(r"[Ss]kipp(?:ed syncing|ing) stream '?([^': ]+)")


class Word:
    """One line that was logged, with the lines that hang below it."""

    def __init__(self, level, text, logger="", plugin=None):
        self.level, self.logger, self.plugin = level.upper(), logger or "", plugin
        self.text, *self.tail = text.split("\n")

    def trace(self):
        return any(x.startswith((TRACEBACK, "Exception in thread")) for x in [self.text, *self.tail])

    def uncaught(self):
        return any(x.startswith("Exception in thread") for x in [self.text, *self.tail])

    def serious(self):
        return self.level in ("ERROR", "CRITICAL", "FATAL") or self.trace()

    def ends(self):
        """it says that its process ended"""
        return self.level in ("CRITICAL", "FATAL") or bool(self.last()) and not self.uncaught()

    def last(self):
        """the exception, the last one of a chain"""
        below = [x for x in self.tail if x.strip() and not x.startswith((" ", TRACEBACK, "The above exc", "During handling", '"""'))]
        return below[-1] if below and self.trace() else ""

    def says(self):
        """its texts, to see whether two say the same"""
        plain = "" if self.text.startswith((TRACEBACK, "Exception in thread")) else self.text
        return [x.strip() for x in (plain, self.last(), self.last().partition(": ")[2]) if len(x.strip()) > 3]

    def same(self, other):
        return any(a in b or b in a for a in self.says() for b in other.says())

    def names(self, name):
        return self.logger.endswith("." + name) or any(re.search(r"(?<![\w-])%s(?![\w-])" % re.escape(name), x) for x in (self.text, self.last()))


def distinct(words):
    out = []
    for w in words:
        if not any(w.same(x) for x in out):
            out.append(w)
    return out


# ---------------------------------------------------------------- one run
class Stream:
    def __init__(self):
        self.started = self.assumed = self.batches = self.told = False      # told: some status of it came
        self.after_state = False        # something came after its last STATE
        self.activated = self.extracted = self.on_stdout = False
        self.record_lines = self.since_state = self.checkpoints = self.errors = self.line_bytes = self.data_chars = 0
        self.status = None              # completed | errored | skipped
        self.metered = self.committed = self.estimate = None
        self.limits, self.limited_ms, self.limited_since = 0, 0, None
        self.error_status = self.excused = False        # excused: a WARN has the reason


class Run:
    def __init__(self, before=None):
        self.exit, self.dialect, self.streams, self.bookmarks = None, before and before.dialect, {}, {}
        self.now, self.first = before and before.now, None
        self.checkpoints = self.target_states = 0
        self.errors, self.doubts, self.anomalies = [], set(), {}            # errors: (level, failure_type, stream, final)
        self.words, self.open = [], {}                  # open: the word of each plugin that lines below it belong to
        self.roll_up = self.connection = self.reason = None                 # reason: the status of Meltano's 'Run completed'
        self.spec_or_catalog = self.failed_metric = self.any_record = self.finished = self.began = False
        self.position = False                           # a state held one
        self.failed_side = self.syncing = self.last_stream = self.run_id = self.structured = None
        self.statuses = self.stderr_said = self.logs_as_target = self.torn = False
        self.malformed = 0
        self.catalog = before.catalog if before else set()
        self.wire_counts = []                           # (stream key or None, recordCount, counted) of each Airbyte STATE

    def stream(self, name, namespace=None, started=True):
        s = self.streams.setdefault((namespace, name), Stream())
        s.started = s.started or started
        if started and self.catalog and (namespace, name) not in self.catalog and not self.anomalies.get(("unknown_stream", label((namespace, name)))):
            self.anomaly("unknown_stream", label((namespace, name)))
        return s

    def anomaly(self, kind, name, count=1):
        self.anomalies[kind, name] = self.anomalies.get((kind, name), 0) + count

    def time(self, ms):
        if self.prefix_at is not None:
            ms, self.prefix_at = self.prefix_at, None   # the clock of a prefix goes before a message's own
        if ms is not None:
            self.now = max(ms, self.now or ms)          # never steps back
            self.first = self.first or self.now

    prefix_at = None

    # -- does a new run begin with this?
    def is_over(self, kind, value, text):
        dead = any(w.ends() for w in self.words)
        if kind == "airbyte":
            log = value["log"].get("message", "") if value["type"] == "LOG" else ""
            status = value["trace"].get("stream_status") or {} if value["type"] == "TRACE" else {}
            d = status.get("stream_descriptor") or {}
            s = self.streams.get((d.get("namespace"), d.get("name")))
            return log.startswith("Starting syncing") and (self.finished or self.roll_up is not None) or \
                status.get("status") == "STARTED" and s is not None and s.status is not None
        if kind == "singer" and value["type"].upper() == "SCHEMA":
            return dead and (None, value["stream"]) in self.streams
        if kind == "meltano":
            return bool(self.run_id and value.get("run_id") and value["run_id"] != self.run_id)
        return kind is None and dead and bool(re.search(r"\bStarting sync\b", text))

    # -- reading
    def message(self, kind, value, text, size, at, bare):
        self.prefix_at = at
        if kind in CORE:
            self.dialect = self.dialect or (kind if kind in ("airbyte", "meltano") else "singer")
        if kind == "airbyte":
            self.airbyte(value, size, bare)
        elif kind == "singer":
            self.singer(value, bare)
        elif kind == "target":
            self.target(value)
        elif kind == "metric":
            self.time(text_ms(text.split(" ")[0]))   # Meltano's console; singer-sdk's own has no zone, so no time
            self.metric(value, "producer")
        elif kind == "sdk_log":
            self.time(int(value["ts"] * 1000))
            if isinstance(value.get("metric_info"), dict):
                self.metric(value["metric_info"], "producer")
            trace = "\n" + TRACEBACK + "\n" + str(value["exception"]) if value.get("exception") else ""
            self.words.append(Word(value["level"], str(value["message"]) + trace, value["logger_name"]))
        elif kind == "meltano":
            self.meltano(value)
        self.time(None)

    def line(self, text, plugin=None, level="", main=False):
        """a line of text: a word, or something below the one before it"""
        m = next((m for m in (x.match(text) for x in WORDS) if m), None)
        above = self.open.get(plugin)
        if m and m.re is WORDS[-1] and above and above.logger:
            m = None                                 # `INFO ...` below a line with columns is quoted there
        if m and main and m.groupdict().get("at"):
            self.time(text_ms(m["at"].replace(",", ".") + "Z"))
        if m or level.upper() in ("ERROR", "CRITICAL"):
            d = m.groupdict() if m else {"level": level, "text": text}
            self.words.append(Word(d["level"], d["text"], d.get("logger"), plugin))
            self.open[plugin] = self.words[-1]
        elif above is None:
            if text.startswith((TRACEBACK, "Exception in thread")):
                self.words.append(Word("", text, "", plugin))
                self.open[plugin] = self.words[-1]
        else:
            above.tail.append(text)

    # -- Airbyte
    def airbyte(self, o, size, bare):
        word, p = o["type"], o[AIRBYTE[o["type"]]]
        if word in ("RECORD", "TRACE", "CONTROL"):
            self.time(int(p["emitted_at"]))
        if word == "RECORD":
            s = self.stream(p["stream"], p.get("namespace"))
            self.any_record = s.after_state = self.began = True
            s.activated, self.last_stream = False, p["stream"]
            if s.status == "completed":
                self.anomaly("record_after_complete", label((p.get("namespace"), p["stream"])))
            if bare:
                self.anomaly("not_json_number", label((p.get("namespace"), p["stream"])), bare)
            s.record_lines, s.since_state, s.line_bytes = s.record_lines + 1, s.since_state + 1, s.line_bytes + size
            data = json.dumps(p["data"], ensure_ascii=False, separators=(",", ":"))
            data = re.sub(r"(\d)e-0(\d)", r"\1e-\2", data)        # Python's own writing of 1e-6
            s.data_chars += len(data.encode("utf-16-le", "surrogatepass")) // 2
            self.unlimit(s)
        elif word == "STATE":
            self.airbyte_state(p)
            status = o.get("sourceStatus")
            if isinstance(status, dict) and status.get("status") == "ERRORED":
                said = status.get("message") or {}
                self.structured = (self.last_stream, str(said.get("summary") if isinstance(said, dict) else said))
        elif word == "TRACE":
            self.airbyte_trace(p)
        elif word in ("SPEC", "CATALOG"):
            self.spec_or_catalog = True
            for c in p.get("streams") or []:
                self.streams.setdefault((c.get("namespace"), c["name"]), Stream())
        elif word == "CONNECTION_STATUS":
            self.connection = p["status"]
            self.errors += [("global", None, None, True)] if self.connection == "FAILED" else []
        elif word == "LOG":
            self.words.append(Word(p.get("level", "INFO"), str(p.get("message", ""))))
            self.finished = self.finished or str(p.get("message", "")).startswith("Finished")

    def airbyte_state(self, p):
        self.checkpoints += 1
        self.position = True
        count = (p.get("sourceStats") or {}).get("recordCount")
        if p.get("type") == "GLOBAL":
            keys = [x["stream_descriptor"] for x in p["global"]["stream_states"]]
        elif isinstance(p.get("stream"), dict):
            keys = [p["stream"]["stream_descriptor"]]
        else:
            for s in self.streams.values():          # LEGACY: one state for all of them
                s.after_state, s.activated = False, True     # as a bookmark of each
            return
        self.began = True
        listed = [((d.get("namespace"), d["name"]), self.stream(d["name"], d.get("namespace"))) for d in keys]
        self.wire_counts.append((listed[0][0] if p.get("type") != "GLOBAL" else None, count, sum(s.since_state for _, s in listed)))
        for _, s in listed:
            s.checkpoints += 1
            s.since_state, s.after_state = 0, False

    def airbyte_trace(self, p):
        q = p.get(p["type"].lower()) or {}
        if p["type"] == "STREAM_STATUS":
            d = q["stream_descriptor"]
            known = (d.get("namespace"), d["name"]) in self.streams
            s = self.stream(d["name"], d.get("namespace"), started=q["status"] != "INCOMPLETE")
            if q["status"] == "STARTED" and s.told and s.status is None:
                self.anomaly("duplicate_start", label((d.get("namespace"), d["name"])))
            self.statuses = s.told = self.began = True
            limited = any(r.get("type") == "RATE_LIMITED" for r in q.get("reasons") or [])
            if q["status"] == "RUNNING" and limited and s.limited_since is None:
                s.limits, s.limited_since = s.limits + 1, self.now
            elif not limited and q["status"] != "STARTED":
                self.unlimit(s)
            if q["status"] in ("COMPLETE", "INCOMPLETE") and s.status is None:
                never = not s.started and not s.error_status        # PROTOCOLS 6: skipped, unavailable
                s.status = "completed" if q["status"] == "COMPLETE" else "skipped" if never else "errored"
                s.started = s.started or known and not never
        elif p["type"] == "ESTIMATE" and q.get("type") == "STREAM":
            self.stream(q["name"], q.get("namespace")).estimate = (q.get("row_estimate"), q.get("byte_estimate"))
        elif p["type"] == "ERROR":
            d = q.get("stream_descriptor")
            if q.get("internal_message") == "Concurrent read failure" or d is None and q.get("message", "").startswith(ROLL_UP):
                self.roll_up = q["message"]
            elif d is None:
                self.errors.append(("global", q.get("failure_type"), None, True))
                self.finished = True
            else:
                self.stream_error(d["name"], d.get("namespace"), q.get("failure_type"), True)

    def stream_error(self, name, namespace=None, failure=None, final=True, started=True):
        s = self.stream(name, namespace, started)
        s.errors, s.error_status = s.errors + 1, s.error_status or final
        level = "transient" if failure == "transient_error" else "stream"
        self.errors.append((level, failure, label((namespace, name)), final))

    def unlimit(self, s):
        if s.limited_since is not None:
            s.limited_ms += self.now - s.limited_since
            s.limited_since = None

    # -- Singer
    def singer(self, o, bare):
        word = o["type"].upper()
        if word != "STATE":
            s = self.stream(o["stream"])
            s.on_stdout = self.began = True
            s.after_state = s.after_state or word in ("RECORD", "BATCH") or not s.checkpoints
            self.last_stream = o["stream"]
            if word == "RECORD":
                self.time(text_ms(o.get("time_extracted")))
                self.any_record = True
                s.record_lines += 1
                s.extracted = s.extracted or "time_extracted" in o
                if bare:
                    self.anomaly("not_json_number", o["stream"], bare)
            s.activated = word == "ACTIVATE_VERSION" and s.record_lines > 0
            s.batches = s.batches or word == "BATCH"
            return
        self.checkpoints += 1
        value = o["value"] if isinstance(o["value"], dict) else {}
        new = value.get("bookmarks") if isinstance(value.get("bookmarks"), dict) else {}
        self.syncing = value.get("currently_syncing")
        self.position = self.position or any(v not in (None, {}, []) for k, v in value.items() if k != "currently_syncing")
        started = lambda name: (None, name) in self.streams and self.streams[None, name].started
        hit = [n for n in new if new[n] != self.bookmarks.get(n, KeyError) and started(n)]
        if not hit and started(self.syncing):
            hit = [self.syncing]
        for name in hit:
            self.streams[None, name].checkpoints += 1
            self.streams[None, name].after_state = False
        self.bookmarks = new

    def target(self, o):
        """a state that a target hands back"""
        self.checkpoints += 1
        self.target_states += 1
        for name, mark in (o.get("bookmarks") or {}).items():
            self.position = self.began = True
            self.stream(name).checkpoints += 1
            rows = mark if isinstance(mark, list) else []
            refused = [r for r in rows if isinstance(r, dict) and r.get("success") is False]
            count = ((o.get("summary") or {}).get(name) or {}).get("fail") or 0
            if refused or count:
                self.structured = (name, str(refused[0].get("error", "")) if refused else "")

    def metric(self, m, side):
        tags = m.get("tags") or {}
        name = tags.get("stream") or tags.get("endpoint") or self.table(tags)
        if m["metric"] == "job_duration" and not name and str(tags.get("job_type", "")).startswith("sync_"):
            name = tags["job_type"][len("sync_"):]
        if not name:
            return
        if m["metric"] == "record_count":
            s, field = self.stream(name), "committed" if side == "consumer" or self.logs_as_target else "metered"
            setattr(s, field, (getattr(s, field) or 0) + m["value"])
        elif m["metric"] in ("sync_duration", "job_duration") and side == "producer":
            s = self.stream(name)
            self.statuses = s.told = True
            if tags.get("status") == "failed":
                s.status, self.failed_metric = "errored", True
            elif tags.get("status") == "succeeded" and s.status is None:
                s.status = "completed"

    def table(self, tags):
        """the stream of a metric that names a database or schema and a table"""
        if not tags.get("table"):
            return None
        whole = "%s-%s" % (tags.get("database") or tags.get("schema"), tags["table"])
        return next((n for _, n in self.streams if n in (whole, tags["table"])), whole)

    # -- Meltano
    def meltano(self, o):
        inside = self.dialect == "singer"            # Meltano's JSON around a tap alone (meltano invoke)
        event = str(o["event"])
        self.run_id = self.run_id or o.get("run_id")
        metric = o["metric_info"] if isinstance(o.get("metric_info"), dict) else metric_in(event)
        self.time(text_ms(o["timestamp"]))
        if metric is not None:
            self.metric(metric, "consumer" if o.get("consumer") else "producer")
        begins = re.search(r"Beginning sync of '([^']+)'", event)
        if begins:
            self.stream(begins.group(1))
        if o.get("plugin_exception"):
            self.words.append(Word(o["level"], event + "\n" + TRACEBACK + "\n" + str(o["plugin_exception"]), "", o.get("name")))
        else:
            self.line(event, o.get("name"), o["level"])
        if not inside:
            self.checkpoints += event.startswith("Incremental state has been updated")
            self.position = self.position or event.startswith("Incremental state has been updated")
            side = re.search(r"\b(Extractor|Loader|Extraction|Loading) failed", event + " " + str(o.get("err")))
            if side or o.get("success") is False or event.startswith("Block run completed") and o["level"].lower() == "error":
                if self.failed_side not in ("Loader", "Loading"):    # an extractor whose loader died ends with a broken pipe
                    self.failed_side = side[1] if side else self.failed_side or "block"
            if event == "Run completed":
                self.reason = o.get("status") or (event if o.get("console") else None)

    # -- the end of the input
    def finish(self):
        self.destination = self.dialect == "airbyte" and self.checkpoints > 0 and not self.any_record and not self.statuses
        for (key, count, counted) in self.wire_counts:
            if self.destination:
                if key is not None and count is not None:
                    self.streams[key].committed = (self.streams[key].committed or 0) + int(count)
            elif count is not None and count != counted:
                self.doubts.add(("record_count_mismatch", label(key) if key else None))
        self.failing = self.exit is not None and 0 < self.exit <= 128
        self.listed_causes()
        self.logged()
        if self.dialect == "airbyte":                # it did not complete, and nobody said why
            for (namespace, name), s in self.streams.items():
                if s.told and not s.errors and s.status in ("errored", "skipped"):    # a WARN only gives the reason
                    self.stream_error(name, namespace, started=s.started)
        died = self.failing or any(e[0] == "global" and e[3] for e in self.errors)
        for (_, name), s in self.streams.items():
            if self.dialect == "singer" and s.record_lines and s.metered is not None and not s.batches and s.metered != s.record_lines:
                self.doubts.add(("record_count_mismatch", name))
            if not s.started or s.status is not None:
                continue
            through = self.dialect == "singer" and s.checkpoints and not s.after_state and (self.syncing or self.last_stream or name) != name
            blamed = self.dialect != "meltano" or self.failed_side in ("Extractor", "Extraction")    # a loader's failure blames no stream
            if s.error_status or blamed and died and not (self.exit or 0) > 128 and (self.failing or self.dialect != "airbyte"):
                s.assumed = bool(through and not s.error_status)
                s.status = "completed" if s.assumed else "errored"
            elif self.exit == 0 and not died and self.dialect in ("airbyte", "singer") and not s.told:
                self.at_exit_zero(name, s)
            elif self.exit in (None, 0) and self.dialect == "meltano" and self.reason in ("success", "Run completed") and not self.failed_side:
                s.status = "completed"
        for s in self.streams.values():
            if self.dialect and s.status == "errored" and not s.errors and any(e[0] == "global" for e in self.errors):
                s.errors = 1                         # what failed the whole failed it
        outcome = self.outcome([s for s in self.streams.values() if s.started])
        done = outcome in ("succeeded", "completed_with_errors")
        if self.exit == 0 and self.dialect in ("airbyte", "singer") and outcome in ("aborted", "truncated"):
            self.doubts |= {("exit_zero_open_stream", label(k)) for k, s in self.streams.items()
                            if s.started and s.status in (None, "errored") and not s.error_status}
        if done and self.exit == 0 and self.dialect == "singer" and not self.streams and not self.position:
            self.doubts.add(("nothing_synced", None))
        if self.exit == 0 and self.dialect in ("airbyte", "singer"):
            self.doubts |= {("nothing_synced", label(k)) for k in self.catalog if not self.streams[k].started and not self.streams[k].status}
        if done and self.unexplained:
            self.doubts.add(("errors_logged", None))
        if self.malformed and self.dialect and outcome != "truncated":
            self.doubts.add(("lines_lost", None))
        return outcome

    def at_exit_zero(self, name, s):
        """a stream that nobody gave a status; exit 0"""
        quiet = self.stderr_said and not self.failed_metric and not any("shutting down" in w.text for w in self.words)
        if s.checkpoints and not s.after_state or s.activated:
            s.status, s.assumed = "completed", True
        elif self.dialect != "airbyte" and not s.checkpoints and (not s.extracted or quiet) and not self.torn:
            s.status, s.assumed = "completed", True
            self.doubts.add(("exit_zero_open_stream", name))

    def listed_causes(self):
        """a closing error that lists streams: each without a cause gets its part"""
        for (namespace, name), s in self.streams.items():
            if self.roll_up and not s.error_status and s.status == "errored" and re.search(r"(^|[\s:,])%s: " % re.escape(name), self.roll_up):
                self.stream_error(name, namespace)

    def logged(self):
        """what the logged words mean; sets .unexplained"""
        named = lambda w: [k for k in self.streams if w.names(k[1])]
        for w in self.words:
            skipped = SKIPPED.search(w.text) if w.level in ("WARN", "WARNING") else None
            if skipped:
                s = self.streams.setdefault((None, skipped[1]), Stream())
                s.excused = True
                s.status = s.status or ("skipped" if self.exit in (0, None) or not s.started else None)
            elif w.level in ("WARN", "WARNING") and LEFT_OUT.search(w.text):
                self.doubts |= {("rows_left_out", label(k)) for k in named(w)} or {("rows_left_out", None)}
        serious = [w for w in self.words if w.serious()]
        reported = bool(self.errors) or self.roll_up is not None
        self.unexplained = []
        last_word = serious[-1:] if self.dialect == "airbyte" and not self.statuses_closed() else serious
        ended = self.exit is None and any(w.ends() and (self.dialect != "airbyte" or w.level == "FATAL") for w in last_word) and \
            not (self.dialect == "meltano" and self.reason in ("success", "Run completed")) or \
            self.failed_side is not None or self.reason == "failure"
        if self.failing or ended or (self.exit or 0) > 128:
            return self.why_it_failed(serious, reported, ended)
        began = any(s.started for s in self.streams.values()) or self.position
        for w in distinct(serious):
            keys = named(w)
            if w.uncaught():
                self.errors.append(("global", None, None, False))
            elif self.dialect == "airbyte" and (self.statuses or not self.structured):
                self.unexplained += [] if reported else [w]         # a status, trace or end decides
            elif keys and w.level != "" and FAILED_WORDS.search(w.text) and not self.failed_metric:
                for namespace, name in keys:
                    self.stream_error(name, namespace, final=False)
                if self.structured and any(self.structured[1] in x for x in w.says()):
                    self.structured = None                           # the same once more
            elif not began and self.dialect:
                self.errors.append(("global", None, None, True))
            else:
                self.unexplained.append(w)
        if self.structured:
            if self.structured[0] is None:
                self.errors.append(("global", None, None, False))
            else:
                self.stream_error(self.structured[0], final=False)

    def statuses_closed(self):
        return any(s.started for s in self.streams.values()) and all(s.status for s in self.streams.values() if s.started)

    def why_it_failed(self, serious, reported, ended):
        broken = lambda w: "BrokenPipeError" in w.text + w.last()
        if self.dialect == "airbyte":
            causes = []                              # traces are the errors; without any, the last logged one is the cause
        elif self.dialect == "meltano":
            plugins = [w for w in serious if w.last() and w.plugin not in (None, "meltano")]
            causes = [w for w in plugins if not broken(w)] or plugins[:1] or [w for w in serious][:1]
        else:
            causes = [w for w in serious if w.ends()]
        causes = distinct(causes)
        if self.structured:
            self.stream_error(self.structured[0], final=False)
            reported = True
        if not reported and not causes and (self.failing or ended and self.dialect == "airbyte"):
            causes = [w for w in serious if not w.trace() or w.last()][-1:]
        if not reported and not causes and (self.failed_side or self.failing and self.silent and self.stderr_said):
            causes = [None]
        self.errors += [("global", None, None, True)] * len(causes)

    silent = False

    def outcome(self, started):
        signal = self.exit is not None and self.exit > 128
        stand = any(e[0] == "global" and e[3] for e in self.errors)
        if self.dialect is None:
            left = self.exit == 0 and any(s.excused for s in self.streams.values())
            return "failed" if self.failing or stand or left else "truncated" if signal else "unknown"
        if self.connection == "FAILED" or self.failing or stand or self.failed_side:
            return "failed"
        errored = any(s.status == "errored" for s in started)
        soft = "completed_with_errors" if self.errors or errored else "succeeded"
        is_open = any(s.status is None and (s.told or (s.after_state or not s.checkpoints) and not s.activated) for s in started)
        if self.dialect == "meltano":
            if self.reason == "failure":
                return "failed"
            if self.reason in ("success", "Run completed") and not signal:
                return soft
            return "truncated" if signal or is_open else soft if self.exit == 0 else "unknown"
        if signal and any(e[3] for e in self.errors):
            return "failed"                          # an error already said why
        if self.connection == "SUCCEEDED" or (self.spec_or_catalog and not started):
            return "succeeded"
        if signal:
            return "truncated"
        if self.dialect == "singer" and self.failed_metric:
            return "aborted"
        asked = [s for s in self.streams.values() if not s.started]
        skipped = [s for s in self.streams.values() if s.status == "skipped"]
        if started and all(s.error_status for s in started) or errored and self.roll_up is not None:
            return "failed"
        if self.torn or is_open or self.exit == 0 and any(s.status is None for s in started):
            return "truncated"
        if self.exit == 0:
            if skipped and len(skipped) == len(self.streams):
                return "failed"                      # no stream synced at all
            if any(s.status is None for s in asked):
                return "truncated"
            return "completed_with_errors" if skipped else soft
        if started and all(s.told and s.status for s in started):
            return "completed_with_errors" if skipped else soft     # every begun stream has its end
        return "unknown"

    def records(self, s):
        if not s.started or self.destination or self.logs_as_target:
            return None
        if self.dialect == "airbyte" or (s.record_lines or s.on_stdout and s.metered is None) and not s.batches:
            return s.record_lines
        return s.metered

    def summary(self, untouched=()):
        outcome = self.finish()
        streams = {}
        for key in untouched:
            self.streams.setdefault(key, Stream())   # known from an earlier run or a catalog
        for key in sorted(self.streams, key=lambda k: (k[1], k[0] or "")):
            s = self.streams[key]
            streams[label(key)] = {
                "status": s.status or ("started" if s.started else "not_started"), "assumed": s.assumed,
                "records": self.records(s), "checkpoints": s.checkpoints, "errors": s.errors,
                "bytes": (s.line_bytes, s.data_chars) if self.dialect == "airbyte" and s.record_lines else None,
                "estimate": s.estimate, "rate_limited": (s.limits, s.limited_ms) if s.limits else None,
                "metered": s.metered, "committed": s.committed}
        counts = [x["records"] for x in streams.values() if x["records"] is not None]
        told = [s.committed for s in self.streams.values() if s.committed is not None]
        alone = self.destination or self.target_states or self.dialect == "meltano" and (told or self.checkpoints)
        committed = (sum(told) if told else None, self.checkpoints) if alone else None
        return {
            "dialect": self.dialect, "outcome": outcome, "reason": self.reason, "started_at": iso(self.first),
            "ended_at": iso(self.now) if self.first is not None else None,
            "wall_ms": None if self.first is None else self.now - self.first,
            "attempts": int(self.dialect is not None and (self.began or any(s.started for s in self.streams.values()))),
            "records": sum(counts) if counts else None, "checkpoints": self.checkpoints, "committed": committed,
            "roll_up": self.roll_up, "streams": streams, "anomalies": self.anomalies,
            "errors": grouped((level, failure, {name} - {None}, 1, final) for level, failure, name, final in self.errors),
            "doubts": self.doubts}


# ---------------------------------------------------------------- a log: its runs, one after the other
def catalog_keys(path):
    """streams of a catalog, Airbyte's or Singer's -> {(namespace, name)}"""
    keys = set()
    for c in parse(unpack(path))[1]["streams"]:
        if isinstance(c.get("stream"), dict):
            keys.add((c["stream"].get("namespace"), c["stream"]["name"]))
        elif "json_schema" in c:
            keys.add((c.get("namespace"), c["name"]))
        else:
            root = [m["metadata"] for m in c.get("metadata") or [] if not m.get("breadcrumb")]
            if (c.get("schema") or {}).get("selected") or any(m.get("selected") for m in root):
                keys.add((None, c.get("stream") or c.get("tap_stream_id")))
    return keys


def summarize(data, stderr=None, exit=None, catalog=(), dialect=None):
    runs = [Run()]
    runs[0].dialect, runs[0].catalog = dialect, set(catalog)
    total = {"lines": 0, "bytes": len(data), "messages": 0, "raw": 0, "unknown": 0, "malformed": 0, "joined": 0, "truncated_line": False}
    for main, part in ((True, data), (False, stderr or b"")):       # only the main log counts as input; stderr speaks no Airbyte
        run = runs[-1]
        run.logs_as_target = not main and b"| target-" in part and b"| tap-" not in part
        run.stderr_said, run.open = not main and bool(part.strip()), {}
        for text, size, at, joined, torn in lines_of(part):
            cls, kind, value, bare = classify(text)
            torn = torn and cls in ("raw", "malformed") and kind is None
            cls = "malformed" if torn else cls
            if main:
                total["lines"] += 1
                total[cls] += 1
                total["joined"] += joined
                total["truncated_line"] = total["truncated_line"] or torn
            if runs[-1].is_over(kind, value, text):
                runs.append(Run(runs[-1]))
            run = runs[-1]
            run.malformed += main and cls == "malformed" and not torn
            run.torn = run.torn or main and torn
            if cls == "messages" and (main or kind != "airbyte"):
                run.message(kind, value, text, size, at, bare)
            elif cls == "raw" and not torn:
                run.prefix_at = at if main else None
                run.time(None)
                if kind is None:
                    run.line(text, main=main)
    runs[-1].exit, runs[-1].silent = exit, total["lines"] == 0
    known = {}
    for run in runs:
        run.streams.update({k: Stream() for k in run.catalog if k not in run.streams})
    before = [r.summary() for r in runs[:-1]]
    for r in runs[:-1]:
        known.update(r.streams)
    return {**runs[-1].summary(known), "input": total,
            "runs": [{k: b[k] for k in ("outcome", "attempts", "records", "started_at", "ended_at")} for b in before]}


# ---------------------------------------------------------------- the golden, in the same terms
def golden_terms(g):
    streams = {}
    for s in g["streams"]:
        e, b, r = s.get("estimate"), s.get("bytes"), s.get("rate_limited")
        streams[label((s["namespace"], s["name"]))] = {
            "status": s["status"], "assumed": s.get("assumed", False), "records": s["records"]["cumulative"],
            "checkpoints": s["checkpoints"], "errors": s["errors"], "bytes": (b["lines"], b["data_chars"]) if b else None,
            "estimate": (e.get("rows"), e.get("bytes")) if e else None, "rate_limited": (r["count"], r["elapsed_ms"]) if r else None,
            "metered": s.get("metered"), "committed": s.get("committed")}
    c = g.get("committed")
    same = ("dialect", "outcome", "reason", "started_at", "ended_at", "wall_ms", "attempts", "checkpoints", "roll_up", "input")
    return {**{k: g.get(k) for k in same},
            "records": g["records"]["cumulative"], "committed": (c["records"], c["checkpoints"]) if c else None, "streams": streams,
            "anomalies": {(a["kind"], a["stream"]): a["count"] for a in g["anomalies"]},
            "errors": grouped((e["level"], e["failure_type"], set(e["streams"]), e["count"], e["final"]) for e in g["errors"]),
            "doubts": {(d["kind"], n) for d in g["doubts"] for n in d["streams"] or [None]},
            "runs": [{**{k: r[k] for k in ("outcome", "attempts", "started_at", "ended_at")}, "records": r["records"]["cumulative"]}
                     for r in g["runs"]]}


def differences(golden, computed, path="", words=("golden", "computed")):
    out = []
    for k in sorted(set(golden) | set(computed), key=str):
        a, b, where = golden.get(k), computed.get(k), path + (k if isinstance(k, str) else "/".join(map(str, k)))
        if isinstance(a, dict) and isinstance(b, dict):
            out += differences(a, b, where + ".", words)
        elif a != b:
            out.append("%s: %s %r, %s %r" % (where, words[0], a, words[1], b))
    return out


# ---------------------------------------------------------------- the two sets
def recorded(corpus):
    """-> runs seen, runs that differ"""
    exits = {}
    for line in (corpus / "airbyte-singer-exit-codes.tsv").read_text().splitlines():
        exits[line.split("\t")[0]] = int(line.split("\t")[1].split()[0])
    bad = seen = 0
    for path in sorted([*GOLDENS.glob("airbyte__*.json"), *GOLDENS.glob("singer__*.json")]):
        group, name = path.stem.split("__", 1)
        logs = [p for p in (corpus / group / (name + end) for end in (".ndjson", ".ndjson.zst", ".stderr")) if p.exists()]
        if not logs:                 # a small copy of the corpus
            continue
        computed = summarize(unpack(logs[0]), unpack(logs[1]) if len(logs) > 1 else None, exits.get("%s/%s" % (group, name)))
        diff = differences(golden_terms(json.loads(path.read_text())), computed)
        print("%s/%s: %s" % (group, name, "; ".join(diff) or "OK"), flush=True)
        seen, bad = seen + 1, bad + bool(diff)
    return seen, bad


def exit_of(outcome, understood):
    """the exit code of `synctop summary`"""
    if outcome == "unknown" and not understood:
        return 65
    return {"succeeded": 0, "completed_with_errors": 1, "failed": 1}.get(outcome, 2)


def is_cut(path):
    """a .gz without its end"""
    try:
        return path.suffix == ".gz" and gzip.open(path).read() is None
    except EOFError:
        return True


def wild(synctop):
    """-> cases seen, cases that differ"""
    bad = seen = 0
    options = argparse.ArgumentParser()
    for name, kind in (("stderr", Path), ("exit-code", int), ("catalog", Path), ("dialect", str)):
        options.add_argument("--" + name, type=kind)
    for case in WILD.strip().splitlines():
        files, _, typed = case.partition(" --")
        typed = shlex.split("--" + typed) if typed else []
        o = options.parse_args(typed)
        data = b"".join(unpack(WILD_DIR / f) for f in files.split())
        if b'"stream_status":{"stream":' in data.replace(b" ", b""):       # Stripe's
            computed = golden_terms(slow_summary.summarise(data, o.exit_code))
        else:
            computed = summarize(data, o.stderr and unpack(WILD_DIR / o.stderr), o.exit_code,
                                 catalog_keys(WILD_DIR / o.catalog) if o.catalog else (), o.dialect)
        computed["exit"] = exit_of(computed["outcome"], computed["dialect"] is not None)
        if any(is_cut(WILD_DIR / f) for f in files.split()):        # an input that cannot be read to its end
            computed["exit"] = 66
        ran = subprocess.run([synctop, "summary", *files.split(), *typed, "--json"], cwd=WILD_DIR, capture_output=True)
        said = {**golden_terms(json.loads(ran.stdout)), "exit": ran.returncode}
        for terms in (said, computed):               # bytes of what: of the packed file, or of the text? not said
            del terms["input"]["bytes"]
        diff = differences(said, computed, words=("synctop", "computed"))
        print("wild/%s: %s" % (files, "; ".join(diff) or "OK"), flush=True)
        seen, bad = seen + 1, bad + bool(diff)
    return seen, bad


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("corpus", nargs="?", type=Path, default=HERE.parents[1] / "shared/corpus")
    args.add_argument("--synctop", type=Path, default=HERE.parent / "target/debug/synctop")
    args = args.parse_args()
    seen, bad = recorded(args.corpus)
    print("%d runs, %d differ" % (seen, bad))
    if args.synctop.exists():
        cases, differ = wild(args.synctop.resolve())
        print("%d wild cases, %d differ" % (cases, differ))
        bad += differ
    else:
        print("wild cases SKIPPED: there is no %s; build it, or give --synctop PATH" % args.synctop)
    return 1 if bad or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
