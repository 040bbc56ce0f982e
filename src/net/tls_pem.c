/* SPDX-License-Identifier: MIT */
/* Files of certificates and keys, as the library reads them. */
#include "tls_pem.h"

#include <stdlib.h>
#include <string.h>

#include "weir/base/file.h"

/* Lists of revocations are the largest of these files. */
#define TLS_FILE_MAX (64u << 20)

/* A copy, which ends as a file does. */
static BIO *text_bio(struct view text)
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

BIO *tls_pem_file(struct view path, struct str *why)
{
	struct str text = STR_INIT, reason = STR_INIT;
	BIO *bio = NULL;
	if (file_read(path.ptr, TLS_FILE_MAX, 0, &text, &reason))
		str_printf(why, "cannot read '" VIEW_FMT "': " VIEW_FMT, VIEW_ARG(path),
			   VIEW_ARG(str_as_view(&reason)));
	else if (!(bio = text_bio(str_as_view(&text))))
		str_printf(why, "no memory for '" VIEW_FMT "'", VIEW_ARG(path));
	if (text.ptr) /* it may hold a key */
		OPENSSL_cleanse(text.ptr, text.cap);
	str_fini(&text);
	str_fini(&reason);
	return bio;
}

BIO *tls_pem_open(const struct tls_files *files, struct view path, struct str *why)
{
	return files->pem.len ? text_bio(files->pem) : tls_pem_file(path, why);
}

int tls_no_passphrase(char *to, int size, int writing, void *arg)
{
	(void)to;
	(void)size;
	(void)writing;
	*(bool *)arg = true;
	return 0;
}

X509 *tls_next_cert(OSSL_LIB_CTX *lib, BIO *bio)
{
	return tls_read_cert(lib, bio, tls_no_passphrase, &(bool){false});
}
