# SPDX-License-Identifier: MIT
"""A hand-over and what the old process still has to do."""
import subprocess
import threading

from backends import binary
from test_handover import ended, hand_over, is_gone, lineage  # noqa: F401, pylint: disable=unused-import
from wire import Client, request, wait_for


def ctl_start(daemon, *args):
    return subprocess.Popen([binary("weirctl"), "-s", daemon.sock, *args], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finished(child):
    try:
        out, _ = child.communicate(timeout=20)
    finally:
        child.kill()
    return child.returncode, out


class Gate:
    """A backend that answers when it is told to."""

    def __init__(self, scripted):
        self.open, self.asked = threading.Event(), 0
        self.peer = scripted(self.serve)
        self.address = self.peer.address

    def serve(self, peer):
        while peer.request():
            self.asked += 1
            assert self.open.wait(30)
            peer.respond(body=b"done")


def held(daemon, gate, n=1):
    """A client whose request has reached the backend behind the gate."""
    client = Client(daemon.port)
    client.send(request())
    wait_for(lambda: gate.asked == n, what="the request is at the backend")
    return client


def test_what_the_old_process_still_has_is_waited_for(lineage, scripted):
    """drain --wait, remove, status: a backend is in use while any process sends to it, through
    a second hand-over as well."""
    gate = Gate(scripted)
    daemon = lineage([{"name": "web", "address": gate.address}], shutdown_timeout="60s")
    client = held(daemon, gate)
    first = daemon.pid
    second = hand_over(daemon, first)
    before = wait_for(lambda: (b := daemon.admin.get("/v1/status")["before"]) and b["in_flight"] and b)
    assert before == {"pid": first, "connections": 1, "in_flight": 1}
    assert daemon.sum("in_flight") == 1
    assert f"process {first} drains: in flight 1" in daemon.ctl("status", check=0).stdout
    hand_over(daemon, second)
    wait_for(lambda: daemon.sum("in_flight") == 1)
    assert daemon.admin.get("/v1/status")["before"]["pid"] == second
    late = daemon.ctl("drain", "app/web", "--wait=300ms")
    assert late.returncode == 1 and "still has 1 in flight" in late.stdout + late.stderr
    waits = ctl_start(daemon, "drain", "app/web", "--wait")
    leaves = daemon.ctl("remove", "app/web", check=0)
    assert "goes when its last 1 requests are done" in leaves.stdout
    assert waits.poll() is None and "web" in daemon.backends()
    gate.open.set()
    assert client.response().body == b"done"
    client.close()
    wait_for(lambda: "web" not in daemon.backends(), what="it is removed")
    code, said = finished(waits)
    assert code == 0 or "removed meanwhile" in said, said
    wait_for(lambda: is_gone(second) and is_gone(first), what="the end of both")
    wait_for(lambda: daemon.admin.get("/v1/status")["before"] is None)
    ended(daemon)


def test_the_old_process_hears_of_a_drain(lineage, scripted):
    """It has a request that waits for a place: that one goes to the other backend."""
    gate = Gate(scripted)
    rows = [{"name": n, "address": gate.address} for n in ("a", "b")]
    rows[1]["address"] = (other := Gate(scripted)).address
    daemon = lineage(rows, pool={"limits": {"requests": 1}, "queue": {"timeout": "30s"}},
                     shutdown_timeout="60s")
    clients = [Client(daemon.port) for _ in range(3)]
    for client in clients:
        client.send(request())
    wait_for(lambda: gate.asked == other.asked == 1 and daemon.pools()[0]["queued"] == 1)
    hand_over(daemon, daemon.pid)
    daemon.ctl("drain", "app/a", check=0)
    wait_for(lambda: "draining: the process that took over says so" in daemon.stderr)
    gate.open.set()
    daemon.ctl("drain", "app/a", "--wait=20s", check=0)
    assert gate.asked == 1
    other.open.set()
    for client in clients:
        assert client.response().body == b"done"
        client.close()
    assert (gate.asked, other.asked) == (1, 2)
    ended(daemon)


def test_limits_hold_over_a_hand_over(lineage, scripted):
    """Both processes together send no more than the backend takes; who waits gets the place."""
    gate = Gate(scripted)
    daemon = lineage([{"name": "web", "address": gate.address}], shutdown_timeout="60s",
                     pool={"limits": {"requests": 1}, "queue": {"timeout": "30s"}})
    clients = [held(daemon, gate)]
    hand_over(daemon, daemon.pid)
    wait_for(lambda: daemon.sum("in_flight") == 1)
    clients.append(Client(daemon.port))
    clients[1].send(request())
    wait_for(lambda: daemon.sum("queued") == 1, what="it waits")
    assert gate.asked == 1
    gate.open.set()
    for client in clients:
        assert client.response().body == b"done"
        client.close()
    ended(daemon)
