# SPDX-License-Identifier: MIT
"""gRPC through weir, with the reference implementation as client and server."""
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from backends import free_port
from wire import TIMEOUT

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
