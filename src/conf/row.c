/* SPDX-License-Identifier: MIT */
/*
 * The rows are constant data; the tree is worked out once from their paths, so
 * that nobody has to keep a second list in step.
 */
#include "row.h"

#include <pthread.h>

#include "finish.h"
#include "type.h"
#include "weir/base/check.h"
#include "weir/conf/conf.h"

#define RELOAD 0
#define RESTART ROW_RESTART
#define REQUIRED ROW_REQUIRED
#define REQUIRED_LIST .flags = ROW_REQUIRED
#define MS(n) (UINT64_C(1000) * (n))
#define DAYS(n) (UINT64_C(86400000000) * (n))
#define KIB(n) (UINT64_C(1024) * (n))
#define MIB(n) (UINT64_C(1048576) * (n))
#define GIB(n) (UINT64_C(1073741824) * (n))
#define WORDS(text) .words = (text)
#define SHOWN(text) .shown = (text)
#define AUX(scope, member) .aux = offsetof(struct scope, member)
#define FINISH(fn) .finish = (fn)
#define ACTION(value) .is_action = true, .action = (value)

#define MEMBER(scope, member_)                                                                   \
	.offset = offsetof(struct scope, member_), .size = sizeof(((struct scope *)0)->member_), \
	.element_size = sizeof(struct scope)

static const struct row rows[] = {
#define DIRECTIVE(path_, type_, scope, member, default_, min_, max_, when, help_, ...) \
	{.path = (path_),                                                              \
	 .type = &conf_type_##type_,                                                   \
	 MEMBER(scope, member),                                                        \
	 .def = (default_),                                                            \
	 .min = (min_),                                                                \
	 .max = (max_),                                                                \
	 .flags = (when),                                                              \
	 .help = (help_),                                                              \
	 __VA_ARGS__},
#define SECTION(path_, help_, ...) \
	{.path = (path_), .type = &conf_type_section, .help = (help_), __VA_ARGS__},
#define SWITCHED(path_, scope, member, help_) \
	{.path = (path_), .type = &conf_type_switched, MEMBER(scope, member), .help = (help_)},
#define OPTIONAL(path_, scope, member, help_) \
	{.path = (path_),                     \
	 .type = &conf_type_switched,         \
	 MEMBER(scope, member),               \
	 .def = "off",                        \
	 .help = (help_)},
#define LIST(path_, scope, member, help_, ...) \
	{.path = (path_),                      \
	 .type = &conf_type_list,              \
	 MEMBER(scope, member),                \
	 .help = (help_),                      \
	 __VA_ARGS__},
#define NAMED(path_, scope, member, help_, ...) \
	{.path = (path_),                       \
	 .type = &conf_type_named,              \
	 MEMBER(scope, member),                 \
	 .help = (help_),                       \
	 __VA_ARGS__},
#define LATER(path_, accepted, help_) \
	{.path = (path_), .type = &conf_type_later, .words = (accepted), .help = (help_)},
#include "weir/tbl/directives.def"
};

#define N_ROWS ARRAY_LEN(rows)

static struct {
	const struct row *parent, *first, *last, *next;
	struct view key;
} tree[N_ROWS];
static const struct row *top_first, *top_last;
static pthread_once_t tree_once = PTHREAD_ONCE_INIT;

static const struct row *find_path(struct view path)
{
	for (size_t i = 0; i < N_ROWS; i++)
		if (view_eq(view_str(rows[i].path), path))
			return &rows[i];
	return NULL;
}

/* "pools.*.backends[].name" -> "pools.*.backends"; no dot: the empty view */
static struct view parent_path(struct view path)
{
	while (path.len && path.ptr[path.len - 1] != '.')
		path.len--;
	if (path.len)
		path.len--;
	if (view_ends(path, VIEW("[]")) || view_ends(path, VIEW(".*")))
		path.len -= 2;
	return path;
}

const struct row *row_find(const char *path)
{
	return find_path(view_str(path));
}

static void tree_add(size_t i)
{
	struct view path = view_str(rows[i].path), up = parent_path(path);
	const struct row *parent = find_path(up), *self = &rows[i];
	check(parent || up.len == 0);
	size_t dot = path.len;
	while (dot && path.ptr[dot - 1] != '.')
		dot--;
	tree[i].key = view_skip(path, dot);
	tree[i].parent = parent;
	const struct row **first = parent ? &tree[parent - rows].first : &top_first;
	const struct row **last = parent ? &tree[parent - rows].last : &top_last;
	if (*last)
		tree[*last - rows].next = self;
	else
		*first = self;
	*last = self;
}

static void tree_build(void)
{
	for (size_t i = 0; i < N_ROWS; i++)
		tree_add(i);
}

const struct row *row_first(const struct row *parent)
{
	pthread_once(&tree_once, tree_build);
	return parent ? tree[parent - rows].first : top_first;
}

const struct row *row_next(const struct row *row)
{
	pthread_once(&tree_once, tree_build);
	return tree[row - rows].next;
}

const struct row *row_parent(const struct row *row)
{
	pthread_once(&tree_once, tree_build);
	return tree[row - rows].parent;
}

struct view row_key(const struct row *row)
{
	pthread_once(&tree_once, tree_build);
	return tree[row - rows].key;
}

size_t row_element_size(const struct row *row)
{
	const struct row *child = row_first(row);
	while (child && !child->element_size)
		child = row_next(child);
	check(child);
	return child->element_size;
}

size_t row_index(const struct row *row)
{
	return (size_t)(row - rows);
}

size_t row_count(void)
{
	return N_ROWS;
}

const struct row *row_at(size_t index)
{
	return &rows[index];
}

bool row_is_supported(const struct row *row)
{
	return row->type != &conf_type_later;
}

bool row_next_word(const char **rest, struct view *word)
{
	if (!*rest || !**rest)
		return false;
	size_t len = strcspn(*rest, "|");
	*word = view_of(*rest, len);
	*rest += len + ((*rest)[len] == '|');
	return true;
}

int row_word_index(const char *words, struct view word)
{
	struct view w;
	for (int i = 0; row_next_word(&words, &w); i++)
		if (view_eq(w, word))
			return i;
	return -1;
}
