/* SPDX-License-Identifier: MIT */
/* Certificates and keys out of files, and whether they can be served. */
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "tls_pem.h"

/* A clock that is a little wrong must not make a fresh OCSP response invalid. */
#define OCSP_SKEW_S 300
/* Whether a file has the frame of a key, whatever is in it. */
static bool has_key_block(const struct tls_files *files, struct view path)
{
	struct str ignored = STR_INIT;
	BIO *bio = tls_pem_open(files, path, &ignored);
	char *name, *head;
	unsigned char *data;
	long len;
	bool found = false;
	while (bio && PEM_read_bio(bio, &name, &head, &data, &len)) {
		found |= view_ends(view_str(name), VIEW("PRIVATE KEY"));
		OPENSSL_free(name);
		OPENSSL_free(head);
		OPENSSL_free(data);
	}
	BIO_free(bio);
	str_fini(&ignored);
	return found;
}

static bool read_key(OSSL_LIB_CTX *lib, const struct tls_files *files, struct view path,
		     EVP_PKEY **key, struct str *why)
{
	bool asked = false;
	BIO *bio = tls_pem_open(files, path, why);
	if (!bio)
		return false;
	*key = tls_read_key(lib, bio, tls_no_passphrase, &asked);
	if (!*key && asked)
		str_printf(why,
			   "the key in '" VIEW_FMT "' is encrypted; weir takes plain keys only",
			   VIEW_ARG(path));
	else if (!*key && has_key_block(files, path))
		str_printf(
		    why, "the key in '" VIEW_FMT "' is damaged or of a kind that %s does not know",
		    VIEW_ARG(path), tls_library());
	else if (!*key)
		str_printf(why, "there is no private key in '" VIEW_FMT "'", VIEW_ARG(path));
	BIO_free(bio);
	ERR_clear_error();
	return *key != NULL;
}

static bool read_certs(OSSL_LIB_CTX *lib, const struct tls_files *files, struct tls_pair *pair,
		       struct str *why)
{
	struct view path = files->cert;
	BIO *bio = tls_pem_open(files, path, why);
	X509 *more;
	if (!bio)
		return false;
	pair->chain = sk_X509_new_null();
	pair->cert = tls_next_cert(lib, bio);
	while (pair->cert && (more = tls_next_cert(lib, bio)) != NULL)
		sk_X509_push(pair->chain, more);
	/* anything but "no more PEM" means a damaged file */
	unsigned long error = ERR_peek_last_error();
	bool end =
	    ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
	if (!pair->cert && end)
		str_printf(why, "there is no certificate in '" VIEW_FMT "'", VIEW_ARG(path));
	else if (!end)
		str_printf(why, "a certificate in '" VIEW_FMT "' is damaged", VIEW_ARG(path));
	BIO_free(bio);
	ERR_clear_error();
	return pair->cert && end;
}

/* ---- OCSP ---- */

static bool read_ocsp(struct view path, struct tls_pair *pair, struct str *why)
{
	BIO *bio = tls_pem_file(path, why);
	OCSP_RESPONSE *resp = bio ? d2i_OCSP_RESPONSE_bio(bio, NULL) : NULL;
	OCSP_BASICRESP *basic = NULL;
	if (bio && (!resp || OCSP_response_status(resp) != OCSP_RESPONSE_STATUS_SUCCESSFUL ||
		    !(basic = OCSP_response_get1_basic(resp))))
		str_printf(why, "'" VIEW_FMT "' is no OCSP response (DER)", VIEW_ARG(path));
	else if (bio)
		pair->ocsp_len = i2d_OCSP_RESPONSE(resp, &pair->ocsp);
	OCSP_BASICRESP_free(basic);
	OCSP_RESPONSE_free(resp);
	BIO_free(bio);
	ERR_clear_error();
	return pair->ocsp != NULL;
}

/* The answer about this very certificate, by its serial number. */
static OCSP_SINGLERESP *find_answer(OCSP_BASICRESP *basic, const X509 *cert)
{
	for (int i = 0; i < (int)OCSP_resp_count(basic); i++) {
		OCSP_SINGLERESP *one = OCSP_resp_get0(basic, i);
		ASN1_INTEGER *serial;
		OCSP_id_get0_info(NULL, NULL, NULL, &serial,
				  (OCSP_CERTID *)OCSP_SINGLERESP_get0_id(one));
		if (ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(cert)) == 0)
			return one;
	}
	return NULL;
}

int64_t tls_unix_time(const ASN1_TIME *when)
{
	struct tm tm;
	return when && ASN1_TIME_to_tm(when, &tm) ? timegm(&tm) : 0;
}

const char *tls_ocsp_state(const struct tls_pair *pair, int64_t *until)
{
	static const char *const names[] = {[V_OCSP_CERTSTATUS_GOOD] = "good",
					    [V_OCSP_CERTSTATUS_REVOKED] = "revoked",
					    [V_OCSP_CERTSTATUS_UNKNOWN] = "unknown"};
	const unsigned char *at = pair->ocsp;
	OCSP_RESPONSE *resp = d2i_OCSP_RESPONSE(NULL, &at, pair->ocsp_len);
	OCSP_BASICRESP *basic = resp ? OCSP_response_get1_basic(resp) : NULL;
	OCSP_SINGLERESP *one = basic ? find_answer(basic, pair->cert) : NULL;
	const char *state = NULL;
	if (one) {
		ASN1_GENERALIZEDTIME *from, *to = NULL;
		int status = OCSP_single_get0_status(one, NULL, NULL, &from, &to);
		*until = tls_unix_time(to);
		state = !OCSP_check_validity(from, to, OCSP_SKEW_S, -1)      ? "expired"
			: status >= 0 && status <= V_OCSP_CERTSTATUS_UNKNOWN ? names[status]
									     : "unknown";
	}
	OCSP_BASICRESP_free(basic);
	OCSP_RESPONSE_free(resp);
	ERR_clear_error();
	return state;
}

/* ---- pairs ---- */

enum tls_bad tls_pair_read(OSSL_LIB_CTX *lib, const struct tls_files *files, struct tls_pair *pair,
			   struct str *why)
{
	int64_t until;
	*pair = (struct tls_pair){0};
	if (!read_certs(lib, files, pair, why))
		return TLS_BAD_CERT;
	struct view key = files->key.len ? files->key : files->cert;
	if (!read_key(lib, files, key, &pair->key, why))
		return TLS_BAD_KEY;
	if (!X509_check_private_key(pair->cert, pair->key)) {
		ERR_clear_error();
		str_printf(why,
			   "the key in '" VIEW_FMT
			   "' does not belong to the certificate in '" VIEW_FMT "'",
			   VIEW_ARG(key), VIEW_ARG(files->cert));
		return TLS_BAD_KEY;
	}
	if (!tls_serves_key(pair->key)) {
		str_printf(why, "%s does not use keys like the one in '" VIEW_FMT "' for TLS",
			   tls_library(), VIEW_ARG(key));
		return TLS_BAD_KEY;
	}
	if (!files->ocsp.len)
		return TLS_GOOD;
	if (!read_ocsp(files->ocsp, pair, why))
		return TLS_BAD_OCSP;
	if (tls_ocsp_state(pair, &until))
		return TLS_GOOD;
	str_printf(why, "the OCSP response in '" VIEW_FMT "' is about another certificate",
		   VIEW_ARG(files->ocsp));
	return TLS_BAD_OCSP;
}

void tls_pair_fini(struct tls_pair *pair)
{
	X509_free(pair->cert);
	EVP_PKEY_free(pair->key);
	sk_X509_pop_free(pair->chain, X509_free);
	OPENSSL_free(pair->ocsp);
	*pair = (struct tls_pair){0};
}

static void give_name(void (*fn)(void *, struct view), void *arg, const unsigned char *ptr, int len)
{
	char name[256];
	if (len <= 0 || len >= (int)sizeof(name))
		return;
	for (int i = 0; i < len; i++) {
		if (ptr[i] <= ' ' || ptr[i] >= 0x7f)
			return;
		name[i] = char_lower((char)ptr[i]);
	}
	fn(arg, view_of(name, (size_t)len));
}

void tls_cert_names(X509 *cert, void (*fn)(void *arg, struct view name), void *arg)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	bool any = false;
	for (int i = 0; i < (int)sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		if (name->type != GEN_DNS)
			continue;
		any = true;
		give_name(fn, arg, ASN1_STRING_get0_data(name->d.dNSName),
			  ASN1_STRING_length(name->d.dNSName));
	}
	GENERAL_NAMES_free(names);
	X509_NAME *subject = X509_get_subject_name(cert);
	int at = any ? -1 : X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	if (at >= 0) {
		const ASN1_STRING *cn = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
		give_name(fn, arg, ASN1_STRING_get0_data(cn), ASN1_STRING_length(cn));
	}
	ERR_clear_error();
}
