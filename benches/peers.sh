#!/usr/bin/env bash
# Time of synctop beside other programs that read the same log: runs interleaved in rounds, medians,
# ratios paired by round. Prints which goals are met.
#
#   benches/peers.sh [ROUNDS]       SIZE=1GB SHORT=300MB KEEP=folder
#   ALL=1                           also jq, mlr and Node, which take minutes
#   SYNCTOP=binary                  measures that binary, such as the one of scripts/release-build
#   BEFORE=binary                   measures another one in the same rounds
#
# Finds or installs the peers (jq, miller, zstd, simdjson by apt-get when root; duckdb by pip into the
# folder). Logs come from `synctop simulate` and, where the recordings stand beside the clone, from
# some of them repeated. Files are in the page cache: each is read once before.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5}
folder=${KEEP:-$(mktemp -d)}
mkdir -p "$folder"
[ -n "${KEEP:-}" ] || trap 'rm -rf "$folder"' EXIT
[ -n "${SYNCTOP:-}" ] || cargo build --release --quiet
synctop=${SYNCTOP:-${CARGO_TARGET_DIR:-$PWD/target}/release/synctop}

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    missing=()
    command -v jq >/dev/null || missing+=(jq)
    command -v mlr >/dev/null || missing+=(miller)
    command -v zstd >/dev/null || missing+=(zstd)
    [ -e /usr/include/simdjson.h ] || missing+=(libsimdjson-dev g++)
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
corpus=../shared/corpus
repeat() { for _ in $(seq "$1"); do "${@:2}"; done; }
recorded() { [ ! -e "${*: -1}" ] || log "$@"; }
recorded progress.ndjson repeat 5 zstd -dcq $corpus/stripe-progress/03b-large-pipeline_sync.ndjson.zst
recorded recording.ndjson repeat 3 zstd -dcq $corpus/stripe-trace/03-large-pipeline_read.ndjson.zst
recorded singer.ndjson repeat 2 zstd -dcq $corpus/singer/sdk-tap-big.ndjson.zst
# Without its last line, which is cut.
recorded airbyte.ndjson repeat 304 sed '$d' $corpus/airbyte/faker-read-truncated.ndjson
log read.ndjson.zst zstd -3 -cq "$folder/read.ndjson"
! command -v pzstd >/dev/null || log frames.ndjson.zst pzstd -3 -cq "$folder/read.ndjson"
log read.ndjson.gz gzip -6 -c "$folder/read.ndjson"
simdjson=$folder/simdjson_many
[ -x "$simdjson" ] || c++ -O3 -o "$simdjson" benches/peers/simdjson_many.cpp -lsimdjson || simdjson=

"${python:-python3}" - "$rounds" "$folder" "$synctop" "$python" "${ALL:-}" "$simdjson" "${BEFORE:-}" <<'PYTHON'
import os, resource, statistics, subprocess, sys, time

rounds, (folder, synctop, python, everything, simdjson, before) = int(sys.argv[1]), sys.argv[2:8]
null = open(os.devnull, "wb")
goals = []

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

def table(title, file, peers, base, *wanted):
    """Prints the times of the peers. `wanted`: goals, each a bound of synctop's wall or CPU time in that of a peer."""
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
        print(f"| {name:34} | {wall:.3f} | {cpu:.3f} | {memory:.0f} | {' | '.join(shares)} |", flush=True)
    for measure, peer, bound in wanted:
        if peer in taken:
            at = ["wall", "CPU"].index(measure)
            found = statistics.median(a[at] / max(b[at], 1e-3) for a, b in zip(taken["synctop"], taken[peer]))
            goals.append((found <= bound, f"{title}: {measure} {found:.2f} of {peer}, goal {bound:.3g}"))

summary = ["synctop", [synctop, "summary", "-q", "FILE"]]
earlier = [["synctop before", [before, "summary", "-q", "FILE"]]] if before else []
wc = ["wc -l", ["wc", "-l", "FILE"]]
duck = [[f"duckdb, {threads} threads", [python, "benches/peers/duckdb_summary.py", "FILE", str(threads), str(16 << 20)]] for threads in (1, 2)] if python else []
many = [["simdjson, parse_many", [simdjson, "FILE"]]] if simdjson else []
slow = []
if everything:
    slow = [
        ["node", ["node", "benches/peers/node.mjs", "FILE"]],
        ["jq", ["jq", "-nc", 'reduce (inputs|select(.type=="record").record.stream) as $s ({}; .[$s]+=1)', "FILE"]],
        ["mlr", ["mlr", "-S", "--ijsonl", "--ojsonl", "--no-auto-flatten", "put", "-q", 'if($type=="record"){@c[$record["stream"]]+=1} end{emit @c}', "FILE"]],
    ]
base = ["wc -l", "duckdb, 2 threads"]
both = [*base, "synctop"]
pipe = ["synctop, from a pipe", ["PIPE", synctop, "summary", "-q", "-"]]
index = ["synctop, index", [synctop, "summary", "-q", "--at", "end", "FILE"]]
d2 = "duckdb, 2 threads"
table("records, every line validated", "read.ndjson", [wc, summary, *earlier, pipe, index, *duck, *many, *slow], both,
      ("wall", "wc -l", 2.2), ("wall", d2, 0.42), ("CPU", "simdjson, parse_many", 1 / 0.95))
table("records, a recording", "recording.ndjson", [wc, summary, *earlier, *duck, *many], both, ("wall", "wc -l", 1.7), ("wall", d2, 0.33))
table("short lines", "short.ndjson", [wc, summary, *earlier, *duck, *slow[:1]], both, ("wall", d2, 0.55))
table("progress lines", "progress.ndjson", [wc, summary, *earlier, *duck], both, ("wall", "wc -l", 1.8))
table("Airbyte", "airbyte.ndjson", [wc, summary, *earlier], ["wc -l"], ("wall", "wc -l", 2.4))
table("Singer", "singer.ndjson", [wc, summary, *earlier], ["wc -l"], ("wall", "wc -l", 2.6))
piped = [["tee", ["PIPE", "tee"]], ["synctop tee", ["PIPE", synctop, "tee", "-q"]], ["synctop track", ["PIPE", synctop, "track"]]]
table("in a pipeline: cat FILE | ... > /dev/null", "read.ndjson", piped, ["tee"])
zstd = ["zstd -dc", ["zstd", "-dcq", "FILE"]]
table("compressed with zstd, one frame", "read.ndjson.zst", [summary, *earlier, zstd], ["zstd -dc"], ("wall", "zstd -dc", 1.35))
table("compressed with pzstd, many frames", "frames.ndjson.zst", [summary, *earlier, zstd], ["zstd -dc"], ("wall", "zstd -dc", 0.8))
table("compressed with gzip", "read.ndjson.gz", [summary, *earlier, ["gzip -dc", ["gzip", "-dc", "FILE"]]], ["gzip -dc"])
print("\ngoals")
for met, text in goals:
    print(f"{'met    ' if met else 'NOT MET'}  {text}")
PYTHON
