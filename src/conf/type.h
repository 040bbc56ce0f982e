/* SPDX-License-Identifier: MIT */
/*
 * The types of directives: how a value is read into its member, written back,
 * and described.  A row of tbl/directives.def names one of them.
 *
 *   decode   node -> member; reports what is wrong and leaves the member alone
 *   encode   member -> node; NULL when there is nothing to show
 *   schema   members of a JSON Schema object
 *   bound    min and max of a row as users write them
 *
 * `base` is the struct of the innermost list element (or struct conf).
 */
#ifndef WEIR_CONF_TYPE_H
#define WEIR_CONF_TYPE_H

#include "decode.h"
#include "node.h"
#include "row.h"
#include "weir/base/json.h"

/* What of a value may be a secret, and is not shown (mask.c). */
enum conf_secret {
	SECRET_NONE,  /* names, addresses, files, words, numbers */
	SECRET_VALUE, /* each text in it; not the keys of a map */
	SECRET_QUERY, /* the query of a URL, and who logs in there */
};

struct conf_type {
	const char *syntax; /* "a duration such as 250ms, 2s or 1m" */
	void (*decode)(struct decoder *d, const struct row *row, struct node *node, void *base);
	struct node *(*encode)(struct encoder *e, const struct row *row, const void *base);
	void (*schema)(struct json *j, const struct row *row);
	void (*bound)(struct str *out, uint64_t value);
	/* what the manual says about the words of a row, in mdoc; or NULL */
	void (*explain)(struct str *out, const struct row *row);
	/* texts, lists and maps of texts: reports and returns false when bad */
	bool (*check_name)(struct decoder *d, const struct node *node);
	bool (*check_text)(struct decoder *d, const struct node *node);
	const char *pattern; /* of such a text, for the schema; or NULL */
	enum conf_secret secret;
	bool has_variables; /* values are templates, of what is known until then */
	enum variable_when until;
	bool names_fold;  /* names in maps have no case */
	bool takes_regex; /* a value may be {regex: ...} */
	bool dollars;     /* see struct template_rules */
	bool is_plain;    /* values are JSON as they stand: numbers, true and false */
};

/* Names of pools: they stand in paths of the API and in POOL/BACKEND. */
#define NAME_PATTERN "^[A-Za-z0-9._-]{1,64}$"

/* type_tree.c */
extern const struct conf_type conf_type_section;
extern const struct conf_type conf_type_switched;
extern const struct conf_type conf_type_list;
extern const struct conf_type conf_type_named;
extern const struct conf_type conf_type_later;

/* type_number.c */
extern const struct conf_type conf_type_count;
extern const struct conf_type conf_type_count_auto;
extern const struct conf_type conf_type_boolean;
extern const struct conf_type conf_type_duration;
extern const struct conf_type conf_type_bytes;
extern const struct conf_type conf_type_percent;
extern const struct conf_type conf_type_fraction;
extern const struct conf_type conf_type_mode;

/* type_word.c */
extern const struct conf_type conf_type_choice;
extern const struct conf_type conf_type_code;
extern const struct conf_type conf_type_words;
extern const struct conf_type conf_type_strategy;

/* type_text.c */
extern const struct conf_type conf_type_text;
extern const struct conf_type conf_type_line;
extern const struct conf_type conf_type_name;
extern const struct conf_type conf_type_realm;
extern const struct conf_type conf_type_email;
extern const struct conf_type conf_type_file;
extern const struct conf_type conf_type_socket_file;
extern const struct conf_type conf_type_output;
extern const struct conf_type conf_type_scheme;
extern const struct conf_type conf_type_path;
extern const struct conf_type conf_type_regex;
extern const struct conf_type conf_type_replacement;
extern const struct conf_type conf_type_authority;
extern const struct conf_type conf_type_redirect;
extern const struct conf_type conf_type_body;
extern const struct conf_type conf_type_rewritten_host;
extern const struct conf_type conf_type_header_name;
extern const struct conf_type conf_type_header_value;
extern const struct conf_type conf_type_request_target;
extern const struct conf_type conf_type_host_field;

/* type_list.c */
extern const struct conf_type conf_type_hosts;
extern const struct conf_type conf_type_site_names;
extern const struct conf_type conf_type_media_types;
extern const struct conf_type conf_type_methods;
extern const struct conf_type conf_type_header_names;
extern const struct conf_type conf_type_header_pairs;
extern const struct conf_type conf_type_request_fields;
extern const struct conf_type conf_type_response_fields;
extern const struct conf_type conf_type_header_matches;
extern const struct conf_type conf_type_query_matches;
extern const struct conf_type conf_type_cookie_matches;
extern const struct conf_type conf_type_listener_names;
extern const struct conf_type conf_type_include;

/* template_in.c: a value with variables; reports and returns false when bad */
bool decode_template(struct decoder *d, const struct conf_type *type, struct node *node,
		     struct conf_text *out);

/* type_endpoint.c */
extern const struct conf_type conf_type_endpoint;
extern const struct conf_type conf_type_peer; /* host:port; the text, host and port of one */

/* type_address.c */
extern const struct conf_type conf_type_address;
extern const struct conf_type conf_type_addresses;
extern const struct conf_type conf_type_networks;
extern const struct conf_type conf_type_place;
extern const struct conf_type conf_type_name_servers;
extern const struct conf_type conf_type_urls;
extern const struct conf_type conf_type_service_name;

/* type_check.c */
extern const struct conf_type conf_type_check;
extern const struct conf_type conf_type_statuses;

/* type_pool.c */
extern const struct conf_type conf_type_pool_ref;
extern const struct conf_type conf_type_split;

/* type_hash.c */
extern const struct conf_type conf_type_hash_source;
extern const struct conf_type conf_type_client_source;

/* type_log.c */
extern const struct conf_type conf_type_log_fields;

/* type_page.c */
extern const struct conf_type conf_type_page_file;
extern const struct conf_type conf_type_error_file;

/* type_limit.c */
extern const struct conf_type conf_type_limit_key;
extern const struct conf_type conf_type_rate;

/* type_delay.c */
extern const struct conf_type conf_type_delay;

/* type_sticky.c */
extern const struct conf_type conf_type_cookie_name;
extern const struct conf_type conf_type_key_file;

/* mask.c: a copy of what `row` is encoded to */
struct node *mask_node(struct encoder *e, const struct row *row, struct node *node);

/* ---- for the types themselves ---- */

static inline void *member_of(const struct row *row, void *base)
{
	return (char *)base + row->offset;
}

static inline const void *member_in(const struct row *row, const void *base)
{
	return (const char *)base + row->offset;
}

/* Stores into an unsigned member of 1, 2, 4 or 8 bytes. */
void member_store(const struct row *row, void *base, uint64_t value);
uint64_t member_load(const struct row *row, const void *base);

/* Reports unless node is a scalar with something in it. */
bool want_scalar(struct decoder *d, const struct row *row, const struct node *node);
void wrong_shape(struct decoder *d, const struct row *row, const struct node *node);
/* Reports unless min <= value <= max. */
bool want_range(struct decoder *d, const struct row *row, const struct node *node, uint64_t value);
/* "One of a, b, c." in mdoc. */
void explain_words(struct str *out, const char *intro, const char *words);
/* client-ip, header:NAME, ...; false when it is none.  `name` borrows. */
bool source_parse(struct view text, struct conf_key_source *out);
/* A regular expression without anchors that says the same. */
extern const char source_pattern[];
/* "'x' is not one of a, b, c" with a hint. */
void not_a_word(struct decoder *d, const struct node *node, const char *words);

/* The members of an object schema for the keys below `parent` (NULL: the file). */
void schema_keys(struct json *j, const struct row *parent);
/* "type": name */
void schema_type(struct json *j, const char *name);
void schema_pattern(struct json *j, const char *pattern);
/* "enum" of words */
void schema_words(struct json *j, const char *words);

/* Elements of `{T *rows; size_t n;}` members. */
struct rows_member {
	void *rows;
	size_t n;
};

/* A path with what a shell would replace. */
void warn_of_shell(struct decoder *d, const struct node *node, struct view path);

#endif
