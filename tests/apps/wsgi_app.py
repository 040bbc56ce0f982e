# SPDX-License-Identifier: MIT
"""A WSGI app for gunicorn, for the demo and the end-to-end tests.

Paths: / (the name), /bytes/N, /chunked/N (no Content-Length), /catalogue (JSON of some
size), /echo (JSON of what was received), /file?path=P (below WSGI_APP_ROOT).  WSGI_APP_NAME is the
name.  usage: gunicorn --chdir tests/apps wsgi_app:app
"""
import hashlib
import json
import os
from urllib.parse import parse_qs

NAME = os.environ.get("WSGI_APP_NAME", "wsgi")
ROOT = os.path.realpath(os.environ.get("WSGI_APP_ROOT", "."))

# The bytes of pattern.h: SHA-256 of counters, cut to a prime length.
PERIOD = 1048573
PATTERN = b"".join(hashlib.sha256(i.to_bytes(8, "big")).digest()
                   for i in range(PERIOD // 32 + 1))[:PERIOD]


def pattern(size):
    at = 0
    while at < size:
        begin = at % PERIOD
        piece = PATTERN[begin:begin + min(size - at, 65536)]
        at += len(piece)
        yield piece


def echo(environ):
    digest, length = hashlib.sha256(), 0
    while piece := environ["wsgi.input"].read(65536):
        digest.update(piece)
        length += len(piece)
    # WSGI has lost the case and order of names; "A_B" and "A-B" look the same.
    headers = [[key[5:].replace("_", "-"), value]
               for key, value in environ.items() if key.startswith("HTTP_")]
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            headers.append([key.replace("_", "-"), environ[key]])
    return json.dumps({
        "instance": NAME, "method": environ["REQUEST_METHOD"], "target": environ.get("RAW_URI"),
        "version": environ["SERVER_PROTOCOL"], "headers": headers, "body_length": length,
        "body_sha256": digest.hexdigest(),
    }).encode()


def open_file(environ):
    wanted = parse_qs(environ.get("QUERY_STRING", "")).get("path", [""])[0]
    path = os.path.realpath(os.path.join(ROOT, "./" + wanted))
    if not path.startswith(ROOT + os.sep) or not os.path.isfile(path):
        return None
    return open(path, "rb")


def text(start_response, status, body, content_type="text/plain"):
    start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body))),
                            ("X-App", NAME)])
    return [body]


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith(("/bytes/", "/chunked/")):
        size = int(path.rpartition("/")[2])
        headers = [("Content-Type", "application/octet-stream"), ("X-App", NAME)]
        if path.startswith("/bytes/"):
            headers.append(("Content-Length", str(size)))
        start_response("200 OK", headers)
        return pattern(size)
    if path == "/echo":
        return text(start_response, "200 OK", echo(environ), "application/json")
    if path == "/catalogue":
        rows = [{"id": i, "name": f"article {i}", "price": 100 + i * 37 % 900, "stock": i * 7 % 50}
                for i in range(500)]
        return text(start_response, "200 OK", json.dumps(rows).encode(), "application/json")
    if path == "/file":
        file = open_file(environ)
        if file is None:
            return text(start_response, "404 Not Found", b"not found\n")
        start_response("200 OK", [("Content-Type", "application/octet-stream"), ("X-App", NAME),
                                  ("Content-Length", str(os.fstat(file.fileno()).st_size))])
        return environ["wsgi.file_wrapper"](file, 65536)
    return text(start_response, "200 OK", (NAME + "\n").encode())
