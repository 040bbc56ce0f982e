# SPDX-License-Identifier: MIT
# scripts/package --check: sourced by it, after the packages have been made.  Lines of its output
# that count are those of scripts/demo --check; the others tell what was done, and all of it stays
# in build/package/check-RELEASES.txt.
# shellcheck shell=bash disable=SC2154 # variables of scripts/package

passed=0
failed=0

# claim SENTENCE COMMAND...: all output of the command is shown when it fails
claim() {
	local sentence=$1 said begun=$SECONDS
	shift
	if said=$("$@" 2>&1); then
		say "  ok  $sentence ($((SECONDS - begun)) s)"
		[ -z "$said" ] || tail -n 2 <<<"$said" | sed 's/^/      /'
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
	systemd-analyze security --offline=yes --threshold=20 --no-pager conf/system/weir.service |
		grep -o 'Overall exposure.*[0-9]'
}

one_version() {
	local version
	version=$(sed -n 's/^project(weir VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
	[ "$(dpkg-deb -f "$1" Version)" = "$version" ] &&
		grep -q "^## $version, " man/guide/changes.md &&
		dpkg-deb --fsys-tarfile "$1" | tar -xO ./usr/share/doc/weir/changelog.gz | zcat |
		grep -q "^weir ($version) "
}

# Another folder, another build, without a cache: the same bytes.  Where a build that has been tested
# is packed, its weir is taken, for to optimise it as a whole once more takes minutes; weirctl is built
# by the same options, out of some of the same folders.
same_bytes() {
	local release=$1 again=build/package/again/sources name programs=''
	rm -rf "${again%/*}"
	mkdir -p "$again"
	if [ -n "$tested" ]; then
		# shellcheck disable=SC2034 # make_steps reads it
		programs=weirctl
		mkdir -p "${again%/*}/elsewhere/bin"
		cp "$tested/bin/weir" "${again%/*}/elsewhere/bin"
	fi
	git ls-files -z | tar -c --null -T - | tar -x -C "$again"
	(cd "$again" && bash -eu -c "$(make_steps "$PWD" ../elsewhere -DCMAKE_C_COMPILER=gcc \
		-DWEIR_TESTS=OFF -DCMAKE_C_COMPILER_LAUNCHER=)")
	for name in weir weir-dbgsym; do
		cmp "${again%/*}/elsewhere/made/$name"_*.deb "$OUT/debian$release/$name"_*.deb || return
	done
	sha256sum "${again%/*}/elsewhere/made/weir"_*.deb "$OUT/debian$release/weir"_*.deb
}

# Nor does it say when or where it was built: what would differ then.
built_anywhere() {
	local folder said=0
	for folder in "$PWD" "$(cd "$1" && pwd)"; do
		! grep -aFm 1 -e "$folder" "$1/bin/weir" "$1/bin/weirctl" || said=1
	done
	! git grep -nE '__(DATE|TIME|TIMESTAMP)__' -- src include || said=1
	return "$said"
}

# ended STATUS LOG: of what ran beside something else
ended() {
	tail -n 40 "$2"
	return "$1"
}

# read_claims COMMAND...: lines `  ok  ...` and `  FAILED ...` of its output count
read_claims() {
	local line
	while IFS= read -r line; do
		say "$line"
		case $line in
		'  ok  '*) passed=$((passed + 1)) ;;
		'  FAILED '*) failed=$((failed + 1)) ;;
		esac
	done < <("$@" 2>&1 || say "  FAILED $*")
}

# live RELEASE: the package in its fresh tree
live() {
	local release=$1 root=$OUT/life$1
	read_claims as_root unshare --net --pid --mount --fork --kill-child \
		"$PYTHON" "$LIB/life.py" "$root" "$OUT/debian$release"/weir_*.deb \
		"$OUT/debian$release/next"/weir_*.deb
	# there is none when it could not even be installed
	[ ! -e "$root/weir.log" ] || as_root cp "$root/weir.log" "build/logs/life$release.weir.log"
	as_root rm -rf "$root" "$root.pebble"
}

# Somebody else's reading of the image.
image_unpacks() {
	local folder=$OUT/umoci
	as_root rm -rf "$folder"
	mkdir -p "$folder/layout"
	tar -xf "$1" -C "$folder/layout"
	as_root umoci unpack --image "$folder/layout:$(umoci ls --layout "$folder/layout")" "$folder/bundle" &&
		cmp "$folder/bundle/rootfs/usr/sbin/weir" "$OUT/image/usr/sbin/weir"
}

# The image, run as a container engine runs it.
live_image() {
	local folder=$OUT/life.image
	as_root rm -rf "$folder"
	mkdir -p "$folder"
	read_claims as_root unshare --net --mount "$PYTHON" "$LIB/oci_life.py" "$OUT"/weir_*_oci.tar "$folder"
	as_root rm -rf "$folder"
}

heading() {
	printf '\n%s\n' "$1"
}

check_release() {
	local release=$1 again='' status=0
	heading "Debian $release"
	claim 'lintian has neither errors nor warnings' no_complaint "$OUT/debian$release"/*.deb
	claim 'one version: project, guide, package, changelog' one_version "$OUT/debian$release"/weir_*.deb
	if [ "$HERE" = "debian$release" ]; then # a life is mostly waiting
		[ -z "$tested" ] || claim 'programs do not say where they were built' built_anywhere "$tested"
		same_bytes "$release" >build/logs/again.log 2>&1 &
		again=$!
	fi
	claim 'a fresh tree' fresh_tree "$release" "$OUT/life$release"
	live "$release"
	[ -n "$again" ] || return 0
	wait "$again" || status=$?
	claim 'a second build has the same bytes' ended "$status" build/logs/again.log
}

check_image() {
	heading 'the image'
	claim 'made without a daemon' image
	claim 'umoci reads it' image_unpacks "$OUT"/weir_*_oci.tar
	live_image
}

check_all() {
	local release
	claim 'weir.service is in a strict sandbox' strict_service
	for release in "${releases[@]}"; do
		check_release "$release"
	done
	case " ${releases[*]} " in
	*' 12 '*) check_image ;;
	esac
	heading "$passed passed, $failed failed, $SECONDS s in all"
	[ "$failed" -eq 0 ]
}

check_all | tee "$OUT/check-$(IFS=- && echo "${releases[*]}").txt"
