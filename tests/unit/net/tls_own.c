/* SPDX-License-Identifier: MIT */
/*
 * A connection of TLS 1.3 after its handshake, record by record: the peer's end is sealed by
 * hand, so that it can say what no library would.
 */
#include "fixture.h"

#include "net/tls.h"
#include "net/tls_compat.h"

#define ROOM (TLS_RECORD_MAX + 1024)

static struct tls_local local;
static struct tls_records all;
static struct tls_record *peer;
static struct tls_conn *conn;
static SSL_CTX *ctx;
static int ours, theirs;
static char sealed[ROOM], text[ROOM];

/* ---- both ends ---- */

static void start(void)
{
	int fds[2];
	fixture_init();
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	ours = fds[0];
	theirs = fds[1];
	tls_local_init(&local, &fx.loop, &fx.bufs, 8);
	cr_assert_eq(tls_local_prepare(&local), ERR_OK);
	ctx = tls_ssl_ctx_new(local.lib, TLS_server_method());
	conn = tls_conn_new(&local, ctx);
	conn->record = tls_record_new(local.records);
	cr_assert(tls_records_init(&all, NULL, 8));
	peer = tls_record_new(&all);
	memset(conn->record->in.secret, 1, TLS_SECRET_MAX);
	memset(conn->record->out.secret, 2, TLS_SECRET_MAX);
	memset(peer->out.secret, 1, TLS_SECRET_MAX);
	memset(peer->in.secret, 2, TLS_SECRET_MAX);
	cr_assert(tls_record_start(local.records, conn->record, 0x03001301));
	cr_assert(tls_record_start(&all, peer, 0x03001301));
	conn->own = true;
	tls_conn_drop_ssl(conn);
}

static void stop(void)
{
	transport_tls_server.fini(conn);
	SSL_CTX_free(ctx);
	tls_local_fini(&local);
	tls_record_free(&all, peer);
	tls_records_fini(&all);
	close(ours);
	if (theirs >= 0)
		close(theirs);
	fixture_fini();
}

TestSuite(tls_own, .init = start, .fini = stop);

static void give(const void *bytes, size_t len)
{
	cr_assert_eq(send(theirs, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void give_record(int type, const void *bytes, size_t len)
{
	give(sealed, tls_record_seal(&all, peer, (enum tls_content)type, bytes, len, sealed));
}

static void give_update(char requested)
{
	const char message[] = {24, 0, 0, 1, requested};
	give_record(TLS_HANDSHAKE, message, sizeof(message));
	cr_assert(tls_record_update(&all, peer, &peer->out));
}

static enum io take(char *to, size_t cap, size_t *n)
{
	return transport_tls_server.read(ours, conn, to, cap, n);
}

/* The same until something comes of it: one call has one recv. */
static enum io take_on(char *to, size_t cap, size_t *n)
{
	enum io io = IO_WAIT;
	for (unsigned i = 0; io == IO_WAIT && i < 100; i++)
		io = take(to, cap, n);
	return io;
}

/* One record that was sent to the peer; its type, and its content in `text`. */
static enum tls_content next_record(size_t *n)
{
	cr_assert_eq(recv(theirs, sealed, TLS_RECORD_HEAD, 0), TLS_RECORD_HEAD);
	size_t len = (size_t)(unsigned char)sealed[3] << 8 | (size_t)(unsigned char)sealed[4];
	cr_assert_eq(recv(theirs, sealed + TLS_RECORD_HEAD, len, 0), (ssize_t)len);
	return tls_record_open(&all, peer, sealed, TLS_RECORD_HEAD + len, text, n);
}

static void assert_nothing_was_said(void)
{
	cr_assert_eq(recv(theirs, text, 1, MSG_PEEK), -1);
	cr_assert_eq(errno, EAGAIN);
}

static void assert_data(const char *expected)
{
	char got[64];
	size_t n;
	cr_assert_eq(take_on(got, sizeof(got), &n), IO_OK);
	cr_assert(n == strlen(expected) && memcmp(got, expected, n) == 0);
}

/* The connection is refused with this alert, and stays so. */
static void assert_refused(int alert)
{
	char got[64];
	size_t n;
	cr_assert_eq(take_on(got, sizeof(got), &n), IO_ERR);
	cr_assert_eq(next_record(&n), TLS_ALERT);
	cr_assert(n == 2 && text[0] == 2);
	cr_assert_eq((unsigned char)text[1], (unsigned)alert);
	cr_assert_eq(take(got, sizeof(got), &n), IO_ERR);
	cr_assert_eq(transport_tls_server.write(ours, conn, "x", 1, &n), IO_ERR);
	transport_tls_server.goodbye(ours, conn);
	assert_nothing_was_said();
}

/* ---- what is taken ---- */

Test(tls_own, data_comes_through)
{
	give_record(TLS_DATA, "hello", 5);
	give_record(TLS_DATA, ", world", 7);
	assert_data("hello, world");
	give_record(TLS_DATA, "a\x17\0\0\0", 5); /* the type of the record is padding, too */
	char got[8];
	size_t n;
	cr_assert_eq(take(got, 3, &n), IO_OK);
	cr_assert_eq(n, 3);
	cr_assert(transport_tls_server.buffered(conn));
	cr_assert_eq(take(got, 8, &n), IO_OK);
	cr_assert_eq(n, 2);
	cr_assert_eq(take(got, 8, &n), IO_WAIT);
}

Test(tls_own, as_much_padding_as_there_may_be)
{
	static char padded[TLS_RECORD_MAX] = {'h', 'i', TLS_DATA};
	give_record(0, padded, sizeof(padded));
	assert_data("hi");
}

Test(tls_own, the_peers_keys_change)
{
	for (unsigned i = 0; i < 100; i++) {
		give_update(0);
		give_record(TLS_DATA, "next", 4);
		assert_data("next");
	}
	assert_nothing_was_said();
}

/* 4.6.3: one answer, before the next data; who then changes its key unasked takes nothing back. */
Test(tls_own, another_key_is_asked_for)
{
	static const char update[] = {24, 0, 0, 1, 0};
	size_t n;
	for (unsigned i = 0; i < 3; i++)
		give_update(1);
	give_update(0);
	give_record(TLS_DATA, "a", 1);
	assert_data("a");
	assert_nothing_was_said();
	cr_assert_eq(transport_tls_server.write(ours, conn, "b", 1, &n), IO_OK);
	cr_assert_eq(next_record(&n), TLS_HANDSHAKE);
	cr_assert(n == sizeof(update) && memcmp(text, update, n) == 0);
	cr_assert(tls_record_update(&all, peer, &peer->in));
	cr_assert_eq(next_record(&n), TLS_DATA);
	cr_assert(n == 1 && text[0] == 'b');
	assert_nothing_was_said();
}

Test(tls_own, our_key_changes_before_it_wears_out)
{
	size_t n, m;
	local.records->rekey_after = 2;
	for (unsigned i = 0; i < 6; i++) {
		cr_assert_eq(transport_tls_server.write(ours, conn, "x", 1, &n), IO_OK);
		enum tls_content type = next_record(&m);
		if (i && i % 2 == 0) {
			cr_assert_eq(type, TLS_HANDSHAKE);
			cr_assert(tls_record_update(&all, peer, &peer->in));
			type = next_record(&m);
		}
		cr_assert_eq(type, TLS_DATA);
	}
}

/* ---- ends ---- */

Test(tls_own, close_notify_is_an_end)
{
	size_t n;
	char got[8];
	give_record(TLS_DATA, "a", 1);
	give_record(TLS_ALERT, "\1\0", 2);
	give_record(TLS_DATA, "late", 4); /* 6.1: ignored */
	assert_data("a");
	cr_assert_eq(take(got, 8, &n), IO_EOF);
	cr_assert_eq(take(got, 8, &n), IO_EOF);
	cr_assert_eq(transport_tls_server.write(ours, conn, "b", 1, &n), IO_OK);
	cr_assert_eq(next_record(&n), TLS_DATA);
	transport_tls_server.goodbye(ours, conn);
	transport_tls_server.goodbye(ours, conn);
	cr_assert_eq(next_record(&n), TLS_ALERT);
	cr_assert(n == 2 && text[1] == 0);
	assert_nothing_was_said();
}

Test(tls_own, an_end_without_it_is_a_cut)
{
	size_t n;
	char got[8];
	give_record(TLS_DATA, "a", 1);
	give("\x17\x03\x03", 3);
	close(theirs);
	theirs = -1;
	assert_data("a");
	cr_assert_eq(take(got, 8, &n), IO_ERR);
	cr_assert_eq(errno, ECONNRESET);
}

Test(tls_own, any_other_alert_ends_it_without_a_word)
{
	size_t n;
	char got[8];
	give_record(TLS_ALERT, "\1\x5a", 2); /* user_canceled: close_notify follows */
	cr_assert_eq(take(got, 8, &n), IO_WAIT);
	give_record(TLS_ALERT, "\1\x2a", 2); /* its level says nothing (6) */
	cr_assert_eq(take(got, 8, &n), IO_ERR);
	assert_nothing_was_said();
}

/* ---- what is refused, RFC 8446 ---- */

Test(tls_own, altered_5_2)
{
	size_t len = tls_record_seal(&all, peer, TLS_DATA, "hello", 5, sealed);
	sealed[len - 1] ^= 1;
	give(sealed, len);
	assert_refused(20);
}

Test(tls_own, a_record_left_out)
{
	tls_record_seal(&all, peer, TLS_DATA, "hello", 5, sealed);
	give_record(TLS_DATA, "hello", 5);
	assert_refused(20);
}

Test(tls_own, the_old_key_after_an_update)
{
	const char message[] = {24, 0, 0, 1, 0};
	give_record(TLS_HANDSHAKE, message, sizeof(message));
	give_record(TLS_DATA, "hello", 5);
	assert_refused(20);
}

/* At once: what is announced is not waited for. */
Test(tls_own, longer_than_a_record_may_be_5_2)
{
	give("\x17\x03\x03\x41\x01", 5);
	assert_refused(22);
}

Test(tls_own, more_padding_than_there_may_be_5_4)
{
	static char padded[TLS_RECORD_MAX + 1] = {'h', 'i', TLS_DATA};
	give_record(0, padded, sizeof(padded));
	assert_refused(22);
}

Test(tls_own, more_data_than_there_may_be_5_2)
{
	static char data[TLS_RECORD_MAX + 1];
	give_record(TLS_DATA, data, sizeof(data));
	assert_refused(22);
}

Test(tls_own, nothing_but_padding_5_4)
{
	give_record(0, "\0\0", 2);
	assert_refused(10);
}

Test(tls_own, too_short_to_be_one)
{
	give("\x17\x03\x03\0\x10 sixteen in all.", 21);
	assert_refused(10);
}

Test(tls_own, not_encrypted_5_1)
{
	give("\x15\x03\x03\0\x02\x02\x28 and what comes behind it", 32);
	assert_refused(10);
}

Test(tls_own, change_cipher_spec_5)
{
	give("\x14\x03\x03\0\x01\x01 and what comes behind it", 31);
	assert_refused(10);
}

Test(tls_own, change_cipher_spec_inside_5)
{
	give_record(20, "\1", 1);
	assert_refused(10);
}

Test(tls_own, an_unknown_type)
{
	give_record(24, "\1\0\1x", 4); /* a heartbeat */
	assert_refused(10);
}

Test(tls_own, another_message_4_6)
{
	give_record(TLS_HANDSHAKE, "\x0b\0\0\0", 4); /* Certificate, which nobody asked for */
	assert_refused(10);
}

Test(tls_own, a_new_handshake_4_1_2)
{
	static const char hello[64] = {1, 0, 0, 60, 3, 3};
	give_record(TLS_HANDSHAKE, hello, sizeof(hello));
	assert_refused(10);
}

Test(tls_own, an_update_asks_for_something_else_4_6_3)
{
	give_record(TLS_HANDSHAKE, "\x18\0\0\1\2", 5);
	assert_refused(47);
}

Test(tls_own, an_update_does_not_end_its_record_5_1)
{
	give_record(TLS_HANDSHAKE, "\x18\0\0\1\0\x18\0\0\1\0", 10);
	assert_refused(10);
}

Test(tls_own, an_empty_message_5_1)
{
	give_record(TLS_HANDSHAKE, "", 0);
	assert_refused(10);
}

Test(tls_own, half_an_alert_5_1)
{
	give_record(TLS_ALERT, "\2", 1);
	assert_refused(10);
}

/* ---- floods ---- */

Test(tls_own, records_that_bring_nothing)
{
	size_t n;
	char got[8];
	for (unsigned i = 0; i < 200; i++) {
		if (i % 32 == 0) {
			give_record(TLS_DATA, "a", 1);
			assert_data("a");
		}
		give_record(TLS_DATA, "", 0);
		cr_assert_eq(take(got, 8, &n), IO_WAIT);
	}
	for (unsigned i = 0; i < 33; i++)
		give_record(TLS_DATA, "", 0);
	assert_refused(10);
}

Test(tls_own, keys_that_change_for_nothing)
{
	for (unsigned i = 0; i < 33; i++)
		give_update(0);
	assert_refused(10);
}

/* A ticket that was put off leaves ahead of the alert, which is sealed behind it. */
Test(tls_own, an_alert_behind_what_is_held)
{
	size_t n;
	char ticket[64];
	size_t len =
	    tls_record_seal(local.records, conn->record, TLS_HANDSHAKE, "ticket", 6, ticket);
	cr_assert(tls_keep(conn, &conn->out, ticket, len));
	tls_set_sending(conn, TLS_HELD);
	give_record(TLS_HANDSHAKE, "", 0);
	cr_assert_eq(take(text, 8, &n), IO_ERR);
	cr_assert_eq(next_record(&n), TLS_HANDSHAKE);
	cr_assert(n == 6 && memcmp(text, "ticket", 6) == 0);
	cr_assert_eq(next_record(&n), TLS_ALERT);
	cr_assert_eq(text[1], 10);
}
