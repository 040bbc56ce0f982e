/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "control.h"

void privileges_raise_fds(void)
{
	struct rlimit fds;
	if (getrlimit(RLIMIT_NOFILE, &fds) || fds.rlim_cur == fds.rlim_max)
		return;
	fds.rlim_cur = fds.rlim_max;
	setrlimit(RLIMIT_NOFILE, &fds);
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
	enum err err = ERR_OK;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (conf->user.len == 0) {
		if (geteuid() == 0)
			log_warn(
			    "running as root: set 'user' to switch to another user after binding");
		return ERR_OK;
	}
	if (geteuid() != 0) {
		log_warn("'user' has no effect: weir was not started as root");
		return ERR_OK;
	}
	const struct passwd *user = getpwnam(conf->user.ptr);
	if (!user) {
		str_printf(why, "user '" VIEW_FMT "' does not exist\n", VIEW_ARG(conf->user));
		return ERR_NOENT;
	}
	if (chown(conf->status.socket.ptr, user->pw_uid, user->pw_gid))
		log_warn("cannot give " VIEW_FMT " to user %s: %s", VIEW_ARG(conf->status.socket),
			 user->pw_name, strerror(errno));
	err = become(user, why);
	return err;
}
