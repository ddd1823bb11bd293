# SPDX-License-Identifier: GPL-2.0-only
#
# Rules of a folder of C programs, below those of its own Makefile: an object from
# each source, with what it depends on; clean; an empty install where it has none.

$(O)/%.o: %.c $(TOP)/tools/build.mk Makefile | $(O)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -c -o $@ $<

-include $(wildcard $(O)/*.d)

$(O):
	mkdir -p $@

clean:
	rm -rf $(O) $(O)-*

install:
