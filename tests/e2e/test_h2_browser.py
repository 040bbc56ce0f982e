# SPDX-License-Identifier: MIT
"""A page of 50 assets in Chromium, over TLS and HTTP/2 through weir."""
import json

import pytest

from browser import Browser
from certs import Authority

N_IMAGES, N_SCRIPTS, N_STYLES = 30, 10, 10
SVG = ('<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40">'
       '<rect width="60" height="40" rx="6" fill="hsl({hue},70%,55%)"/>'
       '<text x="30" y="26" text-anchor="middle" font-family="sans-serif">{n}</text></svg>')


def page():
    return "".join([
        "<!doctype html><html lang=en><title>fifty</title>",
        *(f'<link rel=stylesheet href="/{n}.css">' for n in range(N_STYLES)),
        "<h1>Fifty assets</h1><p>",
        *(f'<img alt="{n}" src="/{n}.svg">' for n in range(N_IMAGES)),
        "<ol>", *(f"<li id=s{n}>waiting" for n in range(N_SCRIPTS)), "</ol>",
        *(f'<script defer src="/{n}.js"></script>' for n in range(N_SCRIPTS))])


def asset(target):
    name, _, kind = target.strip("/").partition(".")
    if kind == "css":
        return "text/css", f"li:nth-child({int(name) + 1}) {{color: rgb(0, {90 + int(name)}, 0)}}"
    if kind == "js":
        return "text/javascript", f"document.getElementById('s{name}').textContent = 'script {name}'"
    if kind == "svg":
        return "image/svg+xml", SVG.format(hue=12 * int(name), n=name)
    return "text/html", page()


def serve(peer):
    while (req := peer.request()) is not None:
        kind, body = asset(req.target)
        peer.respond(body.encode(), headers=[("Content-Type", kind), ("Cache-Control", "no-store")])


@pytest.fixture
def browser(tmp_path):
    page = Browser(tmp_path, 900, 500, ["--ignore-certificate-errors", "--disable-quic"])
    yield page
    page.stop()


@pytest.mark.parametrize("protocol", ["http1", "h2"])
def test_fifty_assets(weir, scripted, app, browser, tmp_path, protocol):
    """The backends speak HTTP/1.1, or HTTP/2 by way of a second weir."""
    inner = weir([scripted(serve).address])
    backends = [inner.bind(0)] if protocol == "h2" else inner.conf["pools"]["app"]["backends"]
    site = Authority(tmp_path).issue("site", ["localhost", "IP:127.0.0.1"])
    daemon = weir(backends, pool={"protocol": protocol},
                  listener={"tls": {"certificates": [site.conf]}})
    browser.open(f"https://127.0.0.1:{daemon.port}/")
    browser.until("document.readyState == 'complete' && document.title == 'fifty'")
    n = N_IMAGES + N_SCRIPTS + N_STYLES
    # the browser may ask for an icon, too, whenever it likes
    assets = "performance.getEntriesByType('resource').filter(e => !e.name.endsWith('favicon.ico'))"
    browser.until(f"{assets}.length == {n}")
    protocols = json.loads(browser.js(
        f"JSON.stringify({assets}.map(e => e.nextHopProtocol))"))
    assert protocols == ["h2"] * n
    assert browser.js("[...document.images].every(i => i.complete && i.naturalWidth == 60)")
    texts = browser.js("[...document.querySelectorAll('li')].map(e => e.textContent)")
    assert texts == [f"script {i}" for i in range(N_SCRIPTS)]
    colours = browser.js("[...document.querySelectorAll('li')].map(e => getComputedStyle(e).color)")
    assert colours == [f"rgb(0, {90 + i}, 0)" for i in range(N_STYLES)]
    browser.screenshot(tmp_path / "page.png")
    assert not [text for text in browser.complaints if "favicon" not in str(text)]
    totals = daemon.admin.get("/v1/status")["totals"]
    assert totals["requests"] >= n + 1 and totals["h2_connections"] <= 2
