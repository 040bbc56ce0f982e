/* SPDX-License-Identifier: MIT */
/*
 * One connection of TLS whoever makes its records: what it may do next in each direction, the
 * bytes that wait, and what one call of the transport sends.
 */
#include <errno.h>
#include <string.h>

#include "tls.h"

#include "weir/base/check.h"

/* Moves that make sense, as bits of the next state. */
static const uint8_t sending_moves[] = {
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
	check(sending_moves[c->sending] & (1u << sending));
	c->sending = (uint8_t)sending;
}

static const uint8_t receiving_moves[] = {
#define TO(receiving) (1u << TLS_##receiving)
    [TLS_READING] = TO(SPENT) | TO(CUT) | TO(ENDING) | TO(FAILING),
    [TLS_SPENT] = TO(READING) | TO(ENDING) | TO(FAILING),
    [TLS_CUT] = TO(ENDING) | TO(FAILING),
    [TLS_ENDING] = TO(ENDED),
    [TLS_FAILING] = TO(FAILED),
    [TLS_ENDED] = TO(ENDED),
    [TLS_FAILED] = TO(FAILED),
#undef TO
};

void tls_set_receiving(struct tls_conn *c, enum tls_receiving receiving)
{
	check(receiving_moves[c->receiving] & (1u << receiving));
	c->receiving = (uint8_t)receiving;
}

void tls_fail_receiving(struct tls_conn *c, int error)
{
	tls_set_receiving(c, TLS_FAILING);
	c->error = error;
}

/* ---- bytes ---- */

bool tls_keep(struct tls_conn *c, struct buf **buf, const char *ptr, size_t len)
{
	return len == 0 || buf_append(c->local->bufs, buf, ptr, len);
}

size_t tls_take_kept(struct tls_conn *c, struct buf **buf, char *to, size_t cap)
{
	size_t n = (*buf)->len < cap ? (*buf)->len : cap;
	memcpy(to, (*buf)->data + (*buf)->start, n);
	buf_take(*buf, n);
	if ((*buf)->len == 0) {
		buf_put(c->local->bufs, *buf);
		*buf = NULL;
	}
	return n;
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

enum io tls_flush_kept(struct tls_conn *c)
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

enum io tls_flush(struct tls_conn *c)
{
	struct tls_local *l = c->local;
	size_t n = 0, len = l->out_len;
	if (c->sending == TLS_HELD) /* an alert comes before any response */
		tls_set_sending(c, TLS_CLEAR);
	enum io io = tls_flush_kept(c);
	if (io == IO_OK)
		io = put(c, l->out, len, &n);
	l->out_len = 0;
	bool kept = io != IO_ERR && tls_keep(c, &c->out, l->out + n, len - n);
	if (io != IO_ERR && !kept)
		errno = ENOBUFS;
	if (!kept) {
		tls_set_sending(c, TLS_BROKEN);
		return IO_ERR;
	}
	return c->out ? IO_WAIT : IO_OK;
}

/* ---- OpenSSL's object ---- */

void tls_conn_drop_ssl(struct tls_conn *c)
{
	if (list_is_linked(&c->warm)) {
		list_del(&c->warm);
		c->local->n_warm--;
	}
	SSL_free(c->ssl);
	c->ssl = NULL;
}
