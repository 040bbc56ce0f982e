/* SPDX-License-Identifier: MIT */
/* Certificates in use: GET /v1/certificates, metrics, and problems before they expire. */
#include "certificates.h"

#include <time.h>

#include "api.h"

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
	json_array(j);
	while (names.len) {
		ptrdiff_t end = view_chr(names, ' ');
		struct view name = view_head(names, end < 0 ? names.len : (size_t)end);
		json_view(j, name);
		names = view_skip(names, name.len + 1);
	}
	json_array_end(j);
}

static void put_certificate(struct json *j, const struct tls_used *used)
{
	const struct tls_cert_info *info = &used->info;
	int64_t left = info->not_after_s - time(NULL);
	json_object(j);
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

void api_certificates(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	struct json j;
	size_t n;
	const struct tls_used *rows = host->certificates(host->ctx, &n);
	json_init(&j, &call->answer.body, false);
	json_object(&j);
	json_key(&j, "certificates");
	json_array(&j);
	for (size_t i = 0; i < n; i++)
		put_certificate(&j, &rows[i]);
	json_array_end(&j);
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

void put_certificate_problems(struct json *j, const struct admin_host *host)
{
	size_t n;
	const struct tls_used *rows = host->certificates(host->ctx, &n);
	for (size_t i = 0; i < n; i++) {
		const struct tls_cert_info *info = &rows[i].info;
		int64_t left = info->not_after_s - time(NULL);
		if (was_told(rows, i))
			continue;
		if (left <= 0)
			json_textf(j,
				   "certificate " VIEW_FMT " of listener " VIEW_FMT " has expired",
				   VIEW_ARG(info->file), VIEW_ARG(rows[i].listener));
		else if (left < EXPIRY_WARNING_S)
			json_textf(j,
				   "certificate " VIEW_FMT " of listener " VIEW_FMT
				   " expires in %lld day%s",
				   VIEW_ARG(info->file), VIEW_ARG(rows[i].listener),
				   (long long)(left / DAY_S), left / DAY_S == 1 ? "" : "s");
		struct view ocsp = ocsp_now(info);
		if (!view_eq(ocsp, VIEW("none")) && !view_eq(ocsp, VIEW("good")))
			json_textf(j, "the OCSP response for certificate " VIEW_FMT " is " VIEW_FMT,
				   VIEW_ARG(info->file), VIEW_ARG(ocsp));
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
