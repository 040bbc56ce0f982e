/* SPDX-License-Identifier: MIT */
/* A listener with TLS: whose certificate is shown, who may come in, what a reload changes. */
#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process.h"
#include "weir/base/defs.h"

static void begin(void)
{
	signal(SIGPIPE, SIG_IGN); /* a listener that refuses closes */
	process_begin();
}

TestSuite(tls, .init = begin, .fini = process_end, .timeout = 300);

/* folder/NAME.pem and folder/NAME.key, for these names of hosts and with this number. */
static void make_pair(const char *name, const char *names, long serial)
{
	char path[80];
	X509V3_CTX ctx;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
	X509_gmtime_adj(X509_getm_notBefore(cert), -86400);
	X509_gmtime_adj(X509_getm_notAfter(cert), 90 * 86400);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
				   (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	X509_set_pubkey(cert, key);
	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, names);
	X509_add_ext(cert, san, -1);
	cr_assert(X509_sign(cert, key, EVP_sha256()) > 0);
	snprintf(path, sizeof(path), "%s/%s.pem", folder, name);
	FILE *out = fopen(path, "w");
	cr_assert(out && PEM_write_X509(out, cert) && fclose(out) == 0);
	snprintf(path, sizeof(path), "%s/%s.key", folder, name);
	out = fopen(path, "w");
	cr_assert(out && PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) &&
		  fclose(out) == 0);
	X509_EXTENSION_free(san);
	X509_free(cert);
	EVP_PKEY_free(key);
}

/* ", tls: {...}", $D the folder. */
static const char *with_folder(const char *text)
{
	static char out[4000];
	size_t n = 0;
	for (; *text; text++) {
		bool is_folder = text[0] == '$' && text[1] == 'D';
		n += (size_t)snprintf(out + n, sizeof(out) - n, is_folder ? "%s" : "%.1s",
				      is_folder ? folder : text);
		text += is_folder;
	}
	return out;
}

/* ---- a client ---- */

struct visit {
	const char *sni;  /* NULL: none */
	const char *alpn; /* as on the wire */
	int version;      /* the highest; 0: any */
	const char *pair; /* its own certificate, or NULL */
	SSL_SESSION *session;
	/* what came of it */
	long serial; /* of the certificate; 0: no handshake */
	bool resumed;
	char protocol[16];
	char text[1000]; /* what was answered; empty: nothing */
};

static void use_pair(SSL *ssl, const char *pair)
{
	char path[80];
	snprintf(path, sizeof(path), "%s/%s.pem", folder, pair);
	cr_assert_eq(SSL_use_certificate_file(ssl, path, SSL_FILETYPE_PEM), 1);
	snprintf(path, sizeof(path), "%s/%s.key", folder, pair);
	cr_assert_eq(SSL_use_PrivateKey_file(ssl, path, SSL_FILETYPE_PEM), 1);
}

static void note(struct visit *v, SSL *ssl)
{
	const unsigned char *protocol;
	unsigned len;
	X509 *cert = SSL_get1_peer_certificate(ssl);
	v->serial = ASN1_INTEGER_get(X509_get0_serialNumber(cert));
	v->resumed = SSL_session_reused(ssl);
	SSL_get0_alpn_selected(ssl, &protocol, &len);
	snprintf(v->protocol, sizeof(v->protocol), "%.*s", (int)len, (const char *)protocol);
	X509_free(cert);
}

static void read_answer(struct visit *v, SSL *ssl)
{
	size_t len = 0;
	int n;
	while ((n = SSL_read(ssl, v->text + len, (int)(sizeof(v->text) - 1 - len))) > 0)
		len += (size_t)n;
	v->text[len] = '\0';
	v->session = len ? SSL_get1_session(ssl) : NULL;
}

/* One request, as far as it comes; the session is the caller's. */
static void visit(struct visit *v)
{
	static const char request[] =
	    "GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	int fd = connect_to("web");
	v->serial = 0;
	v->text[0] = v->protocol[0] = '\0';
	SSL_set_fd(ssl, fd);
	if (v->sni)
		SSL_set_tlsext_host_name(ssl, v->sni);
	if (v->alpn)
		SSL_set_alpn_protos(ssl, (const unsigned char *)v->alpn, (unsigned)strlen(v->alpn));
	if (v->version)
		SSL_set_max_proto_version(ssl, v->version);
	if (v->pair)
		use_pair(ssl, v->pair);
	if (v->session) {
		SSL_set_session(ssl, v->session);
		SSL_SESSION_free(v->session);
		v->session = NULL;
	}
	if (SSL_connect(ssl) == 1) {
		note(v, ssl);
		if (strcmp(v->protocol, "h2") != 0 &&
		    SSL_write(ssl, request, sizeof(request) - 1) > 0)
			read_answer(v, ssl);
		SSL_shutdown(ssl);
	}
	ERR_clear_error();
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
}

/* The number of the certificate that is shown; 0: there is no answer. */
static long shown(struct visit v)
{
	visit(&v);
	SSL_SESSION_free(v.session);
	return strncmp(v.text, "HTTP/1.1 200 ", 13) == 0 ? v.serial : 0;
}

static void serve(const char *tls)
{
	write_conf_of(with_folder(tls), "routes: [{respond: {body: hi}}]\n");
}

#define PAIR(name) "{cert: $D/" name ".pem, key: $D/" name ".key}"

Test(tls, names_choose_certificates_and_a_reload_reads_them_again)
{
	make_pair("a", "DNS:a.test", 1);
	make_pair("b", "DNS:b.test,DNS:*.c.test", 2);
	serve(", tls: {certificates: [" PAIR("a") ", " PAIR("b") "]}");
	start_weir();
	cr_expect_eq(shown((struct visit){.sni = "a.test"}), 1);
	cr_expect_eq(shown((struct visit){.sni = "b.test"}), 2);
	cr_expect_eq(shown((struct visit){.sni = "B.TEST"}), 2);
	cr_expect_eq(shown((struct visit){.sni = "x.c.test"}), 2);
	cr_expect_eq(shown((struct visit){.sni = "c.test"}), 1);
	cr_expect_eq(shown((struct visit){.sni = "x.y.c.test"}), 1);
	cr_expect_eq(shown((struct visit){.sni = NULL}), 1);
	make_pair("b", "DNS:b.test", 3);
	change("POST", "/v1/reload", "", 200, NULL);
	cr_expect_eq(shown((struct visit){.sni = "b.test"}), 3);
	cr_expect_eq(shown((struct visit){.sni = "x.c.test"}), 1);
	serve(", tls: {certificates: [{cert: $D/a.pem, key: $D/b.key}]}");
	change("POST", "/v1/reload", "", 422, "a.pem");
	cr_expect_eq(shown((struct visit){.sni = "b.test"}), 3);
	change("GET", "/v1/certificates", "", 200, "b.test");
	stop_weir();
}

Test(tls, what_is_agreed_on)
{
	make_pair("a", "DNS:a.test", 1);
	serve(", tls: {certificates: [" PAIR("a") "]}");
	start_weir();
	struct visit v = {.sni = "a.test", .alpn = "\x02h2\x08http/1.1"};
	visit(&v);
	cr_expect_str_eq(v.protocol, "h2");
	v = (struct visit){.sni = "a.test", .alpn = "\x08http/1.1"};
	visit(&v);
	cr_expect_str_eq(v.protocol, "http/1.1");
	SSL_SESSION_free(v.session);
	cr_expect_eq(shown((struct visit){.version = TLS1_2_VERSION}), 1);
	cr_expect_eq(shown((struct visit){.version = TLS1_1_VERSION}), 0);
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		v = (struct visit){.sni = "a.test", .version = versions[i]};
		visit(&v);
		cr_expect_not(v.resumed);
		visit(&v);
		cr_expect(v.resumed, "%x", (unsigned)versions[i]);
		SSL_SESSION_free(v.session);
	}
	stop_weir();
}

Test(tls, who_has_to_show_a_certificate)
{
	make_pair("a", "DNS:a.test", 1);
	make_pair("friend", "DNS:friend.test", 2);
	make_pair("stranger", "DNS:stranger.test", 3);
	serve(", tls: {certificates: [" PAIR(
	    "a") "], client_auth: required, client_ca: $D/friend.pem}");
	start_weir();
	cr_expect_eq(shown((struct visit){.sni = "a.test"}), 0);
	cr_expect_eq(shown((struct visit){.sni = "a.test", .pair = "friend"}), 1);
	cr_expect_eq(shown((struct visit){.sni = "a.test", .pair = "stranger"}), 0);
	serve(", tls: {certificates: [" PAIR(
	    "a") "], client_auth: optional, client_ca: $D/friend.pem}");
	change("POST", "/v1/reload", "", 200, NULL);
	cr_expect_eq(shown((struct visit){.sni = "a.test"}), 1);
	cr_expect_eq(shown((struct visit){.sni = "a.test", .pair = "friend"}), 1);
	cr_expect_eq(shown((struct visit){.sni = "a.test", .pair = "stranger"}), 0);
	stop_weir();
}

Test(tls, certificates_of_a_directory)
{
	char path[200];
	make_pair("c", "DNS:c.test", 4);
	make_pair("d", "DNS:d.test", 5);
	snprintf(path, sizeof(path), "mkdir %s/certs && mv %s/?.* %s/certs", folder, folder,
		 folder);
	cr_assert_eq(system(path), 0);
	serve(", tls: {certificates: [{directory: $D/certs}]}");
	start_weir();
	cr_expect_eq(shown((struct visit){.sni = "c.test"}), 4);
	cr_expect_eq(shown((struct visit){.sni = "d.test"}), 5);
	stop_weir();
}

Test(tls, plain_http_is_told_what_the_port_speaks)
{
	make_pair("a", "DNS:a.test", 1);
	serve(", tls: {certificates: [" PAIR("a") "]}");
	start_weir();
	int fd = connect_to("web");
	put(fd, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
	const char *text = take(fd);
	cr_expect(strncmp(text, "HTTP/1.1 400 ", 13) == 0, "%s", text);
	cr_expect_eq(shown((struct visit){.sni = "a.test"}), 1);
	stop_weir();
}

/* ---- backends ---- */

static int take_any(int ok, X509_STORE_CTX *ctx)
{
	(void)ok, (void)ctx;
	return 1;
}

/* What a backend has seen of weir. */
struct caller {
	bool came; /* a handshake, and a request */
	char sni[40];
	long serial; /* of its certificate; 0: it showed none */
};

static struct caller answer_as(int listener, const char *pair)
{
	struct caller caller = {0};
	char text[2000];
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	SSL *ssl = SSL_new(ctx);
	int fd = accept(listener, NULL, NULL);
	SSL_set_fd(ssl, fd);
	SSL_set_verify(ssl, SSL_VERIFY_PEER, take_any);
	use_pair(ssl, pair);
	if (SSL_accept(ssl) == 1 && SSL_read(ssl, text, sizeof(text)) > 0) {
		static const char said[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
					   "Connection: close\r\n\r\nhi";
		const char *sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
		X509 *cert = SSL_get1_peer_certificate(ssl);
		caller.came = true;
		caller.serial = cert ? ASN1_INTEGER_get(X509_get0_serialNumber(cert)) : 0;
		snprintf(caller.sni, sizeof(caller.sni), "%s", sni ? sni : "");
		SSL_write(ssl, said, sizeof(said) - 1);
		SSL_shutdown(ssl);
		X509_free(cert);
	}
	ERR_clear_error();
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
	return caller;
}

Test(tls, who_a_backend_is_and_who_weir_is_to_it)
{
	static const struct {
		const char *tls; /* of the pool */
		bool trusts;
		long shows;
	} rows[] = {
	    {"ca: $D/backend.pem, sni: b.test", true, 0},
	    {"ca: $D/other.pem, sni: b.test", false, 0},
	    {"ca: $D/backend.pem, sni: c.test", false, 0},
	    {"verify: false, sni: c.test", true, 0},
	    {"ca: $D/backend.pem, sni: b.test, cert: $D/weir.pem, key: $D/weir.key", true, 7},
	};
	make_pair("backend", "DNS:b.test", 5);
	make_pair("other", "DNS:b.test", 6);
	make_pair("weir", "DNS:weir.test", 7);
	int listener = listen_as("secure");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char more[300];
		snprintf(more, sizeof(more),
			 "  secure: {retry: off, backends: ['unix:$D/secure'], tls: {%s}}\n"
			 "routes: [{pool: secure}]\n",
			 rows[i].tls);
		write_conf(with_folder(more));
		if (i == 0)
			start_weir();
		else
			change("POST", "/v1/reload", "", 200, NULL);
		int client = connect_to("web");
		put(client, "GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
		struct caller caller = answer_as(listener, "backend");
		const char *text = take(client);
		cr_expect_eq(caller.came, rows[i].trusts, "%zu", i);
		cr_expect_eq(caller.serial, rows[i].shows, "%zu: %ld", i, caller.serial);
		cr_expect(strncmp(text, rows[i].trusts ? "HTTP/1.1 200 " : "HTTP/1.1 502 ", 13) ==
			      0,
			  "%zu: %s", i, text);
		cr_expect(!caller.came || strstr(rows[i].tls, caller.sni), "%s", caller.sni);
	}
	write_conf(with_folder("  secure: {backends: ['unix:$D/secure'], tls: {sni: b.test, cert: "
			       "$D/weir.pem, key: $D/other.key}}\nroutes: [{pool: secure}]\n"));
	change("POST", "/v1/reload", "", 422, "does not belong to the certificate");
	write_conf(with_folder("  secure: {backends: ['unix:$D/secure'], tls: {sni: b.test, ca: "
			       "$D/weir.key}}\nroutes: [{pool: secure}]\n"));
	change("POST", "/v1/reload", "", 422, "weir.key");
	close(listener);
	stop_weir();
}
