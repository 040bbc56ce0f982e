# SPDX-License-Identifier: MIT
"""weirctl top in a real terminal."""
import contextlib
import subprocess
import threading

import pytest

from backends import binary, refused_address
from terminal import Terminal
from wire import wait_for


@pytest.fixture
def site(weir, app):
    backend = app(2)
    return weir([{"address": a, "name": n} for a, n in zip(backend.addresses, ("web1", "web2"))])


@pytest.fixture
def top_of(tmp_path):
    started = []

    def start(weir, *args, **kwargs):
        started.append(Terminal(tmp_path, [binary("weirctl"), "-s", weir.sock, "top", *args],
                                **kwargs))
        return started[-1]
    yield start
    for each in started:
        each.stop()


@pytest.fixture
def top(site, top_of):
    return lambda *args, **kwargs: top_of(site, *args, **kwargs)


def line(screen, text):
    return next((row for row in screen.splitlines() if text in row), "")


@contextlib.contextmanager
def traffic(site):
    """Requests one after the other, each tenth takes 40 ms: rates are those of the last seconds."""
    done = threading.Event()

    def run():
        n = 0
        while not done.is_set():
            site.ask(target="/?service=40ms" if n % 10 == 0 else "/")
            n += 1
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_rows_are_live(site, top):
    term = top()
    screen = term.until("web2")
    assert "1/1 up" not in screen and "2/2 up" in line(screen, "app")
    assert "no problems" in screen
    for _ in range(50):
        site.ask()
    term.until(lambda s: "ms" in line(s, "web1") and "▇" in s or "█" in s)
    site.ctl("drain", "app/web2", check=0)
    term.until(lambda s: "draining" in line(s, "web2"))
    term.keys("q")
    term.until("ended with 0")


def test_sparklines_begin_with_what_was_before(site, top):
    def busy_seconds():
        rows = site.admin.get("/v1/history?pool=app&backend=web1&seconds=20")["rows"]
        return sum(row["rate"] > 0 for row in rows)
    with traffic(site):
        wait_for(lambda: busy_seconds() >= 4, 20)
    screen = top().until("web2")
    for name in ("app", "web1"):
        assert sum(c in "▁▂▃▄▅▆▇█" for c in line(screen, name)) >= 8, screen


def test_changes_are_confirmed(site, top):
    term = top()
    term.until("web2")
    term.keys("Down")
    term.keys("d")
    term.until("send no new requests to app/web1? y/n")
    term.keys("n")
    term.until("q quit")
    assert site.backends()["web1"]["state"] != "draining"
    term.keys("d")
    term.until("y/n")
    term.keys("y")
    term.until("app/web1 is draining, weight 1")
    assert site.backends()["web1"]["state"] == "draining"
    term.keys("e")
    term.until("let take requests: app/web1? y/n")
    term.keys("y")
    wait_for(lambda: site.backends()["web1"]["state"] in ("up", "unknown"))
    term.keys("m")
    term.until("take out of service: app/web1? y/n")
    term.keys("y")
    wait_for(lambda: site.backends()["web1"]["state"] == "maintenance")
    term.keys("w")
    term.until("new weight of app/web1")
    term.keys("7", "Enter")
    wait_for(lambda: site.backends()["web1"]["weight"] == 7)
    term.keys("w")
    term.until("new weight of app/web1")
    term.keys("9", "9", "9", "9", "9", "9", "Enter")
    term.until("a weight is a number from 0 to 65535")
    assert site.backends()["web1"]["weight"] == 7


def test_read_only(site, top):
    term = top("--read-only")
    assert "d drain" not in term.until("[read-only]")
    term.keys("Down")
    term.keys("d")
    term.until("--read-only: nothing is changed from here")
    assert site.backends()["web1"]["state"] != "draining"


def test_filter_and_sort(site, top):
    term = top()
    term.until("web2")
    term.keys("/")
    term.until("show only:")
    term.keys("w", "e", "b", "2", "Enter")
    screen = term.until("[filter: web2]")
    assert not line(screen, "  web1") and line(screen, "  web2")
    term.keys("/")
    term.keys("BSpace", "BSpace", "BSpace", "BSpace", "Enter")
    term.until("web1")
    term.keys("r")
    screen = term.until("turned round")
    assert screen.index("  web2") < screen.index("  web1")
    term.keys("s")
    term.until("sorted by state")


def test_a_filter_does_not_change_the_totals(site, top):
    """The head is about all of weir, and a pool's latency is that of all its requests."""
    with traffic(site):
        wait_for(lambda: site.pools()[0]["latency"]["10s"]["total"]["n"] >= 50)
        assert 0 < site.pools()[0]["latency"]["10s"]["total"]["p50_us"] < 40000
        term = top()
        term.until(lambda s: "/s  " in s and "  0/s" not in s.splitlines()[0])
        assert "2/2 up" in line(term.until("2/2 up"), "app")
        term.keys("/", "z", "z", "z", "Enter")
        assert "  0/s" not in term.until("nothing matches the filter").splitlines()[0]


def test_numbers_are_whole_or_not_shown(site, top):
    for _ in range(3):
        site.ask()
    term = top(width=150)
    term.until("web2")
    widths = [len(w) for w in ("NAME" + " " * 13, "STATE" + " " * 8)]  # names are cut before
    term.resize(sum(widths) + 2, 24)  # RATE would have two columns of its eight
    screen = term.until(lambda s: all(word in s for word in ("NAME", "web2")) and
                        len(line(s, "weir")) <= sum(widths) + 2 and s)
    assert "RATE" not in screen and "/s" not in "".join(screen.splitlines()[3:6])


def test_little_room_keeps_latency_and_verdict(site, top):
    """80 x 24: sparklines go first."""
    with traffic(site):
        wait_for(lambda: site.pools()[0]["latency"]["10s"]["total"]["n"] > 5)
        term = top(width=80)
        screen = term.until(lambda s: "ms" in line(s, "app") and s)
    titles = line(screen, "NAME").split()
    assert titles == ["NAME", "STATE", "RATE", "IN", "FL", "P50", "P99", "VERDICT,", "REASON"], titles
    assert not any(c in "▁▂▃▄▅▆▇█" for c in screen), screen
    assert site.pools()[0]["verdict"] in ("not_enough_data", "healthy", "steady")
    assert line(screen, "app").split()[-1] not in ("ms", "us"), "the verdict is there"
    assert line(screen, "q quit").split("  ")[-1] in ("d drain", "m maintenance", "e enable"), "whole words"
    term.resize(150, 24)
    term.until(lambda s: any(c in "▁▂▃▄▅▆▇█" for c in s))


def test_names_that_begin_alike_stay_apart(weir, app, top_of):
    """Of a long name the middle goes; at 60 columns a verdict can still be read."""
    backends = app(2)
    names = [f"checkout-eu-central-1-instance-{i}" for i in range(2)]
    site = weir([{"address": a, "name": n} for a, n in zip(backends.addresses, names)])
    term = top_of(site, width=60)
    screen = term.until(lambda s: line(s, "tance-1") and s)
    assert line(screen, "tance-0").split()[-1] == "learning", screen
    assert line(screen, "NAME").split() == ["NAME", "STATE", "P50", "P99", "VERDICT,", "REASON"]
    term.resize(80, 24)
    term.until(lambda s: "RATE" in line(s, "NAME") and line(s, "tance-0") and line(s, "tance-1"))


def test_help_and_details(site, top):
    site.ask()
    term = top(width=80)
    term.until("web2")
    term.keys("?")
    term.until(lambda s: "all about this row" in s and "any key goes back" in s)
    term.keys("q")
    term.until("q quit")
    term.keys("Down")
    term.keys("Enter")
    term.until(lambda s: "app/web1" in s and "latency of the last minute" in s and "weight 1" in s)
    term.keys("Escape")
    term.until("q quit")
    term.keys("Up")
    term.keys("Enter")
    term.until(lambda s: "any key goes back" in s and "web2" not in s)
    term.keys("Enter")
    term.until("web2")
    term.keys("q")
    term.until("ended with 0")


def test_resizes(top):
    term = top()
    term.until("web2")
    for width, height in ((40, 8), (20, 3), (200, 50), (80, 24)):
        term.resize(width, height)
        term.until(lambda s, h=height: len(s.splitlines()) <= h and "weir" in s)
    term.until("web2")


def test_a_weir_that_goes_away_is_waited_for(site, top):
    term = top()
    term.until("web2")
    site.finish()
    term.until("no socket at")
    term.keys("q")
    term.until("ended with 0")


def test_a_backend_that_is_down_says_why(weir, app, tmp_path):
    daemon = weir([{"address": refused_address(), "name": "gone"}], pool={"retry": "off"})
    for _ in range(4):
        daemon.ask()
    term = Terminal(tmp_path, [binary("weirctl"), "-s", daemon.sock, "top"],
                    env={"LC_ALL": "C", "NO_COLOR": "1"})
    try:
        term.until(lambda s: "gone" in line(s, "gone") and " 4 " in line(s, "gone"))
    finally:
        term.stop()


@pytest.mark.parametrize("args,code,text", [
    (["--json"], 2, "no --json"), ([], 1, "top needs a terminal"), (["-w"], 2, "top takes no -w")])
def test_without_a_terminal(site, args, code, text):
    done = subprocess.run([binary("weirctl"), "-s", site.sock, "top", *args], capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, timeout=20, check=False)
    assert done.returncode == code and text in done.stderr
