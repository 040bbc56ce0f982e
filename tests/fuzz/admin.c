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

/* Every answer is complete, and its JSON is one value. */
static void check_answers(struct str *out)
{
	const struct view interim = VIEW("HTTP/1.1 100 Continue\r\n\r\n");
	while (out->len) {
		struct reply r;
		if (view_starts(str_as_view(out), interim)) {
			memmove(out->ptr, out->ptr + interim.len, out->len - interim.len + 1);
			out->len -= interim.len;
			continue;
		}
		/* the only answers without a body are those to HEAD */
		bool whole = reply_take(out, false, &r);
		if (!whole) {
			whole = reply_take(out, true, &r);
			check(whole);
		}
		check(r.status >= 200 && r.status < 600);
		check(r.status < 400 || !r.body.len || strstr(r.body.ptr, "\"error\""));
		reply_fini(&r);
	}
}

static void feed(struct fixture *f, const char *data, size_t size, size_t step, bool trusted)
{
	struct session s;
	struct str out = STR_INIT;
	session_init(&s, &f->api, trusted);
	while (size && s.state != SESSION_CLOSING) {
		size_t n = step < size ? step : size;
		bool more = true;
		session_put(&s, view_of(data, n));
		data += n;
		size -= n;
		while (more) {
			more = session_run(&s);
			str_view(&out, session_out(&s));
			session_sent(&s, session_out(&s).len);
		}
	}
	session_fini(&s);
	check_answers(&out);
	str_fini(&out);
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
