# SPDX-License-Identifier: MIT
"""Verdicts of two weirs of unlike load before one backend that load slows down."""
import threading

import pytest

from test_cluster import node, others, redis  # noqa: F401, pylint: disable=unused-import
from wire import wait_for

WRONG = ("performance", "scalability_shared", "balancer", "steady", "healthy")


class Clients:
    """So many that ask, one request at a time, until stopped."""

    def __init__(self, daemon, n, think_s):
        self.done = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(daemon, think_s)) for _ in range(n)]
        for thread in self.threads:
            thread.start()

    def run(self, daemon, think_s):
        with daemon.connect() as client:
            while not self.done.is_set():
                assert client.ask().status == 200
                self.done.wait(think_s)

    def stop(self):
        self.done.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.slow
def test_both_say_what_is_true_of_the_sum(node, redis, app):  # noqa: F811
    """One worker of 10 ms: alone it is fast, under both nodes' load requests wait for each other."""
    server, backend = redis(), app(1, "service=10ms,workers=1")
    a, b = (node(name, server, backend.addresses) for name in "ab")
    wait_for(lambda: others(a) == ["b"] and others(b) == ["a"], 15, "both know each other")

    def scaling(daemon):
        answer = daemon.admin.get("/v1/pools/app/scaling")
        assert "will not help" not in answer["sentence"], answer
        return answer

    def verdict(daemon):
        answer = scaling(daemon)
        assert answer["verdict"] not in WRONG, answer
        return answer["verdict"]

    quiet = [Clients(d, 1, 0.1) for d in (a, b)]  # what a request takes alone
    wait_for(lambda: all(scaling(d)["evidence"]["alone"]["n"] >= 220 for d in (a, b)), 90,
             "both have seen requests alone")
    for clients in quiet:
        clients.stop()
    busy = [Clients(a, 10, 0.01), Clients(b, 2, 0.05)]
    try:
        wait_for(lambda: verdict(a) == verdict(b) == "scalability",
                 90, "slow under load, at both")
    finally:
        for clients in busy:
            clients.stop()
