# SPDX-License-Identifier: MIT
"""Reload: a new generation beside the old one, and nobody notices."""
import copy
import threading
import time

import pytest
import websocket

from backends import free_port
from wire import TIMEOUT, Client, request, wait_for

MIB = 1 << 20


@pytest.fixture
def one(weir, app):
    backend = app(2)
    daemon = weir([{"address": a, "name": n} for a, n in zip(backend.addresses, "ab")])
    daemon.app = backend
    return daemon


def responding(daemon, body, **changes):
    conf = copy.deepcopy(daemon.conf)
    conf["routes"] = [{"respond": {"body": body}}]
    conf.update(changes)
    return conf


def test_hup_loads_the_new_file(one):
    generation = one.admin.get("/v1/status")["generation"]
    one.write(responding(one, "new"))
    last = one.hup()
    assert last["ok"] is True
    wait_for(lambda: one.ask().body == b"new")
    assert one.admin.get("/v1/status")["generation"] == generation + 1


def test_post_reload_loads_the_new_file(one):
    client = one.connect()
    assert client.ask().get("X-App")
    one.reload(responding(one, "new"))
    wait_for(lambda: client.ask().body == b"new", what="an open connection sees it too")


BROKEN = {
    "syntax": "listeners: [\n",
    "unknown key": "listeners: [{bind: '127.0.0.1:1', bnid: 2}]\npools: {app: {backends: []}}\n",
    "dangling pool": "listeners: [{bind: '127.0.0.1:1'}]\nroutes: [{pool: nope}]\n"
                     "pools: {app: {backends: ['127.0.0.1:2']}}\n",
    "empty": "",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_file_changes_nothing_and_says_why(one, broken):
    before = one.admin.get("/v1/config")
    generation = one.admin.get("/v1/status")["generation"]
    one.write(BROKEN[broken])
    answer = one.admin.call("POST", "/v1/reload")
    assert answer.status == 422
    assert "error" in answer.json()
    assert one.conf_path.name in answer.body.decode(), "diagnostics name the file"
    status = one.admin.get("/v1/status")
    assert status["generation"] == generation
    assert status["last_reload"]["ok"] is False and status["last_reload"]["error"]
    assert one.admin.get("/v1/config") == before
    assert one.ask().status == 200
    wait_for(lambda: one.conf_path.name in one.stderr, what="the log says why")
    one.write(one.conf)
    one.reload()
    assert one.admin.get("/v1/status")["last_reload"]["ok"] is True


def test_hup_with_a_broken_file(one):
    one.write("nonsense: 1\n")
    last = one.hup()
    assert last["ok"] is False and "nonsense" in last["error"]
    assert one.ask().status == 200


def test_what_needs_a_restart_is_said(one):
    """Each time, until it is as at the start again; status.bind and the socket need none."""
    port = free_port()
    changed = {**one.conf, "workers": 3, "status": {**one.conf["status"], "bind": f"127.0.0.1:{port}"}}
    one.write(changed)
    said = "takes effect at the next start only: workers\n"
    assert said in one.ctl("reload", check=0).stdout
    with Client(port) as client:
        assert client.ask("GET", "/livez").status == 200
    assert said in one.ctl("reload", check=0).stdout
    one.write(one.conf)
    assert "next start" not in one.ctl("reload", check=0).stdout
    with pytest.raises(ConnectionError):
        Client(port)


def test_the_status_socket_off_and_on(one):
    one.write({**one.conf, "status": {"socket": "off"}})
    one.admin.post("/v1/reload")
    wait_for(lambda: not one.answers())
    assert one.ask().status == 200 and "weirctl: " in one.ctl("status").stderr
    one.write(one.conf)
    one.kill(1)
    wait_for(one.answers)


def test_a_missing_file(one):
    one.conf_path.unlink()
    assert one.admin.call("POST", "/v1/reload").status == 422
    assert one.ask().status == 200


def test_an_address_in_use_changes_nothing(one, scripted):
    other = scripted()
    conf = copy.deepcopy(one.conf)
    conf["listeners"].append({"name": "taken", "bind": other.address})
    one.write(conf)
    answer = one.admin.call("POST", "/v1/reload")
    assert answer.status == 422
    assert other.address in answer.body.decode()
    assert one.ask().status == 200


def test_counters_and_idle_connections_survive(one):
    client = one.connect()
    for _ in range(20):
        client.ask()
    connections = one.app.total("connections")
    one.reload()
    assert one.sum("requests") == 20
    for _ in range(20):
        client.ask()
    assert one.sum("requests") == 40
    assert one.app.total("connections") == connections, "idle upstream connections were kept"


def test_a_request_under_way_survives(one):
    client = one.connect()
    client.send(request(target="/?hang=1"))
    wait_for(lambda: one.app.total("in_progress") == 1)
    one.reload(responding(one, "new"))
    assert one.sum("in_flight") == 1
    one.app.go()
    assert client.response().get("X-App")
    wait_for(lambda: client.ask().body == b"new")


def test_an_upload_and_a_download_survive(one):
    up, down = one.connect(), one.connect()
    up.send(request("POST", "/echo", [("Content-Length", 2 * MIB)]), b"x" * MIB)
    down.send(request(target="/bytes/200000?rate=400000"))
    down.fill()
    for _ in range(5):
        one.reload()
    up.send(b"x" * MIB)
    assert up.response().json()["body_length"] == 2 * MIB
    assert down.response().size == 200000


def test_a_websocket_survives(weir, node):
    daemon = weir([node.address])
    ws = websocket.create_connection(f"ws://127.0.0.1:{daemon.port}/", timeout=TIMEOUT)
    for i in range(10):
        daemon.reload(responding(daemon, str(i)))
        ws.send(f"still here {i}")
        assert ws.recv() == f"still here {i}"
    ws.close()


def test_an_open_connection_is_kept(one):
    clients = [one.connect() for _ in range(10)]
    for client in clients:
        client.ask()
    for _ in range(3):
        one.reload()
        for client in clients:
            assert client.ask().status == 200


def test_backends_come_and_go(weir, app):
    backends = app(3)
    daemon = weir(backends.addresses[:1])
    daemon.fd_check = False  # upstream connections of removed backends may linger a moment
    client = daemon.connect()
    assert client.ask().get("X-App") == "app-0"
    conf = copy.deepcopy(daemon.conf)
    conf["pools"]["app"]["backends"] = backends.addresses[1:]
    daemon.reload(conf)
    wait_for(lambda: client.ask().get("X-App") != "app-0")
    seen = {client.ask().get("X-App") for _ in range(30)}
    assert seen == {"app-1", "app-2"}
    wait_for(lambda: backends.stats(0)["open"] == 0, what="the old idle connection is closed")
    assert set(daemon.backends()) == set(backends.addresses[1:])


def test_listeners_come_and_go(one):
    port = free_port()
    one.fd_check = False
    conf = copy.deepcopy(one.conf)
    conf["listeners"].append({"name": "second", "bind": f"127.0.0.1:{port}"})
    old = one.connect()
    assert old.ask().status == 200
    one.reload(conf)
    wait_for(lambda: can_ask(one, port))
    conf = copy.deepcopy(conf)
    first_port = one.port
    conf["listeners"] = conf["listeners"][1:]
    one.reload(conf)
    wait_for(lambda: not can_ask(one, first_port))
    assert can_ask(one, port)
    assert old.ask().status == 200, "an open connection is never cut by a reload"


def can_ask(daemon, port):
    try:
        with Client(port, timeout=2) as client:
            return client.ask().status == 200
    except (OSError, AssertionError):
        return False


class Load:
    """Clients that ask all the time; `failures` must stay empty."""

    def __init__(self, daemon, n=6):
        self.daemon, self.stop, self.failures, self.count = daemon, False, [], 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(n)]
        for thread in self.threads:
            thread.start()

    def run(self, i):
        n = 0
        try:
            client = Client(self.daemon.port)
            while not self.stop:
                if i % 2 and n % 10 == 9:  # some connections are young
                    client.close()
                    client = Client(self.daemon.port)
                response = client.ask(target=f"/bytes/{n % 3000}")
                if (response.status, response.size) != (200, n % 3000):
                    self.failures.append(response)
                n += 1
            client.close()
        except Exception as error:
            self.failures.append(error)
        with self.lock:
            self.count += n

    def end(self):
        self.stop = True
        for thread in self.threads:
            thread.join()


@pytest.mark.slow
def test_two_hundred_reloads_under_load(one):
    load = Load(one)
    try:
        middle = 0
        for i in range(200):
            one.reload(responding(one, "x") | {"routes": [
                {"match": {"path": f"/never{i}"}, "respond": {"body": "x" * 1000}},
                {"pool": "app"}]})
            if i == 60:
                middle = one.rss()
    finally:
        load.end()
    assert not load.failures, load.failures[:3]
    assert load.count > 200
    assert one.grew_less(middle, 1 * MIB), "reloads grow memory"
    assert one.app.total("requests") == load.count == one.sum("requests")
    assert one.admin.get("/v1/status")["generation"] >= 200


def test_many_hups_at_once(one):
    load = Load(one, 2)
    for _ in range(50):
        one.kill(1)
        time.sleep(0.002)
    load.end()
    assert not load.failures, load.failures[:3]
    wait_for(lambda: one.admin.get("/v1/status")["last_reload"]["ok"])


def test_command_line_mode_has_nothing_to_reload(weir, app, tmp_path):
    port = free_port()
    daemon = weir(args=["--listen", f"127.0.0.1:{port}", "--backend", app().addresses[0],
                        "--status-socket", str(tmp_path / "s.sock")],
                  status_socket=tmp_path / "s.sock")
    daemon.admin.call("POST", "/v1/reload")
    assert daemon.connect(port).ask().status == 200
