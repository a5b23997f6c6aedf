"""An engine for the outage drill: POST /pipeline_sync writes numbered rows into a real PostgreSQL, a page at a time.

It fails as published engines do (corpus stripe-live, README 5): where the destination fails, the cursors in the state of the end are
one page ahead of the rows that were written.   usage: engine.py PORT PSQL_URL
"""

import datetime
import http.server
import json
import subprocess
import sys

ROWS = {"customers": 6000, "charges": 4000, "coupons": 40}
RANGES, PAGE = 8, 100
BEGIN = datetime.datetime(2025, 1, 1, tzinfo=datetime.timezone.utc)


def at(row):
    return (BEGIN + datetime.timedelta(minutes=row)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def row_of(text):
    return round((datetime.datetime.fromisoformat(text.replace("Z", "+00:00")) - BEGIN).total_seconds() / 60)


class Outage(Exception):
    pass


def sql(text):
    done = subprocess.run(["psql", "-qAtX", URL, "-v", "ON_ERROR_STOP=1", "-c", text], capture_output=True, text=True)
    if done.returncode:
        raise Outage("connect ECONNREFUSED 127.0.0.1:5432" if "refused" in done.stderr or "No such file" in done.stderr
                     else done.stderr.strip().splitlines()[-1])
    return done.stdout


class Sync:
    def __init__(self, write, state, names):
        self.write, self.names = write, names
        kept = ((state or {}).get("source") or {}).get("streams") or {}
        self.left, self.counts, self.status, self.states = {}, dict.fromkeys(names, 0), {}, dict.fromkeys(names, 0)
        for name in names:
            if name in kept:
                self.left[name] = [
                    [int(r["cursor"]) if r.get("cursor") else row_of(r["gte"]), row_of(r["lt"])] for r in kept[name]["remaining"]
                ]
            else:
                step = -(-ROWS[name] // RANGES)
                self.left[name] = [[n, min(n + step, ROWS[name])] for n in range(0, ROWS[name], step)]
            self.status[name] = "not_started"
        self.started_at = self.now()

    @staticmethod
    def now():
        return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def say(self, kind, value):
        self.write(json.dumps({"type": kind, kind: value, "_ts": self.now()}) + "\n")

    def state(self, name, ahead=0):
        remaining = [
            {"gte": at(a), "lt": at(b), "cursor": str(min(a + ahead, b))} for a, b in self.left[name] if min(a + ahead, b) < b
        ]
        return {"accounted_range": {"gte": at(0), "lt": at(ROWS[name])}, "remaining": remaining}

    def progress(self, word="started"):
        streams = {
            name: {"status": self.status[name], "state_count": self.states[name], "record_count": self.counts[name]}
            for name in self.names
        }
        total = sum(self.counts.values())
        derived = {"status": word, "total_record_count": total, "total_state_count": sum(self.states.values())}
        return {"started_at": self.started_at, "elapsed_ms": 1, "global_state_count": 0, "derived": derived, "streams": streams}

    def stream(self, name):
        self.status[name] = "started"
        self.say("stream_status", {"stream": name, "status": "start", "time_range": {"gte": at(0), "lt": at(ROWS[name])}})
        turn = 0
        while self.left[name]:
            part = self.left[name][turn % len(self.left[name])]
            begin, end = part[0], min(part[0] + PAGE, part[1])
            self.counts[name] += end - begin
            sql(f"insert into {name} select generate_series({begin}, {end - 1}) on conflict do nothing")
            part[0] = end
            if end == part[1]:
                self.left[name].remove(part)
            turn += 1
            self.states[name] += 1
            self.say("source_state", {"state_type": "stream", "stream": name, "data": self.state(name)})
            self.say("progress", self.progress())
        self.status[name] = "completed"
        self.say("stream_status", {"stream": name, "status": "complete"})

    def run(self):
        ahead, errors = {}, []
        for name in self.names:
            try:
                self.stream(name)
            except Outage as error:
                # What was read of every range beside is counted as written.
                ahead[name], self.status[name] = PAGE, "errored"
                errors.append(str(error))
                self.say("stream_status", {"stream": name, "status": "error", "error": str(error)})
                self.say("log", {"level": "error", "message": str(error)})
        word = "failed" if errors else "succeeded"
        streams = {name: self.state(name, ahead.get(name, 0)) for name in self.names}
        progress = self.progress(word)
        self.say("eof", {
            "status": word, "has_more": False, "run_progress": progress, "request_progress": progress,
            "ending_state": {"source": {"streams": streams, "global": {}}, "destination": {}, "sync_run": {"progress": progress}},
        })


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])) or "{}")
        self.send_response(200)
        self.send_header("content-type", "application/x-ndjson")
        self.end_headers()

        def write(line):
            self.wfile.write(line.encode())
            self.wfile.flush()

        names = [it["name"] for it in asked["pipeline"]["streams"]]
        Sync(write, asked.get("state"), names).run()


URL = sys.argv[2]
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
