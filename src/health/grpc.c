/* SPDX-License-Identifier: MIT */
/*
 * grpc.health.v1.Health/Check over HTTP/2: in cleartext with prior knowledge, or
 * over TLS when the pool has it.  One call on a connection of its own.
 *
 * Request:  HealthCheckRequest  {string service = 1}
 * Response: HealthCheckResponse {enum status = 1}, SERVING is 1
 */
#include "check.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/parse.h"

#define SERVICE_MAX 100
#define ANSWER_MAX 64

struct call {
	nghttp2_session *session; /* owns */
	unsigned char request[5 + 2 + SERVICE_MAX];
	size_t request_len, request_at;
	unsigned char answer[ANSWER_MAX];
	size_t answer_len;
	uint64_t grpc_status; /* UINT64_MAX: none yet */
	unsigned status;
	bool over;
};

static ssize_t read_request(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room,
			    uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct call *call = source->ptr;
	size_t n = call->request_len - call->request_at;
	(void)session;
	(void)stream;
	(void)user;
	if (n > room)
		n = room;
	memcpy(out, call->request + call->request_at, n);
	call->request_at += n;
	if (call->request_at == call->request_len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *user)
{
	struct call *call = user;
	struct view n = view_of((const char *)name, name_len);
	struct view v = view_of((const char *)value, value_len);
	uint64_t number;
	(void)session;
	(void)frame;
	(void)flags;
	if (!parse_u64(v, &number))
		return 0;
	if (view_eq(n, VIEW(":status")))
		call->status = (unsigned)number;
	else if (view_eq(n, VIEW("grpc-status")))
		call->grpc_status = number;
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
		   size_t len, void *user)
{
	struct call *call = user;
	size_t room = sizeof(call->answer) - call->answer_len;
	(void)session;
	(void)flags;
	(void)stream;
	memcpy(call->answer + call->answer_len, data, len < room ? len : room);
	call->answer_len += len < room ? len : room;
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t error, void *user)
{
	struct call *call = user;
	(void)session;
	(void)stream;
	(void)error;
	call->over = true;
	return 0;
}

/* Field 1 of the message, as a number; 0 (unknown) without it. */
static unsigned serving_status(const struct call *call)
{
	if (call->answer_len >= 7 && call->answer[0] == 0 && call->answer[5] == 0x08)
		return call->answer[6];
	return 0;
}

static void judge(struct check *c, const struct call *call)
{
	static const char *const names[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
	unsigned serving = serving_status(call);
	c->status = (uint16_t)call->status;
	if (call->status != 200)
		check_fail(c, "status %u, expected 200", call->status);
	else if (call->grpc_status == UINT64_MAX)
		check_fail(c, "the backend broke off its response");
	else if (call->grpc_status != 0)
		check_fail(c, "grpc-status %llu%s", (unsigned long long)call->grpc_status,
			   call->grpc_status == 5    ? ", service not found"
			   : call->grpc_status == 12 ? ", it has no health service"
						     : "");
	else if (serving != 1)
		check_fail(c, "the service is %s",
			   serving < ARRAY_LEN(names) ? names[serving] : "in an unknown state");
	else
		check_pass(c, "SERVING");
}

/* Hands what the session wants to say to the connection; false: the check is over. */
static bool flush(struct check *c, struct call *call)
{
	const uint8_t *bytes;
	ssize_t n;
	while ((n = nghttp2_session_mem_send(call->session, &bytes)) > 0)
		if (!check_send(c, bytes, (size_t)n))
			return false;
	if (n == 0)
		return true;
	check_fail(c, "HTTP/2 failed: %s", nghttp2_strerror((int)n));
	return false;
}

static bool new_session(struct call *call)
{
	nghttp2_session_callbacks *callbacks;
	if (nghttp2_session_callbacks_new(&callbacks))
		return false;
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	int rc = nghttp2_session_client_new(&call->session, callbacks, call);
	nghttp2_session_callbacks_del(callbacks);
	return rc == 0;
}

static void put_message(struct call *call, struct view service)
{
	size_t len = service.len < SERVICE_MAX ? service.len : SERVICE_MAX;
	call->request_len = 5;
	if (len == 0)
		return;
	call->request[4] = (unsigned char)(len + 2);
	call->request[5] = 0x0a; /* field 1, a text */
	call->request[6] = (unsigned char)len;
	memcpy(call->request + 7, service.ptr, len);
	call->request_len = 7 + len;
}

static bool submit(struct check *c, struct call *call)
{
	const struct conf_health *conf = &c->settings->conf;
	struct view host = conf->host.len ? conf->host : c->address;
#define FIELD(name, text) \
	{(uint8_t *)(name), (uint8_t *)(text), sizeof(name) - 1, sizeof(text) - 1, 0}
	nghttp2_nv fields[] = {
	    FIELD(":method", "POST"),
	    FIELD(":scheme", "http"),
	    FIELD(":path", "/grpc.health.v1.Health/Check"),
	    {(uint8_t *)":authority", (uint8_t *)host.ptr, 10, host.len, 0},
	    FIELD("content-type", "application/grpc"),
	    FIELD("te", "trailers"),
	    FIELD("user-agent", "weir/" WEIR_VERSION " (health check)"),
	};
#undef FIELD
	if (c->tls) {
		fields[1].value = (uint8_t *)"https";
		fields[1].valuelen = 5;
	}
	nghttp2_data_provider body = {.source.ptr = call, .read_callback = read_request};
	put_message(call, conf->service);
	return nghttp2_submit_settings(call->session, NGHTTP2_FLAG_NONE, NULL, 0) == 0 &&
	       nghttp2_submit_request(call->session, NULL, fields, ARRAY_LEN(fields), &body, NULL) >
		   0;
}

static void begin(struct check *c)
{
	struct call *call = calloc(1, sizeof(*call));
	c->doing = "waiting for the answer";
	c->state = call;
	if (!call || !new_session(call) || !submit(c, call)) {
		c->local = true;
		check_fail(c, "no memory for the call");
		return;
	}
	call->grpc_status = UINT64_MAX;
	flush(c, call);
}

static void feed(struct check *c, char *ptr, size_t len)
{
	struct call *call = c->state;
	ssize_t n = nghttp2_session_mem_recv(call->session, (const uint8_t *)ptr, len);
	if (n < 0)
		check_fail(c, "the response is no HTTP/2: %s", nghttp2_strerror((int)n));
	else if (call->over)
		judge(c, call);
	else if (flush(c, call) && !nghttp2_session_want_read(call->session))
		check_fail(c, "the response is no HTTP/2"); /* it has sent GOAWAY */
}

static void end(struct check *c)
{
	check_fail(c, "the backend closed the connection before it answered");
}

static void fini(struct check *c)
{
	struct call *call = c->state;
	if (!call)
		return;
	nghttp2_session_del(call->session);
	free(call);
	c->state = NULL;
}

const struct check_kind check_grpc = {
    .keyword = "grpc",
    .begin = begin,
    .feed = feed,
    .end = end,
    .fini = fini,
};
