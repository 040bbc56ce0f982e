/* SPDX-License-Identifier: MIT */
/* Configurations out of texts, and whether what is dumped of them loads to the same. */
#ifndef TESTS_UNIT_CONF_LOADED_H
#define TESTS_UNIT_CONF_LOADED_H

#include <criterion/criterion.h>
#include <string.h>

#include "weir/conf/conf.h"

#define BASE                                \
	"listeners: [{bind: 0.0.0.0:80}]\n" \
	"pools: {app: {backends: [10.0.0.1:80]}}\n"

static inline struct conf *load_named(const char *yaml, const char *name)
{
	struct conf_diags diags;
	struct str text = STR_INIT;
	conf_diags_init(&diags);
	struct conf *conf = conf_load_text(view_str(yaml), name, &diags);
	conf_diags_format(&diags, &text, false);
	cr_assert(conf != NULL && diags.n == 0, "%s", text.ptr);
	str_fini(&text);
	conf_diags_fini(&diags);
	return conf;
}

static inline struct conf *load(const char *yaml)
{
	return load_named(yaml, "/etc/weir/weir.yaml");
}

static inline bool says(struct view v, const char *text)
{
	return view_eq(v, view_str(text));
}

/* load(dump(conf)) dumps the same bytes; `conf` is freed. */
static inline void expect_stable(struct conf *conf, const char *what)
{
	struct str first = STR_INIT, second = STR_INIT;
	conf_dump_yaml(conf, &first);
	struct conf *again = load_named(first.ptr, "/elsewhere/weir.yaml");
	conf_dump_yaml(again, &second);
	cr_expect(strcmp(first.ptr, second.ptr) == 0, "%s:\n%s\n---\n%s", what, first.ptr,
		  second.ptr);
	conf_free(conf);
	conf_free(again);
	str_fini(&first);
	str_fini(&second);
}

#endif
