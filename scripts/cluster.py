"""Private PostgreSQL cluster and nodes of the service over it, for scripts/soak and scripts/load."""

import glob
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

UNPRIVILEGED = 65534


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Database:
    """Private cluster in a temporary folder."""

    def __init__(self):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        if not found:
            sys.exit("PostgreSQL is not installed: install the package postgresql")
        self.bin = found[-1]
        self.folder = tempfile.mkdtemp(prefix="synctop-pg")
        self.port = free_port()
        self.as_user = {}
        if os.getuid() == 0:
            os.chown(self.folder, UNPRIVILEGED, UNPRIVILEGED)
            self.as_user = {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": []}
        self.run("initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", "-U", "synctop", "-D", f"{self.folder}/data")
        self.start()
        self.psql("postgres", "CREATE DATABASE synctop")
        self.url = f"postgres://synctop@127.0.0.1:{self.port}/synctop"

    def run(self, program, *arguments):
        subprocess.run([f"{self.bin}/{program}", *arguments], check=True, stdout=subprocess.DEVNULL, cwd="/", **self.as_user)

    def start(self):
        log = open(f"{self.folder}.log", "a")
        self.child = subprocess.Popen(
            [f"{self.bin}/postgres", "-D", f"{self.folder}/data", "-p", str(self.port), "-c", "listen_addresses=127.0.0.1",
             "-c", "unix_socket_directories=", "-c", "fsync=on", "-c", "max_connections=200"],
            stdout=log, stderr=log, cwd="/", **self.as_user)
        for _ in range(600):
            if self.psql("postgres", "SELECT 1").returncode == 0:
                return
            time.sleep(0.1)
        sys.exit("the database does not start")

    def stop_immediately(self):
        self.child.send_signal(signal.SIGQUIT)
        self.child.wait()

    def psql(self, database, sql):
        return subprocess.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port), "-U", "synctop",
                               "-d", database, "-c", sql], capture_output=True, text=True)

    def query(self, sql):
        done = self.psql("synctop", sql)
        if done.returncode != 0:
            sys.exit(f"{sql}: {done.stderr}")
        return done.stdout.strip()

    def end(self):
        self.stop_immediately()
        shutil.rmtree(self.folder, ignore_errors=True)


class Node:
    """Node of the service. Each start has a folder of its own, as on another machine."""

    def __init__(self, name, binary, url, folder, options=()):
        self.name, self.binary, self.url, self.folder, self.options = name, binary, url, folder, options
        self.starts = 0
        self.start()

    def start(self):
        self.starts += 1
        self.log = open(f"{self.folder}/{self.name}.log", "a")
        self.child = subprocess.Popen(
            [self.binary, "serve", "--listen", "127.0.0.1:0", "--store", self.url, "--node-name", f"{self.name}-{self.starts}",
             "--data-dir", f"{self.folder}/{self.name}-{self.starts}", *self.options],
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.child.stdout.readline().strip()
        if not line.startswith("http://"):
            sys.exit(f"{self.name} does not start: see {self.log.name}")
        self.port = int(line.rsplit(":", 1)[1])

    def kill(self):
        self.child.kill()
        self.child.wait()

    def rss_mb(self):
        for line in open(f"/proc/{self.child.pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0


def call(port, method, path, body=None, timeout=15):
    """Returns status and body; (0, None) if there is no answer."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        connection.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, json.loads(data) if data.startswith(b"{") else data
    except (OSError, http.client.HTTPException, json.JSONDecodeError):
        return 0, None
