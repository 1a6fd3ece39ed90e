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
SANFLAGS_thread  := -fsanitize=thread -DPERIGEE_FAULTS
VERSION := $(shell cat VERSION 2>/dev/null || echo 0.0.0)
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

all: $(BUILD)/perigee ## build the engine (build/perigee)

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

-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)

include tests/tests.mk
