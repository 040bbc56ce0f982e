/* SPDX-License-Identifier: MIT */
/* The collector, what is said to it beside spans, and how: out of a configuration and a file. */
#include "tracer_settings.h"

#include "weir/base/file.h"

#define HEADERS_FILE_MAX (16 * 1024)

static bool is_field(struct view line)
{
	ptrdiff_t colon = view_chr(line, ':');
	for (ptrdiff_t i = 0; i < colon; i++)
		if (line.ptr[i] <= 0x20 || line.ptr[i] >= 0x7f)
			return false;
	for (size_t i = 0; i < line.len; i++)
		if (((unsigned char)line.ptr[i] < 0x20 && line.ptr[i] != '\t') ||
		    line.ptr[i] == 0x7f)
			return false;
	return colon > 0;
}

/* Lines of the file with the line ends of HTTP, behind what is there. */
static bool read_fields(struct tracer_settings *s, struct view text, struct str *why)
{
	struct str fields = STR_INIT;
	bool ok = true;
	str_view(&fields, s->headers);
	for (unsigned n = 1; ok && text.len; n++) {
		ptrdiff_t end = view_chr(text, '\n');
		struct view line = view_head(text, end < 0 ? text.len : (size_t)end);
		text = view_skip(text, line.len + 1);
		line = view_trim(line);
		if (line.len && line.ptr[line.len - 1] == '\r')
			line.len--;
		ok = line.len == 0 || is_field(line);
		if (!ok) /* without the line: it may be a secret */
			str_printf(why, "'" VIEW_FMT "': line %u is no header field\n",
				   VIEW_ARG(s->conf.headers_file), n);
		if (line.len)
			str_printf(&fields, VIEW_FMT "\r\n", VIEW_ARG(line));
	}
	s->headers = arena_view(s->arena, str_as_view(&fields));
	str_fini(&fields);
	return ok;
}

static bool read_headers(struct tracer_settings *s, struct str *why)
{
	struct str text = STR_INIT, reason = STR_INIT;
	struct view path = s->conf.headers_file;
	if (!path.len)
		return true;
	bool ok = file_read(path.ptr, HEADERS_FILE_MAX, 0, &text, &reason) == ERR_OK;
	if (ok)
		ok = read_fields(s, str_as_view(&text), why);
	else
		str_printf(why, "'" VIEW_FMT "': cannot be read: " VIEW_FMT "\n", VIEW_ARG(path),
			   VIEW_ARG(str_as_view(&reason)));
	str_fini(&text);
	str_fini(&reason);
	return ok;
}

static bool make_tls(struct tracer_settings *s, struct fetcher *fetcher, struct str *why)
{
	if (!s->conf.endpoint.tls)
		return true;
	s->tls = fetch_tls_new(fetcher, &(struct fetch_tls_options){.ca = s->conf.ca}, why);
	if (!s->tls)
		str_char(why, '\n');
	return s->tls != NULL;
}

void tracer_settings_fini(struct tracer_settings *s)
{
	tls_client_put(s->tls);
	arena_free(s->arena);
	*s = (struct tracer_settings){.arena = NULL};
}

bool tracer_settings_make(struct tracer_settings *s, const struct conf_tracing *conf,
			  struct fetcher *fetcher, struct str *why)
{
	*s = (struct tracer_settings){
	    .arena = arena_new(),
	    .conf = *conf,
	    .headers = VIEW("Content-Type: application/json\r\n"),
	};
	s->conf.endpoint.text = arena_view(s->arena, conf->endpoint.text);
	s->conf.endpoint.host = arena_view(s->arena, conf->endpoint.host);
	s->conf.endpoint.path = arena_view(s->arena, conf->endpoint.path);
	s->conf.service = arena_view(s->arena, conf->service);
	s->conf.headers_file = arena_view(s->arena, conf->headers_file);
	s->conf.ca = arena_view(s->arena, conf->ca);
	if (read_headers(s, why) && make_tls(s, fetcher, why))
		return true;
	tracer_settings_fini(s);
	return false;
}
