# SPDX-License-Identifier: MIT
# Trees of Debian releases, made by mmdebstrap from the mirror that this machine uses, and what
# is run in them.  Source it after lib.sh; needs root or sudo.
# shellcheck shell=bash

# Where the sources are in a tree.
TREE_SOURCES=/weir

# What builds and packages weir; names as Debian has them: without `:command`, and the first
# where releases differ.
tree_build_packages() {
	local word
	for word in "${PACKAGES_BUILD[@]}" libcriterion-dev dpkg-dev file; do
		word=${word%%:*}
		printf '%s,' "${word%%|*}"
	done
}

tree_suite() {
	case $1 in
	12) say bookworm ;;
	13) say trixie ;;
	*) die "no Debian $1 here: 12 and 13 are known" ;;
	esac
}

# tree_make RELEASE ROOT PACKAGES: one that was made with these packages stays
tree_make() {
	[ "$(cat "$2/made" 2>/dev/null)" != "$3" ] || return 0
	need_packages mmdebstrap:mmdebstrap
	as_root rm -rf "$2"
	mkdir -p "${2%/*}"
	# a mirror that stumbles once is asked again
	as_root mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Retries "5"' \
		--include="$3" "$(tree_suite "$1")" "$2"
	say "$3" | as_root tee "$2/made" >/dev/null
}

# tree_copy ROOT: what git knows of, as it is here; objects of the last time stay.  Nothing is done
# where it is there already: somebody may be at work with it.
tree_copy() {
	local sum
	sum=$(git ls-files -z | xargs -0 sha256sum | sha256sum)
	[ "$(cat "$1$TREE_SOURCES/copied" 2>/dev/null)" != "$sum" ] || return 0
	as_root rm -rf "$1$TREE_SOURCES"/{src,tests,include,copied}
	as_root mkdir -p "$1$TREE_SOURCES"
	git ls-files -z | tar -c --null -T - | as_root tar -x -C "$1$TREE_SOURCES"
	say "$sum" | as_root tee "$1$TREE_SOURCES/copied" >/dev/null
}

# tree_run ROOT COMMAND: by sh, with /proc and /dev, which are gone again afterwards
tree_run() {
	# shellcheck disable=SC2016 # the inner shell has the arguments
	as_root unshare --mount sh -eu -c '
		mount --bind /proc "$1/proc"
		mount --bind /dev "$1/dev"
		exec env -u CMAKE_C_COMPILER_LAUNCHER chroot "$1" sh -eu -c "$2"
	' sh "$1" "$2"
}
