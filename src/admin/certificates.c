/* SPDX-License-Identifier: MIT */
/* Certificates in use: GET /v1/certificates, metrics, and problems before they expire. */
#include "certificates.h"

#include <time.h>

#include "api.h"

#include "weir/acme/acme.h"

#define DAY_S 86400
/* Early enough for an operator who comes back from a holiday. */
#define EXPIRY_WARNING_S (21 * DAY_S)

static struct view ocsp_now(const struct tls_cert_info *info)
{
	bool late = info->ocsp_until_s && info->ocsp_until_s < time(NULL);
	return late ? VIEW("expired") : info->ocsp;
}

static void put_names(struct json *j, struct view names)
{
	json_key(j, "names");
	json_array_begin(j);
	while (names.len) {
		ptrdiff_t end = view_chr(names, ' ');
		struct view name = view_head(names, end < 0 ? names.len : (size_t)end);
		json_view(j, name);
		names = view_skip(names, name.len + 1);
	}
	json_array_end(j);
}

static uint64_t seconds_until(const struct acme_site *s)
{
	uint64_t now = clock_wall_us();
	return s->next_wall_us > now ? (s->next_wall_us - now) / 1000000 : 0;
}

static void put_certificate(struct json *j, const struct tls_used *used)
{
	const struct tls_cert_info *info = &used->info;
	int64_t left = info->not_after_s - time(NULL);
	json_object_begin(j);
	json_member_view(j, "listener", used->listener);
	json_member_view(j, "file", info->file);
	json_member_view(j, "subject", info->subject);
	put_names(j, info->names);
	json_member_view(j, "issuer", info->issuer);
	json_member_view(j, "key_type", info->key_type);
	json_member_time(j, "not_before", (uint64_t)info->not_before_s * 1000000);
	json_member_time(j, "not_after", (uint64_t)info->not_after_s * 1000000);
	json_member_u64(j, "expires_in_s", left > 0 ? (uint64_t)left : 0);
	json_member_view(j, "fingerprint", info->fingerprint);
	json_member_view(j, "chain", info->chain);
	json_member_view(j, "ocsp", ocsp_now(info));
	json_object_end(j);
}

static void put_site(struct json *j, const struct acme_site *s)
{
	json_object_begin(j);
	put_names(j, s->names);
	json_member_view(j, "file", s->file);
	json_member_bool(j, "trusted", s->trusted);
	json_member_bool(j, "saved", s->saved);
	json_member_optional(j, "step", s->step);
	json_member_optional(j, "order", s->order);
	json_member_optional(j, "error", s->error);
	json_member_u64(j, "failures", s->failures);
	if (s->step.len)
		json_member_optional(j, "next_order", VIEW_NONE);
	else
		json_member_time(j, "next_order", s->next_wall_us);
	json_member_u64(j, "next_order_in_s", seconds_until(s));
	json_member_u64(j, "orders", s->n_orders);
	json_member_u64(j, "failed", s->n_failed);
	json_object_end(j);
}

static void put_sites(struct json *j, const struct admin_host *host, struct arena *arena)
{
	size_t n;
	const struct acme_site *rows = host->sites(host->ctx, arena, &n);
	json_key(j, "acme");
	json_array_begin(j);
	for (size_t i = 0; i < n; i++)
		put_site(j, &rows[i]);
	json_array_end(j);
}

void api_certificates(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	struct json j;
	size_t n;
	const struct tls_used *rows = host->certificates(host->ctx, &n);
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	json_key(&j, "certificates");
	json_array_begin(&j);
	for (size_t i = 0; i < n; i++)
		put_certificate(&j, &rows[i]);
	json_array_end(&j);
	put_sites(&j, host, call->arena);
	json_object_end(&j);
}

/* The same file may serve several listeners, or names. */
static bool was_told(const struct tls_used *rows, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (view_eq(rows[k].info.file, rows[i].info.file))
			return true;
	return false;
}

/* One that is renewed by itself is a problem once that has failed, not before. */
static bool renews_itself(const struct acme_site *sites, size_t n, struct view file)
{
	for (size_t i = 0; i < n; i++)
		if (view_eq(sites[i].file, file))
			return true;
	return false;
}

static void put_expiry(struct json *j, const struct tls_used *used, bool soon)
{
	const struct tls_cert_info *info = &used->info;
	int64_t left = info->not_after_s - time(NULL);
	if (info->not_before_s > time(NULL))
		json_textf(j,
			   "certificate " VIEW_FMT " of listener " VIEW_FMT
			   " is not valid yet: is the clock of this machine right?",
			   VIEW_ARG(info->file), VIEW_ARG(used->listener));
	else if (left <= 0)
		json_textf(j, "certificate " VIEW_FMT " of listener " VIEW_FMT " has expired",
			   VIEW_ARG(info->file), VIEW_ARG(used->listener));
	else if (soon && left < EXPIRY_WARNING_S)
		json_textf(
		    j, "certificate " VIEW_FMT " of listener " VIEW_FMT " expires in %lld day%s",
		    VIEW_ARG(info->file), VIEW_ARG(used->listener), (long long)(left / DAY_S),
		    left / DAY_S == 1 ? "" : "s");
}

static void put_when(const struct acme_site *s, struct str *out)
{
	uint64_t in_s = seconds_until(s);
	if (s->step.len)
		str_printf(out, "now " VIEW_FMT, VIEW_ARG(s->step));
	else if (in_s >= 7200)
		str_printf(out, "the next order is in %llu hours",
			   (unsigned long long)(in_s / 3600));
	else if (in_s >= 120)
		str_printf(out, "the next order is in %llu minutes",
			   (unsigned long long)(in_s / 60));
	else
		str_printf(out, "the next order is in %llu s", (unsigned long long)in_s);
}

static void put_site_problem(struct json *j, const struct acme_site *s)
{
	struct str when = STR_INIT;
	put_when(s, &when);
	if (!s->trusted)
		json_textf(j,
			   "acme: " VIEW_FMT " has no certificate yet, one that nobody trusts "
			   "answers%s" VIEW_FMT "; %s",
			   VIEW_ARG(s->names), s->error.len ? ": " : "", VIEW_ARG(s->error),
			   str_as_view(&when).ptr);
	else if (s->error.len)
		json_textf(j, "acme: " VIEW_FMT ": " VIEW_FMT "; %s%s", VIEW_ARG(s->names),
			   VIEW_ARG(s->error),
			   s->saved ? "the certificate from before stays in use, " : "",
			   str_as_view(&when).ptr);
	str_fini(&when);
}

void put_certificate_problems(struct json *j, const struct admin_host *host, struct arena *arena)
{
	size_t n, n_sites;
	const struct acme_site *sites = host->sites(host->ctx, arena, &n_sites);
	const struct tls_used *rows = host->certificates(host->ctx, &n);
	for (size_t i = 0; i < n; i++) {
		const struct tls_cert_info *info = &rows[i].info;
		if (was_told(rows, i))
			continue;
		put_expiry(j, &rows[i], !renews_itself(sites, n_sites, info->file));
		struct view ocsp = ocsp_now(info);
		if (!view_eq(ocsp, VIEW("none")) && !view_eq(ocsp, VIEW("good")))
			json_textf(j, "the OCSP response for certificate " VIEW_FMT " is " VIEW_FMT,
				   VIEW_ARG(info->file), VIEW_ARG(ocsp));
	}
	for (size_t i = 0; i < n_sites; i++)
		put_site_problem(j, &sites[i]);
}

static struct view first_name(const struct acme_site *s)
{
	ptrdiff_t end = view_chr(s->names, ' ');
	return view_head(s->names, end < 0 ? s->names.len : (size_t)end);
}

static void put_orders(struct metric *m, const struct acme_site *rows, size_t n)
{
	static const char *const name = "weir_acme_orders_total";
	metric_family(m, name, "counter", "Orders of certificates that have ended, by how.");
	for (size_t i = 0; i < n; i++)
		for (unsigned failed = 0; failed < 2; failed++) {
			metric_begin(m, name);
			metric_label(m, "site", first_name(&rows[i]));
			metric_label(m, "result", failed ? VIEW("failed") : VIEW("issued"));
			metric_u64(m,
				   failed ? rows[i].n_failed : rows[i].n_orders - rows[i].n_failed);
		}
}

void put_site_metrics(struct metric *m, const struct admin_host *host, struct arena *arena)
{
	static const char *const trusted = "weir_acme_trusted";
	static const char *const next = "weir_acme_next_order_seconds";
	size_t n;
	const struct acme_site *rows = host->sites(host->ctx, arena, &n);
	if (!n)
		return;
	put_orders(m, rows, n);
	metric_family(m, trusted, "gauge", "1: the certificate in use is from the authority.");
	for (size_t i = 0; i < n; i++) {
		metric_begin(m, trusted);
		metric_label(m, "site", first_name(&rows[i]));
		metric_u64(m, rows[i].trusted);
	}
	metric_family(m, next, "gauge", "When a certificate is ordered next, as Unix time.");
	for (size_t i = 0; i < n; i++) {
		metric_begin(m, next);
		metric_label(m, "site", first_name(&rows[i]));
		metric_u64(m, rows[i].next_wall_us / 1000000);
	}
}

void put_certificate_metrics(struct metric *m, const struct admin_host *host)
{
	static const char *const name = "weir_certificate_not_after_seconds";
	size_t n;
	const struct tls_used *rows = host->certificates(host->ctx, &n);
	if (!n)
		return;
	metric_family(m, name, "gauge", "When the certificate expires, as Unix time.");
	for (size_t i = 0; i < n; i++) {
		const struct tls_cert_info *info = &rows[i].info;
		metric_begin(m, name);
		metric_label(m, "listener", rows[i].listener);
		metric_label(m, "file", info->file);
		metric_label(m, "subject", info->subject);
		metric_label(m, "issuer", info->issuer);
		metric_label(m, "key_type", info->key_type);
		metric_u64(m, (uint64_t)info->not_after_s);
	}
}
