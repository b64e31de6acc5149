# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# make            build/kaccel and build/kaccel.bpf.o
# make run        install what is missing, build, serve share/site on http://127.0.0.1:8080/ (root)
# make test       install what is missing, build, unit, bpf, fuzz and end-to-end tests (root)
# make bench      kaccel beside nginx and h2o (root)
# make lint       clang-format, clang-tidy, cppcheck, shellcheck
# make vmlinux.h  the kernel's types again, from the running kernel

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
BPFFLAGS := -O2 -g -std=gnu11 -fno-strict-aliasing -mcpu=v3 -target bpf -D__TARGET_ARCH_$(ARCH) -D__bpf__ \
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
	(echo '// NOLINTBEGIN'; $(BPFTOOL) gen skeleton $< name kaccel; echo '// NOLINTEND') > $@.tmp
	mv $@.tmp $@

$(O)/user/%.o: user/%.c $(HEADERS) $(O)/kaccel.skel.h
	@mkdir -p $(@D)
	$(CC) $(KCFLAGS) -c $< -o $@

$(O)/kaccel: $(USER_OBJ)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

include $(wildcard tests/*/Makefile.inc bench/Makefile.inc)

# What Debian 12 calls what is needed. Missing packages are installed by the targets that are for
# root; a plain `make` only builds.
BUILD_PACKAGES := gcc libc6-dev clang-14 bpftool libbpf-dev libelf-dev zlib1g-dev libmicrohttpd-dev \
		  libjansson-dev media-types
TEST_PACKAGES  := $(BUILD_PACKAGES) libcmocka-dev libhttp-parser-dev libclang-rt-14-dev nginx-light \
		  python3-pytest iproute2 util-linux ethtool curl jq
BENCH_PACKAGES := $(BUILD_PACKAGES) nginx-light h2o wrk ethtool iproute2 python3
LINT_PACKAGES  := clang-format-14 clang-tidy-14 cppcheck shellcheck

# Recursive make: what is found while the makefile is read must see what was just installed.
run:
	@tests/packages.sh $(BUILD_PACKAGES)
	@$(MAKE) --no-print-directory all
	@exec $(O)/kaccel serve share/site --listen 127.0.0.1:8080

test:
	@tests/packages.sh $(TEST_PACKAGES) $(LINT_PACKAGES)
	@$(MAKE) --no-print-directory all
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory test-unit
	@$(MAKE) --no-print-directory test-bpf
	@$(MAKE) --no-print-directory fuzz
	@$(MAKE) --no-print-directory test-e2e

bench:
	@tests/packages.sh $(BENCH_PACKAGES)
	@$(MAKE) --no-print-directory run-bench

LINT_C := $(wildcard include/kaccel/*.h user/*.[ch] bpf/*.[ch] tests/*/*.[ch] vmlinux.h)

lint: $(O)/kaccel.skel.h
	clang-format-14 --dry-run -Werror $(LINT_C)
	cppcheck -q --std=c11 --error-exitcode=1 --enable=warning,performance,portability \
		--suppress=missingIncludeSystem '-DLIBBPF_OPTS(type,name,...)=struct type name' \
		-Iinclude user
	clang-tidy-14 --quiet --warnings-as-errors='*' user/*.c -- -std=gnu11 -D_GNU_SOURCE -Iinclude -isystem $(O)
	shellcheck $(wildcard tests/*.sh tests/*/*.sh .ci/run)

# Only when asked for by name: it is part of the source, the same for every kernel.
ifneq ($(filter vmlinux.h,$(MAKECMDGOALS)),)
vmlinux.h: force
	$(PYTHON) bpf/vmlinux.py > $@.tmp && mv $@.tmp $@
force:
.PHONY: force
endif

clean:
	rm -rf $(O)

.PHONY: all run test bench lint clean
.DELETE_ON_ERROR:
