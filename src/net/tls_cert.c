/* SPDX-License-Identifier: MIT */
/* Certificates and keys out of files, and whether they can be served. */
#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tls.h"

#include "weir/base/check.h"
#include "weir/base/file.h"

/* A clock that is a little wrong must not make a fresh OCSP response invalid. */
#define OCSP_SKEW_S 300
/* Lists of revocations are the largest of these files. */
#define TLS_FILE_MAX (64u << 20)

/* A copy, which ends as a file does. */
static BIO *bio_of(struct view text)
{
	BIO *bio = BIO_new(BIO_s_mem());
	if (!bio)
		return NULL;
	BIO_set_mem_eof_return(bio, 0);
	if (!text.len || BIO_write(bio, text.ptr, (int)text.len) == (int)text.len)
		return bio;
	BIO_free(bio);
	return NULL;
}

static BIO *open_file(struct view path, struct str *why)
{
	struct str text = STR_INIT, reason = STR_INIT;
	BIO *bio = NULL;
	if (file_read(path.ptr, TLS_FILE_MAX, 0, &text, &reason))
		str_printf(why, "cannot read '" VIEW_FMT "': " VIEW_FMT, VIEW_ARG(path),
			   VIEW_ARG(str_as_view(&reason)));
	else if (!(bio = bio_of(str_as_view(&text))))
		str_printf(why, "no memory for '" VIEW_FMT "'", VIEW_ARG(path));
	if (text.ptr) /* it may hold a key */
		OPENSSL_cleanse(text.ptr, text.cap);
	str_fini(&text);
	str_fini(&reason);
	return bio;
}

/* The certificate's file, or its key's. */
static BIO *open_pem(const struct tls_files *files, struct view path, struct str *why)
{
	return files->pem.len ? bio_of(files->pem) : open_file(path, why);
}

/* A daemon has nobody to ask. */
static int no_passphrase(char *to, int size, int writing, void *arg)
{
	(void)to;
	(void)size;
	(void)writing;
	*(bool *)arg = true;
	return 0;
}

/* Whether a file has the frame of a key, whatever is in it. */
static bool has_key_block(const struct tls_files *files, struct view path)
{
	struct str ignored = STR_INIT;
	BIO *bio = open_pem(files, path, &ignored);
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
	BIO *bio = open_pem(files, path, why);
	if (!bio)
		return false;
	*key = tls_read_key(lib, bio, no_passphrase, &asked);
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

static X509 *read_cert(OSSL_LIB_CTX *lib, BIO *bio)
{
	return tls_read_cert(lib, bio, no_passphrase, &(bool){false});
}

static bool read_certs(OSSL_LIB_CTX *lib, const struct tls_files *files, struct tls_pair *pair,
		       struct str *why)
{
	struct view path = files->cert;
	BIO *bio = open_pem(files, path, why);
	X509 *more;
	if (!bio)
		return false;
	pair->chain = sk_X509_new_null();
	pair->cert = read_cert(lib, bio);
	while (pair->cert && (more = read_cert(lib, bio)) != NULL)
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
	BIO *bio = open_file(path, why);
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

static int64_t unix_time(const ASN1_TIME *when)
{
	struct tm tm;
	return when && ASN1_TIME_to_tm(when, &tm) ? timegm(&tm) : 0;
}

/* "good" and so on, or NULL when the response is about something else. */
static const char *ocsp_state(const struct tls_pair *pair, int64_t *until)
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
		*until = unix_time(to);
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
	if (ocsp_state(pair, &until))
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

/* ---- for operators ---- */

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
	for (unsigned i = 0; i < len && i < 32; i++) {
		text[2 * i] = "0123456789abcdef"[md[i] >> 4];
		text[2 * i + 1] = "0123456789abcdef"[md[i] & 15];
	}
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
	    .not_before_s = unix_time(X509_get0_notBefore(pair->cert)),
	    .not_after_s = unix_time(X509_get0_notAfter(pair->cert)),
	    .chain = chain_state(pair),
	    .ocsp = VIEW("none"),
	};
	if (pair->ocsp)
		info->ocsp = view_str(ocsp_state(pair, &info->ocsp_until_s));
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

/* ---- directories ---- */

static bool has_ending(struct view name, const char *ending)
{
	return name.len > strlen(ending) && view_ends(name, view_str(ending)) && name.ptr[0] != '.';
}

static int by_cert(const void *a, const void *b)
{
	return view_cmp(((const struct tls_files *)a)->cert, ((const struct tls_files *)b)->cert);
}

/* The file of that name beside the certificate, or the empty view. */
static struct view sibling(struct arena *arena, struct view stem, const char *ending)
{
	const char *path = arena_printf(arena, VIEW_FMT "%s", VIEW_ARG(stem), ending);
	return access(path, F_OK) == 0 ? view_str(path) : VIEW("");
}

enum err tls_directory(struct view path, struct arena *arena, struct tls_files **out, size_t *n,
		       struct str *why)
{
	DIR *dir = opendir(path.ptr);
	size_t cap = 0;
	*n = 0;
	if (!dir) {
		str_printf(why, "cannot read directory '" VIEW_FMT "': %s", VIEW_ARG(path),
			   strerror(errno));
		return ERR_IO;
	}
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		cap++;
	rewinddir(dir);
	*out = arena_array(arena, cap, sizeof(**out));
	for (struct dirent *entry; (entry = readdir(dir)) != NULL && *n < cap;) {
		struct view name = view_str(entry->d_name);
		if (!has_ending(name, ".pem") && !has_ending(name, ".crt") &&
		    !has_ending(name, ".cer"))
			continue;
		struct view stem =
		    view_str(arena_printf(arena, VIEW_FMT "/" VIEW_FMT, VIEW_ARG(path),
					  VIEW_ARG(view_head(name, name.len - 4))));
		(*out)[(*n)++] = (struct tls_files){
		    .cert = view_str(
			arena_printf(arena, VIEW_FMT "/" VIEW_FMT, VIEW_ARG(path), VIEW_ARG(name))),
		    .key = sibling(arena, stem, ".key"),
		    .ocsp = sibling(arena, stem, ".ocsp"),
		};
	}
	closedir(dir);
	qsort(*out, *n, sizeof(**out), by_cert);
	if (*n)
		return ERR_OK;
	str_printf(why, "there is no .pem, .crt or .cer file in '" VIEW_FMT "'", VIEW_ARG(path));
	return ERR_NOENT;
}

/* ---- authorities ---- */

static bool add_crls(OSSL_LIB_CTX *lib, X509_STORE *store, struct view path, struct str *why)
{
	BIO *bio = open_file(path, why);
	X509_CRL *crl;
	int n = 0;
	(void)lib;
	if (!bio)
		return false;
	while ((crl = PEM_read_bio_X509_CRL(bio, NULL, no_passphrase, &(bool){false})) != NULL) {
		n += X509_STORE_add_crl(store, crl);
		X509_CRL_free(crl);
	}
	BIO_free(bio);
	ERR_clear_error();
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	if (!n)
		str_printf(why, "there is no revocation list in '" VIEW_FMT "'", VIEW_ARG(path));
	return n > 0;
}

bool tls_store_load(OSSL_LIB_CTX *lib, X509_STORE *store, struct view ca, struct view crl,
		    struct str *why)
{
	BIO *bio = open_file(ca, why);
	X509 *cert;
	int n = 0;
	if (!bio)
		return false;
	while ((cert = read_cert(lib, bio)) != NULL) {
		n += X509_STORE_add_cert(store, cert);
		X509_free(cert);
	}
	BIO_free(bio);
	ERR_clear_error();
	if (!n)
		str_printf(why, "there is no certificate in '" VIEW_FMT "'", VIEW_ARG(ca));
	return n > 0 && (!crl.len || add_crls(lib, store, crl, why));
}

bool tls_ca_check(struct view path, struct str *why)
{
	X509_STORE *store = X509_STORE_new();
	bool ok = tls_store_load(NULL, store, path, VIEW_NONE, why);
	X509_STORE_free(store);
	return ok;
}

bool tls_crl_check(struct view path, struct str *why)
{
	X509_STORE *store = X509_STORE_new();
	bool ok = add_crls(NULL, store, path, why);
	X509_STORE_free(store);
	return ok;
}

const char *tls_library(void)
{
	return tls_library_name();
}
