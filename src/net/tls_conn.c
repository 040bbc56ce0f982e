/* SPDX-License-Identifier: MIT */
/*
 * The transport.  OpenSSL sees a BIO that takes records from a scratch area which one
 * recv has filled, and puts them into another one that one send empties.  What does
 * not fit the moment is kept in buffers of the connection:
 *
 *   recv -> local->in  -> SSL_read  -> caller        what is left over: conn->in
 *   caller -> SSL_write -> local->out -> send        what is left over: conn->out
 *
 * Callers see the semantics of a plain socket.  A write whose records could not all be
 * sent reports all of its bytes but one: the stream keeps that one and calls again, and
 * the byte, encrypted already, is skipped once the records are out.
 */
#include <errno.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "tls.h"

#include "weir/base/check.h"

/* Plain bytes per send: three whole records. */
#define ROUND_MAX (48 * 1024)
/* Handshake steps in one turn of the loop: open connections must not wait for a flood.
 * What is left is still readable and comes in the next turn. */
#define SHAKES_PER_TURN 16
/* Connections, per thread, whose SSL keeps its buffers. */
#define WARM_MAX 128

static const char why_eof[] = "the peer closed the connection";

/* ---- the BIO ---- */

/* One recv for each call of the transport: a short one means the socket is empty. */
static enum io receive(struct tls_conn *c)
{
	struct tls_local *l = c->local;
	if (c->receiving != TLS_READING)
		return c->receiving == TLS_CUT ? IO_EOF : IO_WAIT;
	l->in_at = 0;
	enum io io = transport_plain.read(c->fd, NULL, l->in, c->recv_max, &l->in_len);
	tls_set_receiving(c, io == IO_EOF || io == IO_ERR ? TLS_CUT : TLS_SPENT);
	return io;
}

static int bio_read(BIO *bio, char *to, int len)
{
	struct tls_conn *c = BIO_get_data(bio);
	struct tls_local *l = c->local;
	size_t cap = len > 0 ? (size_t)len : 0;
	BIO_clear_retry_flags(bio);
	if (c->in)
		return (int)tls_take_kept(c, &c->in, to, cap);
	if (l->in_at == l->in_len) {
		enum io io = receive(c);
		if (io == IO_WAIT)
			BIO_set_retry_read(bio);
		if (io != IO_OK)
			return io == IO_EOF ? 0 : -1;
	}
	size_t n = l->in_len - l->in_at < cap ? l->in_len - l->in_at : cap;
	memcpy(to, l->in + l->in_at, n);
	l->in_at += n;
	return (int)n;
}

static int bio_write(BIO *bio, const char *from, int len)
{
	struct tls_conn *c = BIO_get_data(bio);
	struct tls_local *l = c->local;
	size_t n = len > 0 ? (size_t)len : 0;
	BIO_clear_retry_flags(bio);
	if (l->out_len + n > TLS_OUT_MAX && tls_flush(c) != IO_OK) {
		if (c->sending != TLS_BROKEN)
			BIO_set_retry_write(bio);
		return -1;
	}
	if (n > TLS_OUT_MAX)
		n = TLS_OUT_MAX;
	memcpy(l->out + l->out_len, from, n);
	l->out_len += n;
	return (int)n;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	struct tls_conn *c = BIO_get_data(bio);
	(void)num;
	(void)ptr;
	if (cmd == BIO_CTRL_EOF)
		return c->receiving == TLS_CUT;
	return cmd == BIO_CTRL_FLUSH || cmd == BIO_CTRL_DUP;
}

static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void bio_method_init(void)
{
	bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weir");
	check(bio_method != NULL);
	BIO_meth_set_read(bio_method, bio_read);
	BIO_meth_set_write(bio_method, bio_write);
	BIO_meth_set_ctrl(bio_method, bio_ctrl);
}

/* ---- one call of the transport ---- */

static void enter(struct tls_conn *c, int fd, size_t recv_max)
{
	check_magic(c, TLS_MAGIC);
	c->fd = fd;
	if (c->receiving == TLS_SPENT)
		tls_set_receiving(c, TLS_READING);
	c->recv_max = recv_max < TLS_IN_MAX ? recv_max : TLS_IN_MAX;
	c->local->in_at = c->local->in_len = c->local->out_len = 0;
	ERR_clear_error();
}

static enum io leave(struct tls_conn *c)
{
	struct tls_local *l = c->local;
	bool kept = tls_keep(c, &c->in, l->in + l->in_at, l->in_len - l->in_at);
	l->in_at = l->in_len = 0;
	if (l->out_len && tls_flush(c) == IO_ERR)
		return IO_ERR;
	errno = ENOBUFS;
	return kept ? IO_OK : IO_ERR;
}

/* What a call that moved nothing comes to. */
static enum io why_not(struct tls_conn *c, int ret)
{
	bool cut = c->receiving == TLS_CUT;
	switch (SSL_get_error(c->ssl, ret)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return IO_WAIT;
	case SSL_ERROR_ZERO_RETURN:
		return IO_EOF;
	default:
		tls_set_sending(c, TLS_BROKEN);
		c->why = cut ? why_eof : tls_why("the peer broke the protocol");
		/* a TCP end without close_notify may be somebody else's: a cut */
		errno = cut ? ECONNRESET : EPROTO;
		return IO_ERR;
	}
}

/*
 * OpenSSL's buffers, 34 KB, stay with the connections that were active last, so that
 * these ask the heap for nothing.
 */
static void keep_warm(struct tls_conn *c)
{
	struct tls_local *l = c->local;
	if (l->warm.next == &c->warm)
		return;
	if (list_is_linked(&c->warm))
		list_del(&c->warm);
	else
		l->n_warm++;
	list_push_front(&l->warm, &c->warm);
	if (l->n_warm <= WARM_MAX)
		return;
	struct tls_conn *last = list_last(&l->warm, struct tls_conn, warm);
	list_del(&last->warm);
	l->n_warm--;
	if (!SSL_has_pending(last->ssl)) /* else they are in use: it is about to be read */
		tls_free_buffers(last->ssl);
}

static size_t ssl_read(struct tls_conn *c, char *ptr, size_t cap)
{
	struct tls_local *l = c->local;
	size_t n = 0;
	while (n < cap) {
		size_t k;
		int ret = SSL_read_ex(c->ssl, ptr + n, cap - n, &k);
		if (ret <= 0) {
			enum io io = why_not(c, ret);
			if (io == IO_EOF)
				tls_set_receiving(c, TLS_ENDING);
			else if (io == IO_ERR)
				tls_fail_receiving(c, errno);
			break;
		}
		n += k;
		if (!c->in && l->in_at == l->in_len && !SSL_pending(c->ssl))
			break; /* another call would only find nothing */
	}
	keep_warm(c);
	return n;
}

static bool is_due(const struct tls_conn *c)
{
	return c->receiving == TLS_ENDING || c->receiving == TLS_FAILING;
}

/* Nothing was read: there is nothing now, or there will be nothing. */
static enum io say_end(struct tls_conn *c)
{
	if (c->receiving < TLS_ENDING)
		return IO_WAIT;
	if (is_due(c))
		tls_set_receiving(c, c->receiving == TLS_ENDING ? TLS_ENDED : TLS_FAILED);
	errno = c->error;
	return c->receiving == TLS_ENDED ? IO_EOF : IO_ERR;
}

static enum io tls_read(int fd, void *state, void *ptr, size_t cap, size_t *n)
{
	struct tls_conn *c = state;
	*n = 0;
	if (c->receiving >= TLS_ENDING)
		return say_end(c);
	enter(c, fd, cap + 1024);
	*n = c->own ? tls_own_read(c, ptr, cap) : ssl_read(c, ptr, cap);
	enum io io = leave(c);
	if (*n)
		return IO_OK;
	/* why nothing more comes says more than that an alert about it cannot be sent */
	return c->receiving >= TLS_ENDING || io != IO_ERR ? say_end(c) : IO_ERR;
}

/* Encrypts one round into the scratch area. */
static bool encrypt(struct tls_conn *c, const char *ptr, size_t len)
{
	if (c->own)
		return tls_own_seal(c, TLS_DATA, ptr, len);
	keep_warm(c);
	while (len) {
		size_t k;
		int ret = SSL_write_ex(c->ssl, ptr, len, &k);
		if (ret <= 0) {
			why_not(c, ret);
			return false;
		}
		ptr += k;
		len -= k;
	}
	return true;
}

static enum io tls_write(int fd, void *state, const void *ptr, size_t len, size_t *n)
{
	struct tls_conn *c = state;
	*n = 0;
	enter(c, fd, 0);
	tls_release_held(c);
	errno = EPIPE;
	enum io io = c->sending >= TLS_LEFT ? IO_ERR : tls_flush_kept(c);
	if (io != IO_OK)
		return io;
	if (c->sending == TLS_OWING) {
		tls_set_sending(c, TLS_CLEAR);
		*n = 1;
	}
	while (*n < len && io == IO_OK) {
		size_t round = len - *n < ROUND_MAX ? len - *n : ROUND_MAX;
		if (!encrypt(c, (const char *)ptr + *n, round))
			return IO_ERR;
		*n += round;
		io = tls_flush(c);
	}
	if (io == IO_ERR)
		return IO_ERR;
	if (io == IO_WAIT) {
		tls_set_sending(c, TLS_OWING);
		--*n;
	}
	return IO_OK;
}

/*
 * The ticket of TLS 1.3 leaves with the first response when the request is here already:
 * one send less for a connection.
 */
static void hold_ticket(struct tls_conn *c)
{
	struct tls_local *l = c->local;
	bool asked = c->in || l->in_at < l->in_len;
	if (!asked || SSL_version(c->ssl) != TLS1_3_VERSION || c->out ||
	    !tls_keep(c, &c->out, l->out, l->out_len))
		return;
	if (l->out_len)
		tls_set_sending(c, TLS_HELD);
	l->out_len = 0;
}

static enum io tls_handshake(int fd, void *state, bool *to_write)
{
	struct tls_conn *c = state;
	struct tls_local *l = c->local;
	if (l->turn_us != l->loop->turn_began_us) {
		l->turn_us = l->loop->turn_began_us;
		l->n_shakes = 0;
	}
	if (l->n_shakes++ >= SHAKES_PER_TURN)
		return IO_WAIT;
	enter(c, fd, TLS_IN_MAX);
	l->given = 0;
	enum io io = tls_flush_kept(c);
	if (io != IO_OK)
		return io;
	keep_warm(c);
	tls_own_listen(c);
	int ret = SSL_do_handshake(c->ssl);
	io = ret == 1 ? IO_OK : why_not(c, ret);
	l->given = l->in_len;
	if (io == IO_OK) {
		tls_write_tickets(c->ssl);
		hold_ticket(c);
	}
	if (leave(c) == IO_ERR)
		io = IO_ERR;
	bool waits = c->out && c->sending != TLS_HELD;
	*to_write = waits || SSL_want_write(c->ssl);
	if (io == IO_OK && waits)
		return IO_WAIT; /* the last flight has to leave first */
	if (io == IO_OK && !tls_conn_note(c))
		io = IO_ERR;
	if (io == IO_OK)
		tls_own_begin(c);
	if (io == IO_WAIT || io == IO_OK)
		return io;
	long verdict = tls_verdict(c->ssl);
	if (verdict != X509_V_OK)
		c->why = X509_verify_cert_error_string(verdict);
	else if (!c->why)
		c->why = why_eof;
	errno = verdict != X509_V_OK ? EKEYREJECTED : EPROTO;
	return IO_ERR;
}

static void tls_goodbye(int fd, void *state)
{
	struct tls_conn *c = state;
	if (c->sending >= TLS_LEFT || (c->out && c->sending != TLS_HELD))
		return;
	if (!c->own &&
	    (!SSL_is_init_finished(c->ssl) || SSL_get_shutdown(c->ssl) & SSL_SENT_SHUTDOWN))
		return;
	enter(c, fd, 0);
	tls_release_held(c);
	if (c->own) {
		tls_own_goodbye(c);
	} else {
		SSL_shutdown(c->ssl);
		if (c->sending != TLS_BROKEN)
			tls_set_sending(c, TLS_LEFT);
	}
	leave(c);
}

static void tls_shutdown(int fd, void *state)
{
	tls_goodbye(fd, state);
	transport_plain.shutdown(fd, NULL);
}

static bool tls_buffered(const void *state)
{
	const struct tls_conn *c = state;
	if (c->receiving >= TLS_ENDING)
		return is_due(c);
	return c->own ? tls_own_buffered(c) : c->in || SSL_pending(c->ssl);
}

static bool tls_unread(const void *state)
{
	const struct tls_conn *c = state;
	return c->in || tls_buffered(c) || (c->ssl && SSL_has_pending(c->ssl));
}

static size_t tls_held(const void *state)
{
	const struct tls_conn *c = state;
	return c->out ? c->out->len : 0;
}

static struct view tls_alpn(const void *state)
{
	const struct tls_conn *c = state;
	const unsigned char *name = NULL;
	unsigned len = 0;
	if (c->own)
		return c->alpn;
	SSL_get0_alpn_selected(c->ssl, &name, &len);
	return view_of((const char *)name, len);
}

static const char *tls_reason(const void *state)
{
	const struct tls_conn *c = state;
	return c->why ? c->why : "";
}

struct view tls_given(const void *state)
{
	const struct tls_conn *c = state;
	return view_of(c->local->in, c->local->given);
}

static void tls_fini(void *state)
{
	struct tls_conn *c = state;
	struct tls_local *l = c->local;
	check_magic(c, TLS_MAGIC);
	/* one that was not ended properly must not be resumed (RFC 5246 7.2.1 is milder) */
	tls_conn_drop_ssl(c);
	tls_record_free(l->records, c->record);
	buf_put(l->bufs, c->in);
	buf_put(l->bufs, c->out);
	buf_put(l->bufs, c->plain);
	if (c->put_owner)
		c->put_owner(c);
	free(c->peer);
	c->magic = 0;
	slab_put(&l->conns, c);
}

struct tls_conn *tls_conn_new(struct tls_local *local, SSL_CTX *ctx)
{
	pthread_once(&bio_once, bio_method_init);
	struct tls_conn *c = slab_get(&local->conns);
	if (!c)
		return NULL;
	*c = (struct tls_conn){.local = local, .ssl = SSL_new(ctx), .fd = -1};
	BIO *bio = c->ssl ? BIO_new(bio_method) : NULL;
	if (!bio) {
		SSL_free(c->ssl);
		slab_put(&local->conns, c);
		return NULL;
	}
	c->magic = TLS_MAGIC;
	list_init(&c->warm);
	BIO_set_data(bio, c);
	BIO_set_init(bio, 1);
	SSL_set_bio(c->ssl, bio, bio);
	SSL_set_app_data(c->ssl, c);
	return c;
}

const struct tls_info *tls_info(const struct transport *transport, const void *state)
{
	bool is_tls = transport == &transport_tls_server || transport == &transport_tls_client;
	return is_tls ? &((const struct tls_conn *)state)->info : NULL;
}

#define TLS_TRANSPORT                                                                     \
	.read = tls_read, .write = tls_write, .shutdown = tls_shutdown, .fini = tls_fini, \
	.handshake = tls_handshake, .why = tls_reason, .buffered = tls_buffered,          \
	.unread = tls_unread, .held = tls_held, .goodbye = tls_goodbye, .alpn = tls_alpn

const struct transport transport_tls_server = {.name = "tls", TLS_TRANSPORT};
const struct transport transport_tls_client = {.name = "tls", .speaks_first = true, TLS_TRANSPORT};
