# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# make            build/kaccel and build/kaccel.bpf.o
# make test       everything that can fail (root): unit, bpf, fuzz, e2e
# make run        build, serve share/site on http://127.0.0.1:8080/ (root)
# make bench      kaccel beside nginx and h2o (root)
# make lint       format, clang-tidy, cppcheck, shellcheck

CC      ?= gcc
CLANG   ?= clang-14
BPFTOOL ?= /usr/sbin/bpftool
PYTHON  ?= /usr/bin/python3
O       := build

MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)
ARCH      := $(shell uname -m | sed -e 's/x86_64/x86/' -e 's/aarch64/arm64/')

WARN     := -Wall -Wextra -Wshadow -Wno-unused-parameter
CFLAGS   ?= -O2 -g
KCFLAGS  := $(CFLAGS) -std=gnu11 $(WARN) -D_GNU_SOURCE -Iinclude -I$(O)
BPFFLAGS := -O2 -g -std=gnu11 -mcpu=v3 -target bpf -D__TARGET_ARCH_$(ARCH) -D__bpf__ \
	    $(WARN) -Wno-address-of-packed-member -Wno-compare-distinct-pointer-types \
	    -Iinclude -I. -Ibpf -isystem /usr/include/$(MULTIARCH)
LDLIBS   := -lbpf -lmicrohttpd -ljansson

USER_SRC := $(wildcard user/*.c)
USER_OBJ := $(USER_SRC:user/%.c=$(O)/user/%.o)
BPF_SRC  := $(wildcard bpf/*.bpf.c)
BPF_OBJ  := $(BPF_SRC:bpf/%.bpf.c=$(O)/bpf/%.o)
HEADERS  := $(wildcard include/kaccel/*.h user/*.h)

all: $(O)/kaccel

$(O)/bpf/%.o: bpf/%.bpf.c $(wildcard bpf/*.h include/kaccel/*.h) vmlinux.h
	@mkdir -p $(@D)
	$(CLANG) $(BPFFLAGS) -c $< -o $@

# One object for all hooks, so that they share their maps however they are loaded.
$(O)/kaccel.bpf.o: $(BPF_OBJ)
	$(BPFTOOL) gen object $@ $^

$(O)/kaccel.skel.h: $(O)/kaccel.bpf.o
	$(BPFTOOL) gen skeleton $< name kaccel > $@.tmp && mv $@.tmp $@

$(O)/user/%.o: user/%.c $(HEADERS) $(O)/kaccel.skel.h
	@mkdir -p $(@D)
	$(CC) $(KCFLAGS) -c $< -o $@

$(O)/kaccel: $(USER_OBJ)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

include $(wildcard tests/*/Makefile.inc bench/Makefile.inc)

clean:
	rm -rf $(O)

.PHONY: all clean
.DELETE_ON_ERROR:
