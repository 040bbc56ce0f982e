# SPDX-License-Identifier: MIT
"""Somebody else writes to Redis, or is it: weir stays bounded, says so, and goes on."""
import pytest

from test_cluster import connected, node, nodes, others, problems, redis  # noqa: F401, pylint: disable=unused-import
from test_pins_shared import all_kept, apps, heard, sessions, start  # noqa: F401, pylint: disable=unused-import
from wire import wait_for

MAX = 2 ** 64 - 1
FAR = 10 ** 15  # ms: the year 33658
MIB = 1 << 20
MAX_GROWTH = 64 * MIB


def shared(daemon):
    return daemon.admin.get("/v1/status")["shared"]


def counted(daemon):
    """Entries that were not read, and answers that came too late: these take their count with them."""
    return shared(daemon)["pins_unread"] + daemon.stderr.count("answers again")


def fill(server, command, *args, size):
    """A command whose last word has so many bytes, made there."""
    server.cli("EVAL", f"redis.call('{command}',{','.join(repr(a) for a in args)},"
               f"string.rep('x',{size}))", "0")


# ---- pins ----

@pytest.mark.parametrize("ident", [f"{MAX}-{MAX}", f"{FAR}-0"], ids=["highest", "future"])
def test_an_id_of_the_future_does_not_end_the_stream(start, redis, ident):  # noqa: F811
    server = redis()
    a, b = start("a", server), start("b", server)
    wait_for(lambda: others(a) == ["b"] and others(b) == ["a"], 15, "both know each other")
    server.cli("XADD", "{weir}:pins", ident, "p", "nothing")
    given = sessions(a, 9)
    heard(b, 9)
    assert all_kept(b, given)
    assert problems(a) == problems(b) == []
    newest = server.cli("EVAL", "return redis.call('XREVRANGE',KEYS[1],'+','-','COUNT',1)[1][1]",
                        "1", "{weir}:pins")
    assert int(newest.partition("-")[0]) < FAR


def test_entries_of_megabytes_are_left_out_and_counted(start, redis):  # noqa: F811
    server = redis()
    a = start("a", server)
    connected(a)
    before = a.rss()
    for _ in range(20):
        fill(server, "XADD", "{weir}:pins", "*", "p", size=4 * MIB)
    given = sessions(a, 9)
    heard(a, 9)
    wait_for(lambda: counted(a) >= 20, 15, "they are counted")
    a.says("is left out")
    assert a.stderr.count("is left out") == 1
    b = start("b", server)  # which reads all of it
    heard(b, 9)
    assert all_kept(b, given) and nodes(b)["connected"]
    assert a.grew_less(before, MAX_GROWTH)
    assert a.admin.metrics()["weir_shared_pins_unread_total"] > 0


def test_entries_of_many_fields_are_removed(start, redis):  # noqa: F811
    """An entry is as long as all that is in it; it is read once, by one node."""
    server = redis()
    a = start("a", server)
    connected(a)
    server.cli("EVAL", "local w=string.rep('x',ARGV[1]) for i=1,10 do redis.call('XADD',KEYS[1],'*',"
               "'p','a','b',w,'c',w,'d',w) end", "1", "{weir}:pins", str(2 * MIB))
    given = sessions(a, 9)
    heard(a, 9)
    wait_for(lambda: int(server.cli("MEMORY", "USAGE", "{weir}:pins")) < MIB, 15, "they are gone")
    wait_for(lambda: counted(a) >= 10, 15, "they are counted")
    b = start("b", server)
    heard(b, 9)
    assert all_kept(b, given) and shared(b)["pins_unread"] == 0


def test_a_stream_that_is_none_is_a_problem(start, redis):  # noqa: F811
    server = redis()
    a = start("a", server)
    connected(a)
    server.cli("SET", "{weir}:pins", "text")
    wait_for(lambda: "it refuses pins: WRONGTYPE" in str(problems(a)), 15, "a problem")
    given = sessions(a, 3)
    assert all_kept(a, given)


# ---- presence ----

def write_word(server, name, score, size):
    fill(server, "HSET", "{weir}:presence", name, size=size)
    server.cli("ZADD", "{weir}:nodes", str(score), name)


def test_words_of_megabytes_are_not_read_and_said(node, redis, scripted):  # noqa: F811
    server, backend = redis(), scripted()
    a = node("a", server, [backend.address])
    b = node("b", server, [backend.address])
    wait_for(lambda: others(a) == ["b"], 15, "b is known")
    before = a.rss()

    def said():  # more than one answer may have, as long as it takes
        server.cli("EVAL", "for i=1,16 do redis.call('ZADD',KEYS[1],redis.call('TIME')[1]*1000,'zz'..i) "
                   f"redis.call('HSET',KEYS[2],'zz'..i,string.rep('x',{MIB})) end",
                   "2", "{weir}:nodes", "{weir}:presence")
        return "is not read: too long" in str(problems(a))
    wait_for(said, 15, "a problem")
    assert nodes(a)["connected"] and a.ask().status == 200
    assert a.grew_less(before, MAX_GROWTH)
    wait_for(lambda: not problems(a) and others(a) == ["b"] and others(b) == ["a"], 30,
             "they fade as all words do")


def test_words_of_the_future_are_of_nobody(node, redis, scripted):  # noqa: F811
    server, backend = redis(), scripted()
    a = node("a", server, [backend.address])
    for name, score in (("far", FAR), ("never", "+inf"), ("past", "-inf")):
        write_word(server, name, score, 10)
    b = node("b", server, [backend.address])
    wait_for(lambda: others(a) == ["b"] and others(b) == ["a"] and not problems(a), 15, "only b")
    wait_for(lambda: server.cli("ZCARD", "{weir}:nodes") == "2", 15, "they are removed")
    assert server.cli("HLEN", "{weir}:presence") == "2"


# ---- limits ----

@pytest.mark.parametrize("value", ["text", "nan inf -inf", "9" * 400 + " 1.000 1", "1 1.2.3 1", None])
def test_a_limit_that_is_none_is_written_over(node, redis, scripted, value):  # noqa: F811
    server = redis()
    a = node("a", server, [scripted().address])
    a.conf["routes"] = [{"pool": "app", "rate_limit": [
        {"key": "client-ip", "rate": "1000/s", "burst": 1000, "shared": True}]}]
    a.reload(a.conf)
    connected(a)
    assert a.ask().status == 200
    key = wait_for(lambda: server.cli("KEYS", "{weir}:limit:*"), 15, "a key")
    if value is None:
        server.cli("EVAL", "redis.call('DEL',KEYS[1]) redis.call('LPUSH',KEYS[1],'x')", "1", key)
    else:
        server.cli("SET", key, value)
    assert a.ask().status in (200, 429)

    def sound():
        a.ask()
        words = server.cli("EVAL", "return redis.pcall('GET',KEYS[1])", "1", key).split()
        return len(words) == 3 and all(w.replace(".", "", 1).isdigit() for w in words) and \
            len(words[0]) < 30
    wait_for(sound, 15, "it is one again")
    wait_for(lambda: a.ask().status == 200, 15, "and lets through")
    assert not shared(a)["rate_limits_alone"] and problems(a) == []


# ---- who is not Redis at all ----

@pytest.mark.parametrize("answer, said", [
    (b"*2000000000\r\n", "a shape that nobody asked for"),
    (b"*1000\r\n" + b"*1000\r\n" * 8, "a shape that nobody asked for"),
    (b"$2000000000\r\n", "no answer within"),
    (b"$2000000000\r\n" + b"x" * (9 * MIB), "too large"),
    (b":1\r\n" * 3, "nobody had asked"),
    (b"-ERR \x1b[31mred\x1b]0;title\x07\r\n", "it refused us"),
    (b"\x00\xff" * 100, "no RESP")],
    ids=["long", "deep", "promise", "large", "chatty", "escape", "noise"])
def test_a_server_of_another_mind(node, scripted, answer, said):  # noqa: F811
    def handler(peer):
        peer.fill()
        peer.send(answer)
        peer.until_end()
    server = scripted(handler)
    a = node("a", server, [scripted().address])
    before = a.rss()
    wait_for(lambda: said in str(problems(a)), 15, said)
    assert a.ask().status == 200
    assert a.grew_less(before, MAX_GROWTH)
    shown = a.ctl("status", check=None).stdout
    assert "\x1b" not in shown and "\x07" not in shown
    assert "\x1b" not in a.stderr
