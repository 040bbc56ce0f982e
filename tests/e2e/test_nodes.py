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
    # what is told is the middle of a bucket, which may begin below 60 ms
    assert total["p50_us"] < 30000 < 59000 <= total["p90_us"], total
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


# ---- by way of one node, and the dashboard ----

@pytest.fixture
def trio(node, redis, app):  # noqa: F811
    """Three that share, before the same two backends; the last has no status.bind."""
    server, backends = redis(), app(2)
    rows = [{"address": x, "name": n} for x, n in zip(backends.addresses, ("app1", "app2"))]
    daemons = [node(name, server, rows) for name in "abc"]
    for daemon in daemons:
        daemon.fd_check = False  # connections between them are kept for a while
    del daemons[2].conf["status"]["bind"]
    daemons[2].reload(daemons[2].conf)
    for daemon, known in zip(daemons, (["b", "c"], ["a", "c"], ["a", "b"])):
        wait_for(lambda d=daemon, k=known: others(d) == k, 15, "all know each other")
    wait_for(lambda: [row["status"] for row in daemons[0].admin.get("/v1/nodes")["others"]][1] is None,
             15, "c has no status")
    return daemons


def test_a_node_asks_another_one(trio):
    a, b, _ = trio
    for _ in range(7):
        b.ask()
    wait_for(lambda: sum(n for _, n in b.admin.get(
        "/v1/pools/app/histogram?window=start")["buckets"]) == 7, 15, "b's windows")
    snapshot = a.admin.get("/v1/nodes/b/snapshot?buckets=10s")
    assert snapshot["shared"]["node"] == "b"
    assert sum(row["requests"] for row in snapshot["pools"][0]["backends"]) == 7
    assert sum(n for _, n in snapshot["pools"][0]["buckets"]) == snapshot["pools"][0]["n"]
    for path in ("pools/app/histogram?window=start&phase=total", "pools/app/slow?limit=5"):
        assert a.admin.get(f"/v1/nodes/b/{path}") == b.admin.get(f"/v1/{path}")
    assert a.admin.get("/v1/nodes/b/pools/app/scaling")["pool"] == "app"
    assert a.admin.get("/v1/nodes/b/history?pool=app&seconds=5")["rows"]
    for path, status, said in [("b/pools/none/slow", 404, "no pool 'none'"),
                               ("b/snapshot?buckets=1m", 400, "10s"), ("b/config", 404, ""),
                               ("c/snapshot", 502, "no status.bind"), ("a/snapshot", 404, "no other"),
                               ("x/snapshot", 404, "no other node 'x'")]:
        answer = a.admin.call("GET", f"/v1/nodes/{path}")
        assert answer.status == status and said in answer.json()["error"], (path, answer.json())


def test_a_node_that_wants_a_password_gets_none(trio, tmp_path):
    a, b, _ = trio
    users = tmp_path / "users"
    users.write_text("me:$2y$05$abcdefghijklmnopqrstuuC9mBrPkqVh9Vbs0kPAYqxJ0gZ0mGWKy\n")
    b.conf["status"]["auth"] = {"basic": {"file": str(users)}}
    b.reload(b.conf)
    answer = a.admin.call("GET", "/v1/nodes/b/snapshot")
    assert answer.status == 502 and "password" in answer.json()["error"], answer.json()


def say_as_a_node(server, name, status):
    """What a node of that name would say of itself, by somebody who may write to Redis."""
    word = "\x01" + "".join(chr(len(text)) + text for text in (name, status, "1"))
    server.cli("EVAL", "local t=redis.call('TIME') "
               "redis.call('ZADD',KEYS[1],t[1]*1000+math.floor(t[2]/1000),ARGV[1]) "
               "redis.call('HSET',KEYS[2],ARGV[1],ARGV[2])", "2", "{weir}:nodes", "{weir}:presence",
               f"{name}#0", word)


@pytest.mark.parametrize("status", ["{}/secret?", "unix:/tmp/x", "x"])
def test_a_node_says_no_more_than_an_address(node, redis, scripted, status):  # noqa: F811
    server, victim = redis(), scripted()
    a = node("a", server, [refused_address()])
    wait_for(lambda: a.admin.get("/v1/status")["shared"]["connected"], 15, "Redis is there")

    def answer():
        say_as_a_node(server, "evil", status.format(victim.address))
        return a.admin.call("GET", "/v1/nodes/evil/snapshot")
    wait_for(lambda: answer().status == 502, 15, "a has heard of it")
    assert "says no address" in answer().json()["error"], answer().json()
    assert victim.connections == 0


def test_the_dashboard_shows_all_nodes(trio, browser):
    a, b, _ = trio
    browser.open(f"http://{status_of(a)}/")
    browser.until("document.querySelectorAll('tr.row').length == 2")
    assert browser.js("document.getElementById('fleet').textContent") == "All nodes (3)"
    assert browser.js("document.querySelectorAll('tr.node').length") == 0
    b.ctl("drain", "app/app1", check=0)
    browser.js("document.getElementById('fleet').click()")
    browser.until("document.querySelectorAll('tr.node').length == 2")
    assert browser.js("location.search") == "?nodes=shared"
    assert browser.js("document.getElementById('about').textContent") == "2 of 3 nodes, asked by a"
    browser.until("document.getElementById('verdicts').textContent.includes('c is not among these')")
    browser.until("document.querySelector('[data-key=\"app/app1\"]').textContent.includes('at b: ')")
    # fast ones here, slow ones there: p50 and p99 are those of all of them, as weirctl has them

    def ask():
        for _ in range(6):
            a.ask(target="/?service=1ms")
        for _ in range(3):
            b.ask(target="/there?service=60ms")
        return browser.js("(p => p.n > 20 && p.p50_us < 40000 && p.p90_us > 50000 && p.nodes[1].p50_us > 50000 "
                          "&& p.n == p.nodes[0].n + p.nodes[1].n)(snap.pools[0])")
    wait_for(ask, 30, "quantiles of all")
    # details: latency of all, the rest of one at a time
    browser.js("document.querySelector(\"tr[data-key='app/app2']\").click()")
    browser.until("document.querySelector('#detail .bars') != null")
    assert browser.js("document.querySelector('#detail .head').textContent").startswith("app/app2at all nodes")
    browser.js("[...document.querySelectorAll('.tabs button')].find(b => b.textContent == 'slow').click()")
    browser.until("document.querySelector('#detail .head select') != null")
    browser.js("(s => { s.value = 'b'; s.dispatchEvent(new Event('change')); })(document.querySelector('#detail .head select'))")
    browser.until("document.querySelector('#detail .head select')?.value == 'b' && "
                  "document.querySelector('#detail tbody')?.textContent.includes('/there')")
    browser.key("Escape")
    browser.until("document.getElementById('detail').hidden && location.search == '?nodes=shared'")
    browser.js("document.getElementById('fleet').click()")
    browser.until("document.querySelectorAll('tr.node').length == 0 && location.search == ''")
    assert not [c for c in browser.complaints if "502" not in str(c)], browser.complaints


@pytest.mark.parametrize("width", [1400, 390])
def test_the_dashboard_of_all_fits(trio, browser, width):
    browser.resize(width, 900, width < 600)
    browser.open(f"http://{status_of(trio[0])}/?nodes=shared")
    browser.until("document.querySelectorAll('tr.node').length == 2")
    assert browser.js(f"document.documentElement.scrollWidth <= {width}")
    shown = ("[...document.querySelectorAll('#pools tbody tr > :last-child')].every(e => { const r = "
             "e.getBoundingClientRect(); return r.width > 40 && r.right <= innerWidth && r.left >= 0; })")
    assert browser.js(shown)


def test_a_name_reaches_no_terminal_as_it_is(node, redis, scripted):  # noqa: F811
    server, backend, nobody, seen = redis(), scripted(), refused_address(), []
    a = node("a", server, [backend.address])

    def is_missed():
        say_as_a_node(server, "li\x1b[2Jar", nobody)
        done = a.ctl("--nodes", "shared", "pools")
        seen.append(done.stdout + done.stderr)
        return "ar is not among these" in seen[-1]
    wait_for(is_missed, 15, "the liar does not answer")
    assert "\x1b" not in seen[-1] and "li?[2Jar" in seen[-1], seen[-1]
