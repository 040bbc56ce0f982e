/* SPDX-License-Identifier: MIT */
/*
 * What names files: certificates, keys, users.  Whoever can read such files looks into them
 * (conf_set_checks); here is what can be said without.
 */
#include "finish.h"

static const struct conf_checks *checks;

void conf_set_checks(const struct conf_checks *with)
{
	checks = with;
}

struct sink {
	struct conf_sink base;
	struct decoder *d;
	struct node *map;
};

static void sink_say(struct conf_sink *base, enum conf_severity severity, const char *key,
		     const char *text)
{
	struct sink *sink = (struct sink *)base;
	struct node *node = node_get(sink->map, view_str(key));
	if (severity == CONF_ERROR)
		decode_error(sink->d, node ? node : sink->map, "%s", text);
	else
		decode_warning(sink->d, node ? node : sink->map, "%s", text);
}

void finish_certificate(struct decoder *d, const struct element *element)
{
	const struct conf_certificate *c = element->base;
	struct sink sink = {.base.say = sink_say, .d = d, .map = element->node};
	struct node *cert = node_get(element->node, VIEW("cert"));
	struct node *directory = node_get(element->node, VIEW("directory"));
	struct node *acme = node_get(element->node, VIEW("acme"));
	if (!!cert + !!directory + !!acme != 1)
		decode_error(d, element->node, "one of cert, directory and acme is needed");
	else if (directory && element->node->n > 1)
		decode_error(d, directory, "'directory' stands alone: its files are found by name");
	else if (acme && element->node->n > 1)
		decode_error(d, acme,
			     "'acme' stands alone: weir makes the key and keeps the files");
	else if (checks && (c->cert.len || c->directory.len))
		checks->certificate(c, &sink.base);
}

void finish_listener_tls(struct decoder *d, const struct element *element)
{
	const struct conf_listener_tls *tls = &((struct conf_listener *)element->base)->tls;
	struct node *map = node_get(element->node, VIEW("tls"));
	struct sink sink = {.base.say = sink_say, .d = d, .map = map};
	if (!tls->on || !map || map->kind != NODE_MAP)
		return;
	struct node *auth = node_get(map, VIEW("client_auth"));
	struct node *ca = node_get(map, VIEW("client_ca"));
	struct node *crl = node_get(map, VIEW("client_crl"));
	if (tls->client_auth != CONF_CLIENT_NONE && !ca)
		decode_error(d, auth, "client_auth needs client_ca");
	if (tls->client_auth == CONF_CLIENT_NONE && (ca || crl))
		decode_error(d, ca ? ca : crl,
			     "without client_auth nobody is asked for a certificate");
	if (checks)
		checks->listener_tls(tls, &sink.base);
}

void finish_client_tls(struct decoder *d, const struct conf_pool_tls *tls, struct node *map,
		       const char *who)
{
	struct sink sink = {.base.say = sink_say, .d = d, .map = map};
	if (!tls->on || !map || map->kind != NODE_MAP)
		return;
	struct node *key = node_get(map, VIEW("key"));
	if (key && !node_get(map, VIEW("cert")))
		decode_error(d, key, "key needs cert");
	if (!tls->verify && tls->ca.len)
		decode_error(d, node_get(map, VIEW("ca")),
			     "with 'verify: false' nobody looks at ca");
	else if (!tls->verify)
		decode_warning(d, map, "%s not verified: anybody on the way can pose as one", who);
	if (checks)
		checks->pool_tls(tls, &sink.base);
}

#ifdef WEIR_CRYPT
static const bool built_crypt = true;
#else
static const bool built_crypt = false;
#endif

void finish_basic(struct decoder *d, const struct conf_auth_basic *basic, struct node *auth)
{
	struct node *map = node_get(auth, VIEW("basic"));
	struct sink sink = {.base.say = sink_say, .d = d, .map = map};
	if (!basic->on || !map)
		return;
	if (!built_crypt)
		decode_error(d, map, "'auth.basic': this weir was built without libcrypt");
	else if (checks && checks->users && basic->file.len)
		checks->users(basic, &sink.base);
}
