/* SPDX-License-Identifier: MIT */
/*
 * Both ends of a connection, handshake and all, over a pair of sockets: a server that keeps
 * its records to itself, one that leaves them to OpenSSL, and the client, which always does.
 */
#include "fixture.h"

#include "net/tls.h"
#include "net/tls_compat.h"

#define LARGE ((size_t)300 * 1024)

enum side { SERVER, CLIENT, N_SIDES };

static struct tls_local local;
static SSL_CTX *ctx[N_SIDES];
static struct tls_conn *conn[N_SIDES];
static int fd[N_SIDES];

static const struct transport *transport(enum side side)
{
	return side == SERVER ? &transport_tls_server : &transport_tls_client;
}

/* A certificate that nobody looks at. */
static void certify(SSL_CTX *server)
{
	EVP_PKEY *key = NULL;
	EVP_PKEY_CTX *make = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);
	cr_assert(EVP_PKEY_keygen_init(make) == 1 &&
		  EVP_PKEY_CTX_set_ec_paramgen_curve_nid(make, NID_X9_62_prime256v1) == 1 &&
		  EVP_PKEY_keygen(make, &key) == 1);
	EVP_PKEY_CTX_free(make);
	X509 *cert = X509_new();
	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), 0);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	cr_assert(X509_set_pubkey(cert, key) == 1 && X509_sign(cert, key, EVP_sha256()) > 0);
	cr_assert(SSL_CTX_use_certificate(server, cert) == 1 &&
		  SSL_CTX_use_PrivateKey(server, key) == 1);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static void make_ends(bool own, int verify)
{
	fixture_init();
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	tls_local_init(&local, &fx.loop, &fx.bufs, 8);
	cr_assert_eq(tls_local_prepare(&local), ERR_OK);
	ctx[SERVER] = tls_ctx_new(local.lib, TLS_server_method(), true);
	ctx[CLIENT] = tls_ctx_new(local.lib, TLS_client_method(), true);
	SSL_CTX_set_verify(ctx[CLIENT], verify, NULL);
	certify(ctx[SERVER]);
	if (own)
		tls_own_prepare(ctx[SERVER]);
	for (unsigned i = 0; i < N_SIDES; i++)
		conn[i] = tls_conn_new(&local, ctx[i]);
	SSL_set_accept_state(conn[SERVER]->ssl);
	SSL_set_connect_state(conn[CLIENT]->ssl);
}

/* What comes of the handshake, for each side, and errno with IO_ERR. */
static void shake(enum io io[N_SIDES], int error[N_SIDES])
{
	static const enum side turns[] = {CLIENT, SERVER};
	io[SERVER] = io[CLIENT] = IO_WAIT;
	for (unsigned i = 0; i < 40; i++) {
		enum side side = turns[i % N_SIDES];
		bool to_write = false;
		if (io[side] != IO_WAIT)
			continue;
		errno = 0;
		io[side] = transport(side)->handshake(fd[side], conn[side], &to_write);
		error[side] = errno;
	}
}

static void start(bool own)
{
	enum io io[N_SIDES];
	int error[N_SIDES];
	make_ends(own, SSL_VERIFY_NONE);
	shake(io, error);
	cr_assert(io[SERVER] == IO_OK && io[CLIENT] == IO_OK);
	cr_assert_eq(conn[SERVER]->own, own);
}

static void cut(enum side side)
{
	transport(side)->fini(conn[side]);
	close(fd[side]);
	conn[side] = NULL;
}

static void stop(void)
{
	for (unsigned i = 0; i < N_SIDES; i++) {
		if (conn[i])
			cut(i);
		SSL_CTX_free(ctx[i]);
	}
	tls_local_fini(&local);
	fixture_fini();
}

static enum io take(enum side side, char *to, size_t cap, size_t *n)
{
	return transport(side)->read(fd[side], conn[side], to, cap, n);
}

static void give(enum side side, const char *text)
{
	size_t n;
	cr_assert_eq(transport(side)->write(fd[side], conn[side], text, strlen(text), &n), IO_OK);
	cr_assert_eq(n, strlen(text));
}

/* Tickets come first, and say nothing. */
static void assert_heard(enum side side, const char *text)
{
	char got[64];
	size_t n = 0;
	enum io io = IO_WAIT;
	for (unsigned i = 0; io == IO_WAIT && i < 10; i++)
		io = take(side, got, sizeof(got), &n);
	cr_assert_eq(io, IO_OK);
	cr_assert(n == strlen(text) && memcmp(got, text, n) == 0);
}

/* It has been told: nothing wakes anybody for it again. */
static void assert_over(enum side side, enum io expected)
{
	char got[8];
	size_t n;
	for (unsigned i = 0; i < 3; i++) {
		enum io io = take(side, got, sizeof(got), &n);
		int error = errno;
		cr_assert(io == expected && n == 0);
		if (expected == IO_ERR)
			cr_assert_eq(error, ECONNRESET, "%d: %s", i, strerror(error));
		cr_assert(!transport(side)->buffered(conn[side]));
	}
}

static void exchange(void)
{
	give(CLIENT, "question");
	assert_heard(SERVER, "question");
	give(SERVER, "answer");
	assert_heard(CLIENT, "answer");
}

static void ends(enum side reader, enum side other)
{
	char got[8];
	size_t n;
	exchange();
	give(other, "last words");
	transport(other)->goodbye(fd[other], conn[other]);
	/* what fits is taken first; the rest is said to be there */
	cr_assert_eq(take(reader, got, 5, &n), IO_OK);
	cr_assert(n == 5 && transport(reader)->buffered(conn[reader]));
	assert_heard(reader, "words");
	enum io io = take(reader, got, sizeof(got), &n);
	cr_assert_eq(io, IO_EOF);
	assert_over(reader, IO_EOF);
	/* the other direction goes on (RFC 8446 6.1) */
	give(reader, "still here");
}

static void is_cut(enum side reader, enum side other)
{
	exchange();
	give(other, "last words");
	cut(other);
	assert_heard(reader, "last words");
	assert_over(reader, IO_ERR);
}

/* More than the kernel takes at once: in order, every byte once. */
static void large(enum side from, enum side to)
{
	static char sent[LARGE], got[LARGE];
	size_t n_sent = 0, n_got = 0, n;
	exchange();
	for (size_t i = 0; i < LARGE; i++)
		sent[i] = (char)(i * 7 + i / 251);
	for (unsigned i = 0; i < 10000 && n_got < LARGE; i++) {
		if (n_sent < LARGE && transport(from)->write(fd[from], conn[from], sent + n_sent,
							     LARGE - n_sent, &n) == IO_OK)
			n_sent += n;
		if (take(to, got + n_got, LARGE - n_got, &n) == IO_OK)
			n_got += n;
	}
	cr_assert_eq(n_got, LARGE);
	cr_assert(memcmp(sent, got, LARGE) == 0);
	cr_assert_eq(transport(from)->held(conn[from]), 0);
}

#define BOTH(name, what)               \
	Test(tls_conn, name##_own)     \
	{                              \
		start(true);           \
		what;                  \
		stop();                \
	}                              \
	Test(tls_conn, name##_openssl) \
	{                              \
		start(false);          \
		what;                  \
		stop();                \
	}

BOTH(the_client_ends, ends(SERVER, CLIENT))
BOTH(the_server_ends, ends(CLIENT, SERVER))
BOTH(the_client_is_cut_off, is_cut(SERVER, CLIENT))
BOTH(the_server_is_cut_off, is_cut(CLIENT, SERVER))
BOTH(much_goes_up, large(CLIENT, SERVER))
BOTH(much_comes_down, large(SERVER, CLIENT))

/* Another outcome, and another line in the log, than a handshake that fails for its form. */
Test(tls_conn, who_is_not_trusted_is_told_apart)
{
	enum io io[N_SIDES];
	int error[N_SIDES];
	make_ends(false, SSL_VERIFY_PEER);
	shake(io, error);
	cr_expect(io[CLIENT] == IO_ERR && io[SERVER] == IO_ERR);
	cr_expect_eq(error[CLIENT], EKEYREJECTED, "%s", strerror(error[CLIENT]));
	cr_expect_eq(error[SERVER], EPROTO, "%s", strerror(error[SERVER]));
	stop();
}

static struct tls_conn *another_server(void)
{
	struct tls_conn *c = tls_conn_new(&local, ctx[SERVER]);
	SSL_set_accept_state(c->ssl);
	return c;
}

/* The worker's scratch area still has what somebody else sent before. */
Test(tls_conn, what_a_client_gave_is_its_own)
{
	static const char request[] = "GET / HTTP/1.1\r\n\r\n", full[4096];
	int other[2];
	bool to_write = false;
	make_ends(false, SSL_VERIFY_NONE);
	transport_tls_client.handshake(fd[CLIENT], conn[CLIENT], &to_write);
	while (send(fd[SERVER], full, sizeof(full), 0) > 0)
		;
	cr_assert_eq(transport_tls_server.handshake(fd[SERVER], conn[SERVER], &to_write), IO_WAIT);
	cr_assert(to_write);

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, other), 0);
	struct tls_conn *plain = another_server();
	cr_assert_eq(send(other[CLIENT], request, strlen(request), 0), (ssize_t)strlen(request));
	cr_expect_eq(transport_tls_server.handshake(other[SERVER], plain, &to_write), IO_ERR);
	cr_expect(view_eq(tls_given(plain), view_str(request)));
	transport_tls_server.fini(plain);
	close(other[SERVER]);
	close(other[CLIENT]);

	cut(CLIENT);
	cr_expect_eq(transport_tls_server.handshake(fd[SERVER], conn[SERVER], &to_write), IO_ERR);
	cr_expect_eq(tls_given(conn[SERVER]).len, 0);
	stop();
}
