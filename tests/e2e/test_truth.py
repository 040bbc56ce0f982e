# SPDX-License-Identifier: MIT
"""weir's percentiles against those of the server and of the client, of the same requests."""
import pytest

from truth import (PHASES, RANKS, add, count, littles_law, mean, open_loop, quantile, settle,
                   total_of, weirs)

# Two clocks are read one after the other, and buckets are 3.2 % wide: so much may a quantile
# that must not be above another one be above it, and 1 % of the requests may be out of order.
SLACK, SLACK_US, SLACK_RANK = 1.04, 100, 0.01


@pytest.fixture(name="run")
def run_fixture(weir, app):
    """Two worlds behind one listener: quick with a tail, and slow with a queue at the server."""
    a, b = app(1, "service=3ms,dist=exp", name="a"), app(1, "service=8ms,workers=4", name="b")
    daemon = weir(routes=[{"name": "quick", "match": {"path": "/a"}, "pool": "app"},
                          {"name": "slow", "match": {"path": "/b"}, "pool": "other"}],
                  pools={"app": {"backends": a.addresses}, "other": {"backends": b.addresses}})
    worlds = []
    for pool, path, server, route, rate in (("app", "/a", a, "quick", 250),
                                            ("other", "/b", b, "slow", 300)):
        client = open_loop(daemon, rate, 3, path)
        assert client["errors"] == 0 and client["skipped"] == 0 and client["ok"] > 500, client
        settle(daemon, pool, client["ok"])
        for in_flight, product in littles_law(daemon, pool).values():
            assert product > 0.1 and abs(in_flight - product) <= 0.05 * in_flight, pool
        worlds.append((pool, route, client, server.stats()["took"]))
    return daemon, worlds


def not_above(low, high, what):
    assert count(low) == count(high), what
    for q in RANKS:
        below, above = quantile(low, q), quantile(high, min(1, q + SLACK_RANK))
        assert below <= above * SLACK + SLACK_US, (what, q, below, above)


def phases_add_up(daemon, worlds):
    rows = [total_of(daemon, "listeners", "web")]
    for pool, route, *_ in worlds:
        rows += [total_of(daemon, "routes", route)]
        rows += [b["latency"]["start"] for b in daemon.admin.get(f"/v1/pools/{pool}")["backends"]]
    assert len(rows) == 5
    for row in rows:
        total, parts = mean(row, "total"), sum(mean(row, phase) for phase in PHASES)
        assert total > 1000 and abs(parts - total) <= 0.01 * total, row


def test_server_then_weir_then_client_and_all_adds_up(run):
    daemon, worlds = run
    for pool, route, client, took in worlds:
        backend = daemon.backends(pool)
        name = next(iter(backend))
        for scope in (None, name):
            wait, total = (weirs(daemon, pool, phase, scope) for phase in ("wait", "total"))
            not_above(took, wait, (pool, scope, "server", "wait"))
            not_above(wait, total, (pool, scope, "wait", "total"))
            not_above(total, client["buckets"], (pool, scope, "total", "client"))
        # a route, and the quantiles that are reported: those of the same buckets
        for row in (backend[name]["latency"]["start"], total_of(daemon, "routes", route)):
            for phase in ("wait", "total"):
                buckets = weirs(daemon, pool, phase)
                assert row[phase]["n"] == count(buckets) == client["ok"]
                for key, q in (("p50_us", 0.5), ("p90_us", 0.9), ("p99_us", 0.99)):
                    assert abs(row[phase][key] - quantile(buckets, q)) <= 1, (route, phase, key)
    # the listener saw both worlds
    row = total_of(daemon, "listeners", "web")["total"]
    both = add(*(weirs(daemon, pool, "total") for pool, *_ in worlds))
    assert row["n"] == count(both)
    assert abs(row["p99_us"] - quantile(both, 0.99)) <= 1
    phases_add_up(daemon, worlds)
