# SPDX-License-Identifier: MIT
"""Several weirs that tell each other their load by way of a real Redis."""
import signal
import subprocess
import threading

import pytest

from backends import SOURCE, Process, binary, can_connect, free_port
from certs import Authority
from wire import wait_for


class Redis(Process):
    """A server of the test's own; its data goes with it."""

    def __init__(self, folder, port=None, options=(), name="redis", cli=()):
        self.port = port or free_port()
        self.cli_options = list(cli)
        super().__init__(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1",
                          "--save", "", "--dir", str(folder), *options], folder, name)
        self.address = f"127.0.0.1:{self.port}"
        self.wait_ready(lambda: can_connect(self.port) or options)

    def cli(self, *words):
        done = subprocess.run(["redis-cli", "-p", str(self.port), *self.cli_options, *words],
                              capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.strip()


@pytest.fixture
def redis(tmp_path):
    started = []

    def start(*args, **kwargs):
        started.append(Redis(tmp_path, *args, name=f"redis-{len(started)}", **kwargs))
        return started[-1]
    yield start
    for each in started:
        if each.alive():
            each.kill(signal.SIGCONT)
        each.stop(signal.SIGKILL)


@pytest.fixture
def node(weir):
    """node("a", redis, backends, pool={...}) -> Weir that shares"""
    def start(name, server, backends, extra=None, **kwargs):
        daemon = weir(backends, shared={"redis": {"address": server.address, **(extra or {})},
                                        "node": name},
                      status={"bind": f"127.0.0.1:{free_port()}"}, **kwargs)
        count = daemon.leaks  # the connection to Redis comes and goes
        daemon.leaks = lambda: max(0, abs(count()) - 1)
        return daemon
    return start


def nodes(daemon):
    return daemon.admin.get("/v1/nodes")


def others(daemon):
    return [row["node"] for row in nodes(daemon)["others"]]


def problems(daemon):
    return [p for p in daemon.admin.get("/v1/status")["problems"] if "shared" in p]


def connected(daemon):
    wait_for(lambda: nodes(daemon)["connected"], 15, "a connection to Redis")


def test_nodes_find_each_other_and_notice_an_end(node, redis, scripted):
    server, backend = redis(), scripted()
    a = node("a", server, [backend.address])
    b = node("b", server, [backend.address])
    wait_for(lambda: others(a) == ["b"] and others(b) == ["a"], 15, "both know each other")
    row, = nodes(a)["others"]
    assert row["status"] == b.conf["status"]["bind"] and row["age_s"] < 5, row
    assert problems(a) == []
    b.checked = True  # it is killed
    b.stop(signal.SIGKILL)
    wait_for(lambda: others(a) == [], 15, "a dead node is forgotten")
    assert a.admin.metrics()["weir_shared_connected"] == 1


def words(server, prefix="weir"):
    """What Redis has of each node; a goodbye is empty."""
    said = server.cli("--no-raw", "HVALS", f"{{{prefix}}}:presence")
    return sorted(line.split(" ", 1)[1] != '""' for line in said.splitlines() if '"' in line)


def test_who_stops_says_goodbye(node, redis, scripted):
    server, backend = redis(), scripted()
    a = node("a", server, [backend.address])
    b = node("b", server, [backend.address])
    wait_for(lambda: others(a) == ["b"] and others(b) == ["a"], 15, "both know each other")
    b.finish()
    # nobody has waited for the word to expire: it is there, and empty
    assert words(server) == [False, True]
    wait_for(lambda: others(a) == [], 15, "b has left")


def test_who_shares_no_more_says_goodbye(node, redis, scripted):
    server, backend = redis(), scripted()
    a = node("a", server, [backend.address])
    b = node("b", server, [backend.address])
    wait_for(lambda: others(a) == ["b"], 15, "b is known")
    del b.conf["shared"]
    b.reload(b.conf)
    wait_for(lambda: words(server) == [False, True], 15, "a goodbye")
    wait_for(lambda: others(a) == [], 15, "b has left")




def test_prefixes_keep_apart(node, redis, scripted):
    server, backend = redis(), scripted()
    a = node("a", server, [backend.address])
    b = node("b", server, [backend.address], extra={"prefix": "other"})
    c = node("c", server, [backend.address])
    wait_for(lambda: others(a) == ["c"] and others(c) == ["a"], 15, "those of one prefix")
    assert others(b) == []


@pytest.mark.parametrize("shared, expected", [("on", "second"), ("off", "both")])
def test_least_request_counts_what_others_have(node, redis, app, shared, expected):
    """b keeps six requests at the first backend; a sees it, or does not."""
    server = redis()
    backends = app(2, "service=1ms", ["0:service=6s"])
    first, second = backends.addresses[:2]
    a = node("a", server, [first, second],
             pool={"balance": "least-request", "balance_shared": shared})
    b = node("b", server, [first])
    threads = [threading.Thread(target=b.ask, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_for(lambda: any(row["in_flight"] > 5 for row in nodes(a)["others"]), 15, "b's load at a")
    backends.set(0, service="1ms")
    # the word is one tick older than what counts
    wait_for(lambda: a.admin.get("/v1/pools/app")["backends"][0].get("others_in_flight", 0) > 3, 15,
             "b's load at a's backend")
    for _ in range(10):
        a.ask()
    counts = [row["requests"] for row in a.backends().values()]
    for thread in threads:
        thread.join(30)
    if expected == "second":
        assert counts == [0, 10], counts
    else:
        assert min(counts) > 0, counts


def test_redis_may_end_hang_forget_and_be_another(node, redis, scripted):
    server, backend = redis(), scripted()
    a = node("a", server, [backend.address])
    b = node("b", server, [backend.address])
    wait_for(lambda: others(a) == ["b"], 15, "b is known")
    server.cli("FLUSHALL")
    server.kill(signal.SIGSTOP)
    wait_for(lambda: problems(a), 20, "a problem while it hangs")
    assert "no answer within 2 s" in problems(a)[0] or "no connection" in problems(a)[0]
    wait_for(lambda: others(a) == [], 20, "words fade")
    assert a.ask().status == 200
    a.reload()
    server.kill(signal.SIGCONT)
    wait_for(lambda: others(a) == ["b"] and not problems(a), 30, "all is well again")
    server.kill(signal.SIGKILL)
    server.wait()
    wait_for(lambda: problems(a), 20, "a problem while it is gone")
    assert a.ask().status == 200
    redis(port=server.port)
    wait_for(lambda: others(a) == ["b"] and others(b) == ["a"], 30, "another server does as well")
    a.says("shared.redis")
    a.says("answers again")


def test_what_the_server_refuses_is_a_problem_and_said_once(node, redis, scripted):
    server, backend = redis(), scripted()
    a = node("a", server, [backend.address])
    b = node("b", server, [backend.address])
    wait_for(lambda: others(a) == ["b"], 15, "both know each other")
    failed = a.admin.get("/v1/status")["shared"]["failed"]
    # as of a server that has become a replica, has no disk, or does not let this user
    for key in ("nodes", "presence"):
        server.cli("SET", f"{{weir}}:{key}", "of another type")
    wait_for(lambda: a.admin.get("/v1/status")["shared"]["failed"] >= failed + 3, 15, "refusals")
    assert nodes(a)["connected"] and "it refuses presence: WRONGTYPE" in nodes(a)["error"], nodes(a)
    assert "it refuses presence" in problems(a)[0], problems(a)
    server.cli("DEL", "{weir}:nodes", "{weir}:presence")
    wait_for(lambda: not problems(a) and others(a) == ["b"] and not problems(b), 15, "all is well")
    assert a.stderr.count("it refuses presence") == 1, a.stderr
    assert a.stderr.count("takes presence again") == 1, a.stderr


def test_passwords_and_their_lack(node, redis, scripted, tmp_path):
    server = redis(options=["--requirepass", "secret-word"], cli=["-a", "secret-word", "--no-auth-warning"])
    backend = scripted()
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text("secret-word\n")
    bad.write_text("guess\n")
    a = node("a", server, [backend.address], extra={"password_file": str(good)})
    connected(a)
    b = node("b", server, [backend.address], extra={"password_file": str(bad)})
    wait_for(lambda: problems(b), 15, "a refusal is a problem")
    assert "refused us" in problems(b)[0], problems(b)
    b.conf["shared"]["redis"]["password_file"] = str(good)
    b.reload(b.conf)
    wait_for(lambda: others(b) == ["a"], 15, "the right one after a reload")
    c = node("c", server, [backend.address])
    wait_for(lambda: problems(c), 15, "without one it is refused")
    assert "secret-word" not in str(a.admin.get("/v1/config"))


def test_tls_to_redis(node, redis, scripted, tmp_path):
    ca = Authority(tmp_path)
    pair = ca.issue("localhost", ["localhost"])
    port = free_port()
    server = redis(port=port, options=[
        "--port", "0", "--tls-port", str(port), "--tls-cert-file", str(pair.pem), "--tls-key-file",
        str(pair.key), "--tls-ca-cert-file", str(ca.pem), "--tls-auth-clients", "no"])
    server.address = f"localhost:{port}"
    a = node("a", server, [scripted().address], extra={"tls": {"ca": str(ca.pem)}})
    connected(a)
    a.conf["shared"]["redis"]["tls"] = {"ca": str(ca.pem), "sni": "elsewhere.example"}
    a.reload(a.conf)
    wait_for(lambda: problems(a), 15, "the wrong name")
    assert "TLS failed" in problems(a)[0], problems(a)


def test_who_speaks_another_language_is_no_redis(node, scripted, nginx):
    class Web:
        address = nginx.address
    a = node("a", Web, [scripted().address])
    wait_for(lambda: problems(a), 15, "a problem")
    assert "no RESP" in problems(a)[0], problems(a)
    assert a.ask().status == 200


def test_reload_switches_it_on_and_off(node, redis, weir, scripted):
    server, backend = redis(), scripted()
    a = weir([backend.address])
    assert nodes(a) == {"on": False, "node": None, "redis": None, "connected": False, "error": None,
                        "others": []}
    a.fd_check = False
    a.reload({**a.conf, "shared": {"redis": {"address": server.address}}})
    connected(a)
    a.conf.pop("shared")
    a.reload(a.conf)
    assert not nodes(a)["on"]


def test_mistakes_are_said(weir, scripted):
    a = weir([scripted().address])
    for shared, said in [({}, "redis"), ({"redis": {"address": "nowhere"}}, "no host and port"),
                         ({"redis": {"address": "127.0.0.1:1", "password_file": "/nonexistent"}},
                          "password_file"),
                         ({"redis": {"address": "127.0.0.1:1"}, "nodes": 0}, "nodes"),
                         ({"redis": {"address": "127.0.0.1:1"}, "nodes": 257}, "nodes")]:
        assert said in str(a.reload({**a.conf, "shared": shared}, status=422)), shared
        a.conf.pop("shared")
    conf = {**a.conf, "pools": {"app": {"backends": ["127.0.0.1:1"], "balance_shared": "on"}}}
    assert "needs 'shared" in str(a.reload(conf, status=422))


def test_subsets_are_other_ones_at_other_nodes(node, redis, scripted):
    server = redis()
    backends = [scripted().address for _ in range(8)]
    daemons = [node(name, server, backends, pool={"subset": 3}) for name in "abcd"]
    used = [set(daemon.backends()) for daemon in daemons]
    assert all(len(each) == 3 for each in used) and len(set.union(*used)) > 4, used
    for daemon in daemons[:2]:
        for _ in range(6):
            assert daemon.ask().status == 200
        pool = daemon.admin.get("/v1/pools/app")
        assert (pool["subset"], pool["members"]) == (3, 8)
    a = daemons[0]
    a.conf["pools"]["app"]["sticky"] = {"cookie": "s"}
    assert "exclude each other" in str(a.reload(a.conf, status=422))
    del a.conf["pools"]["app"]["sticky"]
    a.conf["shared"]["node"] = "auto"
    assert "node: NAME" in str(a.reload(a.conf, status=422))


def test_the_guide_shows_what_words_cost():
    shown = subprocess.run([binary("weir-sim"), "--words"], capture_output=True, text=True,
                           timeout=60, check=True).stdout
    assert shown in (SOURCE / "man" / "guide" / "several.md").read_text()


def test_a_status_on_all_addresses_is_told_by_one(node, redis, scripted):
    server, backend = redis(), scripted()
    a = node("a", server, [backend.address])
    b = node("b", server, [backend.address])
    port = free_port()
    b.conf["status"]["bind"] = f"0.0.0.0:{port}"
    b.reload(b.conf)
    wait_for(lambda: [row["status"] for row in nodes(a)["others"]] == [f"127.0.0.1:{port}"], 15,
             "an address that a can reach")
