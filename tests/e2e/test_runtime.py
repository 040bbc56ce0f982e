# SPDX-License-Identifier: MIT
"""Changes made at run time: they stay over reloads, are listed, and can be taken back."""
import pytest

from backends import free_port
from wire import request, wait_for


@pytest.fixture
def three(weir, app):
    """web1 to web3 of the pool app."""
    backend = app(3)
    rows = [{"name": f"web{i + 1}", "address": a} for i, a in enumerate(backend.addresses)]
    daemon = weir(rows)
    daemon.app = backend
    return daemon


def set_file(daemon, rows):
    conf = {**daemon.conf}
    conf["pools"] = {"app": {"backends": rows}}
    return conf


def runtime(daemon):
    return {row["backend"]: row for row in daemon.admin.get("/v1/runtime")["changes"]}


def states(daemon):
    return {name: row["state"] for name, row in daemon.backends().items()}


def test_they_stay_over_reloads(three):
    """By name, also where the address is another one."""
    rows = three.conf["pools"]["app"]["backends"]
    extra = f"127.0.0.1:{free_port()}"
    for args in (["drain", "app/web1"], ["weight", "app/web2", "7"], ["remove", "app/web3"],
                 ["add", "app", extra, "--name", "new", "--weight", "3"],
                 ["maintenance", "app/new"]):
        three.ctl(*args, check=0)
    moved = [{**rows[0], "address": f"127.0.0.1:{free_port()}"}, *rows[1:]]
    for conf in (three.conf, set_file(three, moved), set_file(three, rows)):
        three.reload(conf)
        assert states(three) == {"web1": "draining", "web2": "up", "new": "maintenance"}
        assert three.backends()["web2"]["weight"] == 7
        assert three.backends()["new"]["weight"] == 3
        assert {three.ask().status for _ in range(3)} == {200}
    said = three.ctl("runtime", check=0).stdout
    for line in ("app/web1  drain ", "app/web2  weight 7 ", "app/web3  removed ",
                 f"app/new   added at {extra}, maintenance "):
        assert line in said, said
    assert "4 changes made at run time stay in force" in three.stderr
    for line in ("web1 (127.0.0.1:", "web2: weight 7, set by an operator",
                 "web3: removed by an operator", f"new: added by an operator at {extra}"):
        assert f"backend app/{line}" in three.stderr, three.stderr
    three.write("pools: {")
    three.admin.post("/v1/reload", status=422)
    assert set(runtime(three)) == {"web1", "web2", "web3", "new"}, "a failed reload changes none"


def test_they_are_taken_back(three):
    """One, those of a pool, all; weirctl says how to put them back."""
    extra = f"127.0.0.1:{free_port()}"
    three.ctl("drain", "app/web1", check=0)
    three.ctl("weight", "app/web1", "5", check=0)
    three.ctl("remove", "app/web2", check=0)
    three.ctl("add", "app", extra, check=0)
    said = three.ctl("reset", "app/web1", check=0).stdout
    assert "weight app/web1 5" in said and "drain app/web1" in said, said
    row = three.backends()["web1"]
    assert (row["state"], row["weight"]) == ("up", 1)
    assert "backend app/web1: what was changed at run time is taken back" in three.stderr
    assert three.ctl("reset", "app/web1").returncode == 1
    assert "there is no pool 'nope'" in three.ctl("reset", "nope").stderr
    assert set(runtime(three)) == {"web2", extra}
    said = three.ctl("reset", "app", check=0).stdout
    assert f"add app {extra}" in said and "remove app/web2" in said, said
    assert states(three) == {"web1": "up", "web2": "up", "web3": "up"}
    assert "all is as configured" in three.ctl("reset", check=0).stdout
    assert "all is as configured" in three.ctl("runtime", check=0).stdout


def test_a_removal_is_called_off(three):
    """While it waits for its last request; and what was added goes when its last is done."""
    three.ctl("remove", "app/web2", check=0)
    three.ctl("remove", "app/web3", check=0)
    client = three.connect()
    client.send(request(target="/?head_delay=60s"))
    wait_for(lambda: three.backends()["web1"]["in_flight"] == 1)
    three.ctl("remove", "app/web1", check=0)
    assert states(three) == {"web1": "draining"} and runtime(three)["web1"]["leaving"]
    three.reload()
    assert runtime(three)["web1"]["leaving"]
    three.ctl("enable", "app/web1", check=0)
    assert "web1" not in runtime(three)
    client.reset()
    three.ctl("reset", check=0)
    assert len(states(three)) == 3


def test_what_was_added_drains_before_it_goes(three, app):
    other = app()
    three.ctl("add", "app", other.addresses[0], "--name", "new", check=0)
    for name in ("web1", "web2", "web3"):
        three.ctl("drain", f"app/{name}", check=0)
    client = three.connect()
    client.send(request(target="/?head_delay=60s"))
    wait_for(lambda: three.backends()["new"]["in_flight"] == 1)
    three.ctl("reset", "app/new", check=0)
    assert states(three)["new"] == "draining" and runtime(three)["new"]["leaving"]
    client.reset()
    wait_for(lambda: "new" not in states(three), what="it is gone")
    assert set(runtime(three)) == {"web1", "web2", "web3"}


def test_the_file_catches_up(three):
    """What it says by itself is a change no more; what comes back is as it was configured."""
    rows = three.conf["pools"]["app"]["backends"]
    extra = {"name": "new", "address": f"127.0.0.1:{free_port()}", "weight": 4}
    three.ctl("add", "app", extra["address"], "--name", "new", check=0)
    three.ctl("remove", "app/web3", check=0)
    three.ctl("remove", "app/web2", check=0)
    three.reload(set_file(three, [*rows[:2], extra]))
    assert set(runtime(three)) == {"web2"}
    assert three.backends()["new"]["weight"] == 4
    assert "new: the configuration says what was changed at run time" in three.stderr
    three.ctl("add", "app", rows[1]["address"], "--name", "web2", check=0)
    assert runtime(three) == {}, "it is the one of the file again"


def test_who_waits_already_goes_to_what_is_added(weir, app):
    """And to what a higher limit has room for, on each worker."""
    backend = app(2, "hang=1")
    rows = [{"name": "web1", "address": backend.addresses[0]}]
    daemon = weir(rows, workers=2,
                  pool={"limits": {"requests": 2}, "queue": {"timeout": "120s"}})
    clients = [daemon.connect() for _ in range(12)]
    for client in clients:
        client.send(request())

    def waits(n):
        wait_for(lambda: daemon.pools()[0]["queued"] == n, what=f"{n} wait")

    waits(10)
    daemon.ctl("add", "app", backend.addresses[1], "--name", "new", check=0)
    waits(8)
    assert daemon.backends()["new"]["in_flight"] == 2
    conf = {**daemon.conf}
    conf["pools"] = {"app": {**conf["pools"]["app"], "limits": {"requests": 6}}}
    daemon.reload(conf)
    waits(0)
    assert [row["in_flight"] for row in daemon.backends().values()] == [6, 6]
    for i in range(2):
        backend.set(i, hang=0)
    backend.go()
    assert {client.response().status for client in clients} == {200}
