# SPDX-License-Identifier: MIT
"""TLS towards clients: sessions that are resumed, and certificates that change."""
import secrets
import ssl

import pytest

from test_tls import TlsClient, ca, client_context, site, tls_listener, totals  # noqa: F401, pylint: disable=unused-import


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_resumption_over_workers_and_reloads(weir, scripted, ca, site, version):
    daemon = weir([scripted().address], listener=tls_listener(site))
    context = client_context(ca, version=version)

    def connect(session=None):
        with TlsClient(daemon.port, ca, session=session, context=context) as client:
            assert client.ask().status == 200
            return client.sock.session, client.sock.session_reused
    session, reused = connect()
    assert not reused and session.ticket_lifetime_hint == 86400
    for i in range(12):
        assert connect(session)[1], i
        if i == 6:
            daemon.reload()
    assert totals(daemon)["tls_resumed"] == 12


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_for_the_certificates_it_was_made_with(weir, scripted, ca, site, version):
    other, same = ca.issue("other", ["b.example"]), ca.issue("same", ["c.example", "d.example"])
    daemon = weir([scripted().address], listener=tls_listener(site, other, same))
    context = client_context(ca, version=version)

    def connect(name, session=None):
        with TlsClient(daemon.port, ca, name, session, context) as client:
            assert client.ask(host=name).status == 200
            return client.sock.session, client.sock.session_reused
    sessions = {name: connect(name)[0] for name in ("a.example", "b.example", "c.example")}
    for made in sessions:
        for name in sessions:
            assert connect(name, sessions[made])[1] == (made == name), (made, name)
    if version == ssl.TLSVersion.TLSv1_3:
        assert connect("d.example", sessions["c.example"])[1], "the same certificate"


def test_each_connection_brings_the_next_ticket(weir, scripted, ca, site):
    """Clients of TLS 1.3 use one once."""
    daemon = weir([scripted().address], listener=tls_listener(site))
    context = client_context(ca)
    session, reused = None, []
    for _ in range(6):
        with TlsClient(daemon.port, ca, session=session, context=context) as client:
            assert client.ask().status == 200
            reused.append(client.sock.session_reused)
            assert not session or client.sock.session.id != session.id
            session = client.sock.session
    assert reused == [False] + [True] * 5


def test_tickets_of_a_file_work_on_two_nodes(weir, scripted, ca, site, tmp_path):
    keys = tmp_path / "tickets"
    keys.write_text(secrets.token_hex(80) + "\n")
    address = scripted().address
    listener = tls_listener(site, ticket_key_file=str(keys))
    nodes = [weir([address], listener=listener) for _ in range(2)]
    context = client_context(ca)
    with TlsClient(nodes[0].port, ca, context=context) as client:
        client.ask()
        session = client.sock.session
    with TlsClient(nodes[1].port, ca, session=session, context=context) as client:
        assert client.sock.session_reused
    keys.write_text(secrets.token_hex(80) + "\n")
    nodes[1].reload()
    with TlsClient(nodes[1].port, ca, session=session, context=context) as client:
        assert not client.sock.session_reused and client.ask().status == 200


def test_a_reload_changes_certificates_and_leaves_connections(weir, scripted, ca, site):
    new = ca.issue("new", ["a.example"])
    daemon = weir([scripted().address], listener=tls_listener(site))
    with TlsClient(daemon.port, ca) as client:
        assert client.ask().status == 200 and client.cert == site.fingerprint
        daemon.conf["listeners"][0]["tls"]["certificates"] = [new.conf]
        daemon.reload(daemon.conf)
        assert client.ask().status == 200
        with TlsClient(daemon.port, ca) as second:
            assert second.cert == new.fingerprint
        bad = {"cert": str(site.pem), "key": str(new.key)}
        daemon.conf["listeners"][0]["tls"]["certificates"] = [bad]
        answer = daemon.reload(daemon.conf, status=422)
        assert "does not belong to the certificate" in answer["diagnostics"]
        assert client.ask().status == 200
        with TlsClient(daemon.port, ca) as third:
            assert third.cert == new.fingerprint
