# SPDX-License-Identifier: MIT
"""For scripts/chaos: what nginx and HAProxy do where weir's rows differ from theirs.  Nothing is
asserted of them; whoever is not installed has no row."""
import contextlib
import os
import signal
import threading
import time

import pytest

from backends import Process, can_connect, free_port
from openloop import Load
from test_bad_deploy import haproxy, nginx
from test_handover_managers import PID_NAMESPACE, children
from test_resilience import (QUICK, ask_and_stay, back_after, streams_when, tell_clients,
                             tell_load)
from test_trouble import reader_of, small_disk
from wire import full_pipe

pytestmark = pytest.mark.slow
RATE = 400


@contextlib.contextmanager
def running(make, folder, apps, wrapper=(), change=(), options=(), own=False):
    """The port it listens on, with its process for who asks for it by `own`; `change` are pairs
    for its configuration file."""
    port = free_port()
    argv = make(folder, port, apps)
    if not os.path.exists(argv[0]):
        pytest.skip(f"{make.__name__} is not installed")
    path = folder / ("nginx.conf" if make is nginx else "haproxy.cfg")
    for old, new in change:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    process = Process([*wrapper, *argv, *options], folder, make.__name__)
    try:
        process.wait_ready(lambda: can_connect(port))
        yield (port, process) if own else port
    finally:
        process.stop()


@pytest.mark.parametrize("make", [nginx, haproxy])
def test_descriptors_at_the_limit(app, tmp_path, make):
    """HAProxy refuses to start with more connections than that allows."""
    idle, n = [], 300  # more would take minutes of waiting
    change = [("maxconn 4000", "maxconn 80")] if make is haproxy else []
    with running(make, tmp_path, app(2), ["prlimit", "--nofile=200:200"], change) as port:
        ends = [ask_and_stay(port, idle, 1) for _ in range(n)]
        for client in idle:
            client.close()
        back = back_after(port)
    tell_clients(f"200 descriptors, idle clients hold them: {make.__name__}", ends,
                 "it gives up after a second", back)


def test_an_unread_fifo(app, tmp_path):
    """HAProxy writes no files; nginx opens a FIFO only while somebody has it open to read."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    change = [("access_log off", f"access_log {fifo}")]
    with running(nginx, tmp_path, app(2), change=change) as port:
        with Load(port, RATE, target="/" + "x" * 1500, timeout=5) as load:
            time.sleep(5)
        os.set_blocking(reader, True)
        reader_of(reader)
        back = back_after(port)
    tell_load("access log: a FIFO that nobody reads: nginx", load, slowest(load), back=back)


def test_a_backend_that_allows_no_streams(scripted, tmp_path):
    """nginx has no HTTP/2 to backends."""
    allowed, always, ends, idle = threading.Event(), threading.Event(), [], []
    always.set()
    backends = [scripted(streams_when(allowed)), scripted(streams_when(always))]
    apps = type("Apps", (), {"addresses": [each.address for each in backends]})
    change = [("balance leastconn\n  option httpchk", "balance roundrobin\n  #"),
              ("  http-check send meth GET uri /\n  http-check expect status 200\n"
               "  http-check expect rstring .\n", ""),
              ("check inter 500ms rise 1 fall 1 observe layer7 error-limit 5 on-error mark-down",
               "proto h2"), ("timeout server 30s", "timeout server 1s")]
    with running(haproxy, tmp_path, apps, change=change) as port:
        for _ in range(20 * QUICK):
            ends.append(ask_and_stay(port, idle, 5))
            while idle:
                idle.pop().close()
        opened = backends[0].connections
        allowed.set()
        back = back_after(port)
    tell_clients("a backend that allows 0 streams, of 2: haproxy", ends,
                 f"{opened} connections to it", back)
    for each in backends:  # how HAProxy leaves is its own affair
        each.close()
        each.errors.clear()


def slowest(load):
    """In words."""
    worst = max((took for _, took, _, _ in load.rows), default=0)
    return f"longest request {worst * 1000:.0f} ms, a request gives up after 5 s"


# To its standard output or error, which is all that HAProxy can write to by itself.
def haproxy_logs(where):
    return [("  mode http\n", f"  mode http\n  option httplog\n  log {where} format raw local0\n")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
@pytest.mark.parametrize("make", [nginx, haproxy])
def test_a_full_disk(app, tmp_path, make):
    disk = tmp_path / "disk"
    change = [("access_log off", f"access_log {disk}/access.log")] if make is nginx else \
        haproxy_logs("stdout")
    wrapper = small_disk(disk, "" if make is nginx else f">{disk}/access.log")
    with running(make, tmp_path, app(2), wrapper, change) as port:
        with Load(port, RATE, target="/" + "x" * 1500, timeout=5) as load:
            load.wait_for(4 * RATE)
        back = back_after(port)
    tell_load(f"access log: its disk is full: {make.__name__}", load, slowest(load), back=back)


@pytest.mark.parametrize("make", [nginx, haproxy])
def test_a_full_stderr(app, tmp_path, make):
    """Each message would be one of the requests that found no backend (nginx), or any (HAProxy)."""
    reader, writer = full_pipe()
    dead = f"location /dead {{ proxy_pass http://127.0.0.1:{free_port()}; }} location / {{"
    change = [(f"error_log {tmp_path}/error.log crit", "error_log stderr error"),
              ("location / {", dead)] if make is nginx else haproxy_logs("stderr")
    wrapper = ["/bin/sh", "-c", f'exec "$@" 2>/proc/{os.getpid()}/fd/{writer}', "sh"]
    with running(make, tmp_path, app(2), wrapper, change) as port:
        with Load(port, 4, target="/dead", timeout=5), Load(port, RATE, timeout=5) as load:
            time.sleep(5)
        reader_of(reader)  # who hangs in a write goes on now
        back = back_after(port)
    os.close(writer)
    tell_load(f"stderr: a full pipe, and a dead pool: {make.__name__}", load, slowest(load),
              back=back)


@pytest.mark.parametrize("make", [nginx, haproxy])
def test_process_1(app, tmp_path, make):
    """USR2 is an upgrade for nginx, whose old process is told to go then, and a reload for the
    master of HAProxy."""
    orphans = '(while :; do (sleep 0.01 &); sleep 0.05; done) & exec "$@"'
    with running(make, tmp_path, app(2), [*PID_NAMESPACE, "sh", "-c", orphans, "sh"],
                 options=["-W"] if make is haproxy else [], own=True) as (port, process):
        inner = children(process.pid)[0]
        with Load(port, RATE, timeout=5) as load:
            load.wait_for(RATE)
            for number in [signal.SIGUSR1, signal.SIGHUP] if make is nginx else [signal.SIGUSR2] * 3:
                os.kill(inner, number)
                time.sleep(1)
            if make is nginx:
                os.kill(inner, signal.SIGUSR2)
                time.sleep(2)
                os.kill(inner, signal.SIGQUIT)
            time.sleep(3)
            alive = process.alive()
        back = back_after(port, 5)
        if alive:
            os.kill(inner, signal.SIGKILL)
    tell_load(f"process 1: reloads, an upgrade, orphans: {make.__name__}", load,
              "it goes on" if alive else "it ended, and the container with it", back=back)
