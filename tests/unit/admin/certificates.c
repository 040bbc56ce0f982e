/* SPDX-License-Identifier: MIT */
/* Certificates in the API, in problems and in metrics. */
#include <criterion/criterion.h>
#include <string.h>

#include "fixture.h"

static struct fixture f;

static void setup(void)
{
	fixture_has_certificates = true;
	fixture_init(&f, NULL);
}

static void teardown(void)
{
	fixture_fini(&f);
}

TestSuite(admin_certificates, .init = setup, .fini = teardown);

Test(admin_certificates, have_names_and_dates)
{
	struct reply r = ask(&f, "GET", "/v1/certificates", NULL);
	cr_assert_eq(r.status, 200);
	cr_assert_eq(json_size(&r.body, "certificates"), 2);
	cr_assert_str_eq(json_at(&r.body, "certificates.0.names.1"), "*.b.example");
	cr_assert_str_eq(json_at(&r.body, "certificates.0.ocsp"), "good");
	cr_assert_str_eq(json_at(&r.body, "certificates.1.ocsp"), "expired");
	reply_fini(&r);
}

Test(admin_certificates, warn_before_they_expire)
{
	struct reply r = ask(&f, "GET", "/v1/status", NULL);
	cr_assert_not_null(
	    strstr(r.body.ptr, "\"certificate /late.pem of listener web expires in 5 days\""));
	cr_assert_not_null(
	    strstr(r.body.ptr, "\"the OCSP response for certificate /late.pem is expired\""));
	cr_assert_null(strstr(r.body.ptr, "/site.pem"));
	reply_fini(&r);
}

Test(admin_certificates, are_metrics)
{
	struct reply r = ask(&f, "GET", "/metrics", NULL);
	cr_assert_not_null(strstr(r.body.ptr, "weir_certificate_not_after_seconds{listener=\"web\","
					      "file=\"/late.pem\""));
	reply_fini(&r);
}
