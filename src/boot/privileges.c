/* SPDX-License-Identifier: MIT */
/* Becoming the user that the configuration names, for good. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "control.h"

#include "weir/base/file.h"

void privileges_raise_fds(void)
{
	struct rlimit fds;
	if (getrlimit(RLIMIT_NOFILE, &fds) || fds.rlim_cur == fds.rlim_max)
		return;
	fds.rlim_cur = fds.rlim_max;
	setrlimit(RLIMIT_NOFILE, &fds);
}

/*
 * Before anything is bound or opened: files that are made from now on are for the
 * user that this process is going to be.
 */
enum err privileges_prepare(const struct conf *conf, struct str *why)
{
	if (!conf->user.len || geteuid() != 0)
		return ERR_OK;
	const struct passwd *user = getpwnam(conf->user.ptr);
	if (!user) {
		str_printf(why, "user '" VIEW_FMT "' does not exist\n", VIEW_ARG(conf->user));
		return ERR_NOENT;
	}
	/* his groups decide as well where he may go */
	if (initgroups(user->pw_name, user->pw_gid)) {
		str_printf(why, "cannot become user '%s': %s\n", user->pw_name, strerror(errno));
		return ERR_IO;
	}
	file_owner_set(user->pw_uid, user->pw_gid);
	return ERR_OK;
}

static enum err become(const struct passwd *user, struct str *why)
{
	if (initgroups(user->pw_name, user->pw_gid) || setgid(user->pw_gid) ||
	    setuid(user->pw_uid)) {
		str_printf(why, "cannot become user '%s': %s\n", user->pw_name, strerror(errno));
		return ERR_IO;
	}
	if (user->pw_uid != 0 && setuid(0) == 0) {
		str_printf(why, "privileges of root could be taken back\n");
		return ERR_IO;
	}
	return ERR_OK;
}

enum err privileges_drop(const struct conf *conf, struct str *why)
{
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (conf->user.len == 0) {
		if (geteuid() == 0)
			log_warn(
			    "running as root: set 'user' to switch to another user after binding");
		return ERR_OK;
	}
	const struct passwd *user = getpwnam(conf->user.ptr);
	if (geteuid() != 0) { /* after a hand-over this process is that user already */
		if (!user || user->pw_uid != geteuid())
			log_warn("'user' has no effect: weir was not started as root");
		return ERR_OK;
	}
	if (!user) {
		str_printf(why, "user '" VIEW_FMT "' does not exist\n", VIEW_ARG(conf->user));
		return ERR_NOENT;
	}
	file_owner_clear();
	return become(user, why);
}
