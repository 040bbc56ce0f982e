# SPDX-License-Identifier: MIT
"""gRPC through weir, with the reference implementation as client and server."""
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from backends import free_port
from test_health import named
from wire import TIMEOUT, wait_for

KINDS = {
    "Unary": (False, False), "Fail": (False, False), "Hang": (False, False),
    "Down": (False, True), "Up": (True, False), "Both": (True, True),
}


class Service(grpc.GenericRpcHandler):
    """Messages are bytes: what is tested is the way, not protobuf."""

    def __init__(self):
        self.seen = []
        self.hanging, self.cancelled = threading.Event(), threading.Event()

    def service(self, details):
        name = details.method.rpartition("/")[2]
        self.seen.append((name, dict(details.invocation_metadata)))
        streams = KINDS.get(name)
        if streams is None:
            return None
        make = {(False, False): grpc.unary_unary_rpc_method_handler,
                (False, True): grpc.unary_stream_rpc_method_handler,
                (True, False): grpc.stream_unary_rpc_method_handler,
                (True, True): grpc.stream_stream_rpc_method_handler}[streams]
        return make(getattr(self, name.lower()))

    def unary(self, request, context):
        context.set_trailing_metadata([("x-trailer", "yes")])
        return request

    def fail(self, _, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")

    def hang(self, request, context):
        if not context.add_callback(self.cancelled.set):
            self.cancelled.set()  # it was over before we came to it
        self.hanging.set()
        self.cancelled.wait(TIMEOUT)
        return request

    def down(self, request, _):
        for i in range(int(request)):
            yield bytes([i % 256]) * 1000

    def up(self, requests, _):
        return str(sum(map(len, requests))).encode()

    def both(self, requests, _):
        yield from requests


@pytest.fixture
def service():
    service = Service()
    server = grpc.server(ThreadPoolExecutor(32), handlers=[service],
                         options=[("grpc.so_reuseport", 0)])
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield service
    server.stop(0).wait()


@pytest.fixture
def call(weir, service):
    """call(kind) -> the callable of a channel through weir"""
    daemon = weir([service.address], pool={"protocol": "h2"})
    with grpc.insecure_channel(f"127.0.0.1:{daemon.port}") as channel:
        def make(name):
            kind = {(False, False): channel.unary_unary, (False, True): channel.unary_stream,
                    (True, False): channel.stream_unary, (True, True): channel.stream_stream}
            return kind[KINDS[name]](f"/test.Test/{name}")
        make.daemon = daemon
        yield make


def test_unary_with_metadata_and_trailers(call, service):
    answer, done = call("Unary").with_call(b"hello", metadata=[("x-mine", "1")], timeout=100)
    assert answer == b"hello"
    assert dict(done.trailing_metadata())["x-trailer"] == "yes"
    assert done.code() == grpc.StatusCode.OK
    assert service.seen[0][1]["x-mine"] == "1"


def test_large_messages(call):
    message = bytes(range(256)) * 12000
    assert call("Unary")(message, timeout=100) == message


def test_errors_are_trailers_only(call):
    with pytest.raises(grpc.RpcError) as error:
        call("Fail")(b"", timeout=100)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert error.value.details() == "no such thing"


def test_streams_of_all_kinds(call):
    down = list(call("Down")(b"1000", timeout=100))
    assert down == [bytes([i % 256]) * 1000 for i in range(1000)]
    assert call("Up")(iter([bytes(1000)] * 1000), timeout=100) == b"1000000"
    pieces = [str(i).encode() for i in range(200)]
    assert list(call("Both")(iter(pieces), timeout=100)) == pieces


def test_both_directions_at_once(call):
    """Each message waits for the echo of the one before."""
    echoed = threading.Semaphore(1)

    def requests():
        for i in range(50):
            assert echoed.acquire(timeout=TIMEOUT)
            yield str(i).encode()
    got = []
    for message in call("Both")(requests(), timeout=100):
        got.append(message)
        echoed.release()
    assert got == [str(i).encode() for i in range(50)]


def test_a_deadline_ends_the_call_at_both_ends(call, service):
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as error:
        call("Hang")(b"", timeout=3)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 20, "the response timeout is 30 s"
    assert service.cancelled.wait(TIMEOUT), "the backend was not told"


def test_cancelling_reaches_the_backend(call, service):
    future = call("Hang").future(b"", timeout=120)
    assert service.hanging.wait(TIMEOUT), "the call"
    future.cancel()
    assert service.cancelled.wait(TIMEOUT), "the backend was not told"


def test_many_calls_share_few_connections(call):
    unary = call("Unary")
    futures = [unary.future(str(i).encode(), timeout=100) for i in range(500)]
    assert [future.result() for future in futures] == [str(i).encode() for i in range(500)]
    row, = call.daemon.backends().values()
    assert row["requests"] == 500 and row["connects"] <= 10, row


def test_an_unreachable_backend_is_a_status(weir):
    daemon = weir([f"127.0.0.1:{free_port()}"], pool={"protocol": "h2"})
    with grpc.insecure_channel(f"127.0.0.1:{daemon.port}") as channel:
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary("/test.Test/Unary")(b"", timeout=100)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "refused" in error.value.details()


class Deploy(grpc.GenericRpcHandler):
    """One of several servers: good, or (when .code is set) bad at once, with a message or without."""

    def __init__(self, server):
        self.n, self.code, self.gives = 0, None, False
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.add_generic_rpc_handlers((self,))
        server.start()

    def service(self, _):
        return grpc.unary_stream_rpc_method_handler(self.answer)

    def answer(self, request, context):
        self.n += 1
        if not self.code:
            time.sleep(0.01)
        if not self.code or self.gives:
            yield request
        if self.code:
            context.abort(self.code, "as deployed")


@pytest.fixture
def deploys():
    servers = [grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
               for _ in range(4)]
    yield [Deploy(server) for server in servers]
    for server in servers:
        server.stop(0)
    for server in servers:
        server.stop(0).wait()


@pytest.mark.parametrize("balance, code, gives, said", [
    ("auto", "INTERNAL", True, "answers 500 or grpc-status 2, 13, 15"),
    ("least-request", "UNAVAILABLE", True, "answers 503 or grpc-status 14"),
    ("round-robin", "NOT_FOUND", False, "answers 404 or grpc-status 5"),
])
def test_a_bad_deploy_is_left_alone_and_taken_back(weir, deploys, balance, code, gives, said):
    daemon = weir(named([each.address for each in deploys]),
                  pool={"protocol": "h2", "balance": balance})
    stop, failed = threading.Event(), []

    def ask():
        with grpc.insecure_channel(f"127.0.0.1:{daemon.port}") as channel:
            call = channel.unary_stream("/test.Test/Any")
            while not stop.is_set():
                try:
                    list(call(b"x" * 100, timeout=TIMEOUT))
                except grpc.RpcError as error:
                    failed.append(error.code())

    def row():
        return daemon.backends()["b2"]
    clients = [threading.Thread(target=ask) for _ in range(4)]
    for each in clients:
        each.start()
    try:
        wait_for(lambda: min(each.n for each in deploys) >= 30, what="all have answered")
        deploys[2].gives, deploys[2].code = gives, getattr(grpc.StatusCode, code)
        wait_for(lambda: row()["state"] == "ejected", what="it is left alone")
        assert row()["reason"].startswith(said), row()
        assert set(failed) == {deploys[2].code}
        n, others, since = len(failed), sum(each.n for each in deploys), time.monotonic()
        wait_for(lambda: sum(each.n for each in deploys) >= others + 300, what="300 more calls")
        # what was under way, and a try a second
        assert len(failed) - n <= len(clients) + 2 + 2 * (time.monotonic() - since)
        deploys[2].code = None
        wait_for(lambda: row()["state"] == "up", what="it is taken back")
    finally:
        stop.set()
        for each in clients:
            each.join()
