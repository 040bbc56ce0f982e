# SPDX-License-Identifier: MIT
"""USR2: another process takes the sockets, and no client is refused."""
import os
import signal
import socket
import threading

import pytest

from backends import can_connect, free_port
from daemon import Admin
from test_cluster import node, others, redis, words  # noqa: F401, pylint: disable=unused-import
from wire import Client, relay, request, wait_for


def status(daemon):
    try:
        return daemon.admin.get("/v1/status")
    except (OSError, AssertionError):
        return {"pid": None}


def taken_over(daemon, pid):
    """The pid of the process that answers now, once it is another."""
    return wait_for(lambda: (now := status(daemon)["pid"]) not in (None, pid) and now,
                    what="another process answers")


def is_gone(pid):
    """Nobody reaps it where the first process is not init's."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def lineage(weir):
    """weir(...), whose successors are stopped at the end."""
    started = []

    def start(*args, **kwargs):
        daemon = weir(*args, **kwargs)
        daemon.fd_check, daemon.pids = False, []
        started.append(daemon)
        return daemon
    yield start
    pids = [pid for daemon in started for pid in daemon.pids]
    for pid in pids:
        if not is_gone(pid):
            os.kill(pid, signal.SIGTERM)
    for pid in pids:
        wait_for(lambda pid=pid: is_gone(pid), what=f"the end of {pid}")


@pytest.fixture
def two(lineage, app, tmp_path):
    """A weir on TCP, a unix socket and status.bind."""
    backend = app()
    path = f"{tmp_path}/web.sock"
    conf_status = f"127.0.0.1:{free_port()}"
    daemon = lineage(backend.addresses, shutdown_timeout="20s", status={"bind": conf_status},
                     listener={"bind": [f"127.0.0.1:{free_port()}", f"unix:{path}"]})
    daemon.app, daemon.web_sock, daemon.status_bind = backend, path, conf_status
    daemon.tcp = int(daemon.conf["listeners"][0]["bind"][0].rpartition(":")[2])
    return daemon


def hand_over(daemon, pid):
    os.kill(pid, signal.SIGUSR2)
    daemon.pids.append(taken_over(daemon, pid))
    return daemon.pids[-1]


def ended(daemon):
    daemon.checked = True
    assert daemon.wait() == 0, daemon.stderr
    daemon.assert_quiet()


def ask(address):
    with Client(address) as client:
        return client.ask(headers=[("Connection", "close")]).status


class Load(threading.Thread):
    """A connection a request, until stopped; every failure is kept."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address, self.on, self.n, self.failures = address, True, 0, []
        self.start()

    def run(self):
        while self.on:
            try:
                assert ask(self.address) == 200
                self.n += 1
            except Exception as error:  # noqa: BLE001: whatever it is, it is counted
                self.failures.append(repr(error))

    def end(self):
        self.on = False
        self.join(30)
        return self.failures


def test_nobody_is_refused(two):
    loads = [Load(two.tcp), Load(two.tcp), Load(two.web_sock)]
    wait_for(lambda: all(load.n > 20 for load in loads))
    first = hand_over(two, two.pid)
    ended(two)
    before = [load.n for load in loads]
    wait_for(lambda: all(load.n > n + 20 for load, n in zip(loads, before)))
    second = hand_over(two, first)  # and it can do the same
    wait_for(lambda: is_gone(first), what="the end of the second process")
    before = [load.n for load in loads]
    wait_for(lambda: all(load.n > n + 20 for load, n in zip(loads, before)))
    assert [load.end() for load in loads] == [[], [], []]
    assert status(two)["pid"] == second
    assert Admin(int(two.status_bind.rpartition(":")[2])).call("GET", "/v1/pools").status == 200
    two.says(f"process {first} has taken over")


def test_what_is_under_way_is_finished(two):
    client = Client(two.tcp)
    client.send(request(target="/?hang=1"))
    wait_for(lambda: two.app.stats()["in_progress"] == 1)
    hand_over(two, two.pid)
    two.says("draining: no new connections")  # the other one answers before this one hears of it
    assert two.alive(), "it waits for the exchange"
    two.app.go()
    response = client.response()
    assert response.status == 200 and response.get("Connection") == "close"
    client.close()
    ended(two)
    two.says("1 request ended here after the hand-over")
    assert ask(two.tcp) == 200
    assert os.path.exists(two.web_sock) and ask(two.web_sock) == 200


@pytest.mark.parametrize("name", ["b", "auto"])
def test_other_nodes_see_one_node(lineage, node, redis, scripted, name):  # noqa: F811
    """What both processes have in flight counts, under one name; the old one's end is no riddle."""
    asked, go_on = threading.Event(), threading.Event()

    def handler(peer):
        peer.request()
        asked.set()
        go_on.wait(120)
        peer.respond()
    server, backend = redis(), scripted(handler)
    a = node("a", server, [backend.address])
    b = lineage([backend.address], shutdown_timeout="120s",
                status={"bind": f"127.0.0.1:{free_port()}"},
                shared={"redis": {"address": server.address}, "node": name})
    name = b.admin.get("/v1/nodes")["node"]
    wait_for(lambda: others(a) == [name], 15, "b is known")
    with b.connect() as client:
        client.send(request())
        assert asked.wait(30)
        hand_over(b, b.pid)
        wait_for(lambda: words(server) == [True] * 3, 15, "both processes speak")
        wait_for(lambda: others(a) == [name] and a.admin.get("/v1/nodes")["others"][0]["in_flight"] > 0.9, 15,
                 "what the old one has")
        assert others(b) == ["a"] and b.admin.get("/v1/nodes")["node"] == name
        go_on.set()
        assert client.response().status == 200
    ended(b)
    wait_for(lambda: words(server) in ([False, True, True], [True, True]), 15, "a goodbye of the old one")
    assert others(a) == [name]


class Turnstile(threading.Thread):
    """A way to a server, for new connections while it is open."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.opened = server, threading.Event()
        self.opened.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.carry, args=(near,), daemon=True).start()

    def carry(self, near):
        self.opened.wait(120)
        far = socket.create_connection(("127.0.0.1", self.server.port))
        back = threading.Thread(target=relay, args=(far, near), daemon=True)
        back.start()
        relay(near, far)
        back.join()
        near.close()
        far.close()

    def end(self):
        self.opened.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def test_an_idle_node_is_not_missed_in_between(lineage, node, redis, scripted):  # noqa: F811
    """The old process ends before the new one has spoken: no goodbye, the node is still there."""
    server, backend = redis(), scripted()
    gate = Turnstile(server)
    try:
        a = node("a", server, [backend.address])
        b = lineage([backend.address], status={"bind": f"127.0.0.1:{free_port()}"},
                    shared={"redis": {"address": gate.address}, "node": "b"})
        wait_for(lambda: others(a) == ["b"], 15, "b is known")
        gate.opened.clear()
        hand_over(b, b.pid)
        ended(b)
        assert False not in words(server), "a goodbye, and nobody is there"
        gate.opened.set()
        wait_for(lambda: b.admin.get("/v1/nodes")["connected"], 15, "the new one is there")
        wait_for(lambda: others(a) == ["b"] and others(b) == ["a"], 15, "both know each other")
    finally:
        gate.end()


def test_the_new_process_reads_the_file(two):
    """An address that is new is bound, one that is gone refuses."""
    port = free_port()
    conf = {**two.conf, "workers": 1}
    conf["listeners"] = [{"name": "web", "bind": [f"127.0.0.1:{port}", f"unix:{two.web_sock}"]}]
    two.write(conf)
    hand_over(two, two.pid)
    ended(two)
    assert ask(port) == 200 and ask(two.web_sock) == 200
    with pytest.raises(ConnectionError):
        Client(two.tcp)
    assert len(status(two)["workers"]) == 1


@pytest.mark.parametrize("break_it", ["pools: {", "bind"])
def test_a_failed_hand_over_changes_nothing(two, break_it):
    """Whether it fails before or after it has got the sockets."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        conf = {**two.conf}
        conf["listeners"] = [*conf["listeners"],
                             {"name": "other", "bind": f"127.0.0.1:{other.getsockname()[1]}"}]
        two.write(conf if break_it == "bind" else break_it)
        os.kill(two.pid, signal.SIGUSR2)
        wait_for(lambda: "hand-over failed, this process goes on: the new process ended before "
                 "it was ready: exit code 1" in two.stderr)
    assert ask(two.tcp) == 200 and ask(two.web_sock) == 200
    assert status(two)["pid"] == two.pid
    assert Admin(int(two.status_bind.rpartition(":")[2])).call("GET", "/v1/pools").status == 200
    two.write(two.conf)  # and the next one is well
    hand_over(two, two.pid)
    ended(two)
    assert ask(two.tcp) == 200


def test_the_stop_ends_a_hand_over_under_way(two):
    """The new process hangs on its configuration, a fifo that nobody writes."""
    two.conf_path.unlink()
    os.mkfifo(two.conf_path)
    os.kill(two.pid, signal.SIGUSR2)
    wait_for(lambda: "handing over to process" in two.stderr)
    os.kill(two.pid, signal.SIGUSR2)
    wait_for(lambda: "no hand-over now" in two.stderr)
    assert ask(two.tcp) == 200
    pid = int(two.stderr.partition("handing over to process ")[2].split()[0])
    os.kill(two.pid, signal.SIGTERM)
    assert two.wait() == 0
    assert is_gone(pid)
    two.says("this process was told to stop")
    two.checked = True


def test_what_was_learned_is_handed_over(lineage, app):
    """Counters never fall, windows and history go on, pins and changes at run time hold."""
    backend = app(3, overrides=["1:service=40ms"])
    rows = [{"name": f"web{i}", "address": a} for i, a in enumerate(backend.addresses)]
    daemon = lineage(rows, pool={"sticky": {}, "balance": "peak-ewma"})
    daemon.ctl("drain", "app/web2", check=0)
    daemon.ctl("weight", "app/web0", "7", check=0)
    cookies = [daemon.ask().get("Set-Cookie").partition(";")[0] for _ in range(30)]
    rows = wait_for(lambda: daemon.admin.get("/v1/history?pool=app")["rows"])
    before = daemon.admin.metrics()
    events = daemon.admin.get("/v1/events")["events"]
    keeps = Client(daemon.sock)  # as a scraper has: it never gets older numbers again
    assert keeps.ask("GET", "/v1/status", host="weir").status == 200
    hand_over(daemon, daemon.pid)
    after = daemon.admin.metrics()
    fallen = {k: (v, after.get(k)) for k, v in before.items()
              if ("_total" in k or "_count" in k or "_bucket" in k) and not
              k.startswith("process_") and v > after.get(k, 0)}
    assert not fallen, fallen
    keeps.close()
    ended(daemon)
    pool = daemon.admin.get("/v1/pools/app")
    assert sum(row["requests"] for row in pool["backends"]) == 30
    assert pool["latency"]["start"]["total"]["n"] == 30
    assert daemon.admin.get("/v1/history?pool=app")["rows"][:len(rows)] == rows
    state = {row["name"]: (row["state"], row["weight"]) for row in pool["backends"]}
    assert state == {"web0": ("up", 7), "web1": ("up", 1), "web2": ("draining", 1)}
    assert len(daemon.admin.get("/v1/runtime")["changes"]) == 2
    now = daemon.admin.get("/v1/events")["events"]
    assert now[:len(events)] == events
    with Client(daemon.port) as client:  # a pin of the old process, without a key_file
        assert client.ask(headers=[("Cookie", cookies[0])]).get("Set-Cookie") is None
    daemon.ctl("reset", check=0)
    assert daemon.backends()["web0"]["weight"] == 1


def test_counters_of_filters_are_handed_over(lineage, scripted):
    """What rate limits, mirrors and compression have counted goes on, as all that counts does."""
    def handler(peer):
        while peer.request():
            peer.respond(b"x" * 4096, headers=[("Content-Type", "text/plain")])
    pools = {name: {"backends": [scripted(handler).address]} for name in ("app", "next")}
    daemon = lineage(pools=pools, routes=[
        {"match": {"path": "/limited"}, "pool": "app",
         "rate_limit": [{"key": "client-ip", "rate": "1/h", "burst": 2}]},
        {"match": {"path": "/copied"}, "pool": "app", "mirror": {"pool": "next"}},
        {"pool": "app", "compress": {"min_bytes": "1KiB"}}])

    def use():
        for target in ("/limited", "/limited", "/limited", "/copied", "/"):
            daemon.ask(target=target, headers=[("Accept-Encoding", "gzip")])
        wait_for(lambda: not daemon.admin.get("/v1/mirror")["mirrors"][0]["in_flight"])
    use()
    before = {name: n for name, n in daemon.admin.metrics().items() if name.startswith(
        ("weir_rate_limit_", "weir_mirror_", "weir_compress_")) and "_total" in name and n}
    assert {name.partition("{")[0] for name in before} >= {
        "weir_rate_limit_passed_total", "weir_rate_limit_refused_total",
        "weir_mirror_drawn_total", "weir_mirror_answered_total",
        "weir_compress_responses_total", "weir_compress_in_bytes_total"}
    hand_over(daemon, daemon.pid)
    ended(daemon)
    after = daemon.admin.metrics()
    assert {name: after.get(name) for name in before} == before
    use()
    name = "weir_compress_responses_total"  # an answer of a moment ago may be given again
    wait_for(lambda: daemon.admin.metrics()[name] == 2 * before[name])


def test_learned_sessions_and_verdicts_are_handed_over(lineage, scripted, app):
    """Pins that weir learned; who is ejected, and who is down."""
    def session_server(letter):
        def handler(peer):
            while request := peer.request():
                new = "SID" not in (request.get("Cookie") or "")
                peer.respond(headers=[("Set-Cookie", f"SID={letter}1")] if new else [],
                             body=letter.encode())
        return scripted(handler)
    servers = [session_server(letter) for letter in "xyz"]
    bad = app(1, defaults="status=500")
    rows = [{"name": "dead", "address": f"127.0.0.1:{free_port()}"},
            {"name": "bad", "address": bad.addresses[0]},
            *({"name": s.address, "address": s.address} for s in servers)]
    daemon = lineage(rows, pool={
        "sticky": {"learn": "SID"}, "balance": "round-robin",
        "health": {"type": "tcp", "interval": "60s", "fast_interval": "100ms"},
        "outlier": {"consecutive_errors": 3, "eject": "60s"}})
    wait_for(lambda: daemon.backends()["dead"]["state"] == "down")
    given = set()
    wait_for(lambda: given.add(daemon.ask().get("Set-Cookie")) or
             (len(given - {None}) == 3 and daemon.backends()["bad"]["state"] == "ejected"))
    before = daemon.backends()
    hand_over(daemon, daemon.pid)
    ended(daemon)
    after = daemon.backends()
    for name in ("dead", "bad"):
        assert after[name]["state"] == before[name]["state"]
        assert after[name]["reason"] == before[name]["reason"]
    for cookie in given - {None}:
        for _ in range(3):
            with Client(daemon.port) as client:
                answer = client.ask(headers=[("Cookie", cookie)])
            assert answer.body.decode() == cookie[4]
    assert daemon.backends()["bad"]["requests"] == before["bad"]["requests"]


def test_a_second_weir_is_refused(weir, app, tmp_path):
    """It would share the port, and half of the requests would be answered by either."""
    backend = app()
    first = weir(backend.addresses)
    conf = {**first.conf, "status": {"socket": f"{tmp_path}/second.sock"}}
    second = weir(conf=conf, ready=False, status_socket=f"{tmp_path}/second.sock")
    second.checked = True
    assert second.wait() == 1
    assert (f"cannot listen on {first.bind(0)}: it is in use: process {first.pid} (weir) listens "
            "there") in second.stderr, second.stderr
    assert first.ask().status == 200
    port = first.port  # while it drains it listens no more, and another may begin
    held = first.connect()
    held.send(request(target="/?hang=1"))
    wait_for(lambda: backend.stats()["in_progress"] == 1)
    first.kill(signal.SIGTERM)
    wait_for(lambda: not can_connect(port))
    third = weir(conf=conf, status_socket=f"{tmp_path}/second.sock")
    assert third.ask().status == 200
    backend.go()
    assert held.response().status == 200
    first.checked = True
    assert first.wait() == 0
