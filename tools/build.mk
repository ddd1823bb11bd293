# SPDX-License-Identifier: GPL-2.0-only
#
# Compiler flags and paths that every user-space Makefile shares. Each includes
# this file first, from its own folder:
#
#	include ../build.mk		(../../tools/build.mk from tests/ring, say)
#
# and gets
#
#	TOP	the top of the project tree, absolute
#	BUILD	where all output goes, absolute
#	O	this folder's own output folder: $(BUILD)/<name of the folder>, for
#		those of tests and bench $(BUILD)/tests/<name>
#	suffix	what SANITIZE=address,undefined or SANITIZE=thread (for gcc's
#		-fsanitize) adds to O: each build has a folder of its own
#
# A Makefile then offers the targets all, clean and install (DESTDIR, PREFIX).
# rules.mk, included last, has the rules that they share. CFLAGS on the command
# line replaces the optimisation alone, the rest stays.

TOP := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))/..)
BUILD ?= $(TOP)/build

SANITIZE ?=
comma := ,
suffix := $(SANITIZE:%=-$(subst $(comma),-,$(SANITIZE)))
O := $(BUILD)/$(patsubst tools/%,%,$(CURDIR:$(TOP)/%=%))$(suffix)

PREFIX ?= /usr/local
DESTDIR ?=
INSTALL ?= install

ifeq ($(origin CC),default)
CC := gcc
endif
CFLAGS ?= -O2 -g
override CFLAGS += -std=gnu11 -Wall -Wextra -Werror
ifneq ($(SANITIZE),)
override CFLAGS += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
endif
override CPPFLAGS += -D_GNU_SOURCE -I$(TOP)/include -I$(TOP)/include/uapi

.DELETE_ON_ERROR:
.PHONY: all clean install
all:
