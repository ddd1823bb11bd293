# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Guest kernels: Debian's image and header packages, unpacked below
# build/kernels/NAME/root, nothing installed. A kernel's folder holds
#
#	root/		the packages' files: boot/, lib/modules/, usr/src/
#	vmlinuz		link to the image
#	kdir		link to what a module is built against (KDIR=)
#	release		what uname -r says; written last, so the folder is whole
#
# To take a newer one: rm -rf build/kernels/NAME.

kernel_packages() {
	case $1 in
	6.1) echo linux-image-amd64 linux-headers-amd64 ;;
	6.12) echo linux-image-6.12-amd64 linux-headers-6.12-amd64 ;;
	esac
}

# The package that a meta package stands for.
real_package() {
	apt-cache depends --important "$1" 2>/dev/null |
		sed -n 's/^  Depends: \(linux-\(image\|headers\)-[0-9].*\)/\1/p' | head -1
}

kernel_release() { cat "$KERNELS/$1/release"; }

# Downloads the packages of the kernel NAME into DIR; sets image and headers.
kernel_download() {
	local name=$1 dir=$2 meta common kbuild
	read -ra meta <<<"$(kernel_packages "$name")"
	image=$(real_package "${meta[0]}")
	headers=$(real_package "${meta[1]}")
	if [[ -z $image || -z $headers ]]; then
		echo "E: apt knows no ${meta[0]}: run apt-get update (Debian 12 with its security updates has it)" >"$dir/log"
		return 1
	fi
	common=$(apt-cache depends --important "$headers" | sed -n 's/^  Depends: \(linux-headers-.*-common\)$/\1/p')
	kbuild=$(apt-cache depends --important "$headers" | sed -n 's/^  Depends: \(linux-kbuild-.*\)$/\1/p')
	say "kernel $name: downloading $image"
	(cd "$dir" && apt-get download -q "$image" "$headers" "$common" "$kbuild" >log 2>&1)
}

kernel_unpack() {
	local name=$1 dir=$2 image headers common deb
	mkdir -p "$dir/deb" "$dir/root"
	# Lists that are missing or old: root can have new ones.
	if ! kernel_download "$name" "$dir/deb"; then
		((EUID)) || apt-get update -qq >/dev/null 2>&1
		kernel_download "$name" "$dir/deb" ||
			die "no kernel $name: $(grep -m1 '^E:' "$dir/deb/log" || tail -1 "$dir/deb/log")"
	fi
	for deb in "$dir"/deb/*.deb; do
		dpkg-deb -x "$deb" "$dir/root" || die "cannot unpack $deb: is the disk full?"
	done
	rm -r "$dir/deb"

	# The headers' Makefile and links speak of /usr/src: make them relative.
	local src=$dir/root/usr/src/$headers release=${image#linux-image-}
	common=$(basename "$dir/root/usr/src"/linux-headers-*-common)
	# shellcheck disable=SC2016
	sed -i -E 's#^include /usr/src/(.*)$#include $(abspath $(dir $(lastword $(MAKEFILE_LIST))))/../\1#' \
		"$src/Makefile"
	ln -sfn "../../../usr/src/$headers" "$dir/root/lib/modules/$release/build"
	ln -sfn "../../../usr/src/$common" "$dir/root/lib/modules/$release/source"
	depmod -b "$dir/root" "$release"
	ln -sfn "root/boot/vmlinuz-$release" "$dir/vmlinuz"
	ln -sfn "root/usr/src/$headers" "$dir/kdir"
	echo "$release" >"$dir/release"
}

# Makes sure that the kernel NAME is there.
kernel_get() {
	local name=$1 dir=$KERNELS/$1
	[[ -e $dir/release ]] && return
	mkdir -p "$KERNELS"
	(
		flock 8
		[[ -e $dir/release ]] && exit
		if [[ $name == debug ]]; then
			"$TOP/tools/lab/build-debug-kernel" "$dir"
			exit
		fi
		need apt-get dpkg-deb depmod
		rm -rf "$dir" "$dir.new"
		kernel_unpack "$name" "$dir.new" && mv "$dir.new" "$dir"
	) 8>"$KERNELS/$name.lock" || exit 1
}

# Builds af_vmshm.ko for the kernel NAME and puts it where its modprobe looks.
kernel_module() {
	local name=$1 release root ko
	release=$(kernel_release "$name")
	root=$KERNELS/$name/root
	flock "$BUILD" make --no-print-directory -s -C "$TOP" modules BUILD="$BUILD" \
		KDIR="$KERNELS/$name/kdir" >&2 ||
		die "the module does not build for kernel $name; see above, or boot without it: NOMODULE=1"
	ko=$BUILD/modules/$release/af_vmshm.ko
	(
		flock 8
		cmp -s "$ko" "$root/lib/modules/$release/extra/af_vmshm.ko" && exit
		install -D -m 644 "$ko" "$root/lib/modules/$release/extra/af_vmshm.ko"
		depmod -b "$root" "$release"
	) 8<"$KERNELS"
}
