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

/* Moves that make sense, as bits of the next state. */
static const uint8_t moves[] = {
#define TO(sending) (1u << TLS_##sending)
    [TLS_CLEAR] = TO(HELD) | TO(OWING) | TO(LEFT) | TO(BROKEN),
    [TLS_HELD] = TO(CLEAR) | TO(BROKEN),
    [TLS_OWING] = TO(CLEAR) | TO(LEFT) | TO(BROKEN),
    [TLS_LEFT] = TO(BROKEN),
    [TLS_BROKEN] = TO(BROKEN),
#undef TO
};

void tls_set_sending(struct tls_conn *c, enum tls_sending sending)
{
	check(moves[c->sending] & (1u << sending));
	c->sending = (uint8_t)sending;
}

/* ---- bytes ---- */

bool tls_keep(struct tls_conn *c, struct buf **buf, const char *ptr, size_t len)
{
	return len == 0 || buf_append(c->local->bufs, buf, ptr, len);
}

static enum io put(struct tls_conn *c, const char *ptr, size_t len, size_t *n)
{
	size_t k;
	*n = 0;
	while (*n < len) {
		enum io io = transport_plain.write(c->fd, NULL, ptr + *n, len - *n, &k);
		if (io != IO_OK)
			return io;
		*n += k;
		if (*n < len) /* a short send: the kernel is full */
			return IO_WAIT;
	}
	return IO_OK;
}

/* What an earlier call had to keep. */
static enum io flush_kept(struct tls_conn *c)
{
	size_t n;
	if (!c->out)
		return IO_OK;
	struct view rest = buf_view(c->out);
	enum io io = put(c, rest.ptr, rest.len, &n);
	buf_take(c->out, n);
	if (c->out->len == 0) {
		buf_put(c->local->bufs, c->out);
		c->out = NULL;
	}
	return io;
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

/* What is held goes ahead of the records of this call. */
void tls_release_held(struct tls_conn *c)
{
	struct tls_local *l = c->local;
	if (c->sending != TLS_HELD)
		return;
	tls_set_sending(c, TLS_CLEAR);
	l->out_len = c->out->len;
	memcpy(l->out, c->out->data + c->out->start, l->out_len);
	buf_put(l->bufs, c->out);
	c->out = NULL;
}

/* The records of this call: sent, or kept behind what is kept already. */
enum io tls_flush(struct tls_conn *c)
{
	struct tls_local *l = c->local;
	size_t n = 0, len = l->out_len;
	if (c->sending == TLS_HELD) /* an alert comes before any response */
		tls_set_sending(c, TLS_CLEAR);
	enum io io = flush_kept(c);
	if (io == IO_OK)
		io = put(c, l->out, len, &n);
	l->out_len = 0;
	if (io == IO_ERR || !tls_keep(c, &c->out, l->out + n, len - n)) {
		tls_set_sending(c, TLS_BROKEN);
		return IO_ERR;
	}
	return c->out ? IO_WAIT : IO_OK;
}

/* ---- the BIO ---- */

static int from_kept(struct tls_conn *c, char *to, size_t cap)
{
	size_t n = c->in->len < cap ? c->in->len : cap;
	memcpy(to, c->in->data + c->in->start, n);
	buf_take(c->in, n);
	if (c->in->len == 0) {
		buf_put(c->local->bufs, c->in);
		c->in = NULL;
	}
	return (int)n;
}

/* One recv for each call of the transport: a short one means the socket is empty. */
static enum io receive(struct tls_conn *c)
{
	struct tls_local *l = c->local;
	if (c->received)
		return c->eof ? IO_EOF : IO_WAIT;
	c->received = true;
	l->in_at = 0;
	enum io io = transport_plain.read(c->fd, NULL, l->in, c->recv_max, &l->in_len);
	c->eof = io == IO_EOF || io == IO_ERR;
	return io;
}

static int bio_read(BIO *bio, char *to, int len)
{
	struct tls_conn *c = BIO_get_data(bio);
	struct tls_local *l = c->local;
	size_t cap = len > 0 ? (size_t)len : 0;
	BIO_clear_retry_flags(bio);
	if (c->in)
		return from_kept(c, to, cap);
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
		return c->eof;
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
	c->received = false;
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

const char *tls_why(const char *otherwise)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());
	ERR_clear_error();
	return text ? text : otherwise;
}

/* What a call that moved nothing comes to. */
static enum io why_not(struct tls_conn *c, int ret)
{
	switch (SSL_get_error(c->ssl, ret)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return IO_WAIT;
	case SSL_ERROR_ZERO_RETURN:
		return IO_EOF;
	default:
		tls_set_sending(c, TLS_BROKEN);
		c->why = c->eof ? why_eof : tls_why("the peer broke the protocol");
		/* a TCP end without close_notify may be somebody else's: a cut */
		errno = c->eof ? ECONNRESET : EPROTO;
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

static enum io ssl_read(struct tls_conn *c, char *ptr, size_t cap, size_t *n)
{
	struct tls_local *l = c->local;
	enum io io = IO_OK;
	while (*n < cap) {
		size_t k;
		int ret = SSL_read_ex(c->ssl, ptr + *n, cap - *n, &k);
		if (ret <= 0) {
			io = why_not(c, ret);
			break;
		}
		*n += k;
		if (!c->in && l->in_at == l->in_len && !SSL_pending(c->ssl))
			break; /* another call would only find nothing */
	}
	keep_warm(c);
	return io;
}

static enum io tls_read(int fd, void *state, void *ptr, size_t cap, size_t *n)
{
	struct tls_conn *c = state;
	*n = 0;
	enter(c, fd, cap + 1024);
	enum io io = c->own ? tls_own_read(c, ptr, cap, n) : ssl_read(c, ptr, cap, n);
	int error = errno;
	c->ended = *n && (io == IO_EOF || io == IO_ERR);
	if (leave(c) == IO_ERR && !*n)
		return IO_ERR;
	errno = error;
	return *n ? IO_OK : io;
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
	enum io io = c->sending >= TLS_LEFT ? IO_ERR : flush_kept(c);
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
	enum io io = flush_kept(c);
	if (io != IO_OK)
		return io;
	keep_warm(c);
	tls_own_listen(c);
	int ret = SSL_do_handshake(c->ssl);
	io = ret == 1 ? IO_OK : why_not(c, ret);
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
	return c->own ? tls_own_buffered(c) : c->in || c->ended || SSL_pending(c->ssl);
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

void tls_conn_drop_ssl(struct tls_conn *c)
{
	if (list_is_linked(&c->warm)) {
		list_del(&c->warm);
		c->local->n_warm--;
	}
	SSL_free(c->ssl);
	c->ssl = NULL;
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
	tls_server_put(c->server);
	tls_client_put(c->client);
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

#define TLS_TRANSPORT                                                                              \
	.read = tls_read, .write = tls_write, .shutdown = tls_shutdown, .fini = tls_fini,          \
	.handshake = tls_handshake, .why = tls_reason, .buffered = tls_buffered, .held = tls_held, \
	.goodbye = tls_goodbye, .alpn = tls_alpn

const struct transport transport_tls_server = {.name = "tls", TLS_TRANSPORT};
const struct transport transport_tls_client = {.name = "tls", .speaks_first = true, TLS_TRANSPORT};

/* ---- per thread ---- */

void tls_local_init(struct tls_local *local, struct loop *loop, struct buf_pool *bufs,
		    uint32_t max_conns)
{
	*local = (struct tls_local){.loop = loop, .bufs = bufs};
	slab_init(&local->conns, sizeof(struct tls_conn), max_conns);
	list_init(&local->warm);
}

enum err tls_local_prepare(struct tls_local *local)
{
	if (local->records)
		return ERR_OK;
	local->in = malloc(TLS_IN_MAX);
	local->out = malloc(TLS_OUT_MAX);
	local->records = calloc(1, sizeof(*local->records));
	if (tls_lib_new(&local->lib))
		local->ticket_aes = tls_cipher_get(local->lib, "AES-256-CBC");
	if (local->in && local->out && local->ticket_aes && local->records &&
	    tls_records_init(local->records, local->lib, local->conns.max))
		return ERR_OK;
	struct loop *loop = local->loop;
	struct buf_pool *bufs = local->bufs;
	uint32_t max_conns = local->conns.max;
	tls_local_fini(local);
	tls_local_init(local, loop, bufs, max_conns);
	return ERR_NOMEM;
}

void tls_local_fini(struct tls_local *local)
{
	tls_cipher_put(local->ticket_aes);
	if (local->records)
		tls_records_fini(local->records);
	free(local->records);
	tls_lib_free(local->lib);
	tls_tickets_put(local->tickets);
	free(local->in);
	free(local->out);
	slab_fini(&local->conns);
}

void tls_local_watch(struct tls_local *local, struct slab_watch *watch, unsigned kind)
{
	if (!local->records || local->conns.watch)
		return;
	slab_watch_add(watch, &local->conns, kind);
	slab_watch_add(watch, &local->records->slab, kind);
}

void tls_local_set_tickets(struct tls_local *local, struct tls_ticket_ring *ring)
{
	tls_tickets_put(local->tickets);
	local->tickets = ring;
}
