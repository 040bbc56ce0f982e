# SPDX-License-Identifier: MIT
"""Certificates of several nodes: one at a time orders, and each answers the challenges of all."""
import signal
import socket
import threading

import pytest

from backends import free_port
from test_acme import Site, pebble  # noqa: F401
from test_cluster import connected, redis  # noqa: F401
from wire import relay, wait_for

WITHIN = 60


class Spread:
    """A port whose connections go to the nodes in turn, as an address of several machines does."""

    def __init__(self):
        self.to, self.served, self.turn = [], [], 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            port = self.to[self.turn % len(self.to)]
            self.turn += 1
            self.served.append(port)
            try:
                node = socket.create_connection(("127.0.0.1", port), 20)
            except OSError:
                client.close()
                continue
            for a, b in ((client, node), (node, client)):
                threading.Thread(target=relay, args=(a, b), daemon=True).start()

    def close(self):
        self.listener.close()


class Node(Site):
    """A site at an authority that others use as well."""

    def __init__(self, weir, backend, authority, folder, name, server, acme=None, extra=None):
        self.plain, self.secure = free_port(), free_port()
        self.pebble, self.weir, self.names, self.daemon = authority, weir, ["a.example"], None
        self.folder = folder
        self.socket = authority.folder / f"{name}.sock"
        shared = {"shared": {"redis": {"address": server.address, **(extra or {})}, "node": name}} \
            if server else {}
        self.conf = {
            "acme": {**authority.acme(retry="200ms"), "state": str(folder), **(acme or {})},
            "listeners": [{"bind": f"127.0.0.1:{self.secure}",
                           "tls": {"certificates": [{"acme": self.names}]}},
                          {"bind": f"127.0.0.1:{self.plain}"}],
            "pools": {"app": {"backends": [backend.address]}}, **shared}

    def start(self, **kwargs):
        daemon = super().start(status_socket=self.socket, **kwargs)
        count = daemon.leaks  # the connection to Redis comes and goes
        daemon.leaks = lambda: max(0, abs(count()) - 1)
        return daemon


@pytest.fixture
def fleet(weir, scripted, pebble, redis, tmp_path):  # noqa: F811
    """fleet(folders, ...) -> a node for each, not started, behind one address"""
    spreads = [Spread(), Spread()]

    def start(folders, server=None, **kwargs):
        authority = pebble(http_port=spreads[0].port, tls_port=spreads[1].port)
        server = server or redis()
        backend = scripted()
        nodes = [Node(weir, backend, authority, tmp_path / folder, chr(97 + i), server, **kwargs)
                 for i, folder in enumerate(folders)]
        for spread, port in zip(spreads, ("plain", "secure")):
            spread.to = [getattr(n, port) for n in nodes]
        nodes[0].redis, nodes[0].spreads = server, spreads
        return nodes
    yield start
    for spread in spreads:
        spread.close()


def start_all(nodes):
    """None orders before all are known."""
    authority, server = nodes[0].pebble, nodes[0].redis
    authority.kill(signal.SIGSTOP)
    try:
        for n in nodes:
            n.start()
        wait_for(lambda: server.cli("ZCARD", "{weir}:acme:nodes") == str(len(nodes)), WITHIN,
                 "all nodes take turns")
    finally:
        authority.kill(signal.SIGCONT)


def orders(nodes):
    return sum(n.row["orders"] for n in nodes)


def all_trusted(nodes):
    for n in nodes:
        n.becomes_trusted(WITHIN)


def test_a_folder_for_all_is_ordered_for_once(fleet):
    nodes = fleet(["state", "state", "state"])
    start_all(nodes)
    all_trusted(nodes)
    assert len({n.served() for n in nodes}) == 1
    assert orders(nodes) == 1 and not any(n.row["failed"] for n in nodes)
    assert len(list(nodes[0].folder.glob("account-*.key"))) == 1
    told = "a certificate that another node has got is in use"
    wait_for(lambda: sum(told in n.daemon.stderr for n in nodes) == 2)
    assert len(set(nodes[0].spreads[0].served)) > 1, "the authority came to several"


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_folders_of_their_own_and_never_two_at_a_time(fleet, tmp_path, challenge):
    (tmp_path / "word").write_text("secret-word\n")
    nodes = fleet(["one", "two"], acme={"challenges": [challenge]},
                  extra={"password_file": str(tmp_path / "word")})
    nodes[0].redis.cli("CONFIG", "SET", "requirepass", "secret-word")
    nodes[0].redis.cli_options += ["-a", "secret-word", "--no-auth-warning"]
    seen, over = [], threading.Event()
    start_all(nodes)

    def orders_now(node):
        step = node.row["step"]
        return bool(step) and not step.startswith("waiting")

    def watch():
        while not over.wait(0.02):
            n = sum(map(orders_now, nodes))
            seen.append(n if n < 2 else 1 + orders_now(nodes[0]))  # it may just have ended
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        all_trusted(nodes)
    finally:
        over.set()
        watcher.join()
    assert max(seen) == 1
    assert orders(nodes) == 2 and not any(n.row["failed"] for n in nodes), \
        "\n".join(line for n in nodes for line in n.daemon.stderr.splitlines() if "acme" in line)
    assert nodes[0].served() != nodes[1].served()
    assert len({n.daemon.pid for n in nodes}) == 2
    ports = nodes[0].spreads[challenge != "http-01"]
    assert len(set(ports.served)) == 2, "the authority came to both"


def test_who_has_shown_no_password_gets_nothing_proved(fleet):
    nodes = fleet(["one", "two"])
    start_all(nodes)
    wait_for(lambda: any("with another account than ours" in n.daemon.stderr for n in nodes),
             WITHIN, "a warning")


def test_a_copy_of_the_account_is_enough(fleet):
    nodes = fleet(["one", "two"])
    nodes[0].start()
    nodes[0].spreads[0].to = [nodes[0].plain]
    nodes[0].becomes_trusted(WITHIN)
    nodes[0].spreads[0].to = [n.plain for n in nodes]
    key, = nodes[0].folder.glob("account-*.key")
    nodes[1].folder.mkdir()
    (nodes[1].folder / key.name).write_bytes(key.read_bytes())
    nodes[1].start()
    nodes[1].becomes_trusted(WITHIN)
    assert nodes[1].row["failed"] == 0 and "another account" not in nodes[0].daemon.stderr


def test_the_others_go_on_when_who_orders_dies(fleet):
    nodes = fleet(["state", "state"])
    nodes[0].pebble.kill(signal.SIGSTOP)
    nodes[0].start()
    wait_for(lambda: nodes[0].redis.cli("GET", "{weir}:acme:lease").startswith("a#"), WITHIN, "a lease")
    nodes[1].start()
    connected(nodes[1].daemon)
    wait_for(lambda: (nodes[1].row["step"] or "").startswith("waiting for its turn"), WITHIN,
             nodes[1].state)
    assert any("waiting for its turn" in row for row in nodes[1].problems())
    nodes[0].daemon.kill(signal.SIGKILL)
    nodes[0].daemon.checked = True
    nodes[0].daemon.wait()
    for spread, port in zip(nodes[0].spreads, ("plain", "secure")):
        spread.to = [getattr(nodes[1], port)]
    nodes[0].pebble.kill(signal.SIGCONT)
    nodes[1].becomes_trusted(WITHIN)


def test_without_redis_each_goes_on_by_itself(fleet):
    nodes = fleet(["one", "two"])
    nodes[0].redis.stop(signal.SIGKILL)
    for spread, port in zip(nodes[0].spreads, ("plain", "secure")):
        spread.to = [getattr(nodes[0], port)]
    nodes[0].start()
    nodes[0].becomes_trusted(WITHIN)
    for spread, port in zip(nodes[0].spreads, ("plain", "secure")):
        spread.to = [getattr(nodes[1], port)]
    nodes[1].start()
    nodes[1].becomes_trusted(WITHIN)


def test_a_redis_that_hangs_holds_nobody_up(fleet):
    nodes = fleet(["state"])
    nodes[0].start()
    connected(nodes[0].daemon)
    nodes[0].becomes_trusted(WITHIN)
    server = nodes[0].redis
    server.kill(signal.SIGSTOP)
    try:
        nodes[0].names.append("b.example")
        nodes[0].daemon.reload({**nodes[0].daemon.conf, "listeners": nodes[0].conf["listeners"]})
        nodes[0].becomes_trusted(WITHIN)
    finally:
        server.kill(signal.SIGCONT)
