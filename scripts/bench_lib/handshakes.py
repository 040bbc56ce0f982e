# SPDX-License-Identifier: MIT
"""A TLS 1.3 connection and one request, again and again, as a process of its own.

usage: handshakes.py PORT SECONDS full|resumed PATH; prints {"n": right ones, "bad": others}
"""
import json
import socket
import ssl
import sys
import time


def tls_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def connect_once(context, port, request, session):
    """(was the answer right and the session used, the ticket for the next connection)"""
    with socket.create_connection(('127.0.0.1', port), timeout=10) as plain, \
            context.wrap_socket(plain, server_hostname='bench.test', session=session) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as browsers and curl do
        s.sendall(request)
        answer = b''
        while part := s.recv(16384):
            answer += part
        right = answer.startswith(b'HTTP/1.1 200') and s.session_reused == (session is not None)
        return right, s.session


def main(port, seconds, kind, path):
    context, session, n, bad = tls_context(), None, 0, 0
    request = f'GET {path} HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\n\r\n'.encode()
    end = time.monotonic() + seconds
    if kind == 'resumed':
        session = connect_once(context, port, request, None)[1]
    while time.monotonic() < end:
        try:
            right, fresh = connect_once(context, port, request, session)
        except OSError:
            right, fresh = False, session
        n += right
        bad += not right
        if kind == 'resumed':
            session = fresh
    print(json.dumps({'n': n, 'bad': bad}))


if __name__ == '__main__':
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4])
