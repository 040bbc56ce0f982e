/* SPDX-License-Identifier: MIT */
/* The samples in conf/, and what is made of a configuration: its dumps, what a reload cannot do. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/report.h"
#include "conf/row.h"
#include "conf/type.h"
#include "conf/yaml.h"
#include "loaded.h"

/* ---- samples ---- */

static struct conf *load_sample(const char *name)
{
	char path[4096];
	struct conf_diags diags;
	struct str text = STR_INIT;
	snprintf(path, sizeof(path), WEIR_SOURCE_DIR "/conf/%s", name);
	conf_diags_init(&diags);
	struct conf *conf = conf_load(path, &diags);
	conf_diags_format(&diags, &text, false);
	cr_assert(conf != NULL && diags.n == 0, "%s", text.ptr);
	str_fini(&text);
	conf_diags_fini(&diags);
	return conf;
}

Test(conf_samples, all_load_and_survive_a_dump)
{
	expect_stable(load_sample("weir.yaml"), "weir.yaml");
	expect_stable(load_sample("typical.yaml"), "typical.yaml");
	expect_stable(load_sample("reference.yaml"), "reference.yaml");
}

#define NODES_MAX 16

/* Values of the key in all of the maps, those of lists and names taken apart. */
static size_t values_of(const struct row *row, struct node *const *maps, size_t n_maps,
			struct node **values)
{
	size_t n = 0;
	bool apart = row->type == &conf_type_list || row->type == &conf_type_named;
	for (size_t i = 0; i < n_maps; i++) {
		struct node *value = node_get(maps[i], row_key(row));
		if (value && !apart)
			values[n++] = value;
		for (struct node_item *it = value && apart ? value->items : NULL; it; it = it->next)
			values[n++] = it->value;
		cr_assert(n < NODES_MAX);
	}
	return n;
}

static size_t count_missing(const struct row *parent, struct node *const *maps, size_t n_maps)
{
	size_t n = 0;
	for (const struct row *r = row_first(parent); r; r = row_next(r)) {
		struct node *values[NODES_MAX];
		if (!row_is_supported(r))
			continue;
		size_t n_values = values_of(r, maps, n_maps, values);
		if (!n_values) {
			fprintf(stderr, "conf/reference.yaml lacks %s\n", r->path);
			n++;
		}
		n += count_missing(r, values, n_values);
	}
	return n;
}

Test(conf_samples, reference_has_every_supported_key)
{
	char *file = calloc(1, 65536);
	int fd = open(WEIR_SOURCE_DIR "/conf/reference.yaml", O_RDONLY);
	cr_assert(fd >= 0 && read(fd, file, 65535) > 1000);
	close(fd);
	struct conf_diags diags;
	struct report report;
	struct arena *arena = arena_new();
	conf_diags_init(&diags);
	report_init(&report, &diags, view_str(file), "reference.yaml");
	struct node *root = yaml_read(&report, arena, view_str(file));
	cr_assert_not_null(root);
	cr_assert_eq(count_missing(NULL, &root, 1), 0);
	arena_free(arena);
	conf_diags_fini(&diags);
	free(file);
}

Test(conf_samples, typical_is_understood)
{
	struct conf *conf = load_sample("typical.yaml");
	cr_assert_eq(conf->n_pools, 3);
	cr_assert_eq(conf->n_routes, 4);
	cr_assert_eq(conf->routes[2].n_split, 2);
	cr_assert_eq(conf->routes[2].split[0].share, 95);
	cr_assert(!conf->pools[2].retry.on);
	conf_free(conf);
}

/* ---- JSON ---- */

Test(conf_dump, json_has_types)
{
	struct conf *conf = load(BASE "workers: 2\nlog: {access: {sample: 0.5}}\n");
	struct str json = STR_INIT;
	conf_dump_json(conf, &json);
	cr_expect(strstr(json.ptr, "\"workers\": 2,"));
	cr_expect(strstr(json.ptr, "\"shutdown_timeout\": \"30s\","));
	cr_expect(strstr(json.ptr, "\"sample\": 0.5,"));
	cr_expect(strstr(json.ptr, "\"errors_only\": false"));
	cr_expect(strstr(json.ptr, "\"body_bytes\": 0"));
	cr_expect(strstr(json.ptr, "\"path\": \"off\","));
	/* JSON is YAML */
	expect_stable(load(json.ptr), "JSON");
	str_fini(&json);
	conf_free(conf);
}

Test(conf_restart, names_what_a_reload_cannot_change)
{
	struct conf *now = load(BASE "workers: 2\nstatus: {bind: 127.0.0.1:1}\n");
	struct conf *same =
	    load(BASE "workers: 2\nstatus: {bind: 127.0.0.1:1}\nlog: {level: warn}\n");
	struct conf *next = load(BASE "workers: 3\nuser: me\nsplice_pipes: 1\n");
	struct str names = STR_INIT;
	cr_assert(!conf_needs_restart(now, same, &names));
	cr_assert_eq(names.len, 0);
	cr_assert(conf_needs_restart(now, next, &names));
	cr_assert_str_eq(names.ptr, "workers, user, splice_pipes");
	str_fini(&names);
	conf_free(now);
	conf_free(same);
	conf_free(next);
}
