# SPDX-License-Identifier: MIT
"""Pins that one weir has learned are known to the other, by way of a real Redis."""
import re
import signal
import subprocess
import time

import pytest

from backends import SOURCE
from test_cluster import node, nodes, others, problems, redis  # noqa: F401, pylint: disable=unused-import
from wire import wait_for


@pytest.fixture
def apps(scripted):
    """Three that give out sessions of their own, and keep those of others."""
    def session_server(letter):
        n = [0]

        def handler(peer):
            while request := peer.request():
                new = "SID" not in (request.get("Cookie") or "")
                n[0] += new
                peer.respond(headers=[("Set-Cookie", f"SID={letter}{n[0]}")] if new else [],
                             body=letter.encode())
        return scripted(handler)
    return [session_server(letter) for letter in "xyz"]


@pytest.fixture
def start(node, apps):  # noqa: F811
    def begin(name, server, **sticky):
        return node(name, server, [{"name": n, "address": a.address} for n, a in zip("xyz", apps)],
                    pool={"balance": "round-robin",
                          "sticky": {"learn": "SID", "shared": "on", **sticky}})
    return begin


def sessions(daemon, n):
    """n new sessions: cookie to the letter of who gave it."""
    answers = [daemon.ask() for _ in range(n)]
    return {a.get("Set-Cookie"): a.body.decode() for a in answers}


def served(daemon, cookie):
    return daemon.ask(headers=[("Cookie", cookie)]).body.decode()


def all_kept(daemon, given):
    return all(served(daemon, cookie) == letter for cookie, letter in given.items())


def heard(daemon, n):
    wait_for(lambda: daemon.admin.get("/v1/status")["shared"]["pins_heard"] >= n, 15, f"{n} pins")


def test_a_session_goes_on_at_the_other_node(start, redis):  # noqa: F811
    server = redis()
    a, b = start("a", server), start("b", server)
    wait_for(lambda: others(a) == ["b"] and others(b) == ["a"], 15, "both know each other")
    of_a, of_b = sessions(a, 12), sessions(b, 9)
    assert set(of_a.values()) == set("xyz")
    heard(a, 21)  # its own come back as well
    heard(b, 21)
    for daemon in (a, b):
        assert all_kept(daemon, of_a) and all_kept(daemon, of_b)
    # hashes, not sessions
    stored = server.cli("--no-raw", "XRANGE", "{weir}:pins", "-", "+")
    assert "app" in stored and not [c for c in of_a if c.partition("=")[2] + '"' in stored]
    assert int(server.cli("PTTL", "{weir}:pins")) > 0
    rows = in_metrics(a)
    assert rows["told"] >= 12 and rows["heard"] >= 21 and rows["lost"] == rows["unread"] == 0, rows


def in_metrics(daemon):
    """The counters of pins; all that is shared has a sentence, and is named in the guide."""
    text = daemon.admin.call("GET", "/metrics").body
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
                          timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
    rows = daemon.admin.metrics()
    guide = (SOURCE / "man" / "guide" / "several.md").read_text()
    named = set(re.findall(r"weir_shared_[a-z_]+", guide))
    assert named == {name for name in rows if name.startswith("weir_shared_")}
    return {k: rows[f"weir_shared_pins_{k}_total"] for k in ("told", "heard", "lost", "unread")}


def test_who_starts_later_knows_the_sessions(start, redis):  # noqa: F811
    server = redis()
    a = start("a", server)
    wait_for(lambda: nodes(a)["connected"], 15, "a connection")
    given = sessions(a, 9)
    heard(a, 9)
    b = start("b", server)
    heard(b, 9)
    assert all_kept(b, given)


@pytest.mark.parametrize("trouble", ["killed", "flushed"])
def test_redis_down_and_back(start, redis, trouble):  # noqa: F811
    server = redis()
    a, b = start("a", server), start("b", server)
    wait_for(lambda: others(a) == ["b"] and others(b) == ["a"], 15, "both know each other")
    given = sessions(a, 6)
    heard(b, 6)
    if trouble == "killed":
        server.kill(signal.SIGKILL)
        server.wait()
        wait_for(lambda: problems(a) and problems(b), 15, "it is said")
    else:
        server.cli("FLUSHALL")
    assert all_kept(a, given) and all_kept(b, given), "each keeps what it knows"
    meanwhile = sessions(a, 6)  # told when somebody listens again
    assert all_kept(a, meanwhile)
    if trouble == "killed":
        redis(port=server.port)
    heard(b, 12)
    assert all_kept(b, meanwhile) and all_kept(b, given)


def test_drained_at_all_nodes(start, redis):  # noqa: F811
    """weirctl --all drain: sessions stay, new ones go elsewhere, at both nodes."""
    server = redis()
    a, b = start("a", server), start("b", server)
    wait_for(lambda: others(a) == ["b"] and others(b) == ["a"], 15, "both know each other")
    given = sessions(a, 6)
    heard(b, 6)
    for daemon in (a, b):  # as weirctl --all does, which test_nodes.py tries
        daemon.ctl("drain", "app/x", check=0)
    assert all_kept(b, given)
    assert "x" not in sessions(b, 6).values()


def test_another_backend_is_told(start, redis):  # noqa: F811
    """The pin of a session that has moved moves at the other node, too."""
    server = redis()
    a, b = start("a", server), start("b", server)
    wait_for(lambda: others(a) == ["b"] and others(b) == ["a"], 15, "both know each other")
    cookie, letter = next(iter(sessions(a, 1).items()))
    heard(b, 1)
    a.ctl("maintenance", f"app/{letter}", check=0)
    moved = served(a, cookie)
    assert moved != letter
    heard(b, 2)
    assert served(b, cookie) == moved


def test_what_is_told_late_is_no_younger(start, redis):  # noqa: F811
    """A session moves at both nodes while Redis is away: whoever tells last does not win by it."""
    server = redis()
    a, b = start("a", server), start("b", server)
    wait_for(lambda: others(a) == ["b"] and others(b) == ["a"], 15, "both know each other")
    cookie, first = next(iter(sessions(a, 1).items()))
    heard(b, 1)
    server.kill(signal.SIGKILL)
    server.wait()
    a.ctl("maintenance", f"app/{first}", check=0)
    early, moved_at = served(a, cookie), time.monotonic()
    wait_for(lambda: time.monotonic() > moved_at + 3, 15, "seconds tell the two apart")
    for letter in (first, early):
        b.ctl("maintenance", f"app/{letter}", check=0)
    late = served(b, cookie)
    assert len({first, early, late}) == 3
    b.ctl("enable", f"app/{early}", check=0)
    a.kill(signal.SIGSTOP)
    try:
        server = redis(port=server.port)
        wait_for(lambda: server.cli("XLEN", "{weir}:pins") == "1", 15, "b tells")
    finally:
        a.kill(signal.SIGCONT)
    wait_for(lambda: server.cli("XLEN", "{weir}:pins") == "2", 15, "a tells")
    heard(a, 3)
    heard(b, 3)
    assert (served(b, cookie), served(a, cookie)) == (late, late)


def test_mistakes_are_said(weir, scripted):
    a = weir([scripted().address])
    pool = {"backends": ["127.0.0.1:1"]}
    for sticky, said in [({"learn": "SID", "shared": "on"}, "sticky.shared needs 'shared"),
                         ({"shared": "on"}, "is about 'learn'")]:
        conf = {**a.conf, "pools": {"app": {**pool, "sticky": sticky}}}
        assert said in str(a.reload(conf, status=422)), sticky
