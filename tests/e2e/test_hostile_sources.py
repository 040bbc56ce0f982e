# SPDX-License-Identifier: MIT
"""API servers of Kubernetes and agents of Consul on bad days: members stay, it is said, and what is true comes in."""
import json
import re
import threading

import pytest

from sources import Consul, Kubernetes, begin_chunks, chunk, members, reset, source, until_members
from test_sources import serve  # noqa: F401, pylint: disable=unused-import
from wire import wait_for

PORT = 9000
READY = {"ready": True}


def ip(i):
    return f"10.0.{i // 250}.{1 + i % 250}"


def names(*numbers):
    return [f"{ip(i)}:{PORT}" for i in numbers]


def cut_off(handler, begin):
    """An answer of 1000 bytes that ends after these."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(begin)
    handler.close_connection = True


@pytest.fixture
def api():
    fake = Kubernetes()
    yield fake
    fake.hook = None
    fake.cut()
    fake.stop()


@pytest.fixture
def watching(serve, api, tmp_path):  # noqa: F811
    """A daemon that has the members 1 and 2 and watches."""
    token = tmp_path / "token"
    token.write_text("first")
    api.put("web-1", [(ip(1), READY), (ip(2), READY)], PORT)

    def start():
        daemon = serve({"app": {"outlier": "off", "discover": {"kubernetes": {
            "service": "web", "api": api.url, "token_file": str(token)}}}})
        until_members(daemon, names(1, 2))
        wait_for(lambda: api.watches)
        return daemon
    return start


def error(daemon):
    return source(daemon)["error"] or ""


def next_s(daemon):
    return source(daemon)["next_s"] or 0  # none while it asks


def begun_again(api, n):
    """The versions of watches after the first n questions."""
    return [q["resourceVersion"] for _, q, _ in api.asked[n:] if "watch" in q]


# ---- Kubernetes ----

@pytest.mark.parametrize("end", ["in order", "in a chunk", "by a reset"])
def test_a_watch_that_ends_inside_an_object(watching, api, end):
    """Half an object is nothing; the next watch goes on from the last whole one."""
    daemon = watching()
    line = json.dumps({"type": "MODIFIED", "object": api.slice("web-1", [], PORT, 999)}).encode()
    times = []

    def hook(handler, query):
        if "watch" not in query or len(times) >= 2:
            return False
        times.append(query["resourceVersion"])
        begin_chunks(handler)
        chunk(handler, line[:len(line) // 2])
        if end == "in a chunk":
            handler.wfile.write(b"ff\r\n{")
        elif end == "by a reset":
            reset(handler)
        else:
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True
        return True
    version = str(api.version)
    api.hook = hook
    api.cut()
    wait_for(lambda: len(times) == 2 and api.watches, 30, "watches again")
    assert set(times) == {version}
    assert set(members(daemon)) == set(names(1, 2)) and not error(daemon)
    api.put("web-1", [(ip(3), READY)], PORT)
    until_members(daemon, names(3))


@pytest.mark.parametrize("line, said", [
    (b"no JSON", "a line is no JSON"), (b'{"type": "ADDED"', "a line is no JSON"),
    (json.dumps({"type": "ERROR", "object": {"code": 500, "message": "etcdserver: no leader"}})
     .encode(), "etcdserver: no leader")], ids=["noise", "cut", "error"])
def test_a_watch_that_says_nonsense(watching, api, line, said):
    daemon = watching()
    lists = []

    def hook(handler, query):
        if "watch" not in query:
            lists.append(query)
            return False
        begin_chunks(handler)
        chunk(handler, line + b"\n")
        handler.rfile.read(1)  # until it is left
        return True
    n = len(api.asked)
    api.hook = hook
    api.cut()
    wait_for(lambda: said in error(daemon), 30, "it is said")
    assert set(members(daemon)) == set(names(1, 2))
    wait_for(lambda: next_s(daemon) >= 2, 60, "it asks less and less often")
    assert len(lists) < 12 and begun_again(api, n)
    api.hook = None
    api.put("web-1", [(ip(3), READY)], PORT)
    wait_for(lambda: api.watches, 60, "a watch")
    until_members(daemon, names(3))
    assert not error(daemon)


@pytest.mark.parametrize("way", ["status", "event"])
def test_versions_that_are_always_too_old(watching, api, way):
    """410 to the version of the list just read: it lists less and less often."""
    daemon = watching()
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}

    def hook(handler, query):
        if "watch" not in query:
            return False
        if way == "status":
            handler.json(gone, 410)
        else:
            begin_chunks(handler)
            chunk(handler, json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
            handler.rfile.read(1)
        return True
    n = len(api.asked)
    api.hook = hook
    api.cut()
    wait_for(lambda: next_s(daemon) >= 2, 60, "it asks less and less often")
    assert sum("watch" not in q for _, q, _ in api.asked[n:]) < 12
    assert set(members(daemon)) == set(names(1, 2))
    api.put("web-1", [(ip(3), READY)], PORT)
    wait_for(lambda: set(members(daemon)) == set(names(3)), 60, "lists are read meanwhile")


def test_a_watch_that_ends_at_once_each_time(watching, api):
    daemon = watching()

    def hook(handler, query):
        if "watch" not in query:
            return False
        begin_chunks(handler)
        handler.wfile.write(b"0\r\n\r\n")
        return True
    n = len(api.asked)
    api.hook = hook
    api.cut()
    wait_for(lambda: next_s(daemon) >= 2, 60, "it asks less and less often")
    assert len(api.asked) - n < 12
    api.hook = None
    api.put("web-1", [(ip(3), READY)], PORT)
    wait_for(lambda: set(members(daemon)) == set(names(3)), 60, "the change is heard")


def test_bytes_that_drip(watching, api):
    daemon = watching()
    line = json.dumps({"type": "MODIFIED",
                       "object": api.slice("web-1", [(ip(3), READY)], PORT, 999)}).encode() + b"\n"

    def hook(handler, query):
        if "watch" not in query:
            return False
        begin_chunks(handler)
        for i in range(len(line)):
            chunk(handler, line[i:i + 1])
        handler.rfile.read(1)
        return True
    api.hook = hook
    api.cut()
    until_members(daemon, names(3))


def test_large_slices(serve, api, tmp_path):  # noqa: F811
    """A list of megabytes in one page, of which each slice has a thousand endpoints."""
    token = tmp_path / "token"
    token.write_text("first")
    api.page = 500
    for s in range(2):
        api.put(f"web-{s}", [(ip(1000 * s + i), READY) for i in range(1000)], PORT)
        api.slices[f"web-{s}"]["metadata"]["managedFields"] = ["x" * 1000] * 1000
    daemon = serve({"app": {"outlier": "off", "discover": {"kubernetes": {
        "service": "web", "api": api.url, "token_file": str(token)}}}})
    wait_for(lambda: len(members(daemon)) == 2000, 30, "all of them")
    wait_for(lambda: api.watches)
    api.put("web-1", [(ip(1000 + i), READY) for i in range(999)], PORT)
    wait_for(lambda: sum(m[0] == "here" for m in members(daemon).values()) == 1999, 30, "an event")
    assert not error(daemon)


def test_slices_that_are_split_and_joined(watching, api):
    """Who is in the one before he leaves the other is never gone."""
    daemon = watching()
    changes = source(daemon)["changes"]
    for _ in range(3):
        api.put("web-2", [(ip(2), READY)], PORT)
        api.put("web-1", [(ip(1), READY)], PORT)
        api.put("web-1", [(ip(1), READY), (ip(2), READY)], PORT)
        api.delete("web-2")
    answers = source(daemon)["answers"]
    api.bookmark()
    api.put("web-3", [(ip(3), READY)], PORT)
    until_members(daemon, names(1, 2, 3))
    assert source(daemon)["answers"] > answers
    assert not [e for e in daemon.events() if re.search(r"\bgone\b|left", e["message"])]
    assert source(daemon)["changes"] > changes


@pytest.mark.parametrize("answer", ["reset", "cut", "500", "no JSON", "no list", "long token"])
def test_lists_that_fail_in_the_middle(watching, api, answer):
    """The first page is good, the next is not: nobody goes, and it is said."""
    api.put("web-2", [(ip(3), READY)], PORT)
    api.put("web-3", [(ip(4), READY)], PORT)
    api.version += 1
    daemon = None

    def hook(handler, query):
        if "watch" in query or "continue" not in query:
            return False
        if answer == "reset":
            reset(handler)
        elif answer == "cut":
            cut_off(handler, b'{"items": [')
        elif answer == "long token":
            handler.json({"items": [], "metadata": {"continue": "x" * 5000}})
        else:
            handler.json({"500": {}, "no JSON": "x", "no list": {"items": 7}}[answer],
                         500 if answer == "500" else 200)
        return True
    api.delete("web-2")
    api.delete("web-3")
    daemon = watching()
    api.put("web-2", [(ip(3), READY)], PORT)
    api.put("web-3", [(ip(4), READY)], PORT)
    until_members(daemon, names(1, 2, 3, 4))
    api.hook = hook
    api.compact()  # so that it lists
    wait_for(lambda: "list:" in error(daemon), 30, "it is said")
    assert set(members(daemon)) == set(names(1, 2, 3, 4))
    assert {m[0] for m in members(daemon).values()} == {"here"}
    api.put("web-1", [(ip(1), READY)], PORT)
    api.hook = None
    until_members(daemon, names(1, 3, 4))
    wait_for(lambda: not error(daemon), 30, "all is well")


def test_a_peer_that_is_gone_without_a_word_is_noticed(watching, api):
    """The kernel asks on connections on which nothing is sent for minutes."""
    watching()
    address = f"{api.port:04X}"
    rows = [line.split() for line in open("/proc/net/tcp", encoding="ascii")]
    mine = [row for row in rows[1:] if row[2].endswith(f":{address}") and row[3] == "01"]
    assert mine and all(row[5].startswith("02:") for row in mine), mine


# ---- Consul ----

@pytest.fixture
def consul():
    fake = Consul()
    yield fake
    fake.hook = None
    fake.stop()


@pytest.fixture
def blocked(serve, consul):  # noqa: F811
    """A daemon that has the members 1 and 2 and waits for a newer index."""
    consul.say([("a", ip(1), PORT, 1), ("b", ip(2), PORT, 1)])
    daemon = serve({"app": {"outlier": "off", "discover": {"consul": {
        "address": consul.url, "service": "web"}}}})
    until_members(daemon, names(1, 2))
    wait_for(lambda: "index" in consul.asked[-1][1])
    return daemon


def wake(consul):
    """Who waits has the same answer with a new index."""
    consul.say(consul.instances)


def rows_of(*numbers):
    return [{"Node": {"Address": ip(i)}, "Service": {"ID": str(i), "Address": "", "Port": PORT}}
            for i in numbers]


@pytest.mark.parametrize("index", ["0", "-1", "", "99999999999999999999999", "5", "x"])
def test_an_index_that_is_none(blocked, consul, index):
    """It is not sent back: the next question does not wait, and comes a second later."""
    seen = []

    def hook(handler, query):
        seen.append(query.get("index"))
        handler.json(rows_of(1, 2), headers=[("X-Consul-Index", index)])
        return True
    consul.hook = hook
    wake(consul)
    wait_for(lambda: len(seen) >= 3, 30, "more questions")
    assert seen[1] is None and set(seen[1:]) <= {None, "5"}, seen
    consul.hook = None
    consul.say([("c", ip(3), PORT, 1)])
    until_members(blocked, names(3))


@pytest.mark.parametrize("answer", ["reset", "cut", "500", "no JSON", "an object", "silence"])
def test_answers_that_are_none(blocked, consul, answer):
    done = threading.Event()

    def hook(handler, query):
        if answer == "reset":
            reset(handler)
        elif answer == "cut":
            cut_off(handler, b"[{")
        elif answer == "silence":
            handler.close_connection = True
            done.wait(60)
        else:
            handler.json({"500": {}, "no JSON": "x", "an object": {"a": 1}}[answer],
                         500 if answer == "500" else 200)
        return True
    consul.hook = hook
    wake(consul)
    if answer != "silence":  # that is one question that waits, and no failure yet
        wait_for(lambda: "health of the service" in error(blocked), 30, "it is said")
        wait_for(lambda: next_s(blocked) >= 2, 60, "it asks less and less often")
    assert set(members(blocked)) == set(names(1, 2)), "members stay"
    consul.hook = None
    done.set()
    consul.say([("c", ip(3), PORT, 1)])
    wait_for(lambda: set(members(blocked)) == set(names(3)), 60, "what is true comes in")
    wait_for(lambda: not error(blocked), 30, "all is well")


def test_an_index_that_moves_all_the_time(blocked, consul):
    """Other services of the agent move it, and nothing here: asked at most 20 times a second."""
    seen = []

    def hook(handler, query):
        seen.append(int(query.get("index", 0)))
        handler.json(rows_of(1, 2), headers=[("X-Consul-Index", str(max(seen) + 1000 + len(seen)))])
        return True
    changes = source(blocked)["changes"]
    consul.hook = hook
    wake(consul)
    wait_for(lambda: len(seen) >= 10, 30, "questions")
    assert source(blocked)["changes"] == changes
    assert seen == sorted(seen)
