# SPDX-License-Identifier: MIT
"""Headless Chromium, driven through its debugging socket."""
import base64
import json
import re
import subprocess
import urllib.request
from pathlib import Path

import websocket

from wire import SLOW, wait_for


class Browser:
    """One page; what it logs or throws is kept in .complaints, what it asks for in .urls."""

    def __init__(self, folder, width=1280, height=900, flags=()):
        self.folder = Path(folder)
        self.log = open(self.folder / "chromium.log", "wb")
        self.child = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-background-networking", "--disable-component-update",
             "--disable-dev-shm-usage", "--disable-sync", "--remote-debugging-port=0",
             "--remote-allow-origins=*", f"--user-data-dir={self.folder / 'chromium'}",
             f"--window-size={width},{height}", *flags, "about:blank"],
            stdout=self.log, stderr=self.log)
        port = wait_for(self.debugging_port, 20, "chromium's debugging port")
        pages = wait_for(lambda: [p for p in self.targets(port) if p["type"] == "page"], 10)
        self.socket = websocket.create_connection(pages[0]["webSocketDebuggerUrl"],
                                                  timeout=60 * SLOW)
        self.last_id = 0
        self.complaints = []
        self.urls = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def debugging_port(self):
        found = re.search(rb"ws://127\.0\.0\.1:(\d+)/",
                          (self.folder / "chromium.log").read_bytes())
        return found and int(found[1])

    @staticmethod
    def targets(port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as answer:
            return json.load(answer)

    def call(self, method, **params):
        self.last_id += 1
        self.socket.send(json.dumps({"id": self.last_id, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.last_id:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self.note(message)

    def note(self, message):
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(params["args"])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"])
        elif method == "Network.requestWillBeSent":
            self.urls.append(params["request"]["url"])

    def open(self, url):
        self.call("Page.navigate", url=url)

    def js(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                           awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, expression, timeout=10):
        return wait_for(lambda: self.js(expression), timeout, expression)

    def key(self, key):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key,
                      **({"text": key} if len(key) == 1 and kind == "keyDown" else {}))

    def resize(self, width, height, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=mobile)

    def scheme(self, name):
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": name}])

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        Path(path).write_bytes(base64.b64decode(data))

    def stop(self):
        self.socket.close()
        self.child.terminate()
        self.child.wait(20)
        self.log.close()
