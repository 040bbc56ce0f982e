# SPDX-License-Identifier: MIT
# scripts/package oci: sourced by it, after the package for Debian 12 has been made.
# shellcheck shell=bash disable=SC2154 # variables of scripts/package

# The programs, what ld.so loads for them, authorities, terminals for weirctl top, and sleep for a
# hook before the end: no shell, no package manager.
image_root() {
	local deb=$1 root=$2 full=$OUT/image.full files
	fresh_tree 12 "$full"
	as_root dpkg-deb -x "$deb" "$full"
	# shellcheck disable=SC2016 # the inner shell's
	files=$(as_root chroot "$full" sh -c 'for program in /usr/sbin/weir /usr/bin/weirctl /usr/bin/sleep; do
		echo "$program"; ldd "$program" | grep -o "/[^ ]*"; done' | sort -u)
	as_root rm -rf "$root"
	as_root mkdir -p "$root"/{etc/weir,etc/ssl/certs,run/weir,var/lib/weir,tmp,proc,sys,dev,usr/lib,usr/lib64}
	as_root ln -s usr/lib "$root/lib"
	as_root ln -s usr/lib64 "$root/lib64"
	# shellcheck disable=SC2046,SC2086 # words
	(cd "$full" && as_root cp -L --parents $(printf '.%s ' $files) "$WEIR_ROOT/$root")
	as_root cp -a "$full/usr/lib/terminfo" "$root/usr/lib/"
	as_root cp -L "$full/etc/ssl/certs/ca-certificates.crt" "$root/etc/ssl/certs/"
	as_root install -m 644 conf/system/container.yaml "$root/etc/weir/weir.yaml"
	printf 'root:x:0:0::/:/sbin/nologin\nweir:x:65532:65532::/:/sbin/nologin\n' |
		as_root tee "$root/etc/passwd" >/dev/null
	printf 'root:x:0:\nweir:x:65532:\n' | as_root tee "$root/etc/group" >/dev/null
	as_root rm -rf "$full"
}

image() {
	local version
	version=$(dpkg-deb -f "$OUT/debian12"/weir_*.deb Version)
	say 'making an image'
	image_root "$OUT/debian12"/weir_*.deb "$OUT/image"
	as_root SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" "$PYTHON" "$LIB/oci.py" "$OUT/image" "$version" \
		"$OUT/weir_${version}_oci.tar"
	ls "$OUT/weir_${version}_oci.tar"
}
