# SPDX-License-Identifier: MIT
# bash completion of weirctl: commands out of its help, names out of the running weir.
# shellcheck shell=bash

_weirctl_commands() {
	weirctl --help 2>/dev/null | sed -n '/^commands:/,/^options:/s/^  \([a-z]*\).*/\1/p'
}

# _weirctl_names backends|pools: the first column of a table
_weirctl_names() {
	weirctl "${socket[@]}" "$1" 2>/dev/null | awk 'NR > 1 && $2 != "is" {print $1}'
}

_weirctl() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command='' i n=0
	local socket=() words=''
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-s | --socket)
			socket=(-s "${COMP_WORDS[i + 1]}")
			i=$((i + 1))
			;;
		--nodes | --token-file | --password-file) i=$((i + 1)) ;;
		-*) ;;
		*)
			command=${command:-${COMP_WORDS[i]}}
			n=$((n + 1))
			;;
		esac
	done
	case $before in
	-s | --socket | --token-file | --password-file)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	--phase) words='queue connect wait transfer client self total' ;;
	--window) words='10s 1m 5m start' ;;
	--nodes) words='shared' ;;
	--since) words='-1h -1d -2d -7d -30d' ;;
	--step) words='1m 15m 1h 6h 1d' ;;
	*)
		case $word:$command in
		-*) words='--socket --json --watch --help --version --phase --window --name --weight
			--client --wait --follow --header --read-only --seconds --since --step
			--nodes --all --token-file --password-file' ;;
		*:) words=$(_weirctl_commands) ;;
		*:drain | *:maintenance | *:enable | *:weight | *:remove) words=$(_weirctl_names backends) ;;
		*:histogram | *:history | *:reset) words="$(_weirctl_names pools) $(_weirctl_names backends)" ;;
		*:mark) [ "$n" -eq 1 ] || words="$(_weirctl_names pools) $(_weirctl_names backends)" ;;
		*:backends | *:scaling | *:slow | *:add) words=$(_weirctl_names pools) ;;
		esac
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
	# a colon in an address parts words for readline
	declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$word"
	return 0
}

complete -F _weirctl weirctl
