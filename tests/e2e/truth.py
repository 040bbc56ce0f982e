# SPDX-License-Identifier: MIT
"""Three instruments at one traffic: the app's own clock, weir's, and an open-loop client's.

Each request passes them nested: what the server took is within weir's `wait`, that within `total`,
that within what the client saw.  So at every rank server <= wait <= total <= client: a law of
counts, on whatever machine; and where client and server agree, weir's numbers have nowhere to go.
"""
import json
import subprocess

from backends import binary
from wire import wait_for

PHASES = ("queue", "connect", "wait", "transfer", "client", "self")
RANKS = (0.5, 0.9, 0.99)


def open_loop(daemon, rate, seconds, path="/", seed=1):
    argv = [binary("weir-load"), "--target", f"127.0.0.1:{daemon.port}", "--rate", str(rate),
            "--seconds", f"{seconds}s", "--path", path, "--seed", str(seed), "--buckets"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout.splitlines()[-1])


def middle(lower):
    """Of the bucket that starts at `lower` us: 32 to each power of two."""
    return lower if lower < 64 else lower + (1 << (lower.bit_length() - 6)) / 2


def add(*histograms):
    sums = {}
    for histogram in histograms:
        for lower, count in histogram:
            sums[lower] = sums.get(lower, 0) + count
    return sorted(sums.items())


def count(buckets):
    return sum(n for _, n in buckets)


def quantile(buckets, q):
    rank, seen = max(1, q * count(buckets)), 0
    for lower, n in sorted(buckets):
        seen += n
        if seen >= rank:
            return middle(lower)
    return 0


def weirs(daemon, pool, phase, backend=None):
    where = f"/v1/pools/{pool}/histogram?window=start&phase={phase}"
    return daemon.admin.get(where + (f"&backend={backend}" if backend else ""))["buckets"]


def settle(daemon, pool, n):
    wait_for(lambda: count(weirs(daemon, pool, "total")) == n, 30, f"{n} samples of {pool}")


def littles_law(daemon, pool):
    """{backend: (mean number in flight, rate x time)} of the last ten seconds: two instruments."""
    rows = daemon.admin.get(f"/v1/pools/{pool}/scaling")["backends"]
    return {row["name"]: (row["littles_law"]["in_flight"], row["littles_law"]["rate_times_time"])
            for row in rows}


def total_of(daemon, kind, name):
    rows = {row["name"]: row for row in daemon.admin.get("/v1/latency")[kind]}
    return rows[name]["latency"]["start"]


def mean(row, phase):
    return row[phase]["mean_us"]
