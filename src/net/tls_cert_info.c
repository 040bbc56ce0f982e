/* SPDX-License-Identifier: MIT */
/* What operators are told of a certificate: names, key, chain, how long, and what is odd about it.
 */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tls.h"

#include "weir/base/check.h"
#include "weir/base/hex.h"

static struct view name_text(struct arena *arena, const X509_NAME *name)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	check(bio != NULL);
	X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253);
	long len = BIO_get_mem_data(bio, &text);
	struct view v = arena_view(arena, view_of(text, len > 0 ? (size_t)len : 0));
	BIO_free(bio);
	return v;
}

static void add_name(void *arg, struct view name)
{
	struct str *all = arg;
	str_printf(all, "%s" VIEW_FMT, all->len ? " " : "", VIEW_ARG(name));
}

static struct view key_type(struct arena *arena, EVP_PKEY *key)
{
	char group[64] = "";
	switch (EVP_PKEY_base_id(key)) {
	case EVP_PKEY_RSA:
		return view_str(arena_printf(arena, "RSA %d", EVP_PKEY_bits(key)));
	case EVP_PKEY_EC:
		tls_key_group(key, group, sizeof(group));
		return view_str(arena_printf(arena, "ECDSA %s",
					     strcmp(group, "prime256v1") == 0  ? "P-256"
					     : strcmp(group, "secp384r1") == 0 ? "P-384"
					     : strcmp(group, "secp521r1") == 0 ? "P-521"
									       : group));
	case EVP_PKEY_ED25519:
		return VIEW("Ed25519");
	case EVP_PKEY_ED448:
		return VIEW("Ed448");
	default:
		return view_str(arena_printf(arena, "%d bits", EVP_PKEY_bits(key)));
	}
}

static struct view fingerprint(struct arena *arena, const X509 *cert)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	X509_digest(cert, EVP_sha256(), md, &len);
	char *text = arena_printf(arena, "%64s", "");
	hex_write(md, len < 32 ? len : 32, text);
	return view_str(text);
}

/* Whether the system trusts the issuer of `cert`; looks at one file, not at all of them. */
static bool issuer_is_root(X509 *cert)
{
	const char *dir = getenv(X509_get_default_cert_dir_env());
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509 *issuer = NULL;
	check(store && ctx);
	X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_hash_dir());
	bool found = lookup &&
		     X509_LOOKUP_add_dir(lookup, dir ? dir : X509_get_default_cert_dir(),
					 X509_FILETYPE_PEM) == 1 &&
		     X509_STORE_CTX_init(ctx, store, cert, NULL) == 1 &&
		     X509_STORE_CTX_get1_issuer(&issuer, ctx, cert) == 1;
	X509_free(issuer);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	ERR_clear_error();
	return found;
}

static struct view chain_state(const struct tls_pair *pair)
{
	int n = (int)sk_X509_num(pair->chain);
	X509 *top = n > 0 ? sk_X509_value(pair->chain, n - 1) : pair->cert;
	bool is_root = X509_check_issued(top, top) == X509_V_OK;
	if (is_root && n <= 0)
		return VIEW("self-signed");
	if (is_root || issuer_is_root(top))
		return VIEW("complete");
	return n > 0 ? VIEW("private") : VIEW("incomplete");
}

static void fill_info(struct tls_pair *pair, const struct tls_files *files, struct arena *arena,
		      struct tls_cert_info *info)
{
	struct str names = STR_INIT;
	tls_cert_names(pair->cert, add_name, &names);
	*info = (struct tls_cert_info){
	    .file = files->cert,
	    .subject = name_text(arena, X509_get_subject_name(pair->cert)),
	    .issuer = name_text(arena, X509_get_issuer_name(pair->cert)),
	    .names = arena_view(arena, str_as_view(&names)),
	    .key_type = key_type(arena, pair->key),
	    .fingerprint = fingerprint(arena, pair->cert),
	    .not_before_s = tls_unix_time(X509_get0_notBefore(pair->cert)),
	    .not_after_s = tls_unix_time(X509_get0_notAfter(pair->cert)),
	    .chain = chain_state(pair),
	    .ocsp = VIEW("none"),
	};
	if (pair->ocsp)
		info->ocsp = view_str(tls_ocsp_state(pair, &info->ocsp_until_s));
	str_fini(&names);
}

static void warn_about(const struct tls_pair *pair, const struct tls_cert_info *info,
		       struct str *why)
{
	int64_t now = time(NULL);
	char day[32] = "";
	struct tm tm;
	time_t when = now > info->not_after_s ? info->not_after_s : info->not_before_s;
	strftime(day, sizeof(day), "%Y-%m-%d", gmtime_r(&when, &tm));
	if (now > info->not_after_s)
		str_printf(why, "the certificate in '" VIEW_FMT "' expired on %s",
			   VIEW_ARG(info->file), day);
	else if (now < info->not_before_s)
		str_printf(why, "the certificate in '" VIEW_FMT "' is not valid before %s",
			   VIEW_ARG(info->file), day);
	else if (!info->names.len)
		str_printf(why, "the certificate in '" VIEW_FMT "' names no host",
			   VIEW_ARG(info->file));
	else if (sk_X509_num(pair->chain) > 0 &&
		 X509_check_issued(sk_X509_value(pair->chain, 0), pair->cert) != X509_V_OK)
		str_printf(
		    why, "in '" VIEW_FMT "' the second certificate is not the issuer of the first",
		    VIEW_ARG(info->file));
	else if (pair->ocsp && !view_eq(info->ocsp, VIEW("good")))
		str_printf(why, "the OCSP response for '" VIEW_FMT "' says " VIEW_FMT "%s",
			   VIEW_ARG(info->file), VIEW_ARG(info->ocsp),
			   view_eq(info->ocsp, VIEW("expired")) ? " and is not stapled" : "");
}

enum tls_bad tls_cert_check(const struct tls_files *files, struct arena *arena,
			    struct tls_cert_info *info, struct str *why)
{
	struct tls_pair pair;
	enum tls_bad bad = tls_pair_read(NULL, files, &pair, why);
	if (bad == TLS_GOOD) {
		fill_info(&pair, files, arena, info);
		warn_about(&pair, info, why);
	}
	ERR_clear_error();
	tls_pair_fini(&pair);
	return bad;
}
