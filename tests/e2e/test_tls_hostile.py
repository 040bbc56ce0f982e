# SPDX-License-Identifier: MIT
"""TLS towards clients that are slow, or speak something else."""
import socket
import ssl

import pytest

from test_tls import TlsClient, ca, client_context, site, tls_listener, totals  # noqa: F401, pylint: disable=unused-import
from wire import connect_socket, request, wait_for


def hello(ca):
    """The bytes of a ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context(ca).wrap_bio(incoming, outgoing, server_hostname="a.example")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return tls, incoming, outgoing


def test_hello_byte_by_byte(weir, scripted, ca, site):
    daemon = weir([scripted().address], listener=tls_listener(site))
    tls, incoming, outgoing = hello(ca)
    with connect_socket(daemon.port) as sock:
        for byte in outgoing.read():
            sock.sendall(bytes([byte]))
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65536))
        tls.write(request())
        for byte in outgoing.read():
            sock.sendall(bytes([byte]))
        while True:
            try:
                assert tls.read(13) == b"HTTP/1.1 200 "
                break
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65536))


@pytest.mark.parametrize("junk", [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\x01" * 100,
    b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", b"\x00" * 3000, b"\x80\x2e\x01\x03\x01" + b"a" * 64,
    b"\x15\x03\x01\x00\x02\x02\x28"], ids=["http", "long", "type", "zeroes", "ssl2", "alert"])
def test_junk_instead_of_a_hello(weir, scripted, site, junk):
    daemon = weir([scripted().address], listener=tls_listener(site, timeouts={"handshake": "1s"}))
    with connect_socket(daemon.port) as sock:
        sock.sendall(junk)
        try:
            while sock.recv(4096):
                pass
        except ConnectionResetError:
            pass
    after = totals(daemon)
    assert after["tls_failed"] + after["tls_timeouts"] >= 1
    assert after["tls_handshakes"] == 0 and after["requests"] == 0


def test_silent_connections_take_no_place(weir, scripted, ca, site):
    daemon = weir([scripted().address], workers=1, listener=tls_listener(
        site, limits={"handshakes": 1}, timeouts={"handshake": "1s"}))
    flood = [daemon.connect() for _ in range(40)]
    wait_for(lambda: totals(daemon)["connections"] == 40)
    with TlsClient(daemon.port, ca) as client:
        assert client.ask().status == 200
    assert totals(daemon)["tls_waited"] == 0
    for each in flood:
        each.assert_closed()
    assert totals(daemon)["tls_timeouts"] == 40


def test_half_open_handshakes_wait_and_leave(weir, scripted, ca, site):
    """Those of one address have three places of four: the last is for somebody else."""
    daemon = weir([scripted().address], workers=1, listener=tls_listener(
        site, limits={"handshakes": 4}, timeouts={"handshake": "1s"}))
    with TlsClient(daemon.port, ca) as open_one:
        open_one.ask()
        flood = [daemon.connect() for _ in range(40)]
        for each in flood:
            each.send(b"\x16")
        wait_for(lambda: totals(daemon)["tls_waited"] == 37)
        assert open_one.ask().status == 200
        with socket.create_connection(("127.0.0.1", daemon.port),
                                      source_address=("127.0.0.2", 0)) as sock:
            with client_context(ca).wrap_socket(sock, server_hostname="a.example") as other:
                assert other.version()
        for each in flood:
            each.assert_closed()
        assert totals(daemon)["tls_timeouts"] == 40
        with TlsClient(daemon.port, ca) as client:
            assert client.ask().status == 200


def test_whoever_waits_is_served_next(weir, scripted, ca, site):
    daemon = weir([scripted().address], workers=1,
                  listener=tls_listener(site, limits={"handshakes": 1}))
    first = daemon.connect()
    first.send(b"\x16")
    wait_for(lambda: totals(daemon)["connections"] == 1)
    tls, incoming, outgoing = hello(ca)
    with connect_socket(daemon.port) as second:
        second.sendall(outgoing.read())
        wait_for(lambda: totals(daemon)["tls_waited"] == 1)
        first.close()
        incoming.write(second.recv(65536))
        assert incoming.pending


def test_slow_handshakes_make_room(weir, scripted, ca, site):
    """Of another address: one by itself has to wait."""
    daemon = weir([scripted().address], workers=1,
                  listener=tls_listener(site, limits={"handshakes": 1}, timeouts={"handshake": "1m"}))
    first = daemon.connect()
    first.send(b"\x16")
    wait_for(lambda: totals(daemon)["connections"] == 1)
    with socket.create_connection(("127.0.0.1", daemon.port),
                                  source_address=("127.0.0.2", 0)) as sock:
        with client_context(ca).wrap_socket(sock, server_hostname="a.example") as other:
            assert other.version()
    first.assert_closed()
    assert totals(daemon)["tls_evicted"] == 1


def test_cut_in_the_middle(weir, scripted, ca, site):
    """Resets and ends without close_notify at every stage leave nothing behind."""
    daemon = weir([scripted().address], listener=tls_listener(site))
    for stage in range(4):
        tls, _, outgoing = hello(ca)
        sock = connect_socket(daemon.port)
        data = outgoing.read()
        sock.sendall(data[:(len(data) * stage) // 3])
        sock.close()
    with TlsClient(daemon.port, ca) as client:
        client.send(b"GET / HTT")
        client.sock.shutdown(socket.SHUT_RDWR)
    wait_for(daemon.is_idle)
