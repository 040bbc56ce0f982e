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

Test(admin_certificates, sites_say_what_their_orders_do)
{
	fixture_has_sites = true;
	struct reply r = ask(&f, "GET", "/v1/certificates", NULL);
	cr_assert_eq(json_size(&r.body, "acme"), 3);
	cr_assert_str_eq(json_at(&r.body, "acme.0.names.1"), "www.new.example");
	cr_assert_str_eq(json_at(&r.body, "acme.0.step"), "placing the order");
	cr_assert_str_eq(json_at(&r.body, "acme.1.error"), "the authority is down");
	reply_fini(&r);
}

Test(admin_certificates, sites_without_a_good_one_are_problems)
{
	fixture_has_sites = true;
	struct reply r = ask(&f, "GET", "/v1/status", NULL);
	cr_assert_not_null(strstr(r.body.ptr,
				  "\"acme: new.example www.new.example has no certificate "
				  "yet, one that nobody trusts answers; now placing the "
				  "order\""));
	cr_assert_not_null(
	    strstr(r.body.ptr, "\"acme: old.example: the authority is down; the certificate from "
			       "before stays in use, the next order is in 2 hours\""));
	cr_assert_null(strstr(r.body.ptr, "late.pem of listener web expires"),
		       "it renews itself, and that has not failed");
	reply_fini(&r);
}

Test(admin_certificates, sites_are_metrics)
{
	fixture_has_sites = true;
	struct reply r = ask(&f, "GET", "/metrics", NULL);
	cr_assert_not_null(strstr(
	    r.body.ptr, "weir_acme_orders_total{site=\"old.example\",result=\"failed\"} 2\n"));
	cr_assert_not_null(strstr(
	    r.body.ptr, "weir_acme_orders_total{site=\"old.example\",result=\"issued\"} 1\n"));
	cr_assert_not_null(strstr(r.body.ptr, "weir_acme_trusted{site=\"new.example\"} 0\n"));
	reply_fini(&r);
}
