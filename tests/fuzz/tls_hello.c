/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as the beginning of a client's TLS connection, cut anywhere: names, protocols and
 * tickets of a ClientHello reach our callbacks, and whatever happens, the connection fails or
 * waits, and gives back what it took.
 */
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "h1_fuzz.h"
#include "net/tls.h"

#include "weir/base/rng.h"

static struct loop loop;
static struct buf_pool bufs;
static struct tls_local local;
static struct tls_server *server;

/* A certificate of its own for two names, and its key, in one file. */
static void write_pair(const char *path)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	check(key && cert);
	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), 0);
	X509_gmtime_adj(X509_getm_notAfter(cert), 24 * 3600);
	X509_set_pubkey(cert, key);
	X509_NAME *name = X509_get_subject_name(cert);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"a", -1, -1, 0);
	X509_set_issuer_name(cert, name);
	X509_EXTENSION *names =
	    X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:a.example,DNS:*.b.example");
	check(names && X509_add_ext(cert, names, -1) && X509_sign(cert, key, EVP_sha256()));
	FILE *file = fopen(path, "w");
	check(file && PEM_write_X509(file, cert) &&
	      PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL));
	fclose(file);
	X509_EXTENSION_free(names);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static void prepare(void)
{
	char path[] = "/tmp/weir-fuzz-XXXXXX";
	struct str why = STR_INIT;
	struct tls_files files = {.cert = view_str(path)};
	struct tls_server_options options = {
	    .name = VIEW("fuzz"),
	    .files = &files,
	    .n_files = 1,
	    .alpn = VIEW("\x02h2\x08http/1.1"),
	};
	int fd = mkstemp(path);
	check(fd >= 0);
	close(fd);
	write_pair(path);
	check(loop_init(&loop, "fuzz") == ERR_OK);
	buf_pool_init(&bufs, 64);
	tls_local_init(&local, &loop, &bufs, 8);
	check(tls_local_prepare(&local) == ERR_OK);
	tls_local_set_tickets(&local, tls_tickets_rotate(NULL));
	server = tls_server_new(&local, &options, &why);
	check(server != NULL);
	unlink(path);
}

/* Until it fails; true: it is over. */
static bool shake(int fd, void *state)
{
	bool to_write = false;
	loop.turn_began_us++;
	enum io io = transport_tls_server.handshake(fd, state, &to_write);
	check(io == IO_WAIT || io == IO_ERR); /* nobody can make up a Finished */
	check(io != IO_ERR || *transport_tls_server.why(state));
	return io == IO_ERR;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static bool ready;
	static char answer[65536];
	struct rng rng;
	int fds[2];
	if (!ready)
		prepare();
	ready = true;
	if (size < 1)
		return 0;
	rng_init(&rng, data[0]);
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
	void *state = tls_accept(server);
	check(state != NULL);
	bool over = false;
	for (size_t at = 1; at < size && !over;) {
		size_t n = 1 + rng_below(&rng, 2000);
		n = n < size - at ? n : size - at;
		check(send(fds[1], data + at, n, MSG_NOSIGNAL) == (ssize_t)n);
		at += n;
		over = shake(fds[0], state);
		while (recv(fds[1], answer, sizeof(answer), 0) > 0)
			;
	}
	close(fds[1]);
	if (!over)
		check(shake(fds[0], state));
	transport_tls_server.fini(state);
	close(fds[0]);
	check(buf_pool_live(&bufs) == 0 && local.conns.n_live == 0);
	return 0;
}
