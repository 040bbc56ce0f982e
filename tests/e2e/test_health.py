# SPDX-License-Identifier: MIT
"""Health checks with real app servers: who is asked, judged, left out and taken back."""
import http.server
import re
import signal
import ssl
import threading

import h2.config
import h2.connection
import h2.events
import pytest

from backends import App, free_port
from certs import Authority
from wire import wait_for


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
