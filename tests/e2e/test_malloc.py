# SPDX-License-Identifier: MIT
"""No memory is asked of the heap per request: worker threads are counted from inside."""
import shutil
import ssl
import subprocess

import pytest

from backends import answer_all
from daemon import SANITIZED, built
from wire import TIMEOUT, request

# growth of a slab or the like: not one for each of thousands of requests
A_HANDFUL = 10


@pytest.fixture
def counted(tmp_path, weir):
    """counted(backends, ...) -> (daemon, calls): calls() is the count so far"""
    if SANITIZED:
        pytest.skip("sanitizers have a heap of their own")
    library, count = built(tmp_path, "malloc_count", "-fno-builtin"), tmp_path / "malloc_count"
    count.write_bytes(bytes(8))

    def start(backends, **kwargs):
        env = {"LD_PRELOAD": str(library), "MALLOC_COUNT_FILE": str(count)}
        daemon = weir(backends, env=env, **kwargs)
        return daemon, lambda: int.from_bytes(count.read_bytes(), "little")
    return start


def library_records():
    """The TLS library takes blocks from the heap for each record that it reads or writes: one to
    two in all versions known.  Records of our own need none."""
    return 4


def run(clients, rounds, ask):
    for _ in range(rounds):
        for client in clients:
            ask(client)


def assert_steady(counted, backends, ask, prepare=lambda client: client, rounds=300,
                  per_request=0, **kwargs):
    """After a warm-up, `rounds` times `ask` on each of ten connections."""
    daemon, calls = counted(backends, **kwargs)
    clients = [prepare(daemon.connect()) for _ in range(10)]
    run(clients, 50, ask)
    before = calls()
    assert before > 0, "the counter does not work: workers have allocated their slabs"
    run(clients, rounds, ask)
    n = rounds * 10
    assert calls() - before <= n * per_request + A_HANDFUL, f"{calls() - before} for {n} requests"
    for client in clients:
        client.close()


def test_get(counted, app):
    assert_steady(counted, app(2).addresses, lambda client: client.ask(), workers=2)


def test_post(counted, app):
    assert_steady(counted, app(2).addresses,
                  lambda client: client.ask("POST", body=b"x" * 5000), workers=1)


def test_pipelined(counted, app):
    def ask(client):
        client.send(request() * 3)
        for _ in range(3):
            client.response()
    assert_steady(counted, app(2).addresses, ask, workers=1)


def test_access_log(counted, app, tmp_path):
    assert_steady(counted, app(1).addresses, lambda client: client.ask(), workers=1,
                  log={"access": {"path": str(tmp_path / "access.log")}})


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls(counted, app, certified, version):
    context = ssl.create_default_context(cafile=str(certified.ca))
    context.minimum_version = context.maximum_version = version

    def secure(client):
        client.sock = context.wrap_socket(client.sock, server_hostname="a.example")
        return client
    library_stays = version == ssl.TLSVersion.TLSv1_2
    assert_steady(counted, app(1).addresses, lambda client: client.ask(), workers=1,
                  listener={"tls": {"certificates": [certified.conf]}}, prepare=secure,
                  per_request=library_records() if library_stays else 0)


def test_tls_large(counted, file_server, certified):
    context = ssl.create_default_context(cafile=str(certified.ca))

    def secure(client):
        client.sock = context.wrap_socket(client.sock, server_hostname="a.example")
        return client
    assert_steady(counted, [file_server.address],
                  lambda client: client.ask(target="/100000.bin"), workers=1, rounds=30,
                  listener={"tls": {"certificates": [certified.conf]}}, prepare=secure)


def test_tls_backend(counted, scripted, certified):
    """Weir as the client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certified.pem, certified.key)

    def answer(peer):
        peer.sock = context.wrap_socket(peer.sock, server_side=True)
        answer_all(peer)
    assert_steady(counted, [scripted(answer).address], lambda client: client.ask(), workers=1,
                  rounds=50, pool={"tls": {"ca": str(certified.ca), "sni": "a.example"}},
                  per_request=library_records())


@pytest.mark.parametrize("secure", [False, True])
def test_h2(counted, app, certified, tmp_path, secure):
    """Ten streams at a time on four connections: h2load asks."""
    if not shutil.which("h2load"):
        pytest.skip("h2load is not installed")
    listener = {"tls": {"certificates": [certified.conf]}} if secure else {}
    daemon, calls = counted(app(2).addresses, workers=1, listener=listener)
    # the connections of a run cost memory, its requests do not: two runs that differ in those

    def ask(n):
        before = calls()
        scheme = "https" if secure else "http"
        done = subprocess.run(["h2load", "-n", str(n), "-c", "4", "-m", "10",
                               f"{scheme}://127.0.0.1:{daemon.port}/"],
                              capture_output=True, text=True, timeout=TIMEOUT, check=True)
        assert f"{n} succeeded" in done.stdout
        return calls() - before
    ask(4000)
    few, many = ask(400), ask(8400)
    # what a handshake needs depends on its luck with padding and signatures
    assert many - few <= 200, f"{many - few} for 8000 requests"


def test_queue(counted, app):
    """One slot for ten connections: all of them wait in the pool queue."""
    def ask(client):
        client.send(request())

    daemon, calls = counted(app(1).addresses, workers=1,
                            pool={"limits": {"requests": 1}, "queue": {"timeout": "20s"}})
    clients = [daemon.connect() for _ in range(10)]

    def rounds(n):
        for _ in range(n):
            for client in clients:
                ask(client)
            for client in clients:
                assert client.response().status == 200
    rounds(50)
    before = calls()
    rounds(100)
    assert calls() - before <= A_HANDFUL
    pool = daemon.pools()[0]
    assert pool["backends"][0]["in_flight"] == 0
    for client in clients:
        client.close()
