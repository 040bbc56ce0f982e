/* SPDX-License-Identifier: MIT */
/* The effective configuration. */
#include "env.h"
#include "node.h"
#include "type.h"
#include "weir/conf/conf.h"

static void dump(const struct conf *conf, bool masked, struct str *out,
		 void (*write)(const struct node *, struct str *))
{
	struct encoder e = {.arena = arena_new(), .conf = conf, .masked = masked};
	struct node *root = encode_map(&e, NULL, conf);
	env_escape(e.arena, root);
	if (conf->secrets.n)
		env_hide(&conf->secrets, e.arena, root);
	write(root, out);
	arena_free(e.arena);
}

void conf_dump_yaml(const struct conf *conf, struct str *out)
{
	dump(conf, false, out, node_write_yaml);
}

void conf_dump_json(const struct conf *conf, struct str *out)
{
	dump(conf, false, out, node_write_json);
}

void conf_show_yaml(const struct conf *conf, struct str *out)
{
	dump(conf, true, out, node_write_yaml);
}

void conf_show_json(const struct conf *conf, struct str *out)
{
	dump(conf, true, out, node_write_json);
}
