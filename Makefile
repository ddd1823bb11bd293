# SPDX-License-Identifier: GPL-2.0-only
#
# AF_VMSHM: `make help` lists the targets. The module is built by the kernel's
# own build system from Kbuild beside this file, in build/module/RELEASE, with
# the result in build/modules/RELEASE/af_vmshm.ko. User-space folders have
# Makefiles of their own, with the targets all, clean and install.

BUILD ?= $(CURDIR)/build
override BUILD := $(abspath $(BUILD))
PREFIX ?= /usr/local
DESTDIR ?=
KDIR ?= /lib/modules/$(shell uname -r)/build

LAB := tools/vmshm-lab
FOLDERS := $(patsubst %/Makefile,%,$(wildcard tools/*/Makefile bench/Makefile tests/*/Makefile))
SUBMAKE = $(MAKE) --no-print-directory BUILD=$(BUILD) PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)

MAKEFLAGS += --no-print-directory

.PHONY: all modules tools $(FOLDERS:%=%/all) vmshmd lab-tools install modules_install test test-kvm-nested demo check clean help packages bench-quick bench
.DEFAULT_GOAL := all

all: modules tools ## the module for the running kernel, and all programs

##@ Building

tools: $(FOLDERS:%=%/all) ## all user-space programs, into build/

$(FOLDERS:%=%/all): %/all:
	+@$(SUBMAKE) -C $* all

# Tests build the tools that they run, and a tool its library: not both at once.
tools/vmshm-proxy/all: | tools/libvmshm/all
$(patsubst %,%/all,$(filter tests/%,$(FOLDERS))): | $(patsubst %,%/all,$(filter tools/%,$(FOLDERS)))

vmshmd: $(patsubst %,%/all,$(filter tools/vmshmd,$(FOLDERS)))
lab-tools: $(patsubst %,%/all,$(filter tools/lab,$(FOLDERS)))

# The sources are links in the build folder: kbuild writes beside them.
release = $(shell sed -n 's/.*UTS_RELEASE "\(.*\)"/\1/p' $(KDIR)/include/generated/utsrelease.h 2>/dev/null)
object = $(BUILD)/module/$(release)

modules: ## af_vmshm.ko for KDIR= (the running kernel's headers)
	@test -n "$(release)" || { echo "$(KDIR) is no folder to build modules against:" \
		"install linux-headers-$$(uname -r), or say KDIR=" >&2; exit 1; }
	@test -e Kbuild || { echo "Kbuild is missing: this tree is not complete" >&2; exit 1; }
	@mkdir -p $(object) $(BUILD)/modules/$(release)
	@find $(object) -xtype l -delete
	@cp -asf $(CURDIR)/Kbuild $(CURDIR)/af_vmshm $(CURDIR)/include $(object)/
	@$(MAKE) -C $(KDIR) M=$(object) CONFIG_DEBUG_INFO_BTF_MODULES= $(KBUILD_ARGS) modules
	@cmp -s $(object)/af_vmshm.ko $(BUILD)/modules/$(release)/af_vmshm.ko || \
		cp $(object)/af_vmshm.ko $(BUILD)/modules/$(release)/

##@ Installing

install: tools ## programs, headers and manual pages, below PREFIX= (/usr/local) and DESTDIR=
	@for folder in $(FOLDERS); do $(SUBMAKE) -C $$folder install || exit 1; done
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/include/linux include/uapi/linux/vmshm.h include/uapi/linux/vmshm_diag.h
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man7 docs/man/vmshm.7

modules_install: modules ## the module for KDIR=; then `modprobe af_vmshm` works
	install -D -m 644 $(BUILD)/modules/$(release)/af_vmshm.ko \
		$(DESTDIR)/lib/modules/$(release)/extra/af_vmshm.ko
	$(if $(DESTDIR),,depmod $(release))

##@ Trying and testing

packages: ## the Debian packages that all this needs
	@tools/install-packages

demo: packages ## two VMs, a file over AF_VMSHM and over virtio-net, and a table of both
	@BUILD=$(BUILD) tools/demo/run

test: packages ## all tests; T=name for those whose name matches, KERNEL=6.1, 6.12 or debug for one kernel
	@BUILD=$(BUILD) tests/run

test-kvm-nested: packages ## the socket tests and unplugging under real KVM inside an emulated VM, and what KVM does for a message (20 min)
	@BUILD=$(BUILD) tests/kvm-nested/run

# Hours of samples are reported even if some of them failed; that they did is the
# exit status. What else ends bench/run (an interrupt, results of other code) ends it all.
bench-quick: packages ## AF_VMSHM beside what else there is, in ten minutes; then build/results/report/report.html
	@export BUILD=$(BUILD); failed=0; \
	bench/run quick --tries 1 || { failed=$$?; [ $$failed = 3 ] || exit $$failed; }; \
	bench/report $(BUILD)/results/quick.jsonl && exit $$failed

bench: packages ## the whole study (hours): mechanisms, layers, all competitors
	@export BUILD=$(BUILD); failed=0; counts=$(BUILD)/results/kvm-counts.json; \
	bench/run mechanisms || { failed=$$?; [ $$failed = 3 ] || exit $$failed; }; \
	bench/layers/run && bench/layers/run --kernel 6.12 -o $(BUILD)/results/layers-6.12.json || exit; \
	bench/run full || { failed=$$?; [ $$failed = 3 ] || exit $$failed; }; \
	[ -e $$counts ] || counts=; \
	bench/report $(BUILD)/results/full.jsonl $(BUILD)/results/mechanisms.jsonl $(BUILD)/results/layers.json $$counts && \
		exit $$failed

check: ## checkpatch, sparse, shellcheck and compiler warnings
	@BUILD=$(BUILD) tools/lab/check

##@ Cleaning

clean: ## all that was built, but for the downloaded kernels and the results of measurements
	@test ! -d $(BUILD) || find $(BUILD) -mindepth 1 -maxdepth 1 ! -name kernels ! -name lab ! -name results -exec rm -rf {} +

help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z_-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
