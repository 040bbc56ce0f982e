/* SPDX-License-Identifier: MIT */
#include "weir/base/file.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[64];

/* Each test is a process: it goes to a folder of its own. */
static void enter_folder(void)
{
	strcpy(folder, "/tmp/weir-file-XXXXXX");
	cr_assert(mkdtemp(folder) && chdir(folder) == 0);
}

static void remove_folder(void)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	cr_assert_eq(system(command), 0);
}

TestSuite(file, .init = enter_folder, .fini = remove_folder, .timeout = 20);

static void put_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");
	cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void expect_refused(const char *path, size_t max, int wait_ms, const char *reason)
{
	struct str text = STR_INIT, why = STR_INIT;
	str_text(&text, "kept");
	cr_assert_neq(file_read(path, max, wait_ms, &text, &why), ERR_OK, "%s", path);
	cr_assert_str_eq(why.ptr, reason, "%s: %s", path, why.ptr);
	cr_assert_str_eq(text.ptr, "kept");
	str_fini(&text);
	str_fini(&why);
}

static void make_socket(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(un.sun_path, path);
	cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&un, sizeof(un)) == 0);
	close(fd);
}

Test(file, a_file_is_read_to_its_end)
{
	struct str text = STR_INIT, why = STR_INIT;
	put_file("five", "12345");
	cr_assert_eq(file_read("five", 5, 0, &text, &why), ERR_OK);
	cr_assert_str_eq(text.ptr, "12345");
	put_file("none", "");
	cr_assert_eq(file_read("none", 5, 0, &text, &why), ERR_OK);
	cr_assert_eq(symlink("five", "link"), 0);
	cr_assert_eq(file_read("link", 5, 0, &text, &why), ERR_OK);
	cr_assert_str_eq(text.ptr, "1234512345");
	cr_assert_eq(why.len, 0);
	str_fini(&text);
}

Test(file, what_is_no_file_is_refused_at_once)
{
	put_file("five", "12345");
	expect_refused("five", 4, 0, "it is larger than 4 bytes, which it may have at most");
	expect_refused("missing", 4, 0, "No such file or directory");
	expect_refused(".", 4, 0, "Is a directory");
	expect_refused("/dev/zero", 4, 0, "it is a device, not a file");
	expect_refused("/dev/zero", 4, 10, "it is a device, not a file");
	cr_assert_eq(mkfifo("fifo", 0600), 0);
	expect_refused("fifo", 4, 0, "it is a pipe, not a file");
	cr_assert_eq(symlink("fifo", "link"), 0);
	expect_refused("link", 4, 0, "it is a pipe, not a file");
	make_socket("socket");
	expect_refused("socket", 4, 0, "it is a socket, not a file");
}

Test(file, a_pipe_that_may_be_waited_for_is_not_waited_for_without_end)
{
	cr_assert_eq(mkfifo("fifo", 0600), 0);
	expect_refused("fifo", 4, 10, "nobody writes into this pipe");
	int keep = open("fifo", O_RDWR);
	expect_refused("fifo", 4, 10, "nobody writes into this pipe");
	close(keep);
	if (fork() == 0) {
		int fd = open("fifo", O_WRONLY);
		_exit(write(fd, "text", 4) == 4 ? 0 : 1);
	}
	struct str text = STR_INIT, why = STR_INIT;
	cr_assert_eq(file_read("fifo", 4, 10000, &text, &why), ERR_OK, "%s", why.ptr);
	cr_assert_str_eq(text.ptr, "text");
	str_fini(&text);
}

Test(file, only_what_nobody_else_can_change_is_roots)
{
	if (geteuid() != 0)
		cr_skip_test("only root has something of root's");
	struct {
		const char *path;
		bool is;
	} rows[] = {{"/", true},        {"/etc", true},        {"/nonexistent", false},
		    {"/tmp", false},    {"mine/below", true},  {"mine", true},
		    {"open", false},    {"open/below", false}, {"his", false},
		    {"to-mine", true},  {"to-open", false},    {"open/link", false},
		    {"absolute", true}, {"circle", false},     {"mine/../mine", true}};
	cr_assert(!mkdir("mine", 0755) && !mkdir("mine/below", 0755) && !mkdir("open", 0777) &&
		  !chmod("open", 0777) && !mkdir("open/below", 0755) && !mkdir("his", 0755) &&
		  !chown("his", 65534, 65534) && !symlink("mine", "to-mine") &&
		  !symlink("open", "to-open") && !symlink("../mine", "open/link") &&
		  !symlink("/etc", "absolute") && !symlink("circle", "circle"));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_assert_eq(file_is_roots(rows[i].path), rows[i].is, "%s", rows[i].path);
}

Test(file, only_the_same_socket_is_removed_or_changed)
{
	struct stat st;
	make_socket("one");
	struct file_id one = file_identify("one");
	put_file("target", "x");
	cr_assert(!chmod("target", 0600) && !rename("one", "elsewhere") &&
		  !symlink("target", "one"));
	cr_assert_not(file_chmod_socket("one", one, 0666));
	file_remove_socket("one", one);
	cr_assert(!lstat("one", &st) && S_ISLNK(st.st_mode));
	cr_assert(!stat("target", &st) && (st.st_mode & 0777) == 0600);
	cr_assert(file_chmod_socket("elsewhere", one, 0640));
	cr_assert(!stat("elsewhere", &st) && (st.st_mode & 0777) == 0640);
	file_remove_socket("elsewhere", one);
	cr_assert(lstat("elsewhere", &st) != 0);
}

Test(file, links_are_not_followed_by_root_where_others_may_put_them)
{
	const char *name;
	if (geteuid() != 0)
		cr_skip_test("others follow their own links");
	cr_assert(!mkdir("open", 0777) && !chmod("open", 0777) && !mkdir("mine", 0755) &&
		  !symlink("../mine", "open/link"));
	cr_assert_eq(file_open_directory("open/link/socket", &name), -1);
	int fd = file_open_directory("open/socket", &name);
	cr_assert(fd >= 0);
	cr_assert_str_eq(name, "socket");
	close(fd);
}

Test(file, a_directory_where_everybody_writes_is_made_for_us_alone)
{
	struct str why = STR_INIT;
	struct stat st;
	char path[128];
	cr_assert(!mkdir("all", 0777) && !chmod("all", 01777) && !mkdir("all/his", 0777));
	snprintf(path, sizeof(path), "%s/all/ours/socket", folder);
	cr_assert_eq(file_make_directory(path, &why), ERR_OK, "%s", why.ptr);
	cr_assert(!stat("all/ours", &st) && (st.st_mode & 0777) == 0700);
	cr_assert_eq(file_make_directory(path, &why), ERR_OK, "%s", why.ptr);
	snprintf(path, sizeof(path), "%s/new//socket", folder);
	cr_assert_eq(file_make_directory(path, &why), ERR_OK, "%s", why.ptr);
	cr_assert(!stat("new", &st) && (st.st_mode & 0777 & ~022) == 0755);
	if (geteuid() == 0 && chown("all/his", 65534, 65534) == 0) {
		snprintf(path, sizeof(path), "%s/all/his/socket", folder);
		cr_assert_neq(file_make_directory(path, &why), ERR_OK);
		cr_assert(strstr(why.ptr, "belongs to somebody else"));
	}
	str_fini(&why);
}

/* The directory was the user's, and he has put a link in its place. */
Test(file, root_writes_and_makes_nothing_behind_a_link_of_others)
{
	struct str why = STR_INIT;
	struct stat st;
	char path[128];
	if (geteuid() != 0)
		cr_skip_test("others follow their own links");
	cr_assert(!mkdir("his", 0755) && !chown("his", 65534, 65534) && !mkdir("secret", 0700) &&
		  !symlink("../secret", "his/state"));
	put_file("secret/kept", "kept");
	cr_assert_neq(file_replace("his/state", "new", VIEW("x")), 0);
	cr_assert_neq(file_replace("his/state", "kept", VIEW("x")), 0);
	file_remove("his/state/kept");
	snprintf(path, sizeof(path), "%s/his/state/made/socket", folder);
	cr_assert_neq(file_make_directory(path, &why), ERR_OK);
	cr_assert(lstat("secret/new", &st) && lstat("secret/made", &st) &&
		  !lstat("secret/kept", &st));
	cr_assert_eq(st.st_size, 4);
	cr_assert_eq(file_replace("his", "new", VIEW("x")), 0,
		     "a directory of his is where it says");
	cr_assert(!lstat("his/new", &st) && st.st_size == 1 && (st.st_mode & 0777) == 0600);
	file_remove("his/new");
	cr_assert(lstat("his/new", &st) != 0);
	str_fini(&why);
}

/* As /var/run is one, with a directory of the user's behind it. */
Test(file, root_goes_by_a_link_that_is_its_own)
{
	char path[128];
	struct stat st;
	if (geteuid() != 0)
		cr_skip_test("others follow their own links");
	cr_assert(!mkdir("run", 0755) && !symlink("run", "var") && !mkdir("run/his", 0755) &&
		  !chown("run/his", 65534, 65534) && !symlink("../run", "run/his/link"));
	cr_assert_eq(file_replace("var/his", "new", VIEW("x")), 0);
	cr_assert(!lstat("run/his/new", &st));
	snprintf(path, sizeof(path), "%s/var/his/new", folder);
	file_remove(path);
	cr_assert(lstat("run/his/new", &st) != 0);
	cr_assert_neq(file_replace("var/his/link", "new", VIEW("x")), 0, "this one may change");
}
