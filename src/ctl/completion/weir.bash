# SPDX-License-Identifier: MIT
# bash completion of weir: options and strategies out of itself.
# shellcheck shell=bash

_weir() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words=''
	case $before in
	-c | init)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	--balance) words=$(weir --schema 2>/dev/null | tr -d '\n' |
		sed -n 's/.*"balance": *{[^}]*"enum": *\[\([^]]*\)\].*/\1/p' | tr -d '",') ;;
	--status-socket)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	--listen | --backend | --status-bind) return ;;
	*)
		words=$(weir --help 2>/dev/null | sed -n 's/^  \(--[a-z-]*\|-[a-zA-Z]\).*/\1/p')
		[ "$COMP_CWORD" -ne 1 ] || words="$words init"
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
	return 0
}

complete -F _weir weir
