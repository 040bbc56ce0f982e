# SPDX-License-Identifier: MIT
"""The status socket, and counters that are exact."""
import json
import os
import shutil
import stat
import subprocess
import threading

import pytest

from backends import free_port, refused_address
from daemon import Admin
from wire import Client, chunked, request, wait_for


def test_status(two):
    client = two.connect()
    client.ask()
    status = two.admin.get("/v1/status")
    assert status["pid"] == two.pid
    assert status["uptime_s"] >= 0 and status["version"] and status["generation"] >= 1
    assert status["last_reload"] == {"ok": True, "at": None, "error": None}
    assert [w["id"] for w in status["workers"]] == [0, 1]
    assert sum(w["connections"] for w in status["workers"]) == 1
    assert all({"exchanges", "loop_lag_us"} <= set(w) for w in status["workers"])
    assert [row["name"] for row in status["listeners"]] == ["web"]
    assert isinstance(status["problems"], list)
    assert isinstance(status["totals"], dict)


def test_pools(two):
    two.ask()
    pool = two.admin.get("/v1/pools/app")
    assert (pool["name"], pool["strategy"]) == ("app", "round-robin")
    assert [p["name"] for p in two.pools()] == ["app"]
    for row, address in zip(pool["backends"], two.app.addresses):
        assert row["address"] == address
        assert row["state"] in ("up", "unknown")
        for key in ("since_s", "weight", "in_flight", "queued", "upconns", "idle_upconns",
                    "requests", "errors", "retries", "bytes_in", "bytes_out", "rate"):
            assert isinstance(row[key], (int, float)), key
        for window in ("10s", "1m", "5m", "start"):
            assert window in row["latency"]


def test_latency_of_backends(weir, app):
    daemon = weir([{"address": app(1, "service=20ms").addresses[0], "name": "a"}])
    client = daemon.connect()
    for _ in range(10):
        client.ask()
    total = wait_for(lambda: (row := daemon.backends()["a"]["latency"]["start"].get("total")) and
                     row["n"] == 10 and row)
    assert 19000 <= total["p50_us"] <= 60000
    assert total["p50_us"] <= total["p90_us"] <= total["p99_us"] <= total["max_us"]
    wait = daemon.backends()["a"]["latency"]["start"]["wait"]
    assert 19000 <= wait["p50_us"] <= total["max_us"]


def test_in_flight_is_live(weir, app):
    backend = app()
    daemon = weir([{"address": backend.addresses[0], "name": "a"}])
    client = daemon.connect()
    client.send(request(target="/?hang=1"))
    wait_for(lambda: backend.stats()["in_progress"] == 1)
    assert daemon.backends()["a"]["in_flight"] == 1
    assert sum(w["exchanges"] for w in daemon.admin.get("/v1/status")["workers"]) == 1
    backend.go()
    client.response()
    wait_for(lambda: daemon.backends()["a"]["in_flight"] == 0)


@pytest.mark.parametrize("method,path,status", [
    ("GET", "/v1/nothing", 404), ("GET", "/v1/pools/nope", 404), ("POST", "/v1/status", 405),
    ("GET", "/v1/reload", 405), ("DELETE", "/v1/pools/app/backends/nope", 404),
    ("POST", "/v1/pools/app/backends/nope", 404), ("GET", "/v1/../etc/passwd", 404)])
def test_errors_are_json(two, method, path, status):
    answer = two.admin.call(method, path, {} if method == "POST" else None)
    assert answer.status == status
    assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize("data", [{"state": "sideways"}, {"weight": -1}, {"weight": 65536},
                                  {"weight": "1"}, {"colour": "red"}, [], "up", {}])
def test_bad_changes_are_refused(two, data):
    answer = two.admin.call("POST", "/v1/pools/app/backends/a", data)
    assert 400 <= answer.status < 500 and answer.json()["error"]
    assert two.backends()["a"]["weight"] == 1


def test_bad_json_is_refused(two):
    with Client(two.sock) as client:
        response = client.ask("POST", "/v1/pools/app/backends/a", body=b'{"state": ', host="weir")
        assert response.status == 400 and response.json()["error"]


def test_admin_connections_are_kept_alive(two):
    with Client(two.sock) as client:
        for _ in range(5):
            assert client.ask(target="/v1/status", host="weir").status == 200
        client.send(request(target="/v1/status") * 3)
        for _ in range(3):
            assert client.response().status == 200


def test_nonsense_on_the_status_socket(two):
    for data in (b"\x00" * 100, b"GET\r\n\r\n", b"x" * 100000, b"POST /v1/reload HTTP/1.1\r\n"
                 b"Host: a\r\nContent-Length: 99999999999\r\n\r\n", chunked([b"x"])):
        with Client(two.sock) as client:
            try:
                client.send(data)
                assert client.response().status >= 400
            except (OSError, AssertionError):
                pass
    assert two.ask().status == 200


def test_curl_works(two):
    done = subprocess.run(["curl", "-sS", "--fail", "--unix-socket", two.sock,
                           "http://weir/v1/status"], capture_output=True, check=True)
    assert json.loads(done.stdout)["pid"] == two.pid


def test_the_socket_has_its_mode(two):
    assert stat.S_IMODE(os.stat(two.sock).st_mode) == 0o660


def test_the_socket_goes_with_the_daemon(two):
    two.finish()
    assert not os.path.exists(two.sock)


def test_a_stale_socket_is_replaced(weir, app, tmp_path):
    import socket
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "weir-0.sock"))
    stale.close()
    assert weir(app().addresses).ask().status == 200


# ---- changes ----

@pytest.mark.parametrize("state,shown", [("drain", "draining"), ("maintenance", "maintenance")])
def test_state_of_a_backend(two, state, shown):
    client = two.connect()
    row = two.admin.post("/v1/pools/app/backends/a", {"state": state})
    assert (row["name"], row["state"]) == ("a", shown)
    assert two.backends()["a"]["state"] == shown
    for _ in range(20):
        assert client.ask().get("X-App") == "app-1"
    two.admin.post("/v1/pools/app/backends/a", {"state": "up"})
    assert {client.ask().get("X-App") for _ in range(10)} == {"app-0", "app-1"}


def test_draining_lets_requests_finish(two):
    client = two.connect()
    client.send(request(target="/?hang=1"))
    wait_for(lambda: two.app.total("in_progress") == 1)
    for name in "ab":
        two.admin.post(f"/v1/pools/app/backends/{name}", {"state": "drain"})
    two.app.go()
    assert client.response().status == 200


def test_state_survives_a_reload(two):
    two.admin.post("/v1/pools/app/backends/a", {"state": "maintenance"})
    two.reload()
    assert two.backends()["a"]["state"] == "maintenance"
    assert two.ask().get("X-App") == "app-1"


def test_weight_of_a_backend(two):
    client = two.connect()
    row = two.admin.post("/v1/pools/app/backends/a", {"weight": 3})
    assert row["weight"] == 3
    seen = [client.ask().get("X-App") for _ in range(40)]
    assert abs(seen.count("app-0") - 30) <= 2
    two.admin.post("/v1/pools/app/backends/a", {"weight": 0})
    assert {client.ask().get("X-App") for _ in range(10)} == {"app-1"}


def test_add_and_remove_a_backend(weir, app):
    backends = app(2)
    daemon = weir([{"address": backends.addresses[0], "name": "a"}])
    client = daemon.connect()
    answer = daemon.admin.call("POST", "/v1/pools/app/backends",
                               {"address": backends.addresses[1], "name": "b", "weight": 1})
    assert answer.status in (200, 201) and answer.json()["name"] == "b"
    wait_for(lambda: client.ask().get("X-App") == "app-1")
    again = daemon.admin.call("POST", "/v1/pools/app/backends",
                              {"address": backends.addresses[1], "name": "b"})
    assert again.status == 409
    assert daemon.admin.call("DELETE", "/v1/pools/app/backends/b").status in (200, 202, 204)
    wait_for(lambda: "b" not in daemon.backends())
    assert {client.ask().get("X-App") for _ in range(10)} == {"app-0"}
    wait_for(lambda: backends.stats(1)["open"] == 0)


def test_an_added_backend_inherits_nothing(weir, app):
    """Of one with the same name that was removed: neither its weight nor its state."""
    apps = app(2)
    daemon = weir([{"address": apps.addresses[0], "name": "a"}])
    new = {"address": apps.addresses[1], "name": "b", "weight": 3}
    for change in ({"weight": 0}, {"state": "drain"}, {"weight": 9, "state": "maintenance"}):
        daemon.admin.post("/v1/pools/app/backends", new, 201)
        daemon.admin.post("/v1/pools/app/backends/b", change)
        daemon.admin.call("DELETE", "/v1/pools/app/backends/b")
        wait_for(lambda: "b" not in daemon.backends())
    daemon.admin.post("/v1/pools/app/backends", new, 201)
    row = daemon.backends()["b"]
    assert (row["weight"], row["state"]) == (3, "up"), row


def test_removing_waits_for_requests(weir, app):
    backends = app(2)
    daemon = weir([{"address": x, "name": n} for x, n in zip(backends.addresses, "ab")],
                  pool={"balance": "round-robin"})
    clients = [daemon.connect() for _ in range(2)]
    for client in clients:
        client.send(request(target="/?hang=1"))
    wait_for(lambda: backends.total("in_progress") == 2)
    daemon.admin.call("DELETE", "/v1/pools/app/backends/b")
    backends.go()
    assert [client.response().status for client in clients] == [200, 200]
    wait_for(lambda: "b" not in daemon.backends())


@pytest.mark.parametrize("data", [{}, {"address": "nowhere"}, {"address": "127.0.0.1:99999"},
                                  {"address": 5}, {"address": "127.0.0.1:80", "weight": -3}])
def test_bad_backends_are_not_added(two, data):
    assert 400 <= two.admin.call("POST", "/v1/pools/app/backends", data).status < 500
    assert set(two.backends()) == {"a", "b"}


def test_events(two):
    two.admin.post("/v1/pools/app/backends/a", {"state": "maintenance"})
    events = two.events()
    mine = [e for e in events if e.get("backend") == "a"]
    assert mine and all(e["id"] > 0 for e in events)
    last = events[-1]["id"]
    assert two.admin.get(f"/v1/events?since={last}")["events"] == []
    two.reload()
    newer = two.admin.get(f"/v1/events?since={last}")["events"]
    assert newer and all(e["id"] > last for e in newer)


def test_connections(two):
    client = two.connect()
    client.ask()
    rows = two.admin.get("/v1/connections")["connections"]
    assert len(rows) == 1
    host, port = client.sock.getsockname()
    assert rows[0]["client"] == f"{host}:{port}"
    assert rows[0]["listener"] == "web"
    client.close()
    wait_for(lambda: two.admin.get("/v1/connections")["connections"] == [])


def test_config(two):
    answer = two.admin.get("/v1/config")
    text = json.dumps(answer)
    assert "round-robin" in text and two.app.addresses[0] in text


def test_explain(weir, app):
    backends = app(2)
    daemon = weir(pools={"blue": {"backends": [{"address": backends.addresses[0], "name": "a"}]},
                         "red": {"backends": [{"address": backends.addresses[1], "name": "b"}]}},
                  routes=[{"name": "api", "match": {"host": "api.test", "path": "/v1"},
                           "pool": "blue"},
                          {"name": "old", "match": {"path": "/old"},
                           "redirect": {"to": "https://new.test{uri}"}},
                          {"name": "rest", "pool": "red"}])
    explain = {"method": "GET", "url": "http://api.test/v1/x", "headers": {}, "client": "10.0.0.1"}
    answer = daemon.admin.post("/v1/explain", explain)
    text = json.dumps(answer)
    assert "api" in text and "blue" in text
    assert [b["name"] for b in answer["backends"]] == ["a"]
    assert answer["backends"][0]["candidate"] is True
    daemon.admin.post("/v1/pools/blue/backends/a", {"state": "maintenance"})
    answer = daemon.admin.post("/v1/explain", explain)
    assert answer["backends"][0]["candidate"] is False and answer["backends"][0]["why"]
    answer = daemon.admin.post("/v1/explain", explain | {"url": "http://x.test/old/1"})
    assert "https://new.test/old/1" in json.dumps(answer)
    assert backends.total("requests") == 0, "explaining sends nothing"


@pytest.mark.parametrize("data", [{}, {"method": "GET"}, {"method": "GET", "url": 5},
                                  {"method": "GET", "url": "http://[", "client": "x"}])
def test_explain_refuses_nonsense(two, data):
    assert 400 <= two.admin.call("POST", "/v1/explain", data).status < 500


# ---- probes and metrics ----

def test_livez_and_readyz(two):
    assert two.admin.call("GET", "/livez").status == 200
    assert two.admin.call("GET", "/readyz").status == 200


def test_promtool_is_content(two):
    assert shutil.which("promtool"), "promtool comes with the package prometheus"
    client = two.connect()
    for target in ("/", "/?status=500", "/?reset=before"):
        client.ask(target=target)
    metrics = two.admin.call("GET", "/metrics")
    assert metrics.get("Content-Type").startswith("text/plain")
    done = subprocess.run(["promtool", "check", "metrics"], input=metrics.body,
                          capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_names_of_metrics(two):
    two.ask()
    names = {key.partition("{")[0] for key in two.admin.metrics()}
    assert names and all(name.startswith(("weir_", "process_")) for name in names), names


def test_bind_is_read_only_without_a_token(weir, app):
    port = free_port()
    daemon = weir([{"address": app().addresses[0], "name": "a"}],
                  status={"bind": f"127.0.0.1:{port}"})
    web = Admin(port)
    assert web.call("GET", "/metrics").status == 200
    assert web.get("/v1/status")["pid"] == daemon.pid
    for path, data in [("/v1/reload", None), ("/v1/pools/app/backends/a", {"weight": 9})]:
        assert web.call("POST", path, data).status in (401, 403)
    assert daemon.backends()["a"]["weight"] == 1


def test_nobody_without_the_token_sees_a_secret(weir, app, tmp_path):
    """Whatever can be asked over status.bind, after requests and a reload that had one in them."""
    secret, port = "pa55w0rd", free_port()
    (tmp_path / "token").write_text("t0ken\n")
    backend = app()
    sick = {"backends": backend.addresses, "health": {"path": f"/?key={secret}", "body": secret}}
    daemon = weir(routes=[
        {"match": {"path": "/pay", "header": {"X-Key": secret}}, "respond": {"body": secret}},
        {"match": {"path": "/go"}, "redirect": {"to": f"https://a.example/?key={secret}"}},
        {"pool": "app", "request_headers": {"set": {"Authorization": f"Bearer {secret}"}}}],
        pools={"app": {"backends": backend.addresses}, "sick": sick},
        tracing={"endpoint": f"http://127.0.0.1:{free_port()}/v1/traces?key={secret}"},
        status={"bind": f"127.0.0.1:{port}", "token_file": str(tmp_path / "token")})
    slow = daemon.connect()
    slow.send(request(target=f"/?key={secret}&head_delay=50ms"))
    slow.response()
    waiting = daemon.connect()
    waiting.send(request(target=f"/?key={secret}&hang=1"))
    wait_for(lambda: any(c["path"] and secret in c["path"]
                         for c in daemon.admin.get("/v1/connections")["connections"]),
             what="who may change things sees all of it")
    wait_for(lambda: any(secret in (row["path"] or "")
                         for row in daemon.admin.get("/v1/pools/app/slow")["slow"]))
    wait_for(lambda: [*daemon.backends("sick").values()][0]["state"] == "down")
    daemon.reload(daemon.conf_path.read_text() + f"\n{secret}: {secret}\n", status=422)
    assert secret in daemon.admin.get("/v1/status")["last_reload"]["error"]
    remote = Admin(port)
    asked = 0
    for row in remote.get("/")["endpoints"]:
        path = row["path"].replace("{pool}", "app")  # of /v1/pools both are shown
        if row["method"] != "GET" or path == "/v1/stream" or "{node}" in path:
            continue
        response = remote.call("GET", path)
        assert response.status in (200, 400, 503), (path, response)
        assert secret not in response.body.decode(), path
        asked += response.status == 200
    assert asked > 10
    for url in ("/pay", "/go", "/"):
        answer = remote.call("POST", "/v1/explain", {"url": url, "headers": {"X-Key": secret}})
        assert answer.status == 200 and secret not in answer.body.decode(), answer
    with Client(port) as stream:
        stream.send(b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        while b'"pools":' not in stream.buf:
            assert stream.fill()
        assert secret.encode() not in stream.buf
    with_token = [("Authorization", "Bearer t0ken")]
    assert secret in remote.call("GET", "/v1/pools/app/slow", headers=with_token).body.decode()
    waiting.reset()


def test_bind_with_a_token(weir, app, tmp_path):
    (tmp_path / "token").write_text("s3cret\n")
    port = free_port()
    daemon = weir([{"address": app().addresses[0], "name": "a"}],
                  status={"bind": f"127.0.0.1:{port}", "token_file": str(tmp_path / "token")})
    web, path = Admin(port), "/v1/pools/app/backends/a"
    for token in ("", "wrong", "s3cre", "s3crets"):
        headers = [("Authorization", f"Bearer {token}")] if token else []
        assert web.call("POST", path, {"weight": 9}, headers).status in (401, 403)
    assert daemon.backends()["a"]["weight"] == 1
    answer = web.call("POST", path, {"weight": 9}, [("Authorization", "Bearer s3cret")])
    assert answer.status == 200
    assert daemon.backends()["a"]["weight"] == 9


# ---- exactness ----

def test_counters_are_exact(weir, app):
    """Clients, weir and backends agree on every request."""
    backends = app(3)
    daemon = weir(backends.addresses)
    statuses, lock = {}, threading.Lock()

    def run(i):
        client = daemon.connect()
        for j in range(100):
            status = client.ask(target=f"/?status={(200, 201, 302, 404, 500)[(i + j) % 5]}").status
            with lock:
                statuses[status] = statuses.get(status, 0) + 1
    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == {200: 160, 201: 160, 302: 160, 404: 160, 500: 160}
    seen = {}
    for stats in backends.all_stats():
        for status, n in stats["responses"].items():
            seen[int(status)] = seen.get(int(status), 0) + n
    assert seen == statuses
    rows = daemon.backends()
    for address, stats in zip(backends.addresses, backends.all_stats()):
        assert rows[address]["requests"] == stats["requests"]
        assert rows[address]["bytes_in"] == stats["bytes_out"]
        assert rows[address]["bytes_out"] == stats["bytes_in"]
    assert daemon.sum("errors") == 160, "5xx are errors"
    assert daemon.admin.get("/v1/status")["totals"]["requests"] == 800


def test_errors_are_counted_where_they_happen(weir, app):
    dead = refused_address()
    daemon = weir([{"address": app().addresses[0], "name": "good"}, {"address": dead,
                                                                    "name": "dead"}],
                  pool={"balance": "round-robin", "retry": "off"})
    client = daemon.connect()
    for _ in range(20):
        client.ask()
    rows = daemon.backends()
    # the third refusal in a row is the last for a second
    assert (rows["good"]["requests"], rows["good"]["errors"]) == (17, 0)
    assert rows["dead"]["errors"] == 3
