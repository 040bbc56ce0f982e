# SPDX-License-Identifier: MIT
"""Design section 5: four I/O system calls a keep-alive request, and epoll_wait."""
import re
import shutil
import signal
import ssl
import subprocess
import time
from collections import Counter

import pytest

from daemon import SANITIZED
from wire import TIMEOUT, Client, request, wait_for

N = 200


@pytest.fixture
def strace(tmp_path):
    """strace(daemon, work) -> calls of all threads while work() runs"""
    def count(daemon, work):
        out = tmp_path / "strace.out"
        tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", str(out), "-p", str(daemon.pid)],
                                  stderr=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: _traced(daemon) or tracer.poll() is not None)
            if tracer.poll() is not None:
                pytest.skip(f"strace cannot attach here: {tracer.stderr.read()}")
            time.sleep(0.1)
            work()
            time.sleep(0.1)
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
        calls = Counter()
        for line in out.read_text().splitlines():
            match = re.match(r"\d+\s+(?:<\.\.\. )?(\w+)(?:\(| resumed)", line)
            if match and "resumed" not in line:
                calls[match.group(1)] += 1
        return calls
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    if SANITIZED:
        pytest.skip("sanitizers make system calls of their own")
    return count


def _traced(daemon):
    """Every thread has its tracer."""
    from pathlib import Path
    tasks = list(Path(f"/proc/{daemon.pid}/task").iterdir())
    return all("TracerPid:\t0" not in (t / "status").read_text() for t in tasks)


def without_waiting(calls):
    return {name: n for name, n in calls.items()
            if name not in ("epoll_wait", "epoll_pwait", "epoll_pwait2", "restart_syscall")}


@pytest.mark.parametrize("workers", [1, 2])
def test_four_calls_for_a_keepalive_request(weir, app, strace, workers):
    daemon = weir(app().addresses, workers=workers)
    client = daemon.connect()
    for _ in range(20):
        client.ask()

    def work():
        for _ in range(N):
            client.ask()
    calls = without_waiting(strace(daemon, work))
    # 40: timers of the control thread and of idle workers in the meantime
    assert sum(calls.values()) <= 4 * N + 40, calls
    assert calls.get("epoll_ctl", 0) < 10, calls
    assert calls.get("setsockopt", 0) + calls.get("getsockname", 0) == 0, calls


def test_seven_calls_for_a_connection(weir, app, strace):
    """accept, epoll_ctl, four for the request, close: none that finds nothing."""
    daemon = weir(app().addresses, workers=1)
    daemon.ask()

    def work():
        for _ in range(N):
            with daemon.connect() as client:
                client.ask(headers=[("Connection", "close")])
    calls = without_waiting(strace(daemon, work))
    assert sum(calls.values()) <= 7 * N + 60, calls
    assert calls["accept4"] <= N + 20, calls


def test_pipelined_requests_cost_no_more(weir, app, strace):
    daemon = weir(app().addresses, workers=1)
    client = daemon.connect()
    client.ask()

    def work():
        for _ in range(N // 10):
            client.send(request() * 10)
            for _ in range(10):
                client.response()
    calls = without_waiting(strace(daemon, work))
    assert sum(calls.values()) <= 4 * N + 40, calls


def test_small_posts(weir, app, strace):
    daemon = weir(app().addresses, workers=1)
    client = daemon.connect()
    client.ask("POST", body=b"hello")

    def work():
        for _ in range(N):
            client.ask("POST", body=b"hello")
    calls = without_waiting(strace(daemon, work))
    assert sum(calls.values()) <= 4 * N + 40, calls


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_costs_no_call_more(weir, app, strace, certified, version):
    daemon = weir(app().addresses, workers=1, listener={"tls": {"certificates": [certified.conf]}})
    client = daemon.connect()
    context = ssl.create_default_context(cafile=str(certified.ca))
    context.minimum_version = context.maximum_version = version
    client.sock = context.wrap_socket(client.sock, server_hostname="a.example")
    for _ in range(20):
        client.ask()

    def work():
        for _ in range(N):
            client.ask()
    calls = without_waiting(strace(daemon, work))
    assert sum(calls.values()) <= 4 * N + 40, calls


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_h2_gathers_what_streams_write(weir, app, strace, certified, scheme):
    """Towards the client ten streams share their reads and writes."""
    if not shutil.which("h2load"):
        pytest.skip("h2load is not installed")
    listener = {"tls": {"certificates": [certified.conf]}} if scheme == "https" else {}
    daemon = weir(app().addresses, workers=1, listener=listener)

    def load(n):
        subprocess.run(["h2load", "-n", str(n), "-c", "1", "-m", "10",
                        f"{scheme}://127.0.0.1:{daemon.port}/"],
                       stdout=subprocess.DEVNULL, timeout=TIMEOUT, check=True)
    load(100)
    calls = without_waiting(strace(daemon, lambda: load(1000)))
    # one send and one recv with the backend for each; with the client much less than that,
    # even where each answer comes alone
    assert calls["recvfrom"] + calls["sendto"] <= 4 * 1000 + 100, calls
    assert sum(calls.values()) <= 4 * 1000 + 200, calls


def test_no_memory_is_asked_for(weir, app, strace):
    """In the steady state neither the heap grows nor anything is mapped."""
    daemon = weir(app().addresses, workers=1)
    clients = [Client(daemon.port) for _ in range(10)]
    for _ in range(20):
        for client in clients:
            client.ask()

    def work():
        for _ in range(N // 10):
            for client in clients:
                client.ask()
    calls = strace(daemon, work)
    for client in clients:
        client.close()
    assert calls["brk"] + calls["mmap"] + calls["munmap"] <= 2, calls


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_is_pipelined_is_answered_over_many_turns(weir, app, strace, certified, scheme):
    """Between two of them all other connections are looked at."""
    listener = {"tls": {"certificates": [certified.conf]}} if scheme == "https" else {}
    daemon = weir(app().addresses, workers=1, listener=listener,
                  routes=[{"match": {"path": "/"}, "respond": {"body": "no\n"}}])
    client = daemon.connect()
    if scheme == "https":
        context = ssl.create_default_context(cafile=str(certified.ca))
        client.sock = context.wrap_socket(client.sock, server_hostname="a.example")
    client.ask()

    def work():
        client.send(request() * 3 * N)
        for _ in range(3 * N):
            client.response()
    calls = strace(daemon, work)
    waits = sum(n for name, n in calls.items() if name.startswith("epoll_") and "wait" in name)
    assert waits >= 3 * N / 16, calls
