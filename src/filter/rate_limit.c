/* SPDX-License-Identifier: MIT */
/*
 * rate_limit: no more requests of a key than its rate and burst allow (gcra.h).  Each
 * limit of a route is asked in turn; the first that has had enough answers.
 *
 * A request without a value of its key (no such cookie, a client without an address)
 * shares one count with all others who have none: to leave a field away is no way
 * around.  Values are hashed with a secret, so that nobody finds keys that meet.
 */
#include "weir/filter/rate_limit.h"

#include <stdlib.h>
#include <string.h>

#include "filters.h"
#include "gcra.h"
#include "offenders.h"
#include "quotas.h"

#include "weir/base/check.h"
#include "weir/base/defs.h"
#include "weir/base/hash.h"
#include "weir/base/hex.h"
#include "weir/base/list.h"
#include "weir/base/log.h"
#include "weir/base/rng.h"
#include "weir/route/source.h"
#include "weir/stats/counter.h"
#include "weir/stats/pack.h"

/* A dry run says so at most this often. */
#define DRY_LOG_US 10000000

/* What lives as long as any generation has the limit. */
struct rule {
	struct list link; /* control thread: in `rules` */
	unsigned refs;    /* control thread */
	uint64_t id;      /* of route, place and key */
	uint64_t salt;    /* of what is hashed: a limit that comes again begins anew */
	_Atomic uint64_t logged_us;
	struct offenders offenders;
	unsigned n_workers;
	struct rule_local {
		struct counter passed, refused;
	} CACHE_ALIGNED local[];
};

/* One limit of one route in one generation. */
struct limit {
	const struct conf_rate_limit *conf;
	struct gcra_limit gcra;
	struct rule *rule;
	uint64_t shared_id; /* the same at every node that has this limit */
	uint64_t salt;      /* of what is hashed here */
};

struct limits {
	size_t n;
	struct limit rows[];
};

static struct list rules; /* control thread; the oldest first */

/* ---- control thread ---- */

static bool applies(const struct conf_route *route)
{
	return route->rate_limits.n > 0;
}

static uint64_t id_of(const struct conf_route *route, size_t place)
{
	uint64_t id = hash_view(route->name, place);
	return hash_view(route->rate_limits.rows[place].key.text, id);
}

static struct rule *rule_find(uint64_t id)
{
	if (!rules.next)
		list_init(&rules);
	list_each (it, &rules) {
		struct rule *rule = list_entry(it, struct rule, link);
		if (rule->id == id)
			return rule;
	}
	return NULL;
}

static uint64_t n_made; /* rules so far: no two have the same salt; control thread */

static struct rule *rule_new(uint64_t id, unsigned n_workers)
{
	size_t size = sizeof(struct rule) + n_workers * sizeof(struct rule_local);
	struct rule *rule = aligned_alloc(WEIR_CACHE_LINE, size);
	check(rule != NULL);
	memset(rule, 0, size);
	rule->id = id;
	rule->salt = rng_entropy() + ++n_made;
	rule->n_workers = n_workers;
	list_push_back(&rules, &rule->link);
	return rule;
}

static struct rule *rule_get(const struct conf_route *route, size_t place, unsigned n_workers)
{
	uint64_t id = id_of(route, place);
	struct rule *rule = rule_find(id);
	if (!rule)
		rule = rule_new(id, n_workers);
	rule->refs++;
	return rule;
}

static void rule_put(struct rule *rule)
{
	if (--rule->refs)
		return;
	list_del(&rule->link);
	free(rule);
}

static void release(void *state)
{
	struct limits *limits = state;
	for (size_t i = 0; i < limits->n; i++)
		rule_put(limits->rows[i].rule);
	free(limits);
}

static bool tables_ready(const struct conf *conf, const struct conf_route *route)
{
	bool shared = false;
	for (size_t i = 0; i < route->rate_limits.n; i++)
		shared |= route->rate_limits.rows[i].shared;
	return gcra_table_ready(conf->rate_limit_keys) && (!shared || quota_table_ready());
}

static void *build(const struct conf *conf, const struct conf_route *route, unsigned n_workers,
		   struct str *why)
{
	size_t n = route->rate_limits.n;
	if (!tables_ready(conf, route)) {
		str_text(why, "there is no memory for rate_limit_keys");
		return NULL;
	}
	struct limits *limits = calloc(1, sizeof(*limits) + n * sizeof(*limits->rows));
	check(limits != NULL);
	limits->n = n;
	for (size_t i = 0; i < n; i++) {
		const struct conf_rate_limit *cl = &route->rate_limits.rows[i];
		uint64_t interval = cl->rate.per_us * GCRA_UNITS_PER_US / cl->rate.n;
		struct limit *limit = &limits->rows[i];
		*limit = (struct limit){
		    .conf = cl,
		    .gcra = {.interval = interval, .burst = interval * cl->burst},
		    .shared_id =
			hash_bytes(&cl->rate, sizeof(cl->rate), id_of(route, i) ^ cl->burst),
		    .rule = rule_get(route, i, n_workers),
		};
		/* to others one that is changed is another: what is known of a key is of one */
		limit->salt = limit->rule->salt ^ (cl->shared ? limit->shared_id : 0);
	}
	return limits;
}

void rate_limits_of(const struct filter_set *set, const struct conf_route *route,
		    void (*each)(const struct rate_limit_view *view, void *arg), void *arg)
{
	const struct limits *limits = set->state[FILTER_rate_limit][route->index];
	for (size_t i = 0; limits && i < limits->n; i++) {
		struct rule *rule = limits->rows[i].rule;
		struct rate_limit_view view = {.route = route->name, .conf = limits->rows[i].conf};
		for (unsigned w = 0; w < rule->n_workers; w++) {
			view.passed += counter_get(&rule->local[w].passed);
			view.refused += counter_get(&rule->local[w].refused);
		}
		view.n_offenders = offenders_read(&rule->offenders, view.offenders);
		each(&view, arg);
	}
}

static const struct counter_field rule_fields[] = {
    {"passed", offsetof(struct rule_local, passed)},
    {"refused", offsetof(struct rule_local, refused)},
};

static struct counter_rows rows_of(struct rule *rule)
{
	return (struct counter_rows){.fields = rule_fields,
				     .n_fields = ARRAY_LEN(rule_fields),
				     .first = rule->local,
				     .stride = sizeof(rule->local[0]),
				     .n = rule->n_workers};
}

void rate_limits_pack(struct str *out)
{
	if (!rules.next)
		return;
	list_each (it, &rules) {
		struct rule *rule = list_entry(it, struct rule, link);
		struct counter_rows rows = rows_of(rule);
		counter_rows_pack_block(out, rule->id, &rows);
	}
}

static struct counter_rows find_rows(uint64_t id)
{
	struct rule *rule = rule_find(id);
	return rule ? rows_of(rule) : (struct counter_rows){0};
}

void rate_limits_unpack(struct unpack *in)
{
	counter_rows_unpack_blocks(in, find_rows);
}

size_t rate_limits_bytes(void)
{
	return gcra_table_bytes();
}

/* ---- workers ---- */

struct taken {
	uint64_t hash;
	struct view text;       /* who it is, for people */
	char room[SOURCE_ROOM]; /* of `text` */
};

/* An address or a name is shown, what may be a secret only told apart. */
static void describe(struct filter_call *call, const struct conf_key_source *source,
		     struct view value, uint64_t hash, struct str *out)
{
	char text[ADDR_IP_TEXT_MAX], digits[16];
	if (out->len)
		str_char(out, '+');
	if (!value.len) {
		str_text(out, "(no value)"); /* a host may be called "none" */
	} else if (source->on == CONF_HASH_CLIENT_IP) {
		str_view(out, view_of(text, addr_format_ip(call->client, text)));
	} else if (source->on == CONF_HASH_PATH || source->on == CONF_HASH_HOST) {
		str_view(out, view_head(value, OFFENDER_TEXT_MAX));
	} else {
		hex_u64(hash, digits);
		str_view(out, view_of("#", 1));
		str_view(out, view_of(digits, 8));
	}
}

typedef uint64_t hash_fn(const void *data, size_t len);

/* A request at all limits of its route: what has to be decoded is decoded once. */
struct asked {
	struct filter_call *call;
	bool has_path, has_uri;
	struct view path, uri;
	char path_room[SOURCE_ROOM], uri_room[SOURCE_ROOM];
};

static struct view path_of(struct asked *a, const struct conf_key_source *source)
{
	if (!a->has_path)
		a->path = source_text(source->on, source->name, a->call->client, a->call->msg,
				      a->path_room);
	a->has_path = true;
	return a->path;
}

static struct view uri_of(struct asked *a)
{
	if (!a->has_uri)
		a->uri = source_uri(a->call->msg, a->uri_room);
	a->has_uri = true;
	return a->uri;
}

/* What it is to a limit, in whatever way it is written. */
static struct view text_of(struct asked *a, const struct conf_key_source *source,
			   char room[SOURCE_ROOM])
{
	switch (source->on) {
	case CONF_HASH_URI:
		return uri_of(a);
	case CONF_HASH_PATH:
		return path_of(a, source);
	default:
		return source_text(source->on, source->name, a->call->client, a->call->msg, room);
	}
}

/* `out` NULL: nobody will read who it is. */
static inline uint64_t hash_key(struct asked *a, const struct conf_limit_key *key, uint64_t salt,
				hash_fn *hash, struct str *out)
{
	uint64_t parts[1 + CONF_LIMIT_KEY_MAX];
	char room[SOURCE_ROOM];
	parts[0] = salt;
	for (size_t i = 0; i < key->n; i++) {
		const struct conf_key_source *source = &key->rows[i];
		struct view value = text_of(a, source, room);
		parts[1 + i] = value.len ? hash(value.ptr, value.len) : 0;
		if (out)
			describe(a->call, source, value, parts[1 + i], out);
	}
	return hash(parts, (1 + key->n) * sizeof(parts[0]));
}

static uint64_t key_of(struct asked *a, const struct limit *limit, struct str *out)
{
	return hash_key(a, &limit->conf->key, limit->salt, gcra_hash, out);
}

static uint64_t known_hash(const void *data, size_t len)
{
	static const uint8_t known[SIPHASH_KEY_LEN] = "weir shared key";
	return siphash64(known, data, len);
}

/*
 * What the key is called among nodes.  The hash is no secret: who finds two values that
 * meet has spent 2^32 tries to share one count between them.
 */
static uint64_t name_of(struct asked *a, const struct limit *limit)
{
	return hash_key(a, &limit->conf->key, limit->shared_id, known_hash, NULL);
}

/* A part of the limit, which others have as well (weir/filter/quota.h). */
static bool take_shared(struct asked *a, const struct limit *limit, uint64_t key,
			struct gcra_result *result)
{
	struct quota *quota = quota_find(key);
	if (!quota)
		quota = quota_claim(key, name_of(a, limit), &limit->gcra);
	struct gcra_limit mine = quota_limit(&limit->gcra, quota_part(quota));
	bool taken = gcra_take(key, &mine, a->call->now_us, result);
	if (quota)
		quota_note(quota, taken, a->call->now_us);
	return taken;
}

static bool take(struct asked *a, const struct limit *limit, struct gcra_result *result)
{
	uint64_t key = key_of(a, limit, NULL);
	if (unlikely(limit->conf->shared))
		return take_shared(a, limit, key, result);
	return gcra_take(key, &limit->gcra, a->call->now_us, result);
}

static void note(struct asked *a, const struct limit *limit)
{
	struct filter_call *call = a->call;
	struct rule *rule = limit->rule;
	char room[2 * OFFENDER_TEXT_MAX];
	struct str who = str_fixed(room, sizeof(room));
	uint64_t key = key_of(a, limit, &who);
	counter_add(&rule->local[call->worker].refused, 1);
	offenders_note(&rule->offenders, key, str_as_view(&who), call->now_us);
	if (!limit->conf->dry_run)
		return;
	uint64_t last = atomic_load_explicit(&rule->logged_us, memory_order_relaxed);
	if ((last && call->now_us - last < DRY_LOG_US) ||
	    !atomic_compare_exchange_strong(&rule->logged_us, &last, call->now_us))
		return;
	log_warn("route " VIEW_FMT ": rate_limit " VIEW_FMT
		 " (dry run) would refuse requests of " VIEW_FMT,
		 VIEW_ARG(call->route->name), VIEW_ARG(limit->conf->key.text),
		 VIEW_ARG(str_as_view(&who)));
}

static uint64_t seconds(uint64_t us)
{
	return us / 1000000 + (us % 1000000 != 0);
}

/* RFC 9110 10.2.3; RateLimit is draft-ietf-httpapi-ratelimit-headers. */
static void refuse(struct filter_call *call, const struct limit *limit,
		   const struct gcra_result *result)
{
	const struct conf_rate_limit *conf = limit->conf;
	uint64_t wait = seconds(result->wait_us);
	filter_answer_begin(call, conf->status, NULL);
	filter_answer_field(call, HDR_RETRY_AFTER, "Retry-After", "%llu",
			    (unsigned long long)(wait ? wait : 1));
	filter_answer_field(
	    call, HDR_OTHER, "RateLimit-Policy", "\"" VIEW_FMT "\";q=%u;w=%llu",
	    VIEW_ARG(conf->key.label), conf->burst,
	    (unsigned long long)seconds(conf->burst * limit->gcra.interval / GCRA_UNITS_PER_US));
	filter_answer_field(call, HDR_OTHER, "RateLimit", "\"" VIEW_FMT "\";r=%llu;t=%llu",
			    VIEW_ARG(conf->key.label), (unsigned long long)result->left,
			    (unsigned long long)seconds(result->reset_us));
}

static enum filter_verdict request(struct filter_call *call)
{
	const struct limits *limits = call->state;
	struct asked asked;
	asked.call = call;
	asked.has_path = asked.has_uri = false;
	for (size_t i = 0; i < limits->n; i++) {
		const struct limit *limit = &limits->rows[i];
		struct gcra_result result;
		if (take(&asked, limit, &result)) {
			counter_add(&limit->rule->local[call->worker].passed, 1);
			continue;
		}
		note(&asked, limit);
		if (limit->conf->dry_run)
			continue;
		refuse(call, limit, &result);
		return FILTER_ANSWER;
	}
	return FILTER_GO_ON;
}

const struct filter filter_rate_limit = {
    FILTER_ROW(rate_limit), .applies = applies, .build = build,
    .release = release,     .request = request,
};
