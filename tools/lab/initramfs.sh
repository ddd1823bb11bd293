# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The first root of a VM: busybox, the modules that reach the real one, init and
# the agent. Made anew for each `up` (it takes a blink), so it is never stale.

GUEST_MODULES=(virtio_pci virtio_net virtio_console 9pnet_virtio 9p overlay)

# The files of the modules that KERNEL needs, in the order of loading.
guest_modules() {
	local root=$KERNELS/$1/root release module
	release=$(kernel_release "$1")
	for module in "${GUEST_MODULES[@]}"; do
		modprobe -d "$root" -S "$release" --show-depends "$module" ||
			die "kernel $release has no module $module"
	done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++'
}

make_initramfs() {
	local kernel=$1 out=$2 tree=$2.tree module name
	need cpio busybox modprobe
	rm -rf "$tree"
	mkdir -p "$tree"/{bin,dev,proc,sys,new,modules}
	cp "$(command -v busybox)" "$tree/bin/busybox"
	for name in sh mount mkdir insmod ip hostname ln cp cat switch_root sleep; do
		ln -s busybox "$tree/bin/$name"
	done
	install -m 755 "$TOP/tools/lab/init" "$tree/init"
	install -m 755 "$TOOLS/agent" "$tree/bin/agent"
	guest_modules "$kernel" >"$tree/list" || exit 1
	while read -r module; do
		name=$(basename "$module")
		case $module in
		*.xz) xz -dc "$module" >"$tree/modules/${name%.xz}" ;;
		*) cp "$module" "$tree/modules/" ;;
		esac
		echo "${name%.xz}" >>"$tree/order"
	done <"$tree/list"
	touch "$tree/order"
	(cd "$tree" && find . | cpio -o -H newc --quiet) >"$out" || die "cannot write $out: is the disk full?"
	rm -rf "$tree"
}
