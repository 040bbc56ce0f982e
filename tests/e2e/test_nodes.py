# SPDX-License-Identifier: MIT
"""Several weirs in one picture: weirctl --nodes, and changed at once: weirctl --all."""
import json
import subprocess

import pytest

from backends import binary, free_port, refused_address
from terminal import Terminal
from test_cluster import node, others, redis  # noqa: F401, pylint: disable=unused-import
from wire import wait_for


def ctl(*args, check=0):
    done = subprocess.run([binary("weirctl"), *args], capture_output=True, text=True, timeout=30,
                          check=False)
    assert done.returncode == check, done
    return done


def status_of(daemon):
    return daemon.conf["status"]["bind"]


@pytest.fixture
def pair(weir, app, tmp_path):
    """Two weirs before the same two backends; the first has a token, too."""
    backends = app(2)
    token = tmp_path / "token"
    token.write_text("sesame-open-the-door\n")
    token.chmod(0o600)
    rows = [{"address": x, "name": n} for x, n in zip(backends.addresses, "ab")]

    def start(**status):
        return weir(rows, status={"bind": f"127.0.0.1:{free_port()}", **status})
    both = start(token_file=str(token)), start()
    for each in both:
        each.token = str(token)
    return both


def buckets_of(*daemons):
    sums = {}
    for daemon in daemons:
        answer = daemon.admin.get("/v1/pools/app/histogram?window=start")
        for lower, count in answer["buckets"]:
            sums[lower] = sums.get(lower, 0) + count
    return sums


def quantile(buckets, q):
    rank, seen = q * sum(buckets.values()), 0
    for lower, count in sorted(buckets.items()):
        seen += count
        if seen >= rank - 1e-9:
            return lower
    return None


def test_one_picture_of_unlike_nodes(pair):
    """60 fast requests here, 20 slow ones there: no mean of two medians is the median of all."""
    one, two = pair
    for _ in range(60):
        one.ask(target="/?service=1ms")
    for _ in range(20):
        two.ask(target="/?service=60ms")
    nodes = f"{status_of(one)},{status_of(two)}"
    # what is recorded is folded once a second
    wait_for(lambda: sum(buckets_of(one, two).values()) == 80, 15, "all are in the windows")
    answer = json.loads(ctl("--json", "--nodes", nodes, "pools").stdout)
    pool, = answer["pools"]
    total = pool["latency"]["start"]["total"]
    assert answer["fleet"] == {"answered": nodes.split(","), "missing": []}
    assert total["n"] == 80 and sum(b["requests"] for b in pool["backends"]) == 80
    union = buckets_of(one, two)
    for key, q in [("p50_us", 0.5), ("p90_us", 0.9), ("p99_us", 0.99)]:
        lower = quantile(union, q)
        assert lower <= total[key] <= lower * 1.04 + 1, (key, lower, total)
    assert total["p50_us"] < 30000 < 60000 <= total["p90_us"], total
    maxima = [d.admin.get("/v1/pools/app")["latency"]["start"]["total"]["max_us"] for d in pair]
    assert total["max_us"] == max(maxima)
    histogram = json.loads(ctl("--json", "--nodes", nodes, "histogram", "app", "--window",
                               "start").stdout)
    assert {a: b for a, b in histogram["buckets"]} == union and histogram["n"] == 80
    out = ctl("--nodes", nodes, "pools").stdout
    assert f"at {status_of(one)}" in out and f"at {status_of(two)}" in out, out
    rows = [line.split() for line in ctl("--nodes", nodes, "backends").stdout.splitlines()]
    assert sum(int(row[9]) for row in rows[1:3]) == 80, rows


def test_who_does_not_answer_is_said_and_the_rest_is_shown(pair):
    one, _ = pair
    nobody = refused_address()
    done = ctl("--nodes", f"{status_of(one)},{nobody}", "pools", check=3)
    assert "app" in done.stdout and "2/2" in done.stdout, done
    assert f"{nobody} is not among these" in done.stdout and "refused" in done.stdout, done
    answer = json.loads(ctl("--json", "--nodes", f"{nobody},{status_of(one)}", "pools",
                            check=3).stdout)
    assert answer["fleet"]["answered"] == [status_of(one)]
    assert nobody in answer["fleet"]["missing"][0] and len(answer["fleet"]["missing"]) == 1
    done = ctl("--nodes", nobody, "pools", check=3)
    assert not done.stdout and "refused" in done.stderr, done
    done = ctl("--nodes", f"{status_of(one)},{nobody}", "status", check=3)
    assert "generation" in done.stdout and "refused" in done.stdout, done


def test_a_backend_that_is_not_up_everywhere(pair):
    one, two = pair
    two.ctl("drain", "app/a", check=0)
    out = ctl("--nodes", f"{status_of(one)},{status_of(two)}", "pools").stdout
    assert f"at {status_of(two)}: " in out and "draining" in out, out
    assert "1/2" in out.splitlines()[1], out


def test_all_changes_each_and_says_what_happened(pair):
    one, two = pair
    nodes = ("--nodes", f"{status_of(one)},{status_of(two)}")
    done = ctl(*nodes, "--all", "--token-file", one.token, "drain", "app/a", check=1)
    assert "token_file" in done.stdout and "not every node" in done.stderr, done
    assert one.backends()["a"]["state"] == "draining" and two.backends()["a"]["state"] == "up"
    two.conf["status"]["token_file"] = one.token
    two.reload(two.conf)
    done = ctl(*nodes, "--all", "--token-file", one.token, "drain", "app/a")
    assert two.backends()["a"]["state"] == "draining", done
    assert "nothing changed" in done.stdout
    undo = f"undo: weirctl --nodes {nodes[1]} --all --token-file {one.token} enable app/a"
    assert undo in done.stdout, done
    parts = json.loads(ctl(*nodes, "--json", "--all", "--token-file", one.token, "enable",
                           "app/a").stdout)
    assert [(p["node"], p["exit"], p["answer"]["state"]) for p in parts] == [
        (status_of(one), 0, "up"), (status_of(two), 0, "up")]


def test_shared_are_those_in_redis(node, redis, scripted):  # noqa: F811
    server, backend = redis(), scripted()
    a = node("a", server, [backend.address])
    b = node("b", server, [backend.address])
    wait_for(lambda: others(a) == ["b"], 15, "a has heard of b")
    b.ask()
    a.ask()
    answer = json.loads(ctl("-s", a.sock, "--json", "--nodes", "shared", "pools").stdout)
    assert answer["fleet"]["answered"] == ["a", "b"]
    assert answer["pools"][0]["backends"][0]["requests"] == 2
    assert [row["node"] for row in answer["pools"][0]["nodes"]] == ["a", "b"]
    # this one by its socket, where everything may be done; the other one wants a token
    done = ctl("-s", a.sock, "--all", "drain", f"app/{backend.address}", check=1)
    assert "token_file" in done.stdout, done
    assert list(a.backends().values())[0]["state"] == "draining"


def test_shared_without_redis(pair):
    done = ctl("-s", pair[0].sock, "--nodes", "shared", "pools", check=1)
    assert "shares with nobody" in done.stderr


@pytest.mark.parametrize("args, said", [
    (("--nodes", "a:1", "drain", "app/a"), "--all"),
    (("--all", "pools"), "changes nothing"),
    (("--nodes", "host", "pools"), "HOST:PORT"),
    (("--nodes", ",", "pools"), "names nobody"),
    (("--nodes", "a:1", "events", "-f"), "no -f"),
    (("--all", "--nodes", "a:1", "--token-file", "/nonexistent", "reload"), "/nonexistent"),
], ids=lambda x: "" if isinstance(x, tuple) else x)
def test_mistakes(args, said):
    assert said in ctl(*args, check=2).stderr


def test_top_of_two(pair, tmp_path):
    one, two = pair
    nobody = refused_address()
    nodes = f"{status_of(one)},{status_of(two)},{nobody}"
    terminal = Terminal(tmp_path, [binary("weirctl"), "--nodes", nodes, "top"])
    try:
        screen = terminal.until("2/2 up")
        assert "[read-only]" in screen and nobody in screen, screen
        terminal.keys("j", "d")
        terminal.until("weirctl --all")
    finally:
        terminal.stop()
