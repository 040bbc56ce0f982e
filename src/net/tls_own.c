/* SPDX-License-Identifier: MIT */
/*
 * A client's connection of TLS 1.3 after its handshake.  OpenSSL makes the handshake and
 * tells the secrets that came of it; from then on its object has nothing left to do
 * that we could not: data, close_notify, KeyUpdate.  It is freed, and with it 14 KB for each
 * idle connection, and a third of what encrypting a small response costs.
 *
 * Connections of TLS 1.2 and those towards backends, where tickets may come at any
 * time, stay with OpenSSL.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

#include "tls.h"

#include "weir/base/check.h"
#include "weir/base/hex.h"

/* Records in a row that bring nothing: more is a flood. */
#define BARREN_MAX 32

enum alert {
	ALERT_CLOSE_NOTIFY = 0,
	ALERT_UNEXPECTED_MESSAGE = 10,
	ALERT_BAD_RECORD_MAC = 20,
	ALERT_RECORD_OVERFLOW = 22,
	ALERT_ILLEGAL_PARAMETER = 47,
	ALERT_INTERNAL_ERROR = 80,
	ALERT_USER_CANCELED = 90,
};

#define MSG_FINISHED 20
#define MSG_KEY_UPDATE 24

/* ---- what OpenSSL tells ---- */

static void read_secret(struct view text, unsigned char *secret)
{
	size_t n = text.len / 2;
	check(hex_read(text.ptr, secret, n < TLS_SECRET_MAX ? n : TLS_SECRET_MAX));
}

/* A line of NSS' key log: what it is, the client's random, the secret. */
static void on_secret(const SSL *ssl, const char *line)
{
	struct tls_conn *c = SSL_get_app_data(ssl);
	struct view text = view_str(line);
	bool theirs = view_starts(text, VIEW("CLIENT_TRAFFIC_SECRET_0 "));
	if (!theirs && !view_starts(text, VIEW("SERVER_TRAFFIC_SECRET_0 ")))
		return;
	if (!c->record)
		c->record = tls_record_new(c->local->records);
	if (!c->record)
		return;
	text = view_skip(text, 24);
	text = view_skip(text, (size_t)(view_chr(text, ' ') + 1));
	read_secret(text, theirs ? c->record->in.secret : c->record->out.secret);
	c->record->n_known++;
	if (c->record->n_known == 2 || !TLS_SECRETS_AT_ONCE)
		SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(ssl), NULL);
}

/*
 * OpenSSL prints five secrets of a handshake digit by digit, 6 % of it; two are of use.  It
 * looks for the callback each time, and a context has one thread.
 */
static void listen_for_secret(const struct tls_conn *c)
{
	SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(c->ssl), on_secret);
}

void tls_own_listen(const struct tls_conn *c)
{
	if (c->record && c->record->n_known == 1)
		listen_for_secret(c);
}

/* Counts the records that go out with the last key: tickets. */
static void on_message(int is_ours, int version, int type, const void *ptr, size_t len, SSL *ssl,
		       void *arg)
{
	struct tls_conn *c = SSL_get_app_data(ssl);
	(void)version;
	(void)arg;
	if (!is_ours)
		return;
	if (type == SSL3_RT_HEADER)
		c->n_sealed++;
	if (type != SSL3_RT_HANDSHAKE || !len || *(const char *)ptr != MSG_FINISHED)
		return;
	c->n_sealed = 0;
	if (SSL_version(ssl) == TLS1_3_VERSION)
		listen_for_secret(c); /* ours comes next */
}

void tls_own_prepare(SSL_CTX *ctx)
{
	SSL_CTX_set_msg_callback(ctx, on_message);
}

static bool name_protocol(struct tls_conn *c)
{
	const unsigned char *name;
	unsigned len;
	SSL_get0_alpn_selected(c->ssl, &name, &len);
	struct view chosen = view_of((const char *)name, len);
	if (view_eq(chosen, VIEW("h2")))
		c->alpn = VIEW("h2");
	else if (view_eq(chosen, VIEW("http/1.1")))
		c->alpn = VIEW("http/1.1");
	return c->alpn.len == len;
}

void tls_own_begin(struct tls_conn *c)
{
	struct tls_record *r = c->record;
	if (!r)
		return;
	if (r->n_known != 2 || SSL_version(c->ssl) != TLS1_3_VERSION || SSL_has_pending(c->ssl) ||
	    tls_has_small_records(c->ssl) || !name_protocol(c) ||
	    !tls_record_start(c->local->records, r,
			      SSL_CIPHER_get_id(SSL_get_current_cipher(c->ssl)))) {
		tls_record_free(c->local->records, r);
		c->record = NULL;
		return;
	}
	r->out.seq = tls_n_sealed(c->ssl, c->n_sealed);
	c->own = true;
	tls_conn_drop_ssl(c);
}

/* ---- sealing ---- */

static bool seal_one(struct tls_conn *c, enum tls_content type, const char *ptr, size_t len)
{
	struct tls_local *l = c->local;
	if (l->out_len + len + TLS_RECORD_MORE > TLS_OUT_MAX)
		return false;
	size_t n = tls_record_seal(l->records, c->record, type, ptr, len, l->out + l->out_len);
	l->out_len += n;
	return n != 0;
}

/* Another key from here on; `update_requested` stays 0. */
static bool update_out(struct tls_conn *c)
{
	static const char message[] = {MSG_KEY_UPDATE, 0, 0, 1, 0};
	struct tls_record *r = c->record;
	r->update_due = false;
	return seal_one(c, TLS_HANDSHAKE, message, sizeof(message)) &&
	       tls_record_update(c->local->records, r, &r->out);
}

bool tls_own_seal(struct tls_conn *c, enum tls_content type, const char *ptr, size_t len)
{
	while (len) {
		size_t n = len < TLS_RECORD_MAX ? len : TLS_RECORD_MAX;
		if ((tls_record_is_due(c->local->records, c->record) && !update_out(c)) ||
		    !seal_one(c, type, ptr, n)) {
			tls_set_sending(c, TLS_BROKEN);
			return false;
		}
		ptr += n;
		len -= n;
	}
	return true;
}

static void say(struct tls_conn *c, unsigned char level, enum alert alert)
{
	const char text[] = {(char)level, (char)alert};
	if (c->sending >= TLS_LEFT)
		return;
	tls_release_held(c);
	if (tls_own_seal(c, TLS_ALERT, text, sizeof(text)))
		tls_set_sending(c, TLS_LEFT);
}

void tls_own_goodbye(struct tls_conn *c)
{
	say(c, 1, ALERT_CLOSE_NOTIFY);
}

/* ---- opening ---- */

/* Nothing more is read: false. */
static bool fail(struct tls_conn *c, int error)
{
	tls_fail_receiving(c, error);
	tls_set_sending(c, TLS_BROKEN);
	return false;
}

/* The peer broke the rules: it is told, and that is the end. */
static bool refuse(struct tls_conn *c, enum alert alert)
{
	say(c, 2, alert);
	return fail(c, EPROTO);
}

static bool on_alert(struct tls_conn *c, const char *text, size_t len)
{
	if (len != 2)
		return refuse(c, ALERT_UNEXPECTED_MESSAGE);
	switch ((unsigned char)text[1]) {
	case ALERT_CLOSE_NOTIFY:
		tls_set_receiving(c, TLS_ENDING);
		return false;
	case ALERT_USER_CANCELED: /* close_notify follows (6.1) */
		return true;
	default:
		return fail(c, ECONNRESET);
	}
}

/* KeyUpdate is the one message that a client may send now; it ends its record (5.1). */
static bool on_handshake(struct tls_conn *c, const char *text, size_t len)
{
	static const char update[] = {MSG_KEY_UPDATE, 0, 0, 1};
	struct tls_record *r = c->record;
	if (len != sizeof(update) + 1 || memcmp(text, update, sizeof(update)) != 0)
		return refuse(c, ALERT_UNEXPECTED_MESSAGE);
	if ((unsigned char)text[4] > 1)
		return refuse(c, ALERT_ILLEGAL_PARAMETER);
	/* one answer does for all that ask before it has gone */
	r->update_due |= text[4] == 1;
	if (!tls_record_update(c->local->records, r, &r->in))
		return refuse(c, ALERT_INTERNAL_ERROR);
	return true;
}

/* Where a record lies, and where its content goes. */
struct target {
	char *ptr;
	size_t cap, n;
};

static bool on_data(struct tls_conn *c, const char *from, size_t len, struct target *to)
{
	char *at = to->ptr + to->n;
	size_t n = len < to->cap - to->n ? len : to->cap - to->n;
	if (from != at)
		memcpy(at, from, n);
	to->n += n;
	return tls_keep(c, &c->plain, from + n, len - n) || fail(c, ENOBUFS);
}

/* False: no more of them are to be opened. */
static bool open_one(struct tls_conn *c, char *record, size_t len, struct target *to)
{
	size_t room = to->cap - to->n, n;
	bool fits = len - TLS_RECORD_HEAD - TLS_RECORD_TAG <= room;
	char *at = fits ? to->ptr + to->n : record + TLS_RECORD_HEAD;
	enum tls_content type = tls_record_open(c->local->records, c->record, record, len, at, &n);
	if (type == TLS_DATA && n) {
		c->record->n_barren = 0;
		return on_data(c, at, n, to);
	}
	if (type == TLS_TOO_LONG)
		return refuse(c, ALERT_RECORD_OVERFLOW);
	if (type == TLS_BAD)
		return refuse(c, ALERT_BAD_RECORD_MAC);
	if (++c->record->n_barren > BARREN_MAX)
		return refuse(c, ALERT_UNEXPECTED_MESSAGE);
	if (type == TLS_ALERT)
		return on_alert(c, at, n);
	if (type == TLS_HANDSHAKE)
		return on_handshake(c, at, n);
	/* also one without any type */
	return type == TLS_DATA || refuse(c, ALERT_UNEXPECTED_MESSAGE);
}

/* Bytes of the record at `ptr`; 0: its head is not whole. */
static size_t record_len(const char *ptr, size_t have)
{
	const unsigned char *head = (const unsigned char *)ptr;
	return have < TLS_RECORD_HEAD ? 0
				      : TLS_RECORD_HEAD + ((size_t)head[3] << 8) + (size_t)head[4];
}

static bool is_whole(const char *ptr, size_t have)
{
	size_t len = record_len(ptr, have);
	/* an impossible length is refused without waiting for what it announces */
	return len && (len <= have || len > TLS_RECORD_HEAD + TLS_RECORD_BODY_MAX);
}

bool tls_own_buffered(const struct tls_conn *c)
{
	return c->plain || (c->in && is_whole(c->in->data + c->in->start, c->in->len));
}

static void open_all(struct tls_conn *c, struct target *to)
{
	struct tls_local *l = c->local;
	bool goes_on = true;
	while (goes_on && to->n < to->cap && is_whole(l->in + l->in_at, l->in_len - l->in_at)) {
		char *record = l->in + l->in_at;
		size_t len = record_len(record, l->in_len - l->in_at);
		if (len > TLS_RECORD_HEAD + TLS_RECORD_BODY_MAX) {
			refuse(c, ALERT_RECORD_OVERFLOW);
			return;
		}
		if (record[0] != TLS_DATA || len < TLS_RECORD_MORE) {
			refuse(c, ALERT_UNEXPECTED_MESSAGE);
			return;
		}
		if (to->n && len - TLS_RECORD_MORE > to->cap - to->n)
			return; /* next time it fits */
		l->in_at += len;
		goes_on = open_one(c, record, len, to);
	}
}

/* What was kept, and behind it, unless a record is there already, what one recv brings. */
static bool gather(struct tls_conn *c)
{
	struct tls_local *l = c->local;
	size_t n;
	if (c->in) {
		l->in_len = c->in->len;
		memcpy(l->in, c->in->data + c->in->start, l->in_len);
		buf_put(l->bufs, c->in);
		c->in = NULL;
	}
	if (is_whole(l->in, l->in_len))
		return true;
	size_t room = TLS_IN_MAX - l->in_len;
	size_t want = c->recv_max < room ? c->recv_max : room;
	enum io io = transport_plain.read(c->fd, NULL, l->in + l->in_len, want, &n);
	l->in_len += n;
	if (io == IO_EOF) /* without close_notify it may be somebody else's: a cut */
		return fail(c, ECONNRESET);
	return io == IO_ERR ? fail(c, errno) : io == IO_OK;
}

size_t tls_own_read(struct tls_conn *c, char *ptr, size_t cap)
{
	struct target to = {ptr, cap, 0};
	if (c->plain)
		return tls_take_kept(c, &c->plain, ptr, cap);
	if (gather(c))
		open_all(c, &to);
	return to.n;
}
