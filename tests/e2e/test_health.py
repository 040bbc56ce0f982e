# SPDX-License-Identifier: MIT
"""Health checks with real app servers: who is asked, judged, left out and taken back."""
import asyncio
import contextlib
import http.server
import os
import re
import shutil
import signal
import ssl
import subprocess
import threading
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest

from backends import App, free_port
from certs import Authority
from openloop import Load
from wire import Closed, wait_for

FAST = {"interval": "100ms", "fast_interval": "20ms", "slow_interval": "30ms", "timeout": "500ms"}


def health(**kwargs):
    return {**FAST, "path": "/healthz", **kwargs}


def state_of(daemon, name, pool="app"):
    return daemon.backends(pool)[name]["state"]


def until(daemon, name, state, pool="app"):
    return wait_for(lambda: (row := daemon.backends(pool)[name])["state"] == state and row,
                    what=f"{name} is {state}: {daemon.backends(pool)[name]}")


def named(addresses):
    return [{"address": a, "name": f"b{i}"} for i, a in enumerate(addresses)]


def reasons(daemon, name):
    return [check["reason"] for check in daemon.backends()[name]["checks"]]


def only(daemon, names, n=20):
    """n requests in a row go to these, each of them; what has just changed may take a moment."""
    def seen():
        client = daemon.connect()
        return {client.ask().get("X-App") for _ in range(n)}
    wait_for(lambda: seen() == set(names), 5, f"only {names} get requests")


def spread(daemon, n):
    """{X-App: count} of n requests that must all be answered with 200."""
    seen = {}
    client = daemon.connect()
    for _ in range(n):
        response = client.ask()
        assert response.status == 200, response
        seen[response.get("X-App")] = seen.get(response.get("X-App"), 0) + 1
    return seen


# ---- the first check ----

def test_the_first_check_decides(weir, app):
    backends = app(3, overrides=["1:status=503"])
    dead = f"127.0.0.1:{free_port()}"
    daemon = weir(named([*backends.addresses, dead]),
                  pool={"balance": "round-robin", "health": health()})
    assert [until(daemon, f"b{i}", s)["state"] for i, s in enumerate(("up", "down", "up", "down"))]
    rows = daemon.backends()
    assert rows["b1"]["reason"] == "status 503, expected 200-399"
    assert rows["b3"]["reason"] == "connect refused"
    assert rows["b0"]["reason"] == ""
    check = rows["b0"]["checks"][0]
    assert check["ok"] is True and check["status"] == 200 and check["reason"] == "status 200"
    assert check["duration_us"] > 0 and check["at"].endswith("Z")
    assert rows["b3"]["checks"][0]["status"] is None
    only(daemon, ["app-0", "app-2"], 40)
    assert set(spread(daemon, 40)) == {"app-0", "app-2"}
    events = [e["message"] for e in daemon.events() if e["kind"] == "state"]
    assert "down: status 503, expected 200-399" in events
    assert "down: connect refused" in events
    daemon.says("b3 (")
    daemon.says("): down: connect refused")


def test_unknown_backends_serve_when_nothing_better_is_known(weir, app):
    """The check hangs: nobody has been judged yet, and requests are answered all the same."""
    backends = app(2, "hang=0")
    for i in range(2):
        backends.set(i, head_delay="300ms")
    daemon = weir(named(backends.addresses), pool={"health": health(timeout="30s")})
    assert {state_of(daemon, "b0"), state_of(daemon, "b1")} == {"unknown"}
    assert daemon.admin.call("GET", "/readyz").status == 503
    assert daemon.ask().status == 200
    assert until(daemon, "b0", "up")
    assert until(daemon, "b1", "up")
    assert daemon.admin.call("GET", "/readyz").status == 200


# ---- reasons ----

def test_reasons(weir, app, scripted):
    def mute(peer):
        peer.until_end()

    def rude(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\nX: y\n\n")

    def shy(peer):
        peer.request()

    backends = [scripted(h) for h in (mute, rude, shy)]
    daemon = weir(named([b.address for b in backends]), pool={"health": health()})
    assert until(daemon, "b0", "down")["reason"] == "timed out after 500 ms waiting for headers"
    assert until(daemon, "b1", "down")["reason"].startswith("the response is malformed: ")
    assert until(daemon, "b2", "down")["reason"] == (
        "the backend closed the connection before it answered")
    out = daemon.ctl("backends", check=0).stdout
    assert "timed out after 500 ms waiting for headers" in out
    assert daemon.admin.call("GET", "/readyz").status == 503


def test_body_and_statuses(weir, app, scripted):
    def say(body, status=200):
        def handler(peer):
            while peer.request():
                peer.respond(body, status)
        return handler

    backends = [scripted(say(b"state: fine\n")), scripted(say(b"state: bad\n")),
                scripted(say(b"state: fine\n", 404)), scripted(say(b"x" * 100000 + b"fine"))]
    daemon = weir(named([b.address for b in backends]),
                  pool={"health": health(body="state: f.*e", expect=[200, "300-302"])})
    assert until(daemon, "b0", "up")
    assert "does not match health.body" in until(daemon, "b1", "down")["reason"]
    assert until(daemon, "b2", "down")["reason"] == "status 404, expected 200, 300-302"
    assert "does not match" in until(daemon, "b3", "down")["reason"]


def test_chunked_and_close_delimited_bodies(weir, app):
    backends = app(2, "body=5000", ["0:framing=chunked,chunk=7", "1:framing=close"])
    daemon = weir(named(backends.addresses), pool={"health": health(body=".{5000}")})
    assert until(daemon, "b0", "up")
    assert until(daemon, "b1", "up")


def test_what_is_asked(weir, app, scripted):
    backend = scripted()
    daemon = weir([backend.address], pool={"health": health(
        path="/up?deep=1", host="shop.example", headers={"X-Probe": "weir", "User-Agent": "me"})})
    wait_for(lambda: backend.n_requests)
    msg = backend.requests[0]
    assert msg.start[:2] == ["GET", "/up?deep=1"], msg.start
    assert msg.get("Host") == "shop.example"
    assert msg.get("X-Probe") == "weir"
    assert msg.get("User-Agent") == "me"
    assert daemon.sum("requests") == 0  # checks are no traffic


def test_tcp_and_another_port(weir, app, scripted):
    backends, port = app(2), scripted()
    daemon = weir(named(backends.addresses), pool={"health": health(type="tcp", port=port.port)})
    row = until(daemon, "b0", "up")
    assert row["checks"][0]["reason"] == "connected" and row["checks"][0]["status"] is None
    port.refuse()
    assert until(daemon, "b0", "down")["reason"] == "connect refused"


# ---- TLS and gRPC ----

class TlsServer:
    """HTTP/1.1 over TLS: 200 to everything."""

    def __init__(self, pair):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.pem, pair.key)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", "3")
                self.end_headers()
                self.wfile.write(b"ok\n")

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        # the handshake is the handler's, so that accepting never waits for it
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                 do_handshake_on_connect=False)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize("kind", ["http", "tls"])
def test_checks_use_the_tls_of_real_traffic(weir, scripted, tmp_path, kind):
    ca = Authority(tmp_path)
    servers = [TlsServer(ca.issue("good", ["app.internal"])),
               TlsServer(ca.issue("bad", ["elsewhere.internal"]))]
    plain = scripted(rude)
    try:
        daemon = weir(named([*(s.address for s in servers), plain.address]), pool={
            "tls": {"ca": str(ca.pem), "sni": "app.internal"},
            "health": health(type=kind, timeout="2s")})
        assert until(daemon, "b0", "up")["checks"][0]["reason"] == (
            "status 200" if kind == "http" else "TLS handshake done")
        assert until(daemon, "b1", "down")["reason"].startswith("TLS failed: ")
        assert until(daemon, "b2", "down")["reason"].startswith("TLS failed: ")
        daemon.reload(daemon.conf)
        assert state_of(daemon, "b0") == "up"
    finally:
        for server in servers:
            server.close()


def grpc_health(answers, seen):
    """grpc.health.v1.Health over cleartext HTTP/2; answers: {service: serving status}."""
    def handler(peer):
        conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        conn.initiate_connection()
        peer.sock.sendall(conn.data_to_send())
        body = b""
        while data := peer.sock.recv(65536):
            for event in conn.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    seen.append({bytes(k).decode(): bytes(v).decode() for k, v in
                                 ((x.encode() if isinstance(x, str) else x,
                                   y.encode() if isinstance(y, str) else y)
                                  for x, y in event.headers)})
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                if isinstance(event, h2.events.StreamEnded):
                    service = body[7:].decode()
                    head = [(":status", "200"), ("content-type", "application/grpc")]
                    if service not in answers:
                        conn.send_headers(event.stream_id, [*head, ("grpc-status", "5")], True)
                    else:
                        conn.send_headers(event.stream_id, head)
                        conn.send_data(event.stream_id,
                                       b"\0\0\0\0\x02\x08" + bytes([answers[service]]))
                        conn.send_headers(event.stream_id, [("grpc-status", "0")], True)
            peer.sock.sendall(conn.data_to_send())
    return handler


def rude(peer):
    """Says no in HTTP/1.1, whatever comes."""
    peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    peer.until_end()


def test_grpc(weir, scripted):
    seen = []
    backends = [scripted(grpc_health({"shop.Cart": 1}, seen)),
                scripted(grpc_health({"shop.Cart": 2}, seen)),
                scripted(grpc_health({"": 1}, seen))]
    mute = scripted(rude)
    daemon = weir(named([*(b.address for b in backends), mute.address]),
                  pool={"health": health(type="grpc", service="shop.Cart", host="shop.example")})
    assert until(daemon, "b0", "up")["checks"][0]["reason"] == "SERVING"
    assert until(daemon, "b1", "down")["reason"] == "the service is NOT_SERVING"
    assert until(daemon, "b2", "down")["reason"] == "grpc-status 5, service not found"
    assert until(daemon, "b3", "down")["reason"].startswith("the response is no HTTP/2")
    assert seen[0][":path"] == "/grpc.health.v1.Health/Check"
    assert seen[0][":authority"] == "shop.example" and seen[0]["te"] == "trailers"


# ---- flips ----

def test_rise_and_fall_without_a_failed_request(weir, app):
    backends = app(2)
    daemon = weir(named(backends.addresses), pool={"health": health()})
    until(daemon, "b0", "up")
    until(daemon, "b1", "up")
    backends.set(1, status=500)
    until(daemon, "b1", "down")
    assert reasons(daemon, "b1")[:3] == ["status 500, expected 200-399"] * 3
    only(daemon, ["app-0"])
    assert set(spread(daemon, 20)) == {"app-0"}
    backends.set(1, status=200)
    until(daemon, "b1", "up")
    assert reasons(daemon, "b1")[:2] == ["status 200"] * 2
    only(daemon, ["app-0", "app-1"])
    metrics = daemon.admin.metrics()
    labels = 'pool="app",backend="b1"'
    assert metrics[f'weir_backend_checks_total{{{labels},result="fail"}}'] >= 3
    assert metrics[f'weir_backend_state{{{labels},state="up"}}'] == 1
    assert metrics[f'weir_backend_state{{{labels},state="down"}}'] == 0
    assert metrics[f'weir_backend_up{{{labels}}}'] == 1


def test_a_backend_on_its_way_back_says_how_far_it_is(weir, app):
    backends = app(1, overrides=["0:status=500"])
    daemon = weir(named(backends.addresses), pool={"health": health(rise=1000)})
    until(daemon, "b0", "down")
    backends.set(0, status=200)
    wait_for(lambda: re.fullmatch(r"\d+ of 1000 checks passed: status 200",
                                  daemon.backends()["b0"]["reason"]))
    assert state_of(daemon, "b0") == "down"


def test_a_stopped_process_is_found_and_comes_back(weir, app):
    good, hung = app(), app()
    daemon = weir(named([good.addresses[0], hung.addresses[0]]), pool={"health": health()})
    until(daemon, "b1", "up")
    hung.kill(signal.SIGSTOP)
    try:
        assert "timed out after 500 ms" in until(daemon, "b1", "down")["reason"]
        spread(daemon, 20)
    finally:
        hung.kill(signal.SIGCONT)
    until(daemon, "b1", "up")


def test_killed_and_started_again(weir, app, tmp_path):
    good = app()
    port = free_port()
    dead = App(tmp_path, options=["--listen", f"127.0.0.1:{port}"], name="mortal")
    daemon = weir(named([good.addresses[0], f"127.0.0.1:{port}"]), pool={"health": health()})
    until(daemon, "b1", "up")
    dead.kill(signal.SIGKILL)
    dead.wait()
    assert until(daemon, "b1", "down")["reason"] in ("connect refused",)
    again = App(tmp_path, options=["--listen", f"127.0.0.1:{port}"], name="again")
    try:
        until(daemon, "b1", "up")
    finally:
        daemon.finish()
        again.stop()


# ---- operators and reload ----

def test_the_operator_wins(weir, app):
    backends = app(2)
    daemon = weir(named(backends.addresses), pool={"health": health()})
    until(daemon, "b1", "up")
    daemon.admin.post("/v1/pools/app/backends/b1", {"state": "maintenance"})
    assert daemon.backends()["b1"]["reason"] == "set by an operator"
    backends.set(1, status=500)
    wait_for(lambda: reasons(daemon, "b1")[:3] == ["status 500, expected 200-399"] * 3)
    assert state_of(daemon, "b1") == "maintenance"
    daemon.admin.post("/v1/pools/app/backends/b1", {"state": "up"})
    row = daemon.backends()["b1"]
    assert row["state"] == "down" and row["reason"] == "status 500, expected 200-399"
    backends.set(1, status=200)
    until(daemon, "b1", "up")


def test_a_reload_keeps_verdicts_and_follows_settings(weir, app):
    backends = app(2, overrides=["1:status=503"])
    daemon = weir(named(backends.addresses), pool={"health": health()})
    until(daemon, "b0", "up")
    until(daemon, "b1", "down")
    before = len(daemon.events())

    conf = daemon.conf
    daemon.reload(conf)  # nothing changed
    assert state_of(daemon, "b1") == "down" and state_of(daemon, "b0") == "up"
    conf["pools"]["app"]["health"]["expect"] = [200, 503]
    daemon.reload(conf)
    assert state_of(daemon, "b0") == "up"  # no flap
    until(daemon, "b1", "up")
    flaps = [e for e in daemon.events()[before:] if e.get("backend") == "b0"]
    assert flaps == []

    conf["pools"]["app"]["health"]["expect"] = 200
    daemon.reload(conf)
    until(daemon, "b1", "down")
    del conf["pools"]["app"]["health"]
    daemon.reload(conf)
    row = daemon.backends()["b1"]
    assert row["state"] == "up" and row["checks"] == []
    conf["pools"]["app"]["health"] = health()
    daemon.reload(conf)
    assert state_of(daemon, "b1") == "up"  # until three checks say otherwise
    until(daemon, "b1", "down")


def test_added_and_removed_backends(weir, app):
    backends = app(2, overrides=["1:status=500"])
    daemon = weir(named(backends.addresses[:1]), pool={"health": health()})
    until(daemon, "b0", "up")
    daemon.admin.post("/v1/pools/app/backends", {"address": backends.addresses[1], "name": "new"},
                      201)
    until(daemon, "new", "down")
    spread(daemon, 10)
    daemon.admin.call("DELETE", "/v1/pools/app/backends/new")
    wait_for(lambda: "new" not in daemon.backends())


def test_a_bad_regex_is_refused(weir, app):
    daemon = weir(app().addresses, pool={"health": health()})
    good = daemon.conf_path.read_text()
    daemon.conf["pools"]["app"]["health"]["body"] = "a(b"
    answer = daemon.reload(daemon.conf, status=422)
    assert "pool app: health.body: 'a(b' at offset" in str(answer)
    daemon.write(good)


# ---- many ----

def test_a_hundred_backends_with_checks(weir, app):
    backends = app(100, overrides=[f"{i}:status=500" for i in range(0, 100, 3)])
    daemon = weir(named(backends.addresses), pool={"health": health()})
    daemon.fd_check = False  # checks come and go all the time
    sick = {f"b{i}" for i in range(0, 100, 3)}
    wait_for(lambda: {n for n, r in daemon.backends().items() if r["state"] == "down"} == sick
             and all(r["state"] != "unknown" for r in daemon.backends().values()), 10)
    failed = []

    def load():
        client = daemon.connect()
        failed.extend(r for r in (client.ask().status for _ in range(150)) if r != 200)
    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(0, 100, 3):
        backends.set(i, status=200)
    for thread in threads:
        thread.join()
    assert failed == []
    wait_for(lambda: all(r["state"] == "up" for r in daemon.backends().values()), 10)


# ---- what traffic says ----

def outlier(**kwargs):
    return {"interval": "10s", "eject": "400ms", **kwargs}


def load(daemon, seconds=None, n=None, until_true=None, threads=4):
    """Requests of several clients at once; {status: count}."""
    counts, stop, lock = {}, threading.Event(), threading.Lock()

    def run():
        client = daemon.connect(timeout=20)
        done = 0
        while not stop.is_set() and (n is None or done < n):
            status = client.ask().status
            done += 1
            with lock:
                counts[status] = counts.get(status, 0) + 1
    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        if until_true:
            wait_for(until_true, 10)
    finally:
        if n is None:
            stop.set()
        for worker in workers:
            worker.join()
    return counts


def ejections(daemon, name):
    rows = daemon.admin.metrics()
    return {cause: rows[f'weir_backend_ejections_total{{pool="app",backend="{name}",'
                        f'cause="{cause}"}}']
            for cause in ("consecutive_errors", "success_rate", "failures", "trial")}


def requests_to(client, status):
    """Asks until an answer has this status."""
    for _ in range(100):
        if client.ask().status == status:
            return
    raise AssertionError(f"no {status} in 100 requests")


def test_the_fifth_error_in_a_row_ejects_and_no_fourth(weir, app):
    backends = app(2)
    daemon = weir(named(backends.addresses), pool={"balance": "round-robin",
                                                   "outlier": outlier(eject="300s",
                                                                      interval="300s")})
    client = daemon.connect()
    for _ in range(3):
        backends.set(1, status=500)
        for _ in range(4):
            requests_to(client, 500)
        backends.set(1, status=200)
        assert [client.ask().status for _ in range(2)] == [200, 200]  # one of them was its
    assert state_of(daemon, "b1") == "up" and not any(ejections(daemon, "b1").values())
    backends.set(1, status=500)
    for _ in range(5):
        requests_to(client, 500)
    until(daemon, "b1", "ejected")
    daemon.says("ejected: 5 errors in a row, the last: status 500")
    assert ejections(daemon, "b1")["consecutive_errors"] == 1
    assert spread(daemon, 30) == {"app-0": 30}


@pytest.mark.parametrize("balance", ["auto", "round-robin", "random", "least-request", "p2c",
                                     "prequal"])
def test_fast_500_are_ejected(weir, app, balance):
    backends = app(4, overrides=["2:status=500"])
    daemon = weir(named(backends.addresses), pool={"balance": balance,
                                                   "outlier": outlier(eject="300s")})
    counts = load(daemon, until_true=lambda: state_of(daemon, "b2") == "ejected")
    # the fifth shuts the gate, when four clients may be on their way; nothing else passes
    assert 5 <= counts[500] <= 20 and counts.keys() == {200, 500}, counts
    assert load(daemon, n=50) == {200: 200}
    row = daemon.backends()["b2"]
    said = re.fullmatch(r"(\d+) errors in a row, the last: status 500", row["reason"])
    assert said and 5 <= int(said[1]) <= counts[500], row["reason"]
    assert ejections(daemon, "b2")["consecutive_errors"] == 1
    daemon.says(f"ejected: {said[0]}")
    assert "errors in a row" in daemon.ctl("backends", check=0).stdout


def test_trial_of_one_request_after_an_ejection(weir, app):
    backends = app(3, overrides=["1:status=500"])
    daemon = weir(named(backends.addresses), pool={"balance": "round-robin",
                                                   "outlier": outlier()})
    counts = load(daemon, until_true=lambda: ejections(daemon, "b1")["trial"] >= 2)
    # five, those until all threads had heard of it, then one for each trial
    trials = ejections(daemon, "b1")["trial"]
    assert counts[500] <= 200 + trials + 1, (counts, trials)
    backends.set(1, status=200)
    load(daemon, until_true=lambda: state_of(daemon, "b1") == "up"
         and "in service again" in daemon.events()[-1]["message"])
    assert set(spread(daemon, 30)) == {"app-0", "app-1", "app-2"}


def test_the_last_one_is_never_ejected(weir, app):
    backends = app(2, "status=500")
    daemon = weir(named(backends.addresses), pool={"outlier": outlier(max_ejected="100%")})
    counts = load(daemon, n=50)
    assert counts == {500: 200}
    states = sorted(r["state"] for r in daemon.backends().values())
    assert states in (["ejected", "up"], ["up", "up"]), states


def test_a_weight_of_0_is_nobody_to_fall_back_on(weir, app):
    backends = app(2, "status=500")
    daemon = weir([{"address": a, "name": f"b{i}", "weight": 1 - i} for i, a in
                   enumerate(backends.addresses)], pool={"outlier": outlier(max_ejected="100%")})
    assert load(daemon, n=20) == {500: 80}
    assert state_of(daemon, "b0") == "up"
    daemon.admin.post("/v1/pools/app/backends/b1", {"weight": 1})
    load(daemon, until_true=lambda: "ejected" in (state_of(daemon, "b0"), state_of(daemon, "b1")))


def test_max_ejected(weir, app):
    backends = app(5, "status=500", ["4:status=200"])
    daemon = weir(named(backends.addresses), pool={
        "balance": "round-robin", "outlier": outlier(eject="30s", max_ejected="40%")})
    load(daemon, n=100)
    assert [r["state"] for r in daemon.backends().values()].count("ejected") == 2


def test_what_does_not_count(weir, app):
    """404, 503 with Retry-After, clients that leave: no reason to eject."""
    backends = app(2)
    daemon = weir(named(backends.addresses), pool={"balance": "round-robin",
                                                   "outlier": outlier(consecutive_errors=2)})
    client = daemon.connect()
    for _ in range(20):
        assert client.ask(target="/?status=404").status == 404
        assert client.ask(target="/?status=503&header=Retry-After%3A%201").status == 503
    for _ in range(10):
        gone = daemon.connect()
        gone.send(b"GET /?service=300ms HTTP/1.1\r\nHost: x\r\n\r\n")
        gone.close()
    wait_for(daemon.is_idle)
    assert {r["state"] for r in daemon.backends().values()} == {"up"}


def test_limits_and_hasty_clients_do_not_count(weir, app):
    """connect_limit is weir's own doing, and a deadline is the client's."""
    backends = app(2, "service=300ms")
    daemon = weir(named(backends.addresses), workers=1, listener={"refusal_header": "X-Refused"},
                  pool={"balance": "round-robin", "outlier": outlier(consecutive_errors=2),
                        "limits": {"connections": 1}, "retry": "off",
                        "timeouts": {"deadline_header": "X-Deadline-Ms"}})
    for _ in range(8):
        hasty = daemon.ask(headers=[("X-Deadline-Ms", "30")])
        assert (hasty.status, hasty.get("X-Refused")) == (504, "deadline_passed")
    refused = {}
    for _ in range(8):
        clients = [daemon.connect() for _ in range(6)]
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        for response in [client.response() for client in clients]:
            if response.status != 200:
                why = response.get("X-Refused")
                refused[why] = refused.get(why, 0) + 1
    assert set(refused) == {"connect_limit"} and refused["connect_limit"] >= 8, refused
    rows = daemon.backends().values()
    assert {r["state"] for r in rows} == {"up"} and sum(r["errors"] for r in rows) == 0, rows


def test_a_deadline_far_beyond_the_usual_is_the_backends_fault(weir, app):
    """A hung backend behind clients that all give up early: nobody else would notice."""
    good, hung = app(), app()
    daemon = weir(named([good.addresses[0], hung.addresses[0]]), pool={
        "balance": "round-robin", "outlier": outlier(eject="30s"), "retry": "off",
        "timeouts": {"deadline_header": "X-Deadline-Ms"}})
    load(daemon, until_true=lambda: daemon.admin.get("/v1/pools/app").get("typical_us"))
    hung.kill(signal.SIGSTOP)
    try:
        client = daemon.connect(timeout=20)

        def ejected():
            client.ask(headers=[("X-Deadline-Ms", "250")])
            return state_of(daemon, "b1") == "ejected"
        wait_for(ejected, 20)
        assert "deadline" in daemon.backends()["b1"]["reason"]
    finally:
        hung.kill(signal.SIGCONT)


def test_off_is_off(weir, app):
    backends = app(2, overrides=["1:status=500"])
    daemon = weir(named(backends.addresses), pool={"balance": "round-robin", "outlier": "off", "retry": "off"})
    counts = load(daemon, n=50)
    assert counts == {200: 100, 500: 100}
    conf = daemon.conf
    conf["pools"]["app"]["outlier"] = outlier(eject="30s")
    daemon.reload(conf)
    load(daemon, until_true=lambda: state_of(daemon, "b1") == "ejected")
    daemon.reload(conf)
    assert state_of(daemon, "b1") == "ejected"  # the same settings: it stays out
    conf["pools"]["app"]["outlier"] = "off"
    daemon.reload(conf)
    assert state_of(daemon, "b1") == "up"


def test_a_hung_backend_is_ejected_by_timeouts_and_returns(weir, app):
    good, hung = app(), app()
    daemon = weir(named([good.addresses[0], hung.addresses[0]]), workers=2, pool={
        "balance": "round-robin", "outlier": outlier(), "timeouts": {"response": "150ms"}})
    hung.kill(signal.SIGSTOP)
    try:
        counts = load(daemon, until_true=lambda: state_of(daemon, "b1") == "ejected")
        assert counts.get(504, 0) <= 5 + 4, counts
        assert "the last: the backend timed out" in daemon.backends()["b1"]["reason"]
    finally:
        hung.kill(signal.SIGCONT)
    load(daemon, until_true=lambda: "in service again" in daemon.events()[-1]["message"])
    assert "app1-0" in spread(daemon, 20)


def test_killed_under_load_costs_few_requests(weir, app, tmp_path):
    keep = app(3)
    mortal = App(tmp_path, name="mortal")
    daemon = weir(named([*keep.addresses, mortal.addresses[0]]), pool={"health": health()})
    until(daemon, "b3", "up")
    killed = []

    def kill():
        if not killed:
            mortal.kill(signal.SIGKILL)
            mortal.wait()
            killed.append(True)
        return state_of(daemon, "b3") in ("down", "ejected")
    counts = load(daemon, until_true=kill)
    assert set(counts) <= {200, 502}, counts
    assert counts.get(502, 0) <= 4, counts


def test_mostly_failing_is_found_by_the_sweep(weir, app, scripted):
    """Nine of ten fail, never five in a row over all clients: the comparison finds it."""
    n = [0]

    def flaky(peer):
        while peer.request():
            n[0] += 1
            peer.respond(status=200 if n[0] % 10 == 0 else 500)
    bad = scripted(flaky)
    backends = app(2)
    daemon = weir(named([*backends.addresses, bad.address]), pool={
        "balance": "round-robin",
        "outlier": {"interval": "300ms", "eject": "30s", "consecutive_errors": 0}})
    load(daemon, until_true=lambda: state_of(daemon, "b2") == "ejected")
    assert "requests failed, far more than elsewhere" in daemon.backends()["b2"]["reason"]
    assert ejections(daemon, "b2")["failures"] == 1


def test_slow_keeps_a_share(weir, app):
    backends = app(3, overrides=["1:service=20ms"])
    daemon = weir(named(backends.addresses), pool={
        "balance": "random", "outlier": {"interval": "400ms"}})
    load(daemon, until_true=lambda: daemon.backends()["b1"]["share"] < 0.5, threads=8)
    message = next(e["message"] for e in daemon.events() if "slow" in e["message"])
    assert message.startswith("slow: half of its answers take longer than "), message
    backends.reset()
    load(daemon, n=100)
    got = [backends.stats(i)["requests"] for i in range(3)]
    assert 0 < got[1] < got[0] / 1.5, got


def test_flapping(weir, app):
    """Verdicts that change all the time, reloads in between: nobody notices."""
    backends = app(30)
    daemon = weir(named(backends.addresses), workers=2, pool={
        "health": health(interval="20ms", fast_interval="10ms", rise=1, fall=1)})
    daemon.fd_check = False
    until(daemon, "b29", "up")
    rounds = [0]

    def flap():
        for i in range(0, 30, 3):
            backends.set(i, status=200 if rounds[0] % 2 else 500)
        if rounds[0] % 5 == 0:
            daemon.reload(daemon.conf)
        rounds[0] += 1
        return rounds[0] >= 20
    counts = load(daemon, until_true=flap)
    # a 500 may slip through between the flip and the check that sees it
    assert set(counts) <= {200, 500} and counts[200] > 6 * counts.get(500, 0), counts
    for i in range(0, 30, 3):
        backends.set(i, status=200)
    wait_for(lambda: all(r["state"] != "down" for r in daemon.backends().values()))


# ---- whatever else happens ----

def test_verdicts_without_the_control_thread(weir, app):
    backends = app(2)
    daemon = weir(named(backends.addresses), workers=1, pool={
        "health": health(), "balance": "round-robin", "outlier": "off", "retry": "off"})
    only(daemon, ["app-0", "app-1"])
    # no reader of the API, no reload and no disk can keep the control thread busier than that
    with daemon.frozen():
        backends.set(0, status=503)
        only(daemon, ["app-1"])
        backends.set(0, status=200)
        backends.set(1, status=503)
        only(daemon, ["app-0"])
    until(daemon, "b0", "up")
    assert until(daemon, "b1", "down")["reason"] == "status 503, expected 200-399"
    wait_for(lambda: any(e["message"].startswith("down: ") and e["backend"] == "b1"
                         for e in daemon.events()), what="people hear of it afterwards")


# ---- beside everything else ----

class Readers:
    """So many connections to the status socket that ask for much, in a row, all the time."""

    def __init__(self, path, n):
        self.path, self.n, self.read = path, n, 0
        self.stopping = False
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()

    async def run(self):
        await asyncio.gather(*(self.one() for _ in range(self.n)))

    async def one(self):
        ask = b"GET /v1/pools HTTP/1.1\r\nHost: weir\r\n\r\n" * 10
        while not self.stopping:
            try:
                reader, writer = await asyncio.open_unix_connection(self.path)
                while not self.stopping:
                    writer.write(ask)
                    data = await asyncio.wait_for(reader.read(65536), 1)
                    if not data:
                        break
                    self.read += len(data)
                    await asyncio.sleep(0.01)
                writer.close()
            except (OSError, asyncio.TimeoutError):
                pass
            await asyncio.sleep(0.01)


@pytest.fixture
def slow_disk(tmp_path):
    """The environment in which each step towards the disk takes its time."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("there is no C compiler")
    library = tmp_path / "slow_disk.so"
    source = Path(__file__).resolve().parent / "preload" / "slow_disk.c"
    subprocess.run([compiler, "-O2", "-Wall", "-Werror", "-D_GNU_SOURCE", "-fPIC", "-shared", "-o",
                    str(library), str(source), "-ldl"], check=True)
    asan = os.environ.get("ASAN_OPTIONS", "")
    return {"ASAN_OPTIONS": f"{asan}:verify_asan_link_order=0".lstrip(":"),
            "LD_PRELOAD": str(library), "DISK_MS": "50"}


def test_verdicts_stay_right_whatever_happens_beside(weir, app, tmp_path, slow_disk):
    """Hundreds of readers, reloads, a log that nobody takes and a slow disk, all at once, under
    load."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    backends = app(2)
    pools = {"app": {"backends": named(backends.addresses), "health": health(timeout="3s"),
                     "outlier": "off", "retry": {"on": ["connect", "reset", "500"], "budget": "100%"}},
             "many": {"backends": [f"127.0.0.2:{port}" for port in range(1000, 1600)]}}
    daemon = weir(pools=pools, log={"access": {"path": str(fifo)}}, env=slow_disk,
                  state={"directory": str(tmp_path / "state")},
                  routes=[{"match": {"path": "/many"}, "pool": "many"}, {"pool": "app"}])
    daemon.fd_check = False  # what is kept on the slow disk is open later
    labels = 'pool="app",backend="%s"'

    def metrics():
        """None: there was no place among the readers this time."""
        with contextlib.suppress(OSError, AssertionError, Closed):
            return daemon.admin.metrics()
        return None

    def up(name):
        return (metrics() or {}).get(f"weir_backend_up{{{labels % name}}}")
    wait_for(lambda: up("b0") == 1 and up("b1") == 1)
    with Readers(daemon.sock, 200) as readers, Load(daemon.port, 50) as load:
        load.wait_for(20)
        for _ in range(3):
            backends.set(1, status=500)
            daemon.kill(signal.SIGHUP)
            wait_for(lambda: up("b1") == 0)
            backends.set(1, status=200)
            daemon.kill(signal.SIGHUP)
            wait_for(lambda: up("b1") == 1)
        wait_for(lambda: readers.read > 1_000_000)
    counted = wait_for(metrics)
    assert not load.failed and set(load.statuses) == {200}, (load.failed, load.statuses)
    assert counted[f'weir_backend_checks_total{{{labels % "b0"},result="fail"}}'] == 0
    assert counted[f'weir_backend_checks_total{{{labels % "b1"},result="fail"}}'] >= 9
