/* SPDX-License-Identifier: MIT */
/* The command that takes back what was just done. */
#include "undo.h"

#include <string.h>

#include "text.h"

void put_shell_word(struct str *out, const char *word)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				   "./_-:@%+=,";
	struct str clean = STR_INIT;
	put_clean(&clean, word);
	if (clean.len && strspn(clean.ptr, safe) == clean.len) {
		str_view(out, str_as_view(&clean));
		str_fini(&clean);
		return;
	}
	str_char(out, '\'');
	for (size_t i = 0; i < clean.len; i++) {
		if (clean.ptr[i] == '\'')
			str_text(out, "'\\''");
		else
			str_char(out, clean.ptr[i]);
	}
	str_char(out, '\'');
	str_fini(&clean);
}

void undo_begin(struct ctl *ctl, const char *command)
{
	str_text(&ctl->out, "undo: weirctl ");
	if (ctl->nodes) {
		str_text(&ctl->out, "--nodes ");
		put_shell_word(&ctl->out, ctl->nodes);
		str_char(&ctl->out, ' ');
	}
	str_text(&ctl->out, ctl->all ? "--all " : "");
	if (ctl->token_file) {
		str_text(&ctl->out, "--token-file ");
		put_shell_word(&ctl->out, ctl->token_file);
		str_char(&ctl->out, ' ');
	}
	if (ctl->password_file) {
		str_text(&ctl->out, "--password-file ");
		put_shell_word(&ctl->out, ctl->password_file);
		str_char(&ctl->out, ' ');
	}
	if (ctl->socket_given) {
		str_text(&ctl->out, "-s ");
		put_shell_word(&ctl->out, ctl->socket);
		str_char(&ctl->out, ' ');
	}
	str_text(&ctl->out, command);
	str_char(&ctl->out, ' ');
}

void undo_place(struct ctl *ctl, const char *pool, const char *backend)
{
	struct str place = STR_INIT;
	str_printf(&place, "%s/%s", pool, backend);
	put_shell_word(&ctl->out, place.ptr);
	str_fini(&place);
}
