/* SPDX-License-Identifier: MIT */
/*
 * Puts templates together: their texts as they are, the values of their variables
 * escaped for the place where they go, so that nothing that a client sends ends a
 * field, a string or an element.
 *
 *   struct str out = str_fixed(room, sizeof(room));
 *   expand(template, ESCAPE_FIELD, &source, &out);
 *   if (out.overflow) ...
 *
 * No memory is taken.  Thread: any.
 */
#ifndef WEIR_ROUTE_EXPAND_H
#define WEIR_ROUTE_EXPAND_H

#include "weir/base/str.h"
#include "weir/conf/template.h"

enum escape {
	ESCAPE_FIELD, /* header fields: control bytes become spaces */
	/*
	 * URIs: what may not stand there is percent-encoded, and of header fields,
	 * cookies and certificates everything that has a meaning there, too.  A path
	 * begins with a slash.
	 */
	ESCAPE_URI,
	ESCAPE_TEXT, /* plain text: as header fields, but line ends pass */
	/* between the quotes of a JSON or JavaScript string, also inside of HTML */
	ESCAPE_JSON,
	ESCAPE_HTML, /* elements and quoted attributes of HTML and XML */
};

/* Of a body of that type. */
enum escape escape_of(struct view content_type);

/* Room for a value that is put together: an address, a time, a number. */
#define EXPAND_ROOM 64

/* Who knows what variables stand for; embed it. */
struct expand_source {
	/* The value, perhaps in `room`; valid until the next call.  Empty: there is none. */
	struct view (*get)(const struct expand_source *source, const struct variable *variable,
			   char room[EXPAND_ROOM]);
};

void expand(const struct template *template, enum escape escape, const struct expand_source *source,
	    struct str *out);

/* One value, escaped. */
void expand_value(struct view value, const struct variable *variable, enum escape escape,
		  struct str *out);

#endif
