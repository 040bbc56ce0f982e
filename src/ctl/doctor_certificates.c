/* SPDX-License-Identifier: MIT */
/*
 * weirctl doctor on certificates: when they expire, their shape, and whether
 * there is one for every host that a route names.
 */
#include "doctor.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "api.h"
#include "text.h"

#include "weir/base/view.h"

#define DAY_S 86400
#define NOTE_S (30 * DAY_S)
#define PROBLEM_S (7 * DAY_S)
#define RSA_BITS_MIN 2048

static const char *name_of(const json_t *c)
{
	return get_text(c, "file");
}

/* Its order says whether that is late: a problem of the status. */
static bool renews_itself(const struct doctor *d, const json_t *c)
{
	size_t i;
	json_t *site;
	json_array_foreach(json_object_get(d->certificates, "acme"), i,
			   site) if (strcmp(get_text(site, "file"), name_of(c)) == 0) return true;
	return false;
}

static void check_time(struct doctor *d, const json_t *c)
{
	struct tm tm = {0};
	const char *until = get_text(c, "not_after"), *from = get_text(c, "not_before");
	time_t now = time(NULL);
	if (strptime(until, "%Y-%m-%dT%H:%M:%S", &tm)) {
		double left_s = difftime(timegm(&tm), now);
		if (left_s < (renews_itself(d, c) ? 0 : NOTE_S))
			doctor_find(d, left_s < PROBLEM_S ? PROBLEM : NOTE,
				    "put a new one in its place and run weirctl reload",
				    "certificate %s %s %s", name_of(c),
				    left_s < 0 ? "expired" : "expires", until);
	}
	if (strptime(from, "%Y-%m-%dT%H:%M:%S", &tm) && difftime(timegm(&tm), now) > 0)
		doctor_find(d, PROBLEM,
			    "clients refuse it until then: keep the old one, or mend the clock",
			    "certificate %s is not valid before %s", name_of(c), from);
}

static void check_chain(struct doctor *d, const json_t *c)
{
	const char *chain = get_text(c, "chain");
	if (strcmp(chain, "incomplete") == 0)
		doctor_find(
		    d, NOTE,
		    "append the intermediate certificates to the file; if the issuer is your "
		    "own authority, clients must know it",
		    "certificate %s is alone in its file, and its issuer %s is no root that "
		    "clients know",
		    name_of(c), get_text(c, "issuer"));
	else if (strcmp(chain, "self-signed") == 0 && !renews_itself(d, c))
		doctor_find(d, NOTE, "fine for tests; elsewhere get one from an authority",
			    "certificate %s is signed by itself: no client trusts it", name_of(c));
}

/* "RSA 1024" */
static void check_key(struct doctor *d, const json_t *c)
{
	const char *type = get_text(c, "key_type");
	if (strncmp(type, "RSA ", 4) == 0 && atoi(type + 4) < RSA_BITS_MIN)
		doctor_find(d, PROBLEM, "get one with an ECDSA P-256 key, or RSA of 2048 bits",
			    "certificate %s has a weak key: %s", name_of(c), type);
}

static void check_shape(struct doctor *d, const json_t *c)
{
	const json_t *names = json_object_get(c, "names");
	const char *ocsp = get_text(c, "ocsp");
	if (json_is_array(names) && json_array_size(names) == 0)
		doctor_find(d, PROBLEM, "get one with the names in subjectAltName",
			    "certificate %s names no host: no client accepts it", name_of(c));
	if (strcmp(ocsp, "revoked") == 0)
		doctor_find(d, PROBLEM, "put a new one in its place: clients refuse this one",
			    "certificate %s is revoked", name_of(c));
	else if (strcmp(ocsp, "expired") == 0)
		doctor_find(d, NOTE, "renew the file of the response and run weirctl reload",
			    "the OCSP response for certificate %s is out of date, and not stapled",
			    name_of(c));
	check_chain(d, c);
	check_key(d, c);
}

/* ---- a name for every host ---- */

/* As clients do it: a star stands for one label. */
static bool covers(const char *pattern, const char *host)
{
	const char *dot = strchr(host, '.');
	if (strncmp(pattern, "*.", 2) == 0)
		return dot && strcasecmp(pattern + 1, dot) == 0;
	return strcasecmp(pattern, host) == 0;
}

static bool is_covered(const struct doctor *d, const char *host)
{
	size_t i, k;
	json_t *c, *name;
	json_array_foreach(json_object_get(d->certificates, "certificates"), i, c)
	    json_array_foreach(json_object_get(c, "names"), k,
			       name) if (json_is_string(name) &&
					 covers(json_string_value(name), host)) return true;
	return false;
}

static void check_host(struct doctor *d, const json_t *route, const json_t *host)
{
	const char *name = json_string_value(host);
	if (!name || is_covered(d, name))
		return;
	doctor_find(d, NOTE, "get one that names it, unless it is asked for without TLS only",
		    "route %s is for %s, but no certificate names that host",
		    get_text(route, "name"), name);
}

static void check_hosts(struct doctor *d)
{
	size_t i, k;
	json_t *route, *host;
	json_array_foreach(json_object_get(d->config, "routes"), i, route)
	{
		const json_t *hosts = json_object_get(json_object_get(route, "match"), "host");
		if (json_is_string(hosts))
			check_host(d, route, hosts);
		json_array_foreach(hosts, k, host) check_host(d, route, host);
	}
}

/* One file may serve several listeners, or names. */
static bool was_checked(const json_t *rows, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (strcmp(get_text(json_array_get(rows, k), "file"),
			   get_text(json_array_get(rows, i), "file")) == 0)
			return true;
	return false;
}

bool doctor_knows_certificate(const char *problem)
{
	return strncmp(problem, "certificate ", 12) == 0 && strstr(problem, " expires in ");
}

void doctor_certificates(struct doctor *d)
{
	const json_t *rows = json_object_get(d->certificates, "certificates");
	size_t i;
	json_t *c;
	json_array_foreach(rows, i, c)
	{
		if (was_checked(rows, i))
			continue;
		check_time(d, c);
		check_shape(d, c);
	}
	if (json_array_size(rows))
		check_hosts(d);
}
