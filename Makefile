# SPDX-License-Identifier: GPL-2.0-only
BUILD ?= $(CURDIR)/build
.PHONY: lab-tools
lab-tools:
	@$(MAKE) -C tools/lab BUILD=$(BUILD)
