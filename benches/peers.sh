#!/usr/bin/env bash
# How long synctop takes beside others that read the same log: runs interleaved in rounds, medians, ratios paired by round.
#
#   benches/peers.sh [ROUNDS]       SIZE=1GB SHORT=300MB KEEP=folder ALL=1 (also jq, mlr and Node, which take minutes)
#
# Finds or installs the peers (jq, miller by apt-get when root; duckdb by pip into the folder). Logs come from `synctop simulate`
# and, where the recordings stand beside the clone, from one of them repeated. Files are in the page cache: each is read once before.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5}
folder=${KEEP:-$(mktemp -d)}
mkdir -p "$folder"
[ -n "${KEEP:-}" ] || trap 'rm -rf "$folder"' EXIT
cargo build --release --quiet
synctop=$PWD/target/release/synctop

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    missing=()
    command -v jq >/dev/null || missing+=(jq)
    command -v mlr >/dev/null || missing+=(miller)
    command -v zstd >/dev/null || missing+=(zstd)
    [ ${#missing[@]} = 0 ] || { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; } || true
fi
if [ ! -x "$folder/venv/bin/python" ]; then
    python3 -m venv "$folder/venv" && "$folder/venv/bin/pip" install -q --disable-pip-version-check duckdb || true
fi
python=$folder/venv/bin/python
"$python" -c 'import duckdb' 2>/dev/null || python=

log() { [ -s "$folder/$1" ] || "${@:2}" >"$folder/$1"; }
log read.ndjson "$synctop" simulate read --no-pace --size "${SIZE:-1GB}"
log short.ndjson "$synctop" simulate sync --no-pace --size "${SHORT:-300MB}" --streams 500
recording=../shared/corpus/stripe-progress/03b-large-pipeline_sync.ndjson.zst
repeat() { for _ in 1 2 3 4 5; do zstd -dcq "$recording"; done; }
[ ! -e "$recording" ] || log progress.ndjson repeat
log read.ndjson.zst zstd -3 -cq "$folder/read.ndjson"
log read.ndjson.gz gzip -6 -c "$folder/read.ndjson"

"${python:-python3}" - "$rounds" "$folder" "$synctop" "$python" "${ALL:-}" <<'PYTHON'
import os, resource, statistics, subprocess, sys, time

rounds, folder, synctop, python, everything = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5]
null = open(os.devnull, "wb")

def once(command, path, poll=False):
    """Seconds on the clock and of processor; with `poll` the peak memory in MB instead."""
    began = time.perf_counter()
    source = None
    if command[0] == "PIPE":
        command = command[1:]
        source = subprocess.Popen(["cat", path], stdout=subprocess.PIPE)
    words = [part.replace("FILE", path) for part in command]
    child = subprocess.Popen(words, stdin=source.stdout if source else None, stdout=null, stderr=null)
    if source:
        source.stdout.close()
    peak = 0
    while poll and child.poll() is None:
        try:
            status = open(f"/proc/{child.pid}/status").read()
            peak = int(status.split("VmHWM:")[1].split()[0]) / 1000 if words[0].split("/")[-1][:8] in status else peak
        except (OSError, IndexError):
            pass
        time.sleep(0.002)
    if poll:
        return peak
    _, _, usage = os.wait4(child.pid, 0)
    child.returncode = 0
    if source:
        source.wait()
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime

def table(title, file, peers, base):
    path = f"{folder}/{file}"
    if not os.path.exists(path):
        print(f"\n{title}: no {file}")
        return
    with open(path, "rb") as log:
        while log.read(1 << 24):
            pass
    taken = {name: [] for name, _ in peers}
    for _ in range(rounds):
        for name, command in peers:
            taken[name].append(once(command, path))
    size = os.path.getsize(path)
    print(f"\n{title}: {file}, {size / 1e9:.3f} GB, {rounds} rounds")
    print(f"| {'':34} | wall s | CPU s | MB | {' | '.join('of ' + b for b in base)} | CPU of {base[-1]} |")
    print(f"| {'---'} | --- | --- | --- | {' | '.join('---' for _ in base)} | --- |")
    for name, command in peers:
        wall, cpu = (statistics.median(run[at] for run in taken[name]) for at in range(2))
        memory = once(command, path, poll=True)
        ratio = lambda other, at=0: statistics.median(a[at] / max(b[at], 1e-3) for a, b in zip(taken[name], taken[other]))
        shares = [f"{ratio(b):.2f}" if b in taken else "-" for b in base]
        shares.append(f"{ratio(base[-1], 1):.2f}" if base[-1] in taken else "-")
        print(f"| {name:34} | {wall:.3f} | {cpu:.3f} | {memory:.0f} | {' | '.join(shares)} |")

summary = ["synctop", [synctop, "summary", "-q", "FILE"]]
wc = ["wc -l", ["wc", "-l", "FILE"]]
duck = [[f"duckdb, {threads} threads", [python, "benches/peers/duckdb_summary.py", "FILE", str(threads), str(16 << 20)]] for threads in (1, 2)] if python else []
slow = []
if everything:
    slow = [
        ["node", ["node", "benches/peers/node.mjs", "FILE"]],
        ["jq", ["jq", "-nc", 'reduce (inputs|select(.type=="record").record.stream) as $s ({}; .[$s]+=1)', "FILE"]],
        ["mlr", ["mlr", "-S", "--ijsonl", "--ojsonl", "--no-auto-flatten", "put", "-q", 'if($type=="record"){@c[$record["stream"]]+=1} end{emit @c}', "FILE"]],
    ]
base = ["wc -l", "duckdb, 2 threads"]
pipe = ["synctop, from a pipe", ["PIPE", synctop, "summary", "-q", "-"]]
index = ["synctop, index", [synctop, "summary", "-q", "--at", "end", "FILE"]]
table("records, every line validated", "read.ndjson", [wc, summary, pipe, index, *duck, *slow], [*base, "synctop"])
table("short lines", "short.ndjson", [wc, summary, *duck, *slow[:1]], [*base, "synctop"])
table("progress lines", "progress.ndjson", [wc, summary, *duck], [*base, "synctop"])
piped = [["tee", ["PIPE", "tee"]], ["synctop tee", ["PIPE", synctop, "tee", "-q"]], ["synctop track", ["PIPE", synctop, "track"]]]
table("in a pipeline: cat FILE | ... > /dev/null", "read.ndjson", piped, ["tee"])
table("packed with zstd", "read.ndjson.zst", [summary, ["zstd -dc", ["zstd", "-dcq", "FILE"]]], ["zstd -dc"])
table("packed with gzip", "read.ndjson.gz", [summary, ["gzip -dc", ["gzip", "-dc", "FILE"]]], ["gzip -dc"])
PYTHON
