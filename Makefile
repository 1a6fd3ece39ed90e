# Perigee: one file builds, checks and runs everything.  `make help` lists it.
#
# Each folder of engine/ becomes an archive, and every program links its own
# layer and those to the right of it, so the linker keeps the layers too.

MODE  ?= release
SAN   ?=
BUILD ?= build
CC    ?= gcc
PREFIX ?= /usr/local
ifeq ($(origin CC),default)
CC := gcc
endif

PKGS   := luajit libpq sqlite3 libuv libcurl gmp libcrypto
OBJ    := $(BUILD)/obj$(if $(filter debug,$(MODE)),-debug)$(if $(SAN),-$(SAN))
LAYERS := http cli api core store vm run base

CFLAGS_release := -O2 -g
CFLAGS_debug   := -O0 -g -DPERIGEE_FAULTS
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
        -Wformat=2 -Wundef -Wpointer-arith -Wcast-qual -Wwrite-strings \
        -Wswitch-enum -Wimplicit-fallthrough -Wnull-dereference -Wconversion \
        $(if $(findstring clang,$(CC)),-Wthread-safety) $(WERROR)
FORTIFY := $(if $(SAN)$(filter debug,$(MODE)),,-D_FORTIFY_SOURCE=2)
SANFLAGS_address := -fsanitize=address,undefined -fno-sanitize-recover=undefined -DPERIGEE_FAULTS
SANFLAGS_fuzzer  := -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined
SANFLAGS_thread  := -fsanitize=thread -DPERIGEE_FAULTS
VERSION := 0.1.0
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

ALL_CFLAGS = -std=gnu11 $(CFLAGS_$(MODE)) $(WARN) -fno-omit-frame-pointer \
             -fstack-protector-strong $(FORTIFY) $(SANFLAGS_$(SAN)) -pthread \
             -iquote engine $(PKG_CFLAGS) $(CFLAGS)
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDLIBS     := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lcivetweb -lm
ALL_LDFLAGS = $(SANFLAGS_$(SAN)) -pthread -Wl,-z,relro,-z,now $(LDFLAGS)

src  = $(wildcard engine/$1/*.c)
objs = $(patsubst engine/%.c,$(OBJ)/%.o,$1)
libs = $(foreach l,$1,$(OBJ)/lib$(l).a)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

all: $(BUILD)/perigee ## build the engine (build/perigee); MODE=debug: with fault points

$(BUILD)/perigee: $(OBJ)/perigee
	@cp -f $< $@

$(OBJ)/perigee: $(call objs,$(wildcard engine/*.c)) $(call libs,$(LAYERS))
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)

$(OBJ)/%.o: engine/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(OBJ)/main.o: ALL_CFLAGS += -DPERIGEE_VERSION='"$(VERSION)"' -DPERIGEE_COMMIT='"$(COMMIT)"'

define layer_archive
$(OBJ)/lib$1.a: $$(call objs,$$(call src,$1))
	@mkdir -p $$(@D) && rm -f $$@
	ar rcs $$@ $$^
lib$1: $(OBJ)/lib$1.a
endef
$(foreach l,$(LAYERS),$(eval $(call layer_archive,$(l))))

# A unit test of a layer links that layer and those to the right of it.
right_base  := base
right_run   := run base
right_vm    := vm run base
right_store := store run base
right_core  := core store vm run base
right_api   := api core store vm run base
right_cli   := cli api core store vm run base
right_http  := http api core store vm run base

unit_tests = $(patsubst tests/unit/%.c,$(OBJ)/unit/%,$(wildcard tests/unit/$1/test_*.c))
define layer_tests
$(OBJ)/unit/$1/%: tests/unit/$1/%.c $$(call libs,$$(right_$1))
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_CFLAGS) -iquote tests -MMD -MP -MF $$@.d $$(ALL_LDFLAGS) -o $$@ $$< -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LDLIBS) -lcmocka
unit-$1: $$(call unit_tests,$1)
	@for t in $$^; do $$$$t || exit 1; done
endef
$(foreach l,$(LAYERS),$(eval $(call layer_tests,$(l))))

# What is right in engine/ sees all; its tests link all but main().
$(OBJ)/unit/app/%: tests/unit/app/%.c $(filter-out %/main.o,$(call objs,$(wildcard engine/*.c))) $(call libs,$(LAYERS))
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -iquote tests -MMD -MP -MF $@.d $(ALL_LDFLAGS) -o $@ $(filter %.c %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS) -lcmocka

# What hostile bytes may meet: for `make fuzz`, and replayed by a unit test.
FUZZ_OBJS := $(patsubst tests/fuzz/%.c,$(OBJ)/fuzz/%.o,$(wildcard tests/fuzz/f*.c))
$(OBJ)/unit/app/test_fuzz: $(FUZZ_OBJS)
$(OBJ)/fuzz/%.o: tests/fuzz/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -iquote tests -MMD -MP -c -o $@ $<

-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)

# Packages may be missing until `deps` has run, so what needs them is asked of
# a make of its own.
AGAIN := $(MAKE) --no-print-directory
PARALLEL := $(AGAIN) -j$(shell nproc)

deps: ## install the Debian packages that are missing
	@tests/support/deps.sh

run: ## serve the Order example on 127.0.0.1:8000
	@$(AGAIN) deps
	@$(PARALLEL) -s all
	@mkdir -p data && PERIGEE_HELLO=1 exec $(BUILD)/perigee serve

demo: ## import a day of a real shop and print its tables
	@$(AGAIN) deps
	@$(PARALLEL) -s all
	@examples/shop/demo.sh $(abspath $(BUILD)/perigee)

image: ## build the container image perigee:VERSION
	@$(AGAIN) deps
	@config/image/build.sh $(BUILD)/image perigee $(VERSION) $(COMMIT)

install: all ## install under PREFIX (/usr/local), with examples and defaults
	install -D -m 755 $(BUILD)/perigee $(DESTDIR)$(PREFIX)/bin/perigee
	find config lua projections examples docs -type f ! -path 'examples/shop/data/*' \
	    ! -path 'config/image/*' \
	    -exec install -D -m 644 {} $(DESTDIR)$(PREFIX)/share/perigee/{} \;

clean: ## remove what was built
	rm -rf $(BUILD)

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

include tests/tests.mk

.PHONY: all deps run demo image install clean help
