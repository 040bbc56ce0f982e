# SPDX-License-Identifier: MIT
"""Listeners of every kind, and workers that stay even."""
import socket

import pytest

from backends import free_port
from wire import Client, wait_for


def test_ipv4(weir, app):
    assert weir(app().addresses).ask().status == 200


def test_ipv6(weir, app):
    port = free_port(socket.AF_INET6)
    daemon = weir(app().addresses, listener={"bind": f"[::1]:{port}"})
    with Client(("::1", port)) as client:
        echo = client.ask(target="/echo").json()
    assert ["x-forwarded-for", "::1"] in [[n.lower(), v] for n, v in echo["headers"]]
    assert daemon.admin.get("/v1/status")["listeners"]


def test_unix_listener(weir, app, tmp_path):
    path = tmp_path / "front.sock"
    daemon = weir(app().addresses, listener={"bind": f"unix:{path}"})
    client = daemon.connect(path)
    for _ in range(3):
        assert client.ask(target="/echo").status == 200
    client.close()
    daemon.finish()
    assert not path.exists(), "the socket goes with the daemon"


def test_unix_listener_replaces_a_stale_socket(weir, app, tmp_path):
    path = tmp_path / "front.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    daemon = weir(app().addresses, listener={"bind": f"unix:{path}"})
    assert daemon.connect(path).ask().status == 200


def test_a_list_of_addresses(weir, app, tmp_path):
    ports = [free_port(), free_port()]
    path = tmp_path / "x.sock"
    daemon = weir(app().addresses,
                  listener={"bind": [*(f"127.0.0.1:{p}" for p in ports), f"unix:{path}"]})
    for address in (*ports, path):
        assert daemon.connect(address).ask().status == 200


def test_all_addresses_of_both_families(weir, app):
    port = free_port()
    daemon = weir(app().addresses, listener={"bind": f"*:{port}"})
    assert daemon.connect(("127.0.0.1", port)).ask().status == 200
    assert daemon.connect(("::1", port)).ask().status == 200


def test_several_listeners(weir, app):
    ports = [free_port(), free_port()]
    daemon = weir(app().addresses,
                  listeners=[{"name": f"l{i}", "bind": f"127.0.0.1:{p}"}
                             for i, p in enumerate(ports)])
    for port in ports:
        assert daemon.connect(port).ask().status == 200
    names = [row["name"] for row in daemon.admin.get("/v1/status")["listeners"]]
    assert names == ["l0", "l1"]


def per_worker(daemon):
    return [w["connections"] for w in daemon.admin.get("/v1/status")["workers"]]


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_stay_even(weir, app, workers):
    """Few long connections: the kernel's hash alone would not spread them."""
    daemon = weir(app().addresses, workers=workers)
    n = 10 * workers
    clients = []
    for _ in range(n):
        clients.append(daemon.connect())
        assert clients[-1].ask().status == 200
    assert sum(per_worker(daemon)) == n
    assert min(per_worker(daemon)) >= 6, per_worker(daemon)
    assert max(per_worker(daemon)) <= 14, per_worker(daemon)


def test_all_connections_at_once_are_even_too(weir, app):
    daemon = weir(app().addresses, workers=2)
    clients = [daemon.connect() for _ in range(100)]
    wait_for(lambda: sum(per_worker(daemon)) == 100)
    assert min(per_worker(daemon)) >= 30, per_worker(daemon)
    for client in clients:
        assert client.ask().status == 200


@pytest.mark.other_user
def test_as_root_the_user_is_switched(weir, app, tmp_path):
    tmp_path.chmod(0o777)
    daemon = weir(app().addresses, user="nobody")
    from pathlib import Path
    uid = next(line for line in Path(f"/proc/{daemon.pid}/status").read_text().splitlines()
               if line.startswith("Uid:")).split()[1:]
    assert set(uid) != {"0"} and "0" not in uid
    assert daemon.ask().status == 200
