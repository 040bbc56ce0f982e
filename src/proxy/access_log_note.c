/* SPDX-License-Identifier: MIT */
/* What the access log notes of a request while its head is at hand. */
#include <stdio.h>
#include <string.h>

#include "access_log_room.h"
#include "values.h"

#include "weir/base/json.h"
#include "weir/proxy/access_log.h"

static struct view value_of(const struct message *msg, enum hdr_id id)
{
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (msg->headers[i].id == id && !msg->headers[i].drop)
			return view_head(msg->headers[i].value, FIELD_MAX);
	return VIEW_NONE;
}

/* Quotes, backslashes and bytes outside printable ASCII as \xNN. */
static void put_escaped(struct str *s, struct view v)
{
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.ptr[i];
		if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
			str_printf(s, "\\x%02X", c);
		else
			str_char(s, (char)c);
	}
}

static void put_request_line(struct str *s, const struct message *msg)
{
	put_escaped(s, view_head(msg->method_text, 64));
	str_char(s, ' ');
	put_escaped(s, view_head(msg->target, FIELD_MAX));
	if (msg->h2)
		str_text(s, " HTTP/2.0");
	else
		str_printf(s, " HTTP/1.%u", msg->version_minor);
}

/* Of nearly all it stands with the connection: that of a peer that nothing is believed of. */
static struct view client_ip(const struct exchange_request *req, char ip[ADDR_IP_TEXT_MAX])
{
	if (likely(!req->who.trusted))
		return req->who.peer_ip;
	return view_of(ip, addr_format_ip(req->peer, ip));
}

static void put_field(struct str *s, struct view key, struct view value)
{
	if (!value.len)
		return;
	str_view(s, key);
	json_quote(s, value);
}

static void note_json(struct str *s, const struct exchange_request *req, const struct message *msg)
{
	char ip[ADDR_IP_TEXT_MAX];
	str_view(s, VIEW("{\"client\":\""));
	str_view(s, client_ip(req, ip));
	str_view(s, VIEW("\",\"listener\":"));
	json_quote(s, req->listener->name);
	str_view(s, VIEW(",\"method\":"));
	json_quote(s, view_head(msg->method_text, 64));
	str_view(s, VIEW(",\"host\":"));
	json_quote(s, view_head(msg->authority, 255));
	str_view(s, VIEW(",\"path\":"));
	json_quote(s, view_head(msg->path, FIELD_MAX));
	str_view(s, msg->h2              ? VIEW(",\"proto\":\"HTTP/2\"")
		    : msg->version_minor ? VIEW(",\"proto\":\"HTTP/1.1\"")
					 : VIEW(",\"proto\":\"HTTP/1.0\""));
	if (msg->ids & HDR_BIT(USER_AGENT))
		put_field(s, VIEW(",\"user_agent\":"), value_of(msg, HDR_USER_AGENT));
	if (msg->ids & HDR_BIT(REFERER))
		put_field(s, VIEW(",\"referer\":"), value_of(msg, HDR_REFERER));
}

static void note_combined(struct str *s, const struct exchange_request *req,
			  const struct message *msg, uint16_t *split)
{
	struct view agent = value_of(msg, HDR_USER_AGENT), referer = value_of(msg, HDR_REFERER);
	char ip[ADDR_IP_TEXT_MAX];
	str_view(s, client_ip(req, ip));
	str_char(s, '\n'); /* the time comes here */
	put_request_line(s, msg);
	*split = (uint16_t)s->len;
	str_text(s, "\"");
	put_escaped(s, referer.len ? referer : VIEW("-"));
	str_text(s, "\" \"");
	put_escaped(s, agent.len ? agent : VIEW("-"));
	str_text(s, "\"");
}

static void note_haproxy(struct str *s, const struct exchange_request *req,
			 const struct message *msg, uint16_t *split)
{
	char peer[ADDR_TEXT_MAX];
	addr_format(req->peer, peer);
	str_text(s, peer);
	str_char(s, '\n');
	str_view(s, req->listener->name);
	*split = (uint16_t)s->len;
	put_request_line(s, msg);
}

static bool is_sampled(struct exchange *ex, const struct conf_access_log *conf)
{
	if (conf->sample >= 1.0)
		return true;
	double draw = (double)(rng_next(&ex->worker->pool.rng) >> 11) / 9007199254740992.0;
	return draw < conf->sample;
}

static void note(struct exchange *ex, const struct exchange_request *req, const struct message *msg)
{
	const struct conf_access_log *conf = access_log_conf(ex);
	if (conf->fields.n) {
		ex->logged = values_keep(ex, &conf->kept);
		if (!ex->logged)
			counter_add(&ex->worker->log.dropped, 1);
		return;
	}
	scratch_take(ex->worker, SCRATCH_HEAD);
	struct str s = str_fixed(ex->worker->head, NOTE_MAX);
	switch (conf->format) {
	case CONF_LOG_JSON:
		note_json(&s, req, msg);
		ex->note_split = (uint16_t)s.len;
		break;
	case CONF_LOG_COMBINED:
		note_combined(&s, req, msg, &ex->note_split);
		break;
	case CONF_LOG_HAPROXY:
		note_haproxy(&s, req, msg, &ex->note_split);
		break;
	}
	ex->logged = !s.overflow && buf_append(&ex->worker->pool.bufs, &ex->note, s.ptr, s.len);
	if (!ex->logged)
		counter_add(&ex->worker->log.dropped, 1);
	scratch_drop(ex->worker, SCRATCH_HEAD);
}

void access_log_note(struct exchange *ex, const struct exchange_request *req,
		     const struct message *msg)
{
	if (is_sampled(ex, access_log_conf(ex)))
		note(ex, req, msg);
}

void access_log_note_again(struct exchange *ex, const struct exchange_request *req,
			   const struct message *msg)
{
	if (!ex->logged)
		return;
	buf_put(&ex->worker->pool.bufs, ex->note);
	ex->note = NULL;
	note(ex, req, msg);
}
