# SPDX-License-Identifier: MIT
"""A process that ends amid an order, is followed by another, or asks again: the authority is asked
no more than is needed, and the certificate of before answers."""
import contextlib
import json
import signal

import pytest

from test_acme import WITHIN, Site, meddled, pebble, problem, site  # noqa: F401
from test_handover import ended, hand_over, lineage  # noqa: F401
from wire import PATIENCE, wait_for


@contextlib.contextmanager
def held(pebble):  # noqa: F811
    """Nothing is answered meanwhile."""
    pebble.kill(signal.SIGSTOP)
    try:
        yield
    finally:
        pebble.kill(signal.SIGCONT)


@pytest.mark.parametrize("steps", [("directory", "account", "place"),
                                   ("authorization", "challenge", "finalize"),
                                   ("issue", "download", "saved")])
def test_killed_at_every_step(meddled, steps):
    """The certificate of before answers after each start, and in the end there is a new one."""
    fatal = []

    def after(step, path, status, headers, body):
        if fatal and fatal[0] == step:
            fatal.pop()
            s.daemon.kill(signal.SIGKILL)
    s = meddled(after=after)
    s.start()
    s.becomes_trusted()
    before = s.served()
    s.daemon.finish()
    s.forget_account()
    text = s.pem.read_text().replace("ACME directory: ", "ACME directory: another ")
    s.pem.write_text(text)
    for step in steps:
        fatal.append(step)
        with held(s.pebble):
            s.start()
            assert s.served() == before
        if step == "saved":
            fatal.clear()
            wait_for(lambda: s.pem.read_text() != text and s.row["saved"], WITHIN, s.state)
            s.daemon.kill(signal.SIGKILL)
        s.daemon.checked = True
        s.daemon.wait(3 * PATIENCE)  # what was refused before may have to wait its turn
    s.start()
    if "saved" in steps:
        assert s.served() != before
    wait_for(lambda: s.served() != before, WITHIN, s.state)
    assert s.trusted() and not list(s.folder.glob("*.new"))


def acknowledged(daemon):
    daemon.checked = True
    daemon.wait()


@pytest.mark.parametrize("step", ["place", "finalize", "issue", "download"])
def test_an_order_that_was_under_way_is_gone_on_with(meddled, step):
    """Killed when the authority has heard, before weir has its answer."""
    fatal, hold = [step], []

    def before(step, path):
        if step == "authorization" and "place" in hold:
            hold.clear()
            s.daemon.kill(signal.SIGKILL)

    def after(step, path, status, headers, body):
        if fatal and fatal[0] == step:
            fatal.pop()
            if step == "place":
                hold.append(step)  # its URL is written down before the next request
            else:
                s.daemon.kill(signal.SIGKILL)
    s = meddled(before=before, after=after)
    with held(s.pebble):
        s.start()
    acknowledged(s.daemon)
    assert "ACME order: https://" in (s.folder / "a.example.pem.next").read_text()
    s.start()
    s.becomes_trusted()
    assert s.meddler.steps.count("place") == 1
    assert not list(s.folder.glob("*.next")) and s.row["failed"] == 0


def test_an_order_of_no_use_is_placed_anew(meddled):
    """The authority has forgotten it."""
    fatal = ["challenge"]

    def before(step, path):
        if step == "issue" and "gone" in fatal:
            fatal.clear()
            return problem("malformed", "no such order", 404)
        return None

    def after(step, path, status, headers, body):
        if step in fatal:
            fatal[:] = ["gone"]
            s.daemon.kill(signal.SIGKILL)
    s = meddled(before=before, after=after)
    with held(s.pebble):
        s.start()
    acknowledged(s.daemon)
    s.start()
    s.becomes_trusted()
    assert s.meddler.steps.count("place") == 2 and s.row["failed"] == 0


def test_restarts_ask_no_more_often_than_one_process(meddled):
    s = meddled(before=lambda step, path: problem("rejectedIdentifier", "never")
                if step == "place" else None, acme={"retry": "1h"})
    s.start()
    wait_for(lambda: s.row["failures"] == 1, WITHIN, s.state)
    wait_for(lambda: "ACME failures: 1" in (s.folder / "a.example.pem.next").read_text(), WITHIN,
             "a note")
    for _ in range(3):
        s.daemon.finish()
        s.start()
        assert s.row["failures"] == 1 and 3000 < s.row["next_order_in_s"] <= 4000
        assert "the last order failed, before this start" in s.problems()[0]
    assert s.meddler.steps.count("place") == 1
    s.daemon.reload(s.daemon.conf)
    wait_for(lambda: s.row["failures"] == 2, WITHIN, s.state)
    assert s.meddler.steps.count("place") == 2, "who reloads has mended something"


def test_the_authority_says_when(meddled):
    """ARI (RFC 9773), which Debian's pebble does not speak."""
    asked, orders = [], []

    def before(step, path):
        if path.startswith("/ari/"):
            asked.append(path)
            return 200, {"Retry-After": "3600"}, json.dumps({"suggestedWindow": {
                "start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
                if len(asked) == 1 else {
                "start": "2099-01-01T00:00:00Z", "end": "2099-01-02T00:00:00Z"}}).encode()
        if step == "place":
            orders.append(path)
        return None

    def after(step, path, status, headers, body):
        if step != "directory":
            return None
        directory = json.loads(body)
        return status, headers, json.dumps({
            **directory, "renewalInfo": s.meddler.base + "/ari"}).encode()
    s = meddled(before=before, after=after)
    s.start()
    s.becomes_trusted()
    wait_for(lambda: len(orders) == 2 and s.row["orders"] == 2, WITHIN, s.state)
    wait_for(lambda: len(asked) == 2, WITHIN, s.state)
    assert asked[0] != asked[1] and "." in asked[0]
    wait_for(lambda: s.row["next_order_in_s"] > 86400 * 1000, 5, s.state)


# ---- hand-over ----

def test_a_handover_goes_on_with_the_files(lineage, scripted, pebble):  # noqa: F811
    s = Site(lineage, scripted, pebble)
    daemon = s.start()
    s.becomes_trusted()
    before = s.served()
    hand_over(daemon, daemon.pid)
    ended(daemon)
    assert s.served() == before and s.row["trusted"] and s.row["orders"] == 0
