# SPDX-License-Identifier: MIT
# scripts/package --check: sourced by it, after the packages have been made.  Lines of its output
# are those of scripts/demo --check.
# shellcheck shell=bash disable=SC2154 # variables of scripts/package

passed=0
failed=0

# claim SENTENCE COMMAND...: the output of the command is shown when it fails
claim() {
	local sentence=$1 said
	shift
	if said=$("$@" 2>&1); then
		say "  ok  $sentence"
		passed=$((passed + 1))
	else
		say "  FAILED $sentence"
		printf '%s\n' "$said" | sed 's/^/      /'
		failed=$((failed + 1))
	fi
}

no_complaint() {
	lintian --allow-root --tag-display-limit 0 --fail-on error,warning "$@"
}

strict_service() {
	systemd-analyze security --offline=yes --threshold=20 --no-pager conf/system/weir.service
}

one_version() {
	local version
	version=$(sed -n 's/^project(weir VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
	[ "$(dpkg-deb -f "$1" Version)" = "$version" ] &&
		grep -q "^## $version, " man/guide/changes.md &&
		dpkg-deb --fsys-tarfile "$1" | tar -xO ./usr/share/doc/weir/changelog.gz | zcat |
		grep -q "^weir ($version) "
}

# Another folder, another build, the same bytes.
same_bytes() {
	local release=$1 again=build/package/again/sources name
	[ "$HERE" = "debian$release" ] || return 0
	rm -rf "${again%/*}"
	mkdir -p "$again"
	git ls-files -z | tar -c --null -T - | tar -x -C "$again"
	(cd "$again" && bash -eu -c "$(make_steps "$PWD" ../elsewhere)")
	for name in weir weir-dbgsym; do
		cmp "${again%/*}/elsewhere/made/$name"_*.deb "$OUT/debian$release/$name"_*.deb || return
	done
}

# The packages that a tree needs before ours can be installed: what Depends says, the first
# alternative of each.
depends() {
	dpkg-deb -f "$1" Depends | tr ',' '\n' | sed 's/^ *//; s/[ |(].*//' | paste -sd,
}

# What mmdebstrap makes is kept as an archive; each run lives in a tree of its own.
fresh_tree() {
	local release=$1 base=$OUT/base$1 root=$OUT/life$1
	tree_make "$release" "$base" "$(depends "$OUT/debian$release"/weir_*.deb)"
	as_root rm -rf "$root"
	as_root cp -a "$base" "$root"
}

# live RELEASE: lines `  ok  ...` and `  FAILED ...` of life.py
live() {
	local release=$1 root=$OUT/life$1 line
	while IFS= read -r line; do
		say "$line"
		case $line in
		'  ok  '*) passed=$((passed + 1)) ;;
		'  FAILED '*) failed=$((failed + 1)) ;;
		esac
	done < <(as_root unshare --net --pid --mount --fork --kill-child \
		"$PYTHON" "$LIB/life.py" "$root" "$OUT/debian$release"/weir_*.deb \
		"$OUT/debian$release/next"/weir_*.deb 2>&1 || say "  FAILED life of Debian $release")
	as_root rm -rf "$root"
}

claim 'weir.service is in a strict sandbox' strict_service
for release in "${releases[@]}"; do
	say "Debian $release"
	claim 'lintian has neither errors nor warnings' no_complaint "$OUT/debian$release"/*.deb
	claim 'one version: project, guide, package, changelog' one_version "$OUT/debian$release"/weir_*.deb
	[ "$HERE" != "debian$release" ] ||
		claim 'a second build has the same bytes' same_bytes "$release"
	claim 'a fresh tree' fresh_tree "$release"
	live "$release"
done
say "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
