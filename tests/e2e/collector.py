# SPDX-License-Identifier: MIT
"""A trace collector: takes OTLP over HTTP in JSON and is strict about what it is sent."""
import json
import re
import threading

from backends import Scripted
from wire import wait_for

TRACE_ID = re.compile(r"[0-9a-f]{32}")
SPAN_ID = re.compile(r"[0-9a-f]{16}")
INT64 = re.compile(r"-?[0-9]{1,19}")

# message: {field: (kind, required)}; a kind that is a name is another message
SCHEMA = {
    "ExportTraceServiceRequest": {"resourceSpans": (["ResourceSpans"], True)},
    "ResourceSpans": {"resource": ("Resource", True), "scopeSpans": (["ScopeSpans"], True)},
    "Resource": {"attributes": (["KeyValue"], True)},
    "ScopeSpans": {"scope": ("Scope", True), "spans": (["Span"], True)},
    "Scope": {"name": (str, True), "version": (str, True)},
    "Span": {"traceId": (TRACE_ID, True), "spanId": (SPAN_ID, True),
             "parentSpanId": (SPAN_ID, False), "traceState": (str, False), "flags": (int, True),
             "name": (str, True), "kind": (int, True), "startTimeUnixNano": (INT64, True),
             "endTimeUnixNano": (INT64, True), "attributes": (["KeyValue"], True),
             "events": (["Event"], False), "status": ("Status", True)},
    "KeyValue": {"key": (str, True), "value": ("AnyValue", True)},
    "AnyValue": {"stringValue": (str, False), "intValue": (INT64, False),
                 "boolValue": (bool, False)},
    "Event": {"timeUnixNano": (INT64, True), "name": (str, True)},
    "Status": {"code": (int, False), "message": (str, False)},
}


def check(value, kind, where):
    if isinstance(kind, list):
        assert isinstance(value, list), where
        for i, item in enumerate(value):
            check(item, kind[0], f"{where}[{i}]")
    elif isinstance(kind, re.Pattern):
        assert isinstance(value, str) and kind.fullmatch(value), (where, value)
    elif isinstance(kind, type):
        assert type(value) is kind, (where, value)
    else:
        fields = SCHEMA[kind]
        assert isinstance(value, dict) and set(value) <= set(fields), (where, value)
        for name, (inner, required) in fields.items():
            assert name in value or not required, (where, name)
            if name in value:
                check(value[name], inner, f"{where}.{name}")
        assert kind != "AnyValue" or len(value) == 1, (where, value)


def attributes(holder):
    pairs = [(a["key"], *a["value"].items()) for a in holder["attributes"]]
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), keys
    return {key: int(v) if kind == "intValue" else v for key, (kind, v) in pairs}


class Span:
    def __init__(self, raw):
        assert set(raw["traceId"]) != {"0"} and set(raw["spanId"]) != {"0"}
        self.trace, self.id = raw["traceId"], raw["spanId"]
        self.parent, self.state = raw.get("parentSpanId"), raw.get("traceState", "")
        self.name, self.flags = raw["name"], raw["flags"]
        self.kind = {2: "server", 3: "client"}[raw["kind"]]
        self.start, self.end = int(raw["startTimeUnixNano"]), int(raw["endTimeUnixNano"])
        self.events = [(e["name"], int(e["timeUnixNano"])) for e in raw.get("events", [])]
        self.code, self.message = raw["status"].get("code", 0), raw["status"].get("message")
        self.attributes = attributes(raw)
        assert self.start <= self.end
        times = [at for _, at in self.events]
        assert times == sorted(times) and all(self.start <= at <= self.end for at in times)

    def __getitem__(self, key):
        return self.attributes.get(key)

    def __repr__(self):
        return f"<{self.kind} {self.name} {self.trace} {self.id} {self.attributes}>"


class Collector:
    """answers: what each request gets, in turn, then 200; bytes or (status, headers, body)."""

    def __init__(self, scripted, answers=(), **kwargs):
        self.lock = threading.Lock()
        self.answers = list(answers)
        self.spans, self.requests, self.resources = [], [], []
        self.server = scripted(self.serve, **kwargs)

    @property
    def endpoint(self):
        return f"http://{self.server.address}/v1/traces"

    def serve(self, peer):
        while True:
            request = peer.request()
            if request is None:
                return
            self.take(request)
            with self.lock:
                answer = self.answers.pop(0) if self.answers else (200, [], b"{}")
            if callable(answer):
                answer = answer(peer)
            if answer is None:
                return
            if isinstance(answer, bytes):
                peer.send(answer)
                return
            status, headers, body = answer
            if 200 <= status < 300:
                with self.lock:
                    self.spans += [Span(raw) for raw in request.spans]
            peer.respond(body, status, headers)

    def take(self, request):
        assert request.method == "POST" and request.target == "/v1/traces", request
        assert request.get("Content-Type") == "application/json"
        assert request.get("User-Agent").startswith("weir/")
        data = json.loads(request.body)
        check(data, "ExportTraceServiceRequest", "$")
        request.spans = []
        for resource in data["resourceSpans"]:
            facts = attributes(resource["resource"])
            for scope in resource["scopeSpans"]:
                request.spans += scope["spans"]
            with self.lock:
                self.resources.append(facts)
        with self.lock:
            self.requests.append(request)

    def wait(self, n, timeout=30):
        """All spans, when there are at least n."""
        wait_for(lambda: len(self.spans) >= n, timeout, f"{n} spans")
        with self.lock:
            return list(self.spans)
