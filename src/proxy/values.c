/* SPDX-License-Identifier: MIT */
/* Values of variables: from the head at hand, from what was kept of it, from the exchange. */
#include "values.h"

#include <string.h>

#include "trace.h"
#include "weir/base/clock.h"
#include "weir/base/hex.h"
#include "weir/route/value.h"

/* What is kept of one head in all; longer ones are refused. */
#define KEPT_MAX (48 * 1024)

/* At the front of ex->values; the texts follow. */
struct kept {
	const struct variable *variable;
	uint32_t from, len;
};

/* ---- from the head ---- */

static struct view tls_value(const struct tls_info *tls, enum variable_id id)
{
	if (!tls)
		return VIEW_NONE;
	switch (id) {
	case VARIABLE_tls_version:
		return view_str(tls->version);
	case VARIABLE_tls_cipher:
		return view_str(tls->cipher);
	case VARIABLE_tls_sni:
		return tls->sni;
	case VARIABLE_tls_subject:
		return tls->subject;
	default:
		return tls->fingerprint;
	}
}

static struct view of_head(const struct exchange *ex, const struct variable *v,
			   char room[EXPAND_ROOM])
{
	const struct exchange_request *req = ex->asking;
	const struct value_head head = {
	    .msg = &ex->worker->req,
	    .client = req->peer,
	    .scheme = req->who.scheme,
	    .scratch = ex->worker->routes,
	};
	if (v->id >= VARIABLE_tls_version && v->id <= VARIABLE_tls_fingerprint)
		return tls_value(req->tls, v->id);
	return value_of_head(&head, v, room);
}

/* ---- from what was kept ---- */

/* The bytes of a buffer begin anywhere. */
static char *base_of(const struct buf *buf)
{
	const uintptr_t mask = _Alignof(struct kept) - 1;
	return (char *)(((uintptr_t)buf->data + mask) & ~mask);
}

static struct kept *kept_of(const struct exchange *ex)
{
	return (struct kept *)(void *)base_of(ex->values);
}

static const struct kept *find_kept(const struct exchange *ex, const struct variable *v)
{
	for (unsigned i = 0; i < ex->n_values; i++)
		if (kept_of(ex)[i].variable == v)
			return &kept_of(ex)[i];
	return NULL;
}

static struct view of_kept(const struct exchange *ex, const struct variable *v)
{
	const struct kept *kept = find_kept(ex, v);
	return kept ? view_of(base_of(ex->values) + kept->from, kept->len) : VIEW_NONE;
}

/* Room for so many more; buf->len counts from base_of. */
static bool grow(struct exchange *ex, size_t n_more, size_t bytes)
{
	struct buf_pool *bufs = &ex->worker->pool.bufs;
	struct buf *old = ex->values;
	const size_t head = ex->n_values * sizeof(struct kept), more = n_more * sizeof(struct kept);
	const size_t texts = old ? old->len - head : 0, all = head + more + texts + bytes;
	struct buf *buf = all > KEPT_MAX ? NULL : buf_get(bufs, all + _Alignof(struct kept));
	if (!buf)
		return false;
	buf->len = (uint32_t)(head + more + texts);
	if (old) {
		memcpy(base_of(buf), base_of(old), head);
		memcpy(base_of(buf) + head + more, base_of(old) + head, texts);
	}
	buf_put(bufs, old);
	ex->values = buf;
	for (unsigned i = 0; i < ex->n_values; i++)
		kept_of(ex)[i].from += (uint32_t)more;
	return true;
}

static void keep_one(struct exchange *ex, const struct variable *v)
{
	char room[EXPAND_ROOM];
	struct view value = of_head(ex, v, room);
	struct buf *buf = ex->values;
	kept_of(ex)[ex->n_values++] = (struct kept){v, buf->len, (uint32_t)value.len};
	if (value.len)
		memcpy(base_of(buf) + buf->len, value.ptr, value.len);
	buf->len += (uint32_t)value.len;
}

bool values_keep(struct exchange *ex, const struct variable_set *set)
{
	char room[EXPAND_ROOM];
	size_t n = 0, bytes = 0;
	for (size_t i = 0; i < set->n; i++) {
		if (find_kept(ex, set->rows[i]))
			continue;
		n++;
		bytes += of_head(ex, set->rows[i], room).len;
	}
	if (n == 0)
		return true;
	if (ex->n_values + n > VARIABLES_KEPT_MAX || !grow(ex, n, bytes))
		return false;
	for (size_t i = 0; i < set->n; i++)
		if (!find_kept(ex, set->rows[i]))
			keep_one(ex, set->rows[i]);
	return true;
}

/* ---- any ---- */

static struct view number(unsigned n, char room[EXPAND_ROOM])
{
	return view_of(room, (size_t)(digits_u64(room, n) - room));
}

static struct view trace_id(const struct exchange *ex, char room[EXPAND_ROOM])
{
	if (!ex->trace)
		return VIEW_NONE;
	hex_write(ex->trace->context.trace_id, 16, room);
	return view_of(room, 32);
}

struct view values_get(const struct exchange *ex, const struct variable *v, char room[EXPAND_ROOM])
{
	switch (v->id) {
	case VARIABLE_request_id:
		return view_of(ex->request_id, ex->request_id_len);
	case VARIABLE_trace_id:
		return trace_id(ex, room);
	case VARIABLE_listener:
		return ex->listener->name;
	case VARIABLE_route:
		return ex->route ? ex->route->name : VIEW_NONE;
	case VARIABLE_pool:
		return ex->view ? ex->view->pool->conf->name : VIEW_NONE;
	case VARIABLE_backend:
		return ex->backend ? ex->backend->name : VIEW_NONE;
	case VARIABLE_status:
		return number(ex->status ? ex->status : ex->worker->resp.status, room);
	case VARIABLE_reason:
		return view_str(outcome_row(ex->outcome)->name);
	case VARIABLE_time:
		clock_rfc3339(room, clock_wall_us());
		return view_of(room, CLOCK_RFC3339_LEN);
	default:
		return ex->asking ? of_head(ex, v, room) : of_kept(ex, v);
	}
}

static struct view get(const struct expand_source *source, const struct variable *variable,
		       char room[EXPAND_ROOM])
{
	return values_get(container_of(source, const struct values, source)->ex, variable, room);
}

struct values values_of(const struct exchange *ex)
{
	return (struct values){.source.get = get, .ex = ex};
}

void values_put_fields(const struct exchange *ex, const struct conf_pairs *fields,
		       struct h1_out *out)
{
	struct values values = values_of(ex);
	for (size_t i = 0; i < fields->n; i++) {
		const struct conf_pair *field = &fields->rows[i];
		if (!field->template) {
			h1_put_header(out, field->name, field->value);
			continue;
		}
		if (out->overflow || out->len == out->cap)
			break;
		h1_put(out, field->name);
		h1_put(out, VIEW(": "));
		struct str text = str_fixed(out->ptr + out->len, out->cap - out->len);
		expand(field->template, ESCAPE_FIELD, &values.source, &text);
		out->len += text.len;
		out->overflow |= text.overflow;
		h1_put(out, VIEW("\r\n"));
	}
}
