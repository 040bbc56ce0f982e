# SPDX-License-Identifier: MIT
"""What backends and workers cost in memory, with traffic on all of them."""
import pytest

from daemon import SANITIZED
from wire import request

BACKENDS, CLIENTS, REQUESTS = 100, 64, 50
KIB = 1024
PER_BACKEND = 40 * KIB  # whatever the number of workers
PER_PAIR = 4 * KIB      # of a backend on a worker
SLACK = 1024 * KIB      # pages of 16 slabs and heaps that are begun


def run(weir, addresses, workers):
    """All clients ask; the daemon, what it had before and what it has now, without the
    connections that it keeps."""
    daemon = weir(addresses, workers=workers, pool={"balance": "round-robin"})
    before = daemon.rss() - kept(daemon)
    clients = [daemon.connect() for _ in range(CLIENTS)]
    for _ in range(REQUESTS):
        for client in clients:
            client.send(request("GET", "/"))
        for client in clients:
            assert client.response().status == 200
    for client in clients:
        client.close()
    daemon.wait_ready(lambda: daemon.admin.get("/v1/pools/app")["latency"]["start"]["total"]["n"] ==
                      CLIENTS * REQUESTS, 30)
    return daemon, before, daemon.rss() - kept(daemon)


def kept(daemon):
    metrics = daemon.admin.metrics()
    return sum(metrics[f'weir_memory_bytes{{kind="{kind}"}}']
               for kind in ("buffers", "connections", "exchanges", "upstreams", "http2", "tls"))


@pytest.mark.skipif(SANITIZED, reason="sanitizers have a heap of their own")
@pytest.mark.parametrize("workers", [1, 4])
def test_a_backend_is_small(weir, app, workers):
    daemon, before, now = run(weir, app(BACKENDS).addresses, workers)
    bound = BACKENDS * (PER_BACKEND + workers * PER_PAIR) + SLACK
    assert now - before <= bound, f"{(now - before) / BACKENDS / KIB:.1f} KiB a backend"
    metrics = daemon.admin.metrics()
    histograms = metrics['weir_memory_bytes{kind="histograms"}']
    # routes and listeners have some, too; a worker takes 64 KiB at a time
    assert 0 < histograms <= BACKENDS * workers * PER_PAIR + (workers + 1) * 64 * KIB
    assert metrics["weir_latencies_lost_total"] == 0
