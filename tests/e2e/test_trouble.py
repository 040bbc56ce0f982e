# SPDX-License-Identifier: MIT
"""Trouble beside the traffic, under load: a full stderr, a full disk, a FIFO that nobody reads,
signals and orphans of process 1.  For scripts/chaos; what is asserted here is in test_log.py and
test_handover.py as well, without the load."""
import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from backends import free_port
from openloop import Load
from test_handover_managers import PID_NAMESPACE, children
from test_log import dropped
from test_resilience import tell_load
from wire import full_pipe, wait_for

pytestmark = pytest.mark.slow
RATE = 400


def took(action):
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


@contextlib.contextmanager
def trouble(daemon, what, log):
    """Load until lines of `log` are dropped, with a reload; then what the caller does to end it,
    the time until lines go again, and the stop."""
    facts = {}
    daemon.fd_check = False
    with Load(daemon.port, RATE, target="/" + "x" * 1500) as load:
        load.wait_for(RATE)
        wait_for(lambda: dropped(daemon, log), 60, f"lines of {log} are dropped")
        facts["reload"] = took(lambda: daemon.reload(daemon.conf))
        load.wait_for(4 * RATE)
        assert any(f"the {log} log" in p for p in daemon.admin.get("/v1/status")["problems"])
        before = len(load.rows)
        begin = time.monotonic()
        yield
        facts["recover"] = time.monotonic() - begin
        load.wait_for(before + RATE)
    n = int(dropped(daemon, log))
    stop = took(daemon.finish)
    worst = max(seconds for _, seconds, _, _ in load.rows)
    tell_load(what, load, f"{n} lines dropped and counted, recovered: lines go again; longest request "
              f"{worst * 1e3:.0f} ms; reload {facts['reload'] * 1e3:.0f} ms, stop {stop:.2f} s",
              back=facts["recover"])
    assert not load.failed and set(load.statuses) == {200}, load.statuses


def reader_of(fd):
    """Reads all there is, in a thread, until the other side is closed; what came grows."""
    seen = bytearray()

    def read():
        while data := os.read(fd, 65536):
            seen.extend(data)
    threading.Thread(target=read, daemon=True).start()
    return seen


def small_disk(folder, redirect=""):
    """What starts a program where `folder` is a disk of 256 KiB."""
    folder.mkdir()
    mount = f'mount -t tmpfs -o size=256k none {folder} && exec "$@" {redirect}'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, "sh"]


def test_an_unread_fifo(weir, app, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    daemon = weir(app(2).addresses, log={"access": {"path": str(fifo)}})
    with trouble(daemon, "access log: a FIFO that nobody reads", "access"):
        seen = reader_of(os.open(fifo, os.O_RDONLY))
        wait_for(lambda: daemon.ask(target="/it-goes-on") and b"/it-goes-on" in seen)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk(weir, app, tmp_path):
    """256 KiB of tmpfs, in a mount namespace of the daemon's own."""
    disk = tmp_path / "disk"
    daemon = weir(app(2).addresses, log={"access": {"path": f"{disk}/access.log"}},
                  wrapper=small_disk(disk))
    log = Path(f"/proc/{daemon.pid}/root{disk}/access.log")
    with trouble(daemon, "access log: its disk is full", "access"):
        os.truncate(log, 0)
        wait_for(lambda: log.read_bytes().count(b"\n") > 10)
        lines = log.read_bytes().splitlines()
        assert all(line.startswith(b"{") and line.endswith(b"}") for line in lines[1:-1])


def test_a_full_stderr(weir, app, tmp_path):
    reader, writer = full_pipe()
    backends = app(2)
    daemon = weir(pools={"app": {"backends": backends.addresses},
                         "dead": {"backends": [f"127.0.0.1:{free_port()}"]}},
                  routes=[{"match": {"path": "/dead"}, "pool": "dead"}, {"pool": "app"}],
                  wrapper=["/bin/sh", "-c", f'exec "$@" 2>/proc/{os.getpid()}/fd/{writer}', "sh"])
    mistakes = "".join(f"mistake-{i}: 1\n" for i in range(200))
    while not dropped(daemon, "messages"):
        daemon.reload(mistakes, status=422)
        assert daemon.ask(target="/dead").status in (502, 503)
    daemon.write(daemon.conf)
    with trouble(daemon, "stderr: a full pipe, and a dead pool", "messages"):
        seen = reader_of(reader)
        wait_for(lambda: daemon.reload(daemon.conf) and b"dropped before this one" in seen)
    os.close(writer)


def test_process_1(weir, app):
    """In a PID namespace: a hand-over is refused with a sentence, orphans are reaped, a reload
    and a reopening work, TERM ends it, and no request notices."""
    orphans = '(while :; do (sleep 0.01 &); sleep 0.05; done) & exec "$@"'
    daemon = weir(app(2).addresses, wrapper=[*PID_NAMESPACE, "sh", "-c", orphans, "sh"])
    inner = children(daemon.pid)[0]
    with Load(daemon.port, RATE) as load:
        load.wait_for(RATE)
        for n in range(1, 4):
            os.kill(inner, signal.SIGUSR2)
            wait_for(lambda: daemon.stderr.count("this is process 1") >= n)
            os.kill(inner, signal.SIGUSR1)
            os.kill(inner, signal.SIGHUP)
            wait_for(lambda: f"generation {n + 1}" in daemon.stderr)
            load.wait_for((n + 1) * RATE)
        os.kill(children(inner)[0], signal.SIGKILL)  # who made the orphans
        reaped = took(lambda: wait_for(lambda: not children(inner), what="orphans are reaped"))
        load.wait_for(len(load.rows) + RATE)
    daemon.checked = True
    os.kill(inner, signal.SIGTERM)
    stop = took(daemon.wait)
    tell_load("process 1: USR2, USR1, HUP, orphans", load, "3 hand-overs refused with a sentence, "
              f"all orphans reaped; stop {stop:.2f} s", back=reaped)
    assert daemon.child.returncode == 0 and "stopped" in daemon.stderr
    assert not load.failed and set(load.statuses) == {200}, load.statuses
