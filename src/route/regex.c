/* SPDX-License-Identifier: MIT */
/* Regular expressions with a bound on their work: a match, none, or too much. */
#include "regex.h"

#include "weir/base/defs.h"

/*
 * PCRE2's own limit of 10 million steps lets one request hold up a worker for
 * a second.  100 000 steps are about a millisecond, far above any sane pattern.
 */
#define MATCH_LIMIT 100000
#define DEPTH_LIMIT 10000
#define HEAP_LIMIT_KIB 4096
#define JIT_STACK_FIRST (32 * 1024)
#define JIT_STACK_MAX (256 * 1024)

bool regex_scratch_init(struct regex_scratch *scratch)
{
	*scratch = (struct regex_scratch){
	    .context = pcre2_match_context_create(NULL),
	    .data = pcre2_match_data_create(REGEX_GROUPS, NULL),
	    .jit_stack = pcre2_jit_stack_create(JIT_STACK_FIRST, JIT_STACK_MAX, NULL),
	};
	if (!scratch->context || !scratch->data)
		return false;
	pcre2_set_match_limit(scratch->context, MATCH_LIMIT);
	pcre2_set_depth_limit(scratch->context, DEPTH_LIMIT);
	pcre2_set_heap_limit(scratch->context, HEAP_LIMIT_KIB);
	/* without JIT in the library there is no stack, and none is needed */
	if (scratch->jit_stack)
		pcre2_jit_stack_assign(scratch->context, NULL, scratch->jit_stack);
	return true;
}

void regex_scratch_fini(struct regex_scratch *scratch)
{
	pcre2_match_data_free(scratch->data);
	pcre2_match_context_free(scratch->context);
	pcre2_jit_stack_free(scratch->jit_stack);
	*scratch = (struct regex_scratch){0};
}

static void free_code(void *code)
{
	pcre2_code_free(code);
}

pcre2_code *regex_new(struct view pattern, bool fold, struct arena *arena, struct str *error)
{
	int number;
	PCRE2_SIZE offset;
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern.ptr, pattern.len,
					 PCRE2_DOLLAR_ENDONLY | (fold ? PCRE2_CASELESS : 0),
					 &number, &offset, NULL);
	if (!code) {
		char text[128];
		pcre2_get_error_message(number, (PCRE2_UCHAR *)text, sizeof(text));
		str_printf(error, "'" VIEW_FMT "' at offset %zu: %s", VIEW_ARG(pattern),
			   (size_t)offset, text);
		return NULL;
	}
	/* where executable memory is forbidden the interpreter does the same, slower */
	(void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
	arena_defer(arena, free_code, code);
	return code;
}

static int run(const pcre2_code *regex, struct regex_scratch *scratch, struct view subject,
	       uint32_t options)
{
	return pcre2_match(regex, (PCRE2_SPTR)subject.ptr, subject.len, 0, options, scratch->data,
			   scratch->context);
}

enum regex_result regex_match(const pcre2_code *regex, struct regex_scratch *scratch,
			      struct view subject)
{
	int rc = run(regex, scratch, subject, 0);
	if (unlikely(rc == PCRE2_ERROR_JIT_STACKLIMIT)) /* the interpreter has the heap */
		rc = run(regex, scratch, subject, PCRE2_NO_JIT);
	/* 0: more groups than data has room for, a match nevertheless */
	if (rc >= 0)
		return REGEX_YES;
	return rc == PCRE2_ERROR_NOMATCH ? REGEX_NO : REGEX_GAVE_UP;
}

/* A group as offsets; empty at 0 when it took no part. */
static void span_of(const struct regex_scratch *scratch, struct view subject, unsigned group,
		    size_t *from, size_t *to)
{
	const PCRE2_SIZE *pairs = pcre2_get_ovector_pointer(scratch->data);
	*from = pairs[2 * group];
	*to = pairs[2 * group + 1];
	/* \K in a lookahead can make a match end before it begins */
	if (*from == PCRE2_UNSET || *from > *to || *to > subject.len)
		*from = *to = 0;
}

void regex_span(const struct regex_scratch *scratch, struct view subject, size_t *from, size_t *to)
{
	span_of(scratch, subject, 0, from, to);
}

struct view regex_group(const struct regex_scratch *scratch, struct view subject, unsigned group)
{
	size_t from, to;
	span_of(scratch, subject, group, &from, &to);
	return view_of(subject.ptr + from, to - from);
}
