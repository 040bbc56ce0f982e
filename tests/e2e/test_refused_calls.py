# SPDX-License-Identifier: MIT
"""System calls that fail, each of them once, wherever a request passes: weir lives on, says what
is true, and nothing is left over.  Flow scripts do the same without TLS."""
import errno
import mmap
import struct

import pytest

from backends import free_port, pattern
from daemon import preloading
from wire import WireError, chunked, request, wait_for

SEND, RECV, SPLICE, CONNECT, ACCEPT, SOCKET, GETSOCKOPT = range(1, 8)
FAULTS = {
    "send": (SEND, ["EPIPE", "ECONNRESET", "ENOBUFS", "EAGAIN", "EINTR", "EHOSTUNREACH"]),
    "recv": (RECV, ["ECONNRESET", "EAGAIN", "EINTR", "ETIMEDOUT"]),
    "splice": (SPLICE, ["EPIPE", "ECONNRESET", "EAGAIN", "EINTR"]),
    "connect": (CONNECT, ["ECONNREFUSED", "EADDRNOTAVAIL", "ENETUNREACH", "EAGAIN"]),
    "accept": (ACCEPT, ["EMFILE", "ECONNABORTED", "EAGAIN", "ENOBUFS"]),
    "socket": (SOCKET, ["EMFILE", "ENOBUFS"]),
    "getsockopt": (GETSOCKOPT, ["ENOBUFS"]),
}
WAYS = ["h1", "h2", "tls1", "tls2", "asked", "copied"]
# so many of them are there at least
LEAST = {("splice", "h1"): 2}
LEAST |= {(call, way): 10 for call in ("send", "recv") for way in WAYS}
BODY = pattern(90_000)
MOST = 60
# what weir may say of a request that met with such a thing
HONEST = {200, 502, 503}


class Refusals:
    def __init__(self, folder):
        self.path = folder / "refuse"
        self.path.write_bytes(bytes(12))
        with open(self.path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 12)
        self.env = preloading(folder, "refuse", REFUSE_FILE=str(self.path))

    def arm(self, call, error, n):
        self.map[:] = struct.pack("iii", 0, error, n)
        self.map[:4] = struct.pack("i", call)

    def have_come(self):
        """and are over"""
        left = struct.unpack("iii", self.map[:])[2]
        self.map[:4] = bytes(4)
        return left <= 0


@pytest.fixture
def world(tmp_path, weir, app, certified):
    """A weir that is its own backend, over each version of HTTP, with and without TLS: the calls of
    both sides are its own."""
    refusals = Refusals(tmp_path)
    ports = [free_port() for _ in range(3)]
    inner = {way: {"protocol": protocol, "backends": [f"127.0.0.1:{port}"], **more}
             for way, protocol, port, more in [
                 ("h1", "http1", ports[1], {}), ("h2", "h2", ports[1], {}),
                 ("tls1", "http1", ports[2], {}), ("tls2", "h2", ports[2], {})]}
    for way in ("tls1", "tls2"):
        inner[way]["tls"] = {"ca": str(certified.ca)}
    pools = {**inner, "app": {"backends": app().addresses}}
    for pool in pools.values():
        pool["health"] = "off"
        pool["outlier"] = "off"
        pool["keepalive"] = {"idle": "500ms"}  # weir counts its descriptors at the end
    names = ["outer", "plain", "tls"]
    listeners = [{"name": name, "bind": f"127.0.0.1:{port}"} for name, port in zip(names, ports)]
    listeners[2]["tls"] = {"certificates": [certified.conf]}
    ways = {**dict.fromkeys(inner, {}),
            "asked": {"pool": "tls2", "auth": {"forward": {"pool": "tls1", "path": "/app"}}},
            "copied": {"pool": "h2", "mirror": {"pool": "tls1", "methods": ["GET", "POST"],
                                                "compare": ["status", "body"]}}}
    routes = [{"match": {"path": f"/{way}/"}, "pool": way,
               "rewrite": {"path_regex": "^/[a-z0-9]+/(.*)", "path": "/$1"}, **more} for way, more in ways.items()]
    daemon = weir(conf={"workers": 1, "sandbox": "off", "listeners": listeners, "routes": [*routes, {"pool": "app"}],
                        "pools": pools, "status": {"socket": str(tmp_path / "weir-0.sock")}},
                  env=refusals.env)
    daemon.refusals = refusals
    return daemon


def ask_all(client, way):
    """A request after the other on one connection, until it is closed; the answers."""
    try:
        for i, text in enumerate([
                request("GET", f"/{way}/echo"),
                request("POST", f"/{way}/echo", body=b"x" * 500),
                request("POST", f"/{way}/echo", headers=[("Transfer-Encoding", "chunked")])
                + chunked([BODY]),
                request("GET", f"/{way}/bytes/200000")]):
            client.send(text)
            yield client.response("POST" if i in (1, 2) else "GET")
    except (OSError, WireError):
        pass


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("call", FAULTS)
def test_a_call_that_fails(world, call, way):
    number, errors = FAULTS[call]
    for name in errors:
        for n in range(1, MOST):
            world.refusals.arm(number, getattr(errno, name), n)
            with world.connect() as client:
                said = [response.status for response in ask_all(client, way)]
            has_come = world.refusals.have_come()
            assert set(said) <= HONEST, (name, n, said)
            assert world.alive(), (name, n)
            if not has_come:
                assert said == [200] * 4, (name, n, said)
                break
        assert n > LEAST.get((call, way), 0), (name, n)
    wait_for(lambda: world.sum("in_flight") == 0)
    with world.connect() as client:
        assert [r.status for r in ask_all(client, way)] == [200] * 4
