# SPDX-License-Identifier: MIT
"""The dashboard in a headless browser, the stream under it, and who may read them."""
import json

import pytest

from backends import free_port
from daemon import Admin
from wire import Client, request, wait_for


@pytest.fixture
def site(weir, app, tmp_path):
    """Two pools, status.bind with a token."""
    web, api = app(2), app(1)
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    port = free_port()
    daemon = weir(conf={
        "workers": 2,
        "status": {"socket": str(tmp_path / "weir-0.sock"), "bind": f"127.0.0.1:{port}",
                   "token_file": str(token), "hosts": ["lb.example.com", "*.lb.example.com"]},
        "listeners": [{"bind": f"127.0.0.1:{free_port()}"}],
        "routes": [{"match": {"path": "/api"}, "pool": "api"}, {"pool": "app"}],
        "pools": {"app": {"backends": [{"address": a, "name": n}
                                       for a, n in zip(web.addresses, ("web1", "web2"))]},
                  "api": {"backends": [{"address": api.addresses[0], "name": "api1"}]}}})
    daemon.status_port = port
    return daemon


def cell(backend, column):
    return (f"(document.querySelector('tr[data-key=\"{backend}\"]')?.children[{column}]"
            f".textContent || '')")


def test_the_page_is_live(site, browser):
    site.ask()
    browser.open(f"http://127.0.0.1:{site.status_port}/")
    browser.until("document.querySelectorAll('tr.row').length == 3")
    assert browser.js("document.title") == "weir"
    browser.until(f"{cell('app/web1', 11)} == 'learning'")
    site.ctl("drain", "app/web1", check=0)
    browser.until(f"{cell('app/web1', 1)} == 'draining'")
    browser.until(f"{cell('app/web1', 11)}.endsWith('set by an operator')")
    browser.until("[...document.querySelectorAll('#events li')].some(e => "
                  "e.textContent.includes('app/web1'))")
    seen = browser.js("Number(document.body.dataset.ticks)")
    browser.until(f"Number(document.body.dataset.ticks) > {seen}")
    assert not browser.complaints
    assert all(url.startswith((f"http://127.0.0.1:{site.status_port}/", "data:"))
               for url in browser.urls), browser.urls


def open_busy_page(site, browser):
    for _ in range(20):
        site.ask()
    browser.open(f"http://127.0.0.1:{site.status_port}/")
    browser.until("document.querySelectorAll('tr.row').length == 3")


def open_tab(browser, tab, shown):
    button = f"[...document.querySelectorAll('.tabs button')].find(b => b.textContent == '{tab}')"
    browser.until(f"{button} != null")
    browser.js(f"{button}.click()")
    browser.until(f"document.querySelector('{shown}') != null")


def test_details_by_keyboard(site, browser):
    open_busy_page(site, browser)
    browser.key("ArrowDown")
    browser.until("document.activeElement.classList.contains('row')")
    browser.key("Enter")
    browser.until("!document.getElementById('detail').hidden")
    browser.until("document.querySelector('#detail h2')?.textContent == 'app/web1'")
    for tab, shown in (("latency", ".chart .bars"), ("history", ".chart path"),
                       ("slow", "#detail table"), ("scaling", "#detail dl")):
        open_tab(browser, tab, shown)
    browser.key("Escape")
    browser.until("document.getElementById('detail').hidden")
    browser.key("/")
    browser.until("document.activeElement.id == 'filter'")
    browser.key("z")
    browser.until("document.querySelectorAll('tr.row').length == 0")
    assert not browser.complaints


def test_tables_of_details_have_all_their_heads(site, browser):
    """As many as cells, although tables of pools leave some out beside them."""
    open_busy_page(site, browser)
    browser.js("document.querySelector(\"tr[data-key='app/web1']\").click()")
    browser.until("document.querySelector('.tabs button') != null")
    open_tab(browser, "slow", "#detail tbody tr")
    shown = "[...document.querySelectorAll('#detail %s')].filter(e => e.offsetWidth > 0).length"
    heads = browser.js(shown % "thead th")
    assert heads == browser.js(shown % "tbody tr:first-child td") == 7


def test_phone_and_dark(site, browser):
    browser.resize(390, 844, True)
    browser.scheme("dark")
    browser.open(f"http://127.0.0.1:{site.status_port}/")
    browser.until("document.querySelectorAll('tr.row').length == 3")
    assert browser.js("document.documentElement.scrollWidth <= 390")
    assert browser.js("getComputedStyle(document.body).backgroundColor") == "rgb(18, 23, 27)"


def test_names_are_whole_on_a_phone(weir, app, browser, tmp_path):
    port, backends = free_port(), app(2)
    names = ("checkout-service-blue-01", "10.20.30.140:18080")
    weir(conf={
        "status": {"socket": str(tmp_path / "weir-0.sock"), "bind": f"127.0.0.1:{port}"},
        "listeners": [{"bind": f"127.0.0.1:{free_port()}"}],
        "routes": [{"pool": "checkout-of-the-shop"}],
        "pools": {"checkout-of-the-shop": {"backends": [
            {"address": a, "name": n} for a, n in zip(backends.addresses, names)]}}})
    browser.resize(390, 844, True)
    browser.open(f"http://127.0.0.1:{port}/")
    browser.until("document.querySelectorAll('tr.row').length == 2")
    shown = browser.js("[...document.querySelectorAll('#pools tr.pool > th, #pools tr.row > td:first-child')].map("
                       "e => [e.textContent, e.scrollWidth <= e.clientWidth, getComputedStyle(e).textOverflow])")
    assert len(shown) == 3 and all(whole and overflow == "clip" for _, whole, overflow in shown), shown
    assert browser.js("document.documentElement.scrollWidth <= 390")


def test_a_word_is_on_one_line_on_a_phone(weir, app, browser, tmp_path):
    """Beside whatever else the table has to say."""
    port, address = free_port(), app(1).addresses[0]
    weir(conf={
        "status": {"socket": str(tmp_path / "weir-0.sock"), "bind": f"127.0.0.1:{port}"},
        "listeners": [{"bind": f"127.0.0.1:{free_port()}"}], "routes": [{"pool": "checkouts"}],
        "pools": {"checkouts": {"backends": [{"address": address, "name": n} for n in ("checkout-1.eu-central", "b2")]}}})
    browser.resize(390, 844, True)
    browser.open(f"http://127.0.0.1:{port}/")
    browser.until("document.querySelectorAll('tr.row').length == 2")
    lines = browser.js(
        "(() => { const p = snap.pools[0]; p.verdict = 'uneven'; p.p99_us = 123456; Object.assign(p.backends[0], {state: 'down',"
        " reason: 'status 500, expected 200-399, and this is told at length'}); putPools();"
        " const r = document.createRange();"
        " r.selectNodeContents(document.querySelector('#pools tr.pool button.plain'));"
        " return new Set([...r.getClientRects()].map(e => e.top)).size; })()")
    assert lines == 1, lines
    assert browser.js("document.documentElement.scrollWidth <= 390")


# What is wider than its place: whole words, not what is scrolled on purpose.
CUT = ("[...document.querySelectorAll('header, header > *, #verdicts, #verdicts *, #pools .scroll, #pools th, "
       "#pools td, #detail .head > *, #detail .verdict > *')].filter(e => e.offsetWidth && (e.scrollWidth > "
       "e.clientWidth + 1 && getComputedStyle(e).display !== 'inline' || e.getBoundingClientRect().right > "
       "WIDTH + 1)).map(e => [e.tagName, e.className, e.textContent.slice(0, 60), e.scrollWidth, e.clientWidth])")


@pytest.mark.parametrize("width", [1400, 1150, 700, 390])
def test_long_names_cut_nothing(weir, app, browser, tmp_path, width):
    """Pools whose names have 40 characters, some with nowhere to break them, some in trouble."""
    port, address = free_port(), app(1).addresses[0]
    names = [*(f"checkout-of-the-shop-for-customers-in-{i:03}" for i in range(10)), "W" * 40,
             "recommendations_by_what_others_bought_01"]
    weir(conf={
        "status": {"socket": str(tmp_path / "weir-0.sock"), "bind": f"127.0.0.1:{port}"},
        "listeners": [{"bind": f"127.0.0.1:{free_port()}"}], "routes": [{"pool": names[0]}],
        "pools": {name: {"backends": [{"address": address, "name": "backend-of-it-1"}]} for name in names}})
    browser.resize(width, 844, width < 600)
    browser.open(f"http://127.0.0.1:{port}/")
    browser.until("document.querySelectorAll('tr.row').length == 12")
    cut = CUT.replace("WIDTH", str(width))
    trouble = ("for (const i of [0, 10]) { const p = snap.pools[i]; p.problem = true; p.verdict = 'scalability_shared';"
               " p.sentence = `${p.name}/backend-of-it-1 is in trouble`; Object.assign(p.backends[0], {state: 'ejected',"
               " reason: 'answers 404 to 100 %, the others to 0 %: left alone, tried once a second'});"
               " snap.problems.push(`backend ${p.sentence}`); } putVerdicts(); putPools(); ")
    assert browser.js(trouble + cut) == []
    browser.js(f"choose('{names[10]}', null)")
    browser.until("document.querySelector('#detail .verdict') != null")
    assert browser.js(trouble + cut) == []
    assert not browser.complaints


def test_what_is_open_stands_in_the_url(site, browser):
    open_busy_page(site, browser)
    url = f"http://127.0.0.1:{site.status_port}/"
    browser.js("document.querySelector(\"tr[data-key='app/web1']\").click()")
    open_tab(browser, "slow", "#detail tbody tr")
    assert browser.js("location.hash") == "#app/web1/slow"
    browser.open("about:blank")
    browser.open(url + "#app/web2/history")
    browser.until("document.querySelector('#detail h2')?.textContent == 'app/web2'")
    browser.until("document.querySelector('#detail [aria-selected=true]').textContent == 'history'")
    browser.js("document.querySelector('tr.pool').click()")
    browser.until("document.querySelector('#detail h2')?.textContent == 'app'")
    browser.js("window.history.back()")
    browser.until("document.querySelector('#detail h2')?.textContent == 'app/web2'")
    browser.key("Escape")
    browser.until("document.getElementById('detail').hidden && location.hash == ''")
    assert not browser.complaints


@pytest.mark.parametrize("width", [1400, 390])
def test_the_verdict_stays_in_sight(site, browser, width):
    browser.resize(width, 844, width < 600)
    open_busy_page(site, browser)
    shown = ("[...document.querySelectorAll('#pools tbody tr > :last-child')].every(e => { const r = "
             "e.getBoundingClientRect(); return r.width > 40 && r.right <= innerWidth && r.left >= 0; })")
    assert browser.js(shown)
    browser.js("document.querySelector('#pools .scroll').scrollLeft = 9999")
    assert browser.js(shown)
    if width > 600:
        browser.js("document.querySelector(\"tr[data-key='app/web1']\").click()")
        browser.until("!document.getElementById('detail').hidden")
        assert browser.js(shown)
    else:
        low = "[...document.querySelectorAll('header button:not([hidden])')].every(b => b.offsetHeight >= 44)"
        assert browser.js(low)
    heads = "document.querySelectorAll('#pools thead').length"
    assert browser.js(heads) == 1, "one grid for all pools"


@pytest.mark.parametrize("width", [1400, 390])
def test_the_head_of_a_long_table_stays_in_sight(weir, app, browser, tmp_path, width):
    backend, port = app(), free_port()
    names = [f"web{i}" for i in range(80)]
    weir(conf={"workers": 1, "status": {"socket": str(tmp_path / "weir-0.sock"), "bind": f"127.0.0.1:{port}"},
               "listeners": [{"bind": f"127.0.0.1:{free_port()}"}],
               "pools": {"app": {"backends": [{"address": backend.addresses[0], "name": n} for n in names]}}})
    browser.resize(width, 700, width < 600)
    browser.open(f"http://127.0.0.1:{port}/")
    more = "[...document.querySelectorAll('#pools button')].find(b => b.textContent == 'show all')"
    browser.until(f"{more} != null")
    browser.js(f"{more}.click()")
    browser.until("document.querySelectorAll('tr.row').length == 80")
    last = "[...document.querySelectorAll('tr.row')].at(-1)"
    browser.js(f"{last}.scrollIntoView({{block: 'end'}})")

    def at(selector):
        """The middle of it is what is seen there."""
        return (f"(e => {{ const r = e.getBoundingClientRect(); return e.contains(document.elementFromPoint("
                f"r.left + r.width / 2, r.top + r.height / 2)); }})({selector})")
    for _ in range(3):  # it stays there when the table is written again
        assert browser.js(at(last)) and browser.js(at("document.querySelector('#pools thead th')"))
        assert browser.js(at("document.querySelector('#pools thead th:last-child')"))
        old = browser.js("window.marked = document.querySelector('#pools table'); 1")
        assert old and browser.until("window.marked != document.querySelector('#pools table')")
    assert browser.js(f"document.documentElement.scrollWidth <= {width}")


def test_errors_are_those_of_the_last_minute(weir, app, browser, tmp_path):
    port = free_port()
    daemon = weir([{"address": app(1).addresses[0], "name": "web1"}],
                  status={"bind": f"127.0.0.1:{port}"}, pool={"retry": "off"})
    for _ in range(3):
        assert daemon.ask(target="/?status=500").status == 500
    wait_for(lambda: sum(r["errors"] for r in
                         daemon.admin.get("/v1/history?pool=app&seconds=60")["rows"]) == 3)
    browser.open(f"http://127.0.0.1:{port}/")
    browser.until(f"{cell('app/web1', 5)} == '3'")
    tile = "[...document.querySelectorAll('.tile')].find(t => t.textContent.startsWith('errors'))"
    browser.until(f"{tile}?.querySelector('.value').className == 'value bad'")
    assert browser.js(f"{tile}.querySelector('polyline') != null"), "it begins with what was"
    # a minute later it is only a number since the start
    browser.js("for (const kept of series.values()) if (kept.errors) kept.errors.push(...Array(60).fill(0))")
    browser.until(f"{tile}.querySelector('.value').className == 'value'")
    browser.until(f"{cell('app/web1', 5)} == '0'")


def test_read_only_explains_itself(weir, app, browser, site):
    port = free_port()
    daemon = weir(app(1).addresses, status={"bind": f"127.0.0.1:{port}"})
    for base, can in ((port, False), (site.status_port, True)):
        browser.open(f"http://127.0.0.1:{base}/")
        browser.until("document.querySelectorAll('tr.row').length > 0")
        browser.js("document.getElementById('unlock').click()")
        browser.until("document.getElementById('token-form').dataset.can")
        assert browser.js("document.getElementById('token').offsetWidth > 0") is can
        assert browser.js("document.getElementById('why-not').offsetWidth > 0") is not can
    assert daemon.alive()


def test_sliders_over_the_curve(site, browser):
    """What the curve says of other numbers of backends and loads; a model is put in place of weir's."""
    open_busy_page(site, browser)
    browser.js("""
        const real = get;
        get = url => !url.endsWith('/scaling') ? real(url) : Promise.resolve({
          pool: 'app', verdict: 'healthy', sentence: '', backends: [{}, {}],
          evidence: {rate: 300, shared: {found: false}}, forecast: [],
          curve: [1, 2, 3, 4].map(k => ({in_flight: k, rate: 50 * k, completions: 100})),
          model: {kind: 'workers', capacity: 200, refusal: null,
                  fitted: [1, 2, 3, 4, 8].map(k => ({in_flight: k, rate: Math.min(200, 50 * k)})),
                  at_n_max: {low: 190, mid: 200, high: 210}}})""")
    browser.js("choose('app', null)")
    said = "document.getElementById('reckoned')?.textContent || ''"
    browser.until(f"({said}).startsWith('2 backends at 300/s: mean time 20.0 ms, 3.00 in flight at each, 75 % busy')")

    def slide(which, value):
        browser.js(f"var s = document.getElementById('wish-{which}'); s.value = {value}; "
                   "s.dispatchEvent(new Event('input'))")
        return browser.js(said)
    assert slide("backends", 3).startswith("3 backends at 300/s: mean time 20.0 ms, 2.00 in flight")
    assert "more than 1 backend can take (200/s)" in slide("backends", 1)
    slide("backends", 2)
    assert "more than 2 backends can take (400/s)" in slide("load", 2)
    assert browser.js("document.querySelectorAll('.wish').length") == 1, "no point above the curve"


def test_a_change_needs_the_token(site, browser):
    browser.open(f"http://127.0.0.1:{site.status_port}/")
    browser.until("document.querySelectorAll('tr.row').length == 3")
    browser.js("window.confirm = () => true; choose('app', 'web2')")
    browser.until("document.querySelector('#detail h2') != null")
    drain = "[...document.querySelectorAll('#detail button')].find(b => b.textContent == 'Drain')"
    assert browser.js(f"{drain} == null")
    browser.js("document.getElementById('unlock').click();"
               "document.getElementById('token').value = 's3cret';"
               "document.querySelector('#token-form button').click()")
    browser.until(f"{drain} != null")
    browser.js(f"{drain}.click()")
    wait_for(lambda: site.backends()["web2"]["state"] == "draining")


def test_the_index_for_programs(site):
    assert "endpoints" in site.admin.get("/")
    page = site.admin.call("GET", "/", headers=[("Accept", "text/html,*/*")])
    assert page.get("Content-Type") == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.get("Content-Security-Policy")
    assert page.body.startswith(b"<!doctype html>")


# ---- the stream ----

def open_stream(address):
    client = Client(address)
    client.send(request(target="/v1/stream", host="weir"))
    head = client.response_head()
    assert head.status == 200 and head.get("Content-Type") == "text/event-stream", head
    return client


def next_tick(client):
    while b"\n\n" not in client.buf or b"data: " not in client.buf.split(b"\n\n")[0]:
        if b"\n\n" in client.buf:
            client.take(client.buf.index(b"\n\n") + 2)
            continue
        assert client.fill(), "the stream ended"
    event = client.take(client.buf.index(b"\n\n") + 2).decode()
    assert "event: tick\n" in event
    return json.loads(event.partition("data: ")[2])


def test_stream(site):
    with open_stream(site.sock) as client:
        first = next_tick(client)
        assert [p["name"] for p in first["pools"]] == ["app", "api"]
        assert {"problems", "workers", "totals", "last_event"} <= set(first)
        site.ask()
        for _ in range(5):
            tick = next_tick(client)
            pool = tick["pools"][0]
            if sum(b["requests"] for b in pool["backends"]) == 1 and pool["n"] == 1:
                assert pool["p50_us"] == max(b.get("p50_us", 0) for b in pool["backends"])
                assert {b["verdict"] for b in pool["backends"]} == {"not_enough_data"}
                return
        raise AssertionError(f"the request is not in the stream: {tick}")


def test_streams_are_bounded(site):
    clients = [open_stream(site.sock) for _ in range(16)]
    with Client(site.sock) as late:
        refused = late.ask(target="/v1/stream", host="weir")
        assert refused.status == 503 and refused.json()["error"]
    clients.pop().close()
    wait_for(lambda: site.admin.call("HEAD", "/v1/stream").status == 200)
    for client in clients:
        client.reset()


def test_a_listener_that_does_not_read_costs_nothing(site):
    with Client(site.sock, rcvbuf=4096) as lazy:
        lazy.send(request(target="/v1/stream", host="weir"))
        with open_stream(site.sock) as client:
            for _ in range(3):
                next_tick(client)


def test_streams_survive_a_reload_and_end_with_the_daemon(site):
    client = open_stream(site.sock)
    next_tick(client)
    site.ctl("reload", check=0)
    assert next_tick(client) and next_tick(client)
    site.fd_check = False  # one is the stream's
    site.finish()
    client.close()


# ---- DNS rebinding ----

@pytest.mark.parametrize("host,status", [
    ("127.0.0.1:8404", 200), ("[::1]:8404", 200), ("localhost:8404", 200), ("weir", 200),
    ("lb.example.com:8404", 200), ("a.lb.example.com", 200), ("evil.example.com", 403),
    ("xlb.example.com", 403), ("127.0.0.1.evil.example", 403)])
def test_names_that_may_read(site, host, status):
    for path in ("/v1/status", "/metrics", "/"):
        with Client(site.status_port) as client:
            assert client.ask(target=path, host=host).status == status
    with Client(site.status_port) as client:
        assert client.ask(target="/livez", host=host).status == 200
    with Client(site.sock) as client:
        assert client.ask(target="/v1/status", host=host).status == 200


def test_the_token_does_not_replace_the_name(site):
    admin = Admin(site.status_port)
    assert admin.call("GET", "/v1/status").status == 200
    with Client(site.status_port) as client:
        headers = [("Authorization", "Bearer s3cret")]
        assert client.ask(target="/v1/status", host="evil.example.com",
                          headers=headers).status == 403
