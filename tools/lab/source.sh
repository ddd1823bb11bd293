# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Debian's source of Linux 6.12, for the debug kernel and for checkpatch. The
# package is kept in VMSHM_CACHE (~/.cache/vmshm), where other trees find it.

CACHE=${VMSHM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vmshm}
SOURCE_PACKAGE=linux-source-6.12

# The path of the source's tar file, downloaded when it isn't there.
source_tar() {
	local version dir
	version=$(apt-cache policy $SOURCE_PACKAGE 2>/dev/null | sed -n 's/^ *Candidate: //p')
	if [[ -z $version || $version == "(none)" ]]; then
		# Without apt's lists, one that was downloaded before serves.
		dir=$(find "$CACHE" -maxdepth 1 -name "$SOURCE_PACKAGE-*" 2>/dev/null | sort -V | tail -1)
		[[ -n $dir ]] || die "apt knows no $SOURCE_PACKAGE: run apt-get update (Debian 12 with its security updates has it)"
	else
		dir=$CACHE/$SOURCE_PACKAGE-$version
	fi
	if [[ ! -e $dir/linux.tar.xz ]]; then
		need apt-get dpkg-deb
		echo "downloading $SOURCE_PACKAGE $version into $CACHE" >&2
		rm -rf "$dir.new"
		mkdir -p "$dir.new"
		(cd "$dir.new" && apt-get download -q $SOURCE_PACKAGE >log 2>&1) ||
			die "cannot download $SOURCE_PACKAGE: $(tail -1 "$dir.new/log")"
		dpkg-deb --fsys-tarfile "$dir.new"/*.deb |
			tar -xO ./usr/src/$SOURCE_PACKAGE.tar.xz >"$dir.new/linux.tar.xz" ||
			die "cannot unpack $SOURCE_PACKAGE: is the disk full?"
		rm -f "$dir.new"/*.deb "$dir.new/log"
		mv "$dir.new" "$dir"
	fi
	echo "$dir/linux.tar.xz"
}
