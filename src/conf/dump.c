/* SPDX-License-Identifier: MIT */
/*
 * The effective configuration.  No value is secret itself: keys and tokens
 * stand in files, and only their paths are shown.
 */
#include "node.h"
#include "type.h"
#include "weir/conf/conf.h"

static void dump(const struct conf *conf, struct str *out,
		 void (*write)(const struct node *, struct str *))
{
	struct encoder e = {.arena = arena_new(), .conf = conf};
	write(encode_map(&e, NULL, conf), out);
	arena_free(e.arena);
}

void conf_dump_yaml(const struct conf *conf, struct str *out)
{
	dump(conf, out, node_write_yaml);
}

void conf_dump_json(const struct conf *conf, struct str *out)
{
	dump(conf, out, node_write_json);
}
