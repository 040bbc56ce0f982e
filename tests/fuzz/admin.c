/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a client of the status socket.  The first byte says who it is
 * and how the rest is cut into pieces; answers must be whole and framed.
 */
#include "../unit/admin/fixture.c"

const char *json_at(const struct str *text, const char *path)
{
	(void)text;
	(void)path;
	return "";
}

/* What one run of the session sends: 100 Continue, or one answer that is whole. */
static void check_sent(struct session *s)
{
	struct str out = STR_INIT;
	struct reply r;
	session_take(s, &out);
	if (out.len && !view_starts(str_as_view(&out), VIEW("HTTP/1.1 "))) {
		check(s->trusted); /* HAProxy's dialect is spoken here only */
	} else if (out.len && s->state != SESSION_STREAM &&
		   !view_eq(str_as_view(&out), VIEW("HTTP/1.1 100 Continue\r\n\r\n"))) {
		bool whole = reply_take(&out, s->head_only, &r);
		check(whole && out.len == 0);
		check(r.status >= 200 && r.status < 600);
		check(r.status < 400 || s->head_only || strstr(r.body.ptr, "\"error\""));
		reply_fini(&r);
	}
	str_fini(&out);
}

static void feed(struct fixture *f, const char *data, size_t size, size_t step, bool trusted)
{
	struct session s;
	session_init(&s, &f->api, trusted);
	while (size && s.state != SESSION_CLOSING) {
		size_t n = step < size ? step : size;
		bool more = true;
		session_put(&s, view_of(data, n));
		data += n;
		size -= n;
		while (more) {
			more = session_run(&s);
			check_sent(&s);
		}
	}
	session_fini(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fixture f;
	if (size < 1)
		return 0;
	fixture_init(&f, NULL);
	f.name_of_connection = "/x";
	str_text(&f.api.token, "t");
	size_t step = data[0] & 0x3f ? data[0] & 0x3f : SIZE_MAX;
	feed(&f, (const char *)data + 1, size - 1, step, data[0] & 0x40);
	fixture_fini(&f);
	return 0;
}
