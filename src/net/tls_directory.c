/* SPDX-License-Identifier: MIT */
/* Directories of certificates, as certbot, lego and people by hand keep them. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tls.h"

static bool has_ending(struct view name, const char *ending)
{
	return name.len > strlen(ending) && view_ends(name, view_str(ending)) && name.ptr[0] != '.';
}

static int by_cert(const void *a, const void *b)
{
	return view_cmp(((const struct tls_files *)a)->cert, ((const struct tls_files *)b)->cert);
}

static const char *in_directory(struct arena *arena, struct view dir, struct view name,
				const char *ending)
{
	return arena_printf(arena, VIEW_FMT "/" VIEW_FMT "%s", VIEW_ARG(dir), VIEW_ARG(name),
			    ending);
}

/* The file of that name, or the empty view. */
static struct view sibling(struct arena *arena, struct view dir, struct view name,
			   const char *ending)
{
	const char *path = in_directory(arena, dir, name, ending);
	return access(path, F_OK) == 0 ? view_str(path) : VIEW("");
}

/* certbot's names in live/NAME: fullchain.pem has all that the others have, but for the key. */
#define CERTBOT_WHOLE "fullchain"
#define CERTBOT_KEY "privkey"

/* The issuer that lego writes beside NAME.crt as NAME.issuer.crt, or a part of what certbot has. */
static bool is_part(struct arena *arena, struct view dir, struct view stem)
{
	static const char *const parts[] = {"cert", "chain", CERTBOT_KEY};
	struct view issuer = VIEW(".issuer");
	if (has_ending(stem, issuer.ptr) &&
	    sibling(arena, dir, view_head(stem, stem.len - issuer.len), ".crt").len)
		return true;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (view_eq(stem, view_str(parts[i])))
			return sibling(arena, dir, VIEW(CERTBOT_WHOLE), ".pem").len > 0;
	return false;
}

static struct view key_beside(struct arena *arena, struct view dir, struct view stem)
{
	struct view key = sibling(arena, dir, stem, ".key");
	if (!key.len && view_eq(stem, VIEW(CERTBOT_WHOLE)))
		return sibling(arena, dir, VIEW(CERTBOT_KEY), ".pem");
	return key;
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
		struct view stem = view_head(name, name.len - 4);
		if (is_part(arena, path, stem))
			continue;
		(*out)[(*n)++] = (struct tls_files){
		    .cert = view_str(in_directory(arena, path, name, "")),
		    .key = key_beside(arena, path, stem),
		    .ocsp = sibling(arena, path, stem, ".ocsp"),
		};
	}
	closedir(dir);
	qsort(*out, *n, sizeof(**out), by_cert);
	if (*n)
		return ERR_OK;
	str_printf(why, "there is no .pem, .crt or .cer file in '" VIEW_FMT "'", VIEW_ARG(path));
	return ERR_NOENT;
}
