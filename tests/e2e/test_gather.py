# SPDX-License-Identifier: MIT
"""request_buffer: a body is gathered before a backend is taken."""
import hashlib
import subprocess

import pytest

from wire import chunked, request, wait_for

ROUTE = [{"pool": "app", "request_buffer": "64KiB"}]


def metric(daemon, name):
    return sum(value for key, value in daemon.admin.metrics().items() if key.startswith(name))


def test_slow_uploads_hold_no_backend(weir, app):
    """Each sends a byte now and then; the app serves one request at a time."""
    daemon = weir(app().addresses, routes=ROUTE,
                  pool={"limits": {"requests": 1}, "retry": "off"})
    slow = [daemon.connect() for _ in range(20)]
    for client in slow:
        client.send(request("POST", "/echo", [("Content-Length", "3")]), b"a")
    wait_for(lambda: [row["state"] for row in daemon.admin.get("/v1/connections")["connections"]]
             .count("gathering") == len(slow))
    assert daemon.sum("connects") == 0
    assert daemon.ask().status == 200, "nobody is held up"
    for client in slow:
        client.send(b"bc")
        assert client.response().json()["body_length"] == 3
    assert metric(daemon, "weir_requests_gathered_total") == len(slow)


@pytest.mark.parametrize("size", [1, 65536, 65537, 3_000_000])
def test_what_arrives_is_what_was_sent(weir, app, size, tmp_path):
    daemon = weir(app().addresses, routes=ROUTE)
    body = bytes(i * 7 % 251 for i in range(size))
    proof = (size, hashlib.sha256(body).hexdigest())
    client = daemon.connect()
    client.send(request("POST", "/echo", [("Content-Length", str(size))]), body[:size // 2])
    client.send(body[size // 2:])
    echo = client.response().json()
    assert (echo["body_length"], echo["body_sha256"]) == proof
    pieces = [body[i:i + 9973] for i in range(0, size, 9973)]
    client.send(request("POST", "/echo", [("Transfer-Encoding", "chunked")]), chunked(pieces))
    echo = client.response().json()
    assert (echo["body_length"], echo["body_sha256"]) == proof
    (tmp_path / "body").write_bytes(body)
    for version in ("--http1.1", "--http2-prior-knowledge"):
        done = subprocess.run(["curl", "-sS", version, "-H", "Expect: 100-continue",
                               "--data-binary", f"@{tmp_path}/body", "--max-time", "60",
                               f"http://127.0.0.1:{daemon.port}/echo"],
                              capture_output=True, text=True, check=True)
        assert f'"{proof[1]}"' in done.stdout, (version, done.stdout)


def test_memory_for_it_has_a_bound(weir, app):
    """What is beyond goes on as it comes, and is counted."""
    daemon = weir(app().addresses, routes=[{"pool": "app", "request_buffer": "1MiB"}], workers=1,
                  request_buffer_bytes="256KiB")
    clients = [daemon.connect() for _ in range(8)]
    for client in clients:
        client.send(request("POST", "/echo", [("Content-Length", "200000")]), b"x" * 199_999)
    wait_for(lambda: metric(daemon, "weir_requests_gather_short_total") > 0)
    for client in clients:
        client.send(b"y")
        assert client.response().json()["body_length"] == 200_000
