# SPDX-License-Identifier: MIT
# Shared by demo, test and bench: install what is missing, build.  Source it from bash:
#
#   . "$(dirname "$0")/lib.sh"
#   need_packages "${PACKAGES_BUILD[@]}"   # quiet, asks nothing, does nothing when all is there
#   build_release weir weirctl        # into build/release
#
# Works on Debian 12 and 13, with all packages present also without a network.
# shellcheck shell=bash

WEIR_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
WEIR_JOBS=${WEIR_JOBS:-$(nproc)}
# The interpreter that Debian's python3-* packages serve; the first in PATH may be another.
# shellcheck disable=SC2034
PYTHON=/usr/bin/python3

# A compiler cache gets no base directory: with one it writes other paths into debugging symbols,
# and equal sources would not give equal bytes.
export CCACHE_BASEDIR=
unset CCACHE_NOHASHDIR

# A word is a package, or `package:command` where a command from elsewhere does as well, or
# `a|b` where Debian releases name it differently: the first that can be had is taken.
PACKAGES_BUILD=(gcc libc6-dev cmake:cmake ninja-build:ninja 'pkgconf|pkg-config' python3
	libev-dev libssl-dev libpcre2-dev libnghttp2-dev libyaml-dev libjansson-dev
	libxxhash-dev libncurses-dev libseccomp-dev libsqlite3-dev libc-ares-dev libhiredis-dev
	libzstd-dev libbrotli-dev zlib1g-dev libcrypt-dev)
# shellcheck disable=SC2034
PACKAGES_APPS=(nodejs:node gunicorn curl:curl openssl:openssl nghttp2-client:h2load tmux:tmux procps)
# shellcheck disable=SC2034
PACKAGES_SCALE=(nodejs:node redis-server:redis-server)
# shellcheck disable=SC2034
PACKAGES_WORLDS=(wrk:wrk nghttp2-client:h2load)
# shellcheck disable=SC2034
PACKAGES_FLEET=(redis-server:redis-server keepalived:keepalived curl:curl iproute2:ip)
# shellcheck disable=SC2034
PACKAGES_BENCH=(nginx haproxy wrk:wrk nghttp2-client:h2load nghttp2-proxy openssl:openssl)
# shellcheck disable=SC2034
PACKAGES_PACKAGE=(dpkg-dev file lintian mmdebstrap:mmdebstrap systemd:systemd-analyze umoci:umoci iproute2 nodejs:node
	pebble:pebble openssl)
# shellcheck disable=SC2034
PACKAGES_TEST=(clang libclang-rt-dev llvm clang-format-19 libcriterion-dev python3-pytest python3-pytest-xdist
	python3-yaml python3-h2 python3-grpcio python3-jsonschema python3-websocket wrk:wrk haproxy nginx
	apache2 lighttpd php-cli:php uvicorn puma ruby-webrick golang-go:go
	nghttp2-client:h2load nghttp2-proxy hatop:hatop tmux:tmux zsh:zsh fish:fish chromium:chromium shellcheck:shellcheck mandoc:mandoc strace:strace devscripts:hardening-check valgrind:valgrind prometheus:promtool openssl iproute2
	dnsmasq-base:dnsmasq etcd-server:etcd pebble:pebble lego:lego certbot:certbot)

say() {
	printf '%s\n' "$*"
}

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

package_is_installed() {
	[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# package_is_there WORD: see PACKAGES_BUILD for what a word may be
package_is_there() {
	local names=${1%%:*} name
	case $1 in
	*:*) command -v "${1#*:}" >/dev/null && return 0 ;;
	esac
	for name in ${names//|/ }; do
		package_is_installed "$name" && return 0
	done
	return 1
}

missing_packages() {
	local word
	for word; do
		package_is_there "$word" || printf '%s\n' "$word"
	done
}

# The first name of a word that apt can install; the first one when it knows none.
package_candidate() {
	local names=${1%%:*} name
	for name in ${names//|/ }; do
		if apt-cache policy "$name" 2>/dev/null | grep -q 'Candidate: [^(]'; then
			say "$name"
			return
		fi
	done
	say "${names%%|*}"
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		env "$@"
	else
		sudo env "$@"
	fi
}

missing_names() {
	local word
	for word in "${missing[@]}"; do
		package_candidate "$word"
	done | tr '\n' ' '
}

apt_quietly() {
	as_root DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -y \
		-o DPkg::Lock::Timeout=600 -o Acquire::Retries=5 -o Dpkg::Options::=--force-confold "$@" \
		</dev/null >>"$install_log" 2>&1
}

# While packages are configured, a policy file keeps nginx, haproxy and prometheus from being
# started as services: the tests start their own.  One that was there before stays.
services_hold() {
	policy=/usr/sbin/policy-rc.d
	[ ! -e "$policy" ] || return 0
	as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
	held=1
}

services_release() {
	[ -z "${held:-}" ] || as_root rm -f "$policy"
	held=
}

# need_packages WORD...: in a subshell, so that its trap is its own
need_packages() (
	# shellcheck disable=SC2207 # the words hold neither blanks nor globs
	missing=($(missing_packages "$@"))
	[ ${#missing[@]} -gt 0 ] || return 0
	command -v apt-get >/dev/null ||
		die "this script installs Debian packages; by hand, please: ${missing[*]}"
	[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null ||
		die "neither root nor sudo; as root, please: apt-get install $(missing_names)"
	mkdir -p "$WEIR_ROOT/build/logs"
	install_log=$WEIR_ROOT/build/logs/install.log
	: >"$install_log"
	apt_quietly update || say "apt-get update failed, going on with the lists at hand"
	say "installing: $(missing_names)"
	trap services_release EXIT
	trap 'exit 130' INT TERM
	services_hold
	# shellcheck disable=SC2046
	if ! apt_quietly install --no-install-recommends $(missing_names); then
		tail -n 20 "$install_log" >&2
		die "installing packages failed, see $install_log"
	fi
	hash -r
	# shellcheck disable=SC2207 # the words hold neither blanks nor globs
	missing=($(missing_packages "$@"))
	[ ${#missing[@]} -eq 0 ] || die "still missing after the installation: ${missing[*]}"
)

# configure DIR COMPILER CMAKE-OPTION...
# CMake drops all other options when the compiler of a build directory changes, so that one
# starts afresh.
configure() {
	local dir=$WEIR_ROOT/build/$1 compiler=$2 fresh=()
	shift 2
	if [ -e "$dir/CMakeCache.txt" ] &&
		! grep -qE "^CMAKE_C_COMPILER:[A-Z]+=(.*/)?$compiler\$" "$dir/CMakeCache.txt"; then
		fresh=(--fresh)
	fi
	# scripts/package may have been stopped in the middle of it
	cmake "${fresh[@]}" -S "$WEIR_ROOT" -B "$dir" -G Ninja -DCMAKE_C_COMPILER="$compiler" \
		-DWEIR_PACKAGE=OFF -DCMAKE_INSTALL_PREFIX=/usr/local "$@"
}

# build_release TARGET...: what a user runs; the log is shown only when it fails
build_release() {
	local log=$WEIR_ROOT/build/logs/build.log
	need_packages "${PACKAGES_BUILD[@]}"
	mkdir -p "${log%/*}"
	say "building into build/release"
	if ! { configure release gcc -DCMAKE_BUILD_TYPE=RelWithDebInfo &&
		ninja -C "$WEIR_ROOT/build/release" -j "$WEIR_JOBS" "$@"; } >"$log" 2>&1; then
		tail -n 40 "$log" >&2
		die "the build failed, see $log"
	fi
}
