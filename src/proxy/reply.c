/* SPDX-License-Identifier: MIT */
/* Answers that weir gives by itself: errors, redirects, fixed responses. */
#include <string.h>

#include "reply.h"

#include "challenge.h"
#include "diagnose.h"
#include "values.h"

#include "weir/base/check.h"
#include "weir/base/json.h"
#include "weir/http/field.h"

/* Longest body of an error page. */
#define PAGE_MAX 1024

const struct view reject_allow = VIEW("GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH");

size_t reply_page(const struct reply_page *page, char *out, size_t cap)
{
	struct str s = str_fixed(out, cap);
	if (!page->json) {
		str_printf(&s, "%u %s\n", page->status, status_reason(page->status));
		str_printf(&s, VIEW_FMT "\n", VIEW_ARG(page->sentence));
		str_printf(&s, "request id: " VIEW_FMT "\n", VIEW_ARG(page->request_id));
		return s.len;
	}
	struct json j;
	json_init(&j, &s, false);
	json_object_begin(&j);
	json_member_u64(&j, "status", page->status);
	json_member_text(&j, "error", page->reason);
	json_member_view(&j, "message", page->sentence);
	json_member_view(&j, "request_id", page->request_id);
	json_object_end(&j);
	str_char(&s, '\n');
	return s.len;
}

struct view reply_page_type(const struct reply_page *page)
{
	return page->json ? VIEW("application/json") : VIEW("text/plain; charset=utf-8");
}

void reply_page_begin(struct reply_page *page, struct worker *w, struct message *req,
		      char id[REQUEST_ID_MAX])
{
	struct header *accept = req ? message_find(req, HDR_ACCEPT) : NULL;
	page->request_id = view_of(id, policy_make_id(w, id));
	page->json = accept && policy_prefers_json(accept->value);
}

/* Takes worker->resp until send_reply. */
static void begin_response(struct worker *w, unsigned status, uint64_t length)
{
	struct message *resp = &w->resp;
	scratch_take(w, SCRATCH_RESP);
	resp->status = (uint16_t)status;
	resp->reason = VIEW_NONE;
	resp->body = status == 204 || status == 304 ? BODY_NONE : BODY_LENGTH;
	resp->content_length = length;
	resp->keep_alive = true;
	resp->upgrade = false;
	resp->n_headers = 0;
	resp->ids = 0;
}

static void add_field(struct message *resp, enum hdr_id id, struct view name, struct view value)
{
	resp->headers[resp->n_headers++] =
	    (struct header){.name = name, .value = value, .id = (uint8_t)id};
}

static void add_refusal(struct exchange *ex, const struct outcome_row *row)
{
	if (unlikely(ex->listener->refusal_header.ptr != NULL))
		add_field(&ex->worker->resp, HDR_OTHER, ex->listener->refusal_header,
			  view_str(row->name));
}

/* What every answer of weir has. */
static void put_own_fields(struct exchange *ex)
{
	struct worker *w = ex->worker;
	struct message *resp = &w->resp;
	int n = snprintf(w->length, sizeof(w->length), "%llu",
			 (unsigned long long)resp->content_length);
	if (resp->body == BODY_LENGTH)
		add_field(resp, HDR_CONTENT_LENGTH, VIEW("Content-Length"),
			  view_of(w->length, (size_t)n));
	add_field(resp, HDR_DATE, VIEW("Date"), policy_date(w));
	ex->status = resp->status;
}

enum io reply_rest(struct exchange *ex)
{
	char *at = ex->worker->from_backend.data;
	enum io io = IO_OK;
	while (io == IO_OK && ex->rest.len) {
		size_t n = ex->rest.len < AREA_DATA ? ex->rest.len : AREA_DATA;
		memcpy(at, ex->rest.ptr, n);
		ex->rest = view_skip(ex->rest, n);
		io = ex->client_ops->data(ex, (struct span){at, n}, ex->rest.len == 0);
	}
	return io;
}

/* Gives w->resp and the body to the client. */
static enum io send_reply(struct exchange *ex, struct span body)
{
	struct message *resp = &ex->worker->resp;
	put_own_fields(ex);
	if (ex->method == METHOD_HEAD || resp->body == BODY_NONE)
		body.len = 0;
	enum io io = ex->client_ops->head(ex, resp, body, true);
	scratch_drop(ex->worker, SCRATCH_RESP);
	return io;
}

/* The same with a body that may be longer than an area: the rest follows. */
static enum io send_page(struct exchange *ex, struct view page)
{
	char *at = ex->worker->from_backend.data;
	bool none = ex->method == METHOD_HEAD || ex->worker->resp.body == BODY_NONE;
	if (page.len <= AREA_DATA || none) {
		size_t n = page.len <= AREA_DATA ? page.len : 0;
		if (n && page.ptr != at)
			memcpy(at, page.ptr, n);
		return send_reply(ex, (struct span){at, n});
	}
	memcpy(at, page.ptr, AREA_DATA);
	put_own_fields(ex);
	ex->rest = view_skip(page, AREA_DATA);
	enum io io =
	    ex->client_ops->head(ex, &ex->worker->resp, (struct span){at, AREA_DATA}, false);
	scratch_drop(ex->worker, SCRATCH_RESP);
	if (io == IO_ERR) /* another answer may follow */
		ex->rest = VIEW_NONE;
	return io == IO_OK ? reply_rest(ex) : io;
}

/* The page for this status, of the route before that of the listener; NULL: none. */
static const struct conf_error_page *page_in(const struct conf_error_pages *pages, unsigned status)
{
	const struct conf_error_page *class = NULL;
	char text[8];
	snprintf(text, sizeof(text), "%u", status);
	for (size_t i = 0; i < pages->n; i++) {
		struct view key = pages->rows[i].status;
		if (view_eq(key, view_of(text, 3)))
			return &pages->rows[i];
		if (key.ptr[0] == text[0] && key.ptr[1] == 'x')
			class = &pages->rows[i];
	}
	return class;
}

static const struct conf_error_page *page_of(const struct exchange *ex, unsigned status)
{
	const struct conf_error_page *page = NULL;
	if (unlikely(ex->route && ex->route->errors.n))
		page = page_in(&ex->route->errors, status);
	if (!page && unlikely(ex->listener->errors.n))
		page = page_in(&ex->listener->errors, status);
	return page;
}

unsigned reply_grpc_status(unsigned status)
{
	static const struct {
		uint16_t status, grpc;
	} rows[] = {
	    {400, 13},                      /* INTERNAL */
	    {401, 16},                      /* UNAUTHENTICATED */
	    {403, 7},                       /* PERMISSION_DENIED */
	    {404, 12},                      /* UNIMPLEMENTED */
	    {408, 1},                       /* CANCELLED: the client did not go on */
	    {413, 8},                       /* RESOURCE_EXHAUSTED */
	    {429, 8},                       /* RESOURCE_EXHAUSTED */
	    {500, 13}, {431, 8}, {502, 14}, /* UNAVAILABLE */
	    {503, 14}, {504, 4},            /* DEADLINE_EXCEEDED */
	};
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].status == status)
			return rows[i].grpc;
	return 2; /* UNKNOWN */
}

/* An error as gRPC tells it: status 200, and its own in the place of trailers. */
static enum io reply_grpc(struct exchange *ex, enum outcome outcome, const char *sentence)
{
	struct worker *w = ex->worker;
	char code[8];
	int n = snprintf(code, sizeof(code), "%u", reply_grpc_status(outcome_row(outcome)->status));
	begin_response(w, 200, 0);
	add_field(&w->resp, HDR_CONTENT_TYPE, VIEW("Content-Type"), VIEW("application/grpc"));
	add_field(&w->resp, HDR_OTHER, VIEW("grpc-status"), view_of(code, (size_t)n));
	add_field(&w->resp, HDR_OTHER, VIEW("grpc-message"), view_str(sentence));
	add_field(&w->resp, HDR_X_REQUEST_ID, VIEW("X-Request-ID"),
		  view_of(ex->request_id, ex->request_id_len));
	add_refusal(ex, outcome_row(outcome));
	return send_reply(ex, (struct span){w->from_backend.data, 0});
}

/* VIEW_NONE: with the values of its variables it is too long. */
static struct view page_text(struct exchange *ex, const struct conf_error_page *page)
{
	struct str room = str_fixed(ex->worker->from_backend.data, AREA_DATA + 1);
	struct values values = values_of(ex);
	if (!page->page.template)
		return page->page.bytes;
	expand(page->page.template, escape_of(page->content_type), &values.source, &room);
	return room.overflow ? VIEW_NONE : str_as_view(&room);
}

/* What an answer of weir says beside its outcome. */
struct reply_extra {
	unsigned status;
	const char *sentence;
	const struct header *fields;
	unsigned n_fields;
};

static enum io reply_outcome(struct exchange *ex, enum outcome outcome,
			     const struct reply_extra *extra)
{
	const struct outcome_row *row = outcome_row(outcome);
	struct worker *w = ex->worker;
	if (unlikely(ex->grpc))
		return reply_grpc(ex, outcome, extra->sentence);
	struct view id = view_of(ex->request_id, ex->request_id_len);
	struct reply_page page = {
	    .status = extra->status,
	    .reason = row->name,
	    .sentence = view_str(extra->sentence),
	    .request_id = id,
	    .json = ex->wants_json,
	};
	char text[PAGE_MAX];
	ex->status = (uint16_t)extra->status; /* which a page may say, as the reason */
	ex->outcome = outcome;
	const struct conf_error_page *own = page.json ? NULL : page_of(ex, extra->status);
	struct view body = own ? page_text(ex, own) : VIEW_NONE;
	if (!body.ptr) {
		own = NULL;
		body = view_of(text, reply_page(&page, text, sizeof(text)));
	}
	begin_response(w, extra->status, body.len);
	add_field(&w->resp, HDR_CONTENT_TYPE, VIEW("Content-Type"),
		  own ? own->content_type : reply_page_type(&page));
	add_field(&w->resp, HDR_X_REQUEST_ID, VIEW("X-Request-ID"), id);
	for (unsigned i = 0; i < extra->n_fields; i++)
		w->resp.headers[w->resp.n_headers++] = extra->fields[i];
	add_refusal(ex, row);
	diagnose_error(ex, outcome);
	if (!ex->not_given) /* else they may be why */
		policy_edit_response(ex, &w->resp);
	return send_page(ex, body);
}

/* What was to be said did not get there, and not because the client is gone. */
static bool is_untold(const struct exchange *ex, enum io io)
{
	return io == IO_ERR && ex->not_given;
}

/* With what the route adds it was too large: once more without. */
static enum io reply_bare(struct exchange *ex, enum outcome outcome,
			  const struct reply_extra *extra)
{
	bool before = ex->not_given;
	enum io io = reply_outcome(ex, outcome, extra);
	bool again = is_untold(ex, io) && !before && !ex->head_relayed;
	return again ? reply_outcome(ex, outcome, extra) : io;
}

enum io reply_error(struct exchange *ex, enum outcome outcome, const char *detail)
{
	static const struct header later = {
	    .name = VIEW("Retry-After"), .value = VIEW("1"), .id = HDR_RETRY_AFTER};
	const struct outcome_row *row = outcome_row(outcome);
	if (row->status == 400 || row->status == 408 || row->status == 413)
		ex->close_client = true;
	return reply_bare(ex, outcome,
			  &(struct reply_extra){
			      .status = row->status,
			      .sentence = detail ? detail : row->sentence,
			      .fields = &later,
			      .n_fields = row->status == 503,
			  });
}

enum io reply_filter(struct exchange *ex, enum outcome outcome, const struct filter_answer *answer)
{
	const char *sentence = answer->sentence ? answer->sentence : outcome_row(outcome)->sentence;
	return reply_bare(ex, outcome,
			  &(struct reply_extra){
			      .status = answer->status,
			      .sentence = sentence,
			      .fields = answer->fields,
			      .n_fields = answer->n_fields,
			  });
}

/* The head of an answer was too large for the client, who is told so. */
static enum io or_told(struct exchange *ex, enum io io, enum outcome *outcome, enum outcome why)
{
	if (likely(!is_untold(ex, io)))
		return io;
	*outcome = ex->not_given == OUTCOME_no_memory ? OUTCOME_no_memory : why;
	return ex->head_relayed ? io : reply_error(ex, *outcome, NULL);
}

enum io reply_heard(struct exchange *ex, enum outcome *outcome, const struct filter_heard *heard)
{
	struct message *resp = &ex->worker->resp;
	if (unlikely(ex->grpc))
		return reply_grpc(ex, *outcome, outcome_row(*outcome)->sentence);
	ex->outcome = *outcome;
	begin_response(ex->worker, heard->head->status, heard->body.len);
	for (uint32_t i = 0; i < heard->head->n_headers; i++) {
		const struct header *h = &heard->head->headers[i];
		if (field_is_for_client(h))
			add_field(resp, (enum hdr_id)h->id, h->name, h->value);
	}
	add_field(resp, HDR_X_REQUEST_ID, VIEW("X-Request-ID"),
		  view_of(ex->request_id, ex->request_id_len));
	add_refusal(ex, outcome_row(*outcome));
	policy_edit_response(ex, resp);
	return or_told(ex, send_page(ex, heard->body), outcome, OUTCOME_response_too_large);
}

static enum io reply_redirect(struct exchange *ex, enum outcome *outcome)
{
	struct worker *w = ex->worker;
	scratch_take(w, SCRATCH_FRONT);
	struct str to = str_fixed(w->from_backend.base, AREA_FRONT);
	struct values values = values_of(ex);
	route_redirect_to(ex->route, &values.source, &to);
	if (to.overflow) {
		scratch_drop(w, SCRATCH_FRONT);
		*outcome = OUTCOME_answer_too_large;
		return reply_error(ex, *outcome, NULL);
	}
	begin_response(w, ex->route->redirect.status, 0);
	add_field(&w->resp, HDR_LOCATION, VIEW("Location"), str_as_view(&to));
	policy_response(ex, &w->resp);
	enum io io = send_reply(ex, (struct span){w->from_backend.data, 0});
	scratch_drop(w, SCRATCH_FRONT);
	return io;
}

/* A body longer than the area cannot be given. */
static enum io reply_respond(struct exchange *ex, enum outcome *outcome)
{
	struct worker *w = ex->worker;
	const struct conf_text *text = &ex->route->respond.body;
	const struct conf_page *page = &ex->route->respond.page;
	struct view type = ex->route->respond.content_type;
	const struct template *template = page->file.ptr ? page->template : text->template;
	struct view body = page->file.ptr ? page->bytes : text->text;
	struct str room = str_fixed(w->from_backend.data, AREA_DATA + 1);
	struct values values = values_of(ex);
	if (template) {
		expand(template, escape_of(type), &values.source, &room);
		body = str_as_view(&room);
	}
	if (room.overflow) {
		*outcome = OUTCOME_answer_too_large;
		return reply_error(ex, *outcome, NULL);
	}
	begin_response(w, ex->route->respond.status, body.len);
	if (type.len && body.len)
		add_field(&w->resp, HDR_CONTENT_TYPE, VIEW("Content-Type"), type);
	policy_response(ex, &w->resp);
	return send_page(ex, body);
}

enum io reply_final(struct exchange *ex)
{
	struct message *resp = &ex->worker->resp;
	bool traced = ex->method == METHOD_TRACE; /* reflecting what it brought is not for us */
	begin_response(ex->worker, traced ? 405 : 200, 0);
	add_field(resp, HDR_OTHER, VIEW("Allow"), reject_allow);
	return send_reply(ex, (struct span){ex->worker->from_backend.data, 0});
}

enum io reply_challenge(struct exchange *ex)
{
	struct worker *w = ex->worker;
	struct str room = str_fixed(w->from_backend.data, AREA_DATA + 1);
	const struct generation *gen = ex->gl->gen;
	bool told = challenge_answer(&w->req, gen->acme, gen->acme_guest, &room);
	begin_response(w, told ? 200 : 404, room.len);
	if (told)
		add_field(&w->resp, HDR_CONTENT_TYPE, VIEW("Content-Type"),
			  VIEW("application/octet-stream"));
	return send_page(ex, str_as_view(&room));
}

NOINLINE enum io reply_route(struct exchange *ex, enum outcome *outcome)
{
	*outcome = OUTCOME_local;
	enum io io = ex->route->action == CONF_ACTION_REDIRECT ? reply_redirect(ex, outcome)
							       : reply_respond(ex, outcome);
	return or_told(ex, io, outcome, OUTCOME_answer_too_large);
}
