/* SPDX-License-Identifier: MIT */
/*
 * Access log lines in three formats.  A request is noted as text while its head
 * is at hand (access_log_note.c), in two parts: what comes before the facts of the response in the
 * format and what comes after; the line is put together at the end.
 *
 *   json      {part 1, "status":200, ... ,part 2}
 *   combined  address - - [time] "part 1" status bytes part 2
 *   haproxy   address [time] listener pool/backend timers ... "part 2"
 */
#include "weir/proxy/access_log.h"

#include <stdio.h>
#include <string.h>

#include "access_log_room.h"
#include "client.h"
#include "reply.h"
#include "trace.h"
#include "values.h"

#include "weir/base/clock.h"
#include "weir/base/hex.h"
#include "weir/base/json.h"

/* ---- lines ---- */

struct facts {
	struct view part1, part2;
	uint64_t wall_us; /* when the request came */
	uint64_t wait_us, transfer_us, total_us;
};

static struct facts facts_of(const struct exchange *ex)
{
	struct view note = ex->note ? buf_view(ex->note) : VIEW_NONE;
	struct facts f = {
	    .part1 = view_head(note, ex->note_split),
	    .part2 = view_skip(note, ex->note_split),
	    .total_us = ex->last_byte_us - ex->start_us,
	};
	f.wall_us = clock_wall_us() - f.total_us;
	if (ex->at->first_byte_us) {
		if (ex->at->sent_us && ex->at->first_byte_us > ex->at->sent_us)
			f.wait_us = ex->at->first_byte_us - ex->at->sent_us;
		f.transfer_us = ex->last_byte_us - ex->at->first_byte_us;
	}
	return f;
}

/* The date of a line is put together once a second. */
static void put_time(struct str *s, struct worker *w, uint64_t wall_us)
{
	unsigned ms = (unsigned)(wall_us / 1000 % 1000);
	char *digits = w->stamp + CLOCK_RFC3339_LEN - 4;
	if (unlikely(wall_us / 1000000 != w->stamp_s)) {
		clock_rfc3339(w->stamp, wall_us);
		w->stamp_s = wall_us / 1000000;
	}
	digits[0] = (char)('0' + ms / 100);
	digits[1] = (char)('0' + ms / 10 % 10);
	digits[2] = (char)('0' + ms % 10);
	str_put(s, w->stamp, CLOCK_RFC3339_LEN);
}

/* Members whose keys are literals, with all that stands around them. */
static inline void put_u64(struct str *s, struct view key, uint64_t n)
{
	str_view(s, key);
	str_u64(s, n);
}

static inline void put_name(struct str *s, struct view key, struct view name)
{
	str_view(s, key);
	json_quote(s, name);
}

static inline void put_span(struct str *s, struct view key, uint64_t us)
{
	char text[DIGITS_SECONDS + 7];
	str_view(s, key);
	str_put(s, text, (size_t)(digits_seconds(text, us) - text));
}

static void put_trace_id(struct str *s, const struct exchange *ex)
{
	char id[32];
	hex_write(ex->trace->context.trace_id, 16, id);
	put_name(s, VIEW(",\"trace_id\":"), view_of(id, sizeof(id)));
}

static void line_json(struct str *s, const struct exchange *ex, const struct facts *f)
{
	const struct outcome_row *row = outcome_row(ex->outcome);
	str_view(s, VIEW("{\"ts\":\""));
	put_time(s, ex->worker, f->wall_us);
	str_view(s, VIEW("\","));
	str_view(s, view_skip(f->part1, 1)); /* its opening brace */
	put_u64(s, VIEW(",\"status\":"), ex->status);
	put_u64(s, VIEW(",\"bytes_in\":"), ex->bytes_in);
	put_u64(s, VIEW(",\"bytes_out\":"), ex->bytes_out);
	if (ex->route)
		put_name(s, VIEW(",\"route\":"), ex->route->name);
	if (ex->view)
		put_name(s, VIEW(",\"pool\":"), ex->view->pool->conf->name);
	if (ex->backend)
		put_name(s, VIEW(",\"backend\":"), ex->backend->name);
	put_span(s, VIEW(",\"queue_s\":"), ex->queue_us);
	put_span(s, VIEW(",\"connect_s\":"), ex->connect_us);
	put_span(s, VIEW(",\"wait_s\":"), f->wait_us);
	put_span(s, VIEW(",\"transfer_s\":"), f->transfer_us);
	put_span(s, VIEW(",\"client_s\":"), ex->client_us + ex->upload_us);
	put_span(s, VIEW(",\"total_s\":"), f->total_us);
	put_u64(s, VIEW(",\"retries\":"), ex->n_retries);
	if (unlikely(ex->n_replaced))
		put_u64(s, VIEW(",\"replaced\":"), ex->n_replaced);
	if (unlikely(ex->n_hedges))
		put_u64(s, VIEW(",\"hedges\":"), ex->n_hedges);
	const char term[] = {',', '"', 't',      'e',       'r', 'm', '"',
			     ':', '"', row->who, row->when, '"', ','};
	str_put(s, term, sizeof(term));
	str_view(s, row->members);
	/* nothing in an id is to be escaped: what a client sends in its place is replaced */
	str_view(s, VIEW(",\"request_id\":\""));
	str_put(s, ex->request_id, ex->request_id_len);
	str_char(s, '"');
	if (unlikely(ex->trace != NULL))
		put_trace_id(s, ex);
	str_char(s, '}');
}

/* ---- lines of log.access.fields ---- */

static void put_seconds(struct json *j, const char *key, uint64_t us)
{
	char text[DIGITS_SECONDS];
	json_key(j, key);
	json_raw(j, view_of(text, (size_t)(digits_seconds(text, us) - text)));
}

static void put_proto(struct json *j, const char *key, const struct exchange *ex)
{
	json_member_text(j, key,
			 ex->client_h2      ? "HTTP/2"
			 : ex->client_minor ? "HTTP/1.1"
					    : "HTTP/1.0");
}

static void put_term(struct json *j, const char *key, const struct outcome_row *row)
{
	char term[3] = {row->who, row->when, '\0'};
	json_member_text(j, key, term);
}

static void put_stamp(struct json *j, const char *key, uint64_t wall_us)
{
	char stamp[CLOCK_RFC3339_LEN + 1];
	clock_rfc3339(stamp, wall_us);
	json_member_text(j, key, stamp);
}

static void put_fact(struct json *j, const struct conf_log_field *field, const struct exchange *ex,
		     const struct facts *f)
{
	const char *key = field->name.ptr; /* ends with a NUL, and is a word of ours */
	const struct outcome_row *row = outcome_row(ex->outcome);
	const uint64_t counts[N_CONF_LOG_FACTS] = {
	    [CONF_LOG_bytes_in] = ex->bytes_in,
	    [CONF_LOG_bytes_out] = ex->bytes_out,
	    [CONF_LOG_body_out] = ex->body_out,
	    [CONF_LOG_retries] = ex->n_retries,
	    [CONF_LOG_replaced] = ex->n_replaced,
	    [CONF_LOG_hedges] = ex->n_hedges,
	    [CONF_LOG_queue_s] = ex->queue_us,
	    [CONF_LOG_connect_s] = ex->connect_us,
	    [CONF_LOG_wait_s] = f->wait_us,
	    [CONF_LOG_transfer_s] = f->transfer_us,
	    [CONF_LOG_total_s] = f->total_us,
	    [CONF_LOG_client_s] = ex->client_us + ex->upload_us,
	};
	switch (field->fact) {
	case CONF_LOG_ts:
		put_stamp(j, key, f->wall_us);
		break;
	case CONF_LOG_proto:
		put_proto(j, key, ex);
		break;
	case CONF_LOG_term:
		put_term(j, key, row);
		break;
	case CONF_LOG_outcome:
		json_member_text(j, key, row->name);
		break;
	case CONF_LOG_end:
		json_member_text(j, key, row->sentence);
		break;
	case CONF_LOG_queue_s:
	case CONF_LOG_connect_s:
	case CONF_LOG_wait_s:
	case CONF_LOG_transfer_s:
	case CONF_LOG_client_s:
	case CONF_LOG_total_s:
		put_seconds(j, key, counts[field->fact]);
		break;
	default:
		json_member_u64(j, key, counts[field->fact]);
	}
}

static struct view stamp_of(uint64_t wall_us, char room[EXPAND_ROOM])
{
	clock_rfc3339(room, wall_us);
	return view_of(room, CLOCK_RFC3339_LEN);
}

/* No value is longer than its share of a line, every byte of it escaped. */
static size_t share_of(const struct conf_access_log *conf)
{
	size_t share = NOTE_MAX / 6 / conf->fields.n;
	return share < FIELD_MAX ? share : FIELD_MAX;
}

static void line_fields(struct str *s, const struct exchange *ex, const struct facts *f)
{
	const struct conf_access_log *conf = access_log_conf(ex);
	char room[EXPAND_ROOM];
	struct json j;
	json_init(&j, s, false);
	json_object_begin(&j);
	for (size_t i = 0; i < conf->fields.n; i++) {
		const struct conf_log_field *field = &conf->fields.rows[i];
		struct view value = VIEW_NONE;
		if (!field->variable) {
			put_fact(&j, field, ex, f);
			continue;
		}
		if (field->variable->id == VARIABLE_time)
			value = stamp_of(f->wall_us, room);
		else if (field->variable->id == VARIABLE_status)
			json_member_u64(&j, "status", ex->status);
		else
			value = values_get(ex, field->variable, room);
		if (!value.len)
			continue;
		json_key_view(&j, field->name);
		json_view(&j, view_head(value, share_of(conf)));
	}
	json_object_end(&j);
}

static void line_combined(struct str *s, const struct exchange *ex, const struct facts *f)
{
	char stamp[CLOCK_CLF_LEN + 1];
	clock_clf(stamp, f->wall_us);
	ptrdiff_t cut = view_chr(f->part1, '\n');
	str_view(s, view_head(f->part1, (size_t)cut));
	str_printf(s, " - - [%s] \"", stamp);
	str_view(s, view_skip(f->part1, (size_t)cut + 1));
	str_printf(s, "\" %u %llu ", ex->status, (unsigned long long)ex->body_out);
	str_view(s, f->part2);
}

/* Milliseconds, -1 for a phase that was not reached. */
static void put_ms(struct str *s, bool reached, uint64_t us, char after)
{
	if (reached)
		str_u64(s, us / 1000);
	else
		str_text(s, "-1");
	str_char(s, after);
}

static void line_haproxy(struct str *s, const struct exchange *ex, const struct facts *f)
{
	const struct outcome_row *row = outcome_row(ex->outcome);
	char stamp[CLOCK_CLF_LEN + 1];
	clock_clf(stamp, f->wall_us);
	stamp[20] = '\0'; /* without the zone: milliseconds follow */
	ptrdiff_t cut = view_chr(f->part1, '\n');
	str_view(s, view_head(f->part1, (size_t)cut));
	str_printf(s, " [%s.%03u] ", stamp, (unsigned)(f->wall_us / 1000 % 1000));
	str_view(s, view_skip(f->part1, (size_t)cut + 1));
	str_char(s, ' ');
	str_view(s, ex->view ? ex->view->pool->conf->name : VIEW("-"));
	str_char(s, '/');
	str_view(s, ex->backend ? ex->backend->name : VIEW("<NOSRV>"));
	str_text(s, " 0/");
	put_ms(s, ex->view != NULL, ex->queue_us, '/');
	put_ms(s, ex->at->sent_us != 0, ex->connect_us, '/');
	put_ms(s, ex->at->first_byte_us != 0, f->wait_us, '/');
	put_ms(s, true, f->total_us, ' ');
	struct worker *w = ex->worker;
	struct pool *pool = ex->view ? ex->view->pool : NULL;
	str_printf(s, "%u %llu - - %c%c-- ", ex->status, (unsigned long long)ex->bytes_out,
		   row->who, row->when);
	str_printf(s, "%u/%u/%u/%u/%u %u/0 \"", w->conns.n_live, w->conns.n_live,
		   w->exchanges.n_live, ex->backend ? backend_in_flight(ex->backend) : 0,
		   ex->n_retries, pool ? atomic_load(&pool->state->n_queued) : 0);
	str_view(s, f->part2);
	str_char(s, '"');
}

void access_log_write(struct exchange *ex)
{
	const struct conf_access_log *conf = access_log_conf(ex);
	struct worker *w = ex->worker;
	if (conf->errors_only && ex->status < 500 && !outcome_row(ex->outcome)->is_error)
		return;
	if (ex->route && ex->route->log == CONF_ROUTE_LOG_OFF)
		return;
	struct facts facts = facts_of(ex);
	scratch_take(w, SCRATCH_FRONT);
	struct str s = str_fixed(w->from_backend.base, LINE_MAX_LEN);
	switch (conf->format) {
	case CONF_LOG_JSON:
		if (conf->fields.n)
			line_fields(&s, ex, &facts);
		else
			line_json(&s, ex, &facts);
		break;
	case CONF_LOG_COMBINED:
		line_combined(&s, ex, &facts);
		break;
	case CONF_LOG_HAPROXY:
		line_haproxy(&s, ex, &facts);
		break;
	}
	str_char(&s, '\n');
	if (s.overflow || !ring_put(&w->log.ring, str_as_view(&s)))
		counter_add(&w->log.dropped, 1);
	scratch_drop(w, SCRATCH_FRONT);
}

/* ---- requests that never became an exchange ---- */

/* Of a line with fields of the user's own: those that are known. */
static bool wants(const struct conf_access_log *conf, const char *name)
{
	for (size_t i = 0; i < conf->fields.n; i++)
		if (view_eq(conf->fields.rows[i].name, view_str(name)))
			return true;
	return conf->fields.n == 0;
}

static void reject_json(struct str *s, const struct client *c, const struct reply_page *page)
{
	const struct conf_access_log *conf = &c->gl->gen->conf->log.access;
	const uint64_t now = clock_wall_us();
	struct json j;
	json_init(&j, s, false);
	json_object_begin(&j);
	if (wants(conf, "ts"))
		put_stamp(&j, "ts", now);
	if (conf->fields.n && wants(conf, "time"))
		put_stamp(&j, "time", now);
	if (wants(conf, "client"))
		json_member_view(&j, "client", view_of(c->ip, c->ip_len));
	if (wants(conf, "listener"))
		json_member_view(&j, "listener", c->conf->name);
	if (wants(conf, "status"))
		json_member_u64(&j, "status", page->status);
	if (wants(conf, "term"))
		json_member_text(&j, "term", page->status == 408 ? "cR" : "PR");
	if (wants(conf, "outcome"))
		json_member_text(&j, "outcome", page->reason);
	if (wants(conf, "end"))
		json_member_view(&j, "end", page->sentence);
	if (wants(conf, "request_id"))
		json_member_view(&j, "request_id", page->request_id);
	json_object_end(&j);
}

void access_log_reject(struct client *c, const struct reply_page *page, size_t body_len)
{
	struct worker *w = c->worker;
	char room[1024], stamp[CLOCK_CLF_LEN + 1], peer[ADDR_TEXT_MAX];
	struct str s = str_fixed(room, sizeof(room));
	struct addr addr;
	const struct view ip = view_of(c->ip, c->ip_len);
	clock_clf(stamp, clock_wall_us());
	switch (c->gl->gen->conf->log.access.format) {
	case CONF_LOG_JSON:
		reject_json(&s, c, page);
		break;
	case CONF_LOG_COMBINED:
		str_printf(&s, VIEW_FMT " - - [%s] \"-\" %u %zu \"-\" \"-\"", VIEW_ARG(ip), stamp,
			   page->status, body_len);
		break;
	case CONF_LOG_HAPROXY:
		addr_unpack(&c->peer, &addr);
		addr_format(&addr, peer);
		stamp[20] = '\0';
		str_printf(&s, "%s [%s.000] " VIEW_FMT " -/<NOSRV> -1/-1/-1/-1/0 %u %zu - - %s-- ",
			   peer, stamp, VIEW_ARG(c->conf->name), page->status, body_len,
			   page->status == 408 ? "cR" : "PR");
		str_printf(&s, "%u/%u/%u/0/0 0/0 \"<BADREQ>\"", w->conns.n_live, w->conns.n_live,
			   w->exchanges.n_live);
		break;
	}
	str_char(&s, '\n');
	if (s.overflow || !ring_put(&w->log.ring, str_as_view(&s)))
		counter_add(&w->log.dropped, 1);
}
