# Targets that test and check; the Makefile includes this.

SOURCES    := $(wildcard engine/*.c engine/*/*.c)
C_FILES    := $(SOURCES) $(wildcard engine/*.h engine/*/*.h tests/*/*.[ch] tests/*/*/*.[ch])
LUA_FILES   = $(shell git ls-files --cached --others --exclude-standard '*.lua')
SHELL_FILES = $(shell git ls-files --cached --others --exclude-standard '*.sh') .ci/run
UNIT_TESTS := $(foreach l,$(LAYERS) app,$(call unit_tests,$(l)))

# Programs and unit tests of this MODE and SAN; `program` leaves
# build/perigee as it is.
program: $(OBJ)/perigee
unit-programs: $(UNIT_TESTS)
unit-names:
	@echo $(UNIT_TESTS)

# --- tests ------------------------------------------------------------------

# Units run with the fault points in, the engine as it is shipped.  fsync is
# off because no test takes the power away; the proofs of full size keep it.
UNITS    = $$($(AGAIN) -s MODE=debug unit-names)
WITH_PG  = PERIGEE_PG_OPTIONS="-c fsync=off" tests/support/pg.sh
RUN      = luajit tests/run.lua
TEST_ENV = PERIGEE_BIN=$(abspath $(OBJ)/perigee) PERIGEE_TEST_LOGS=$(BUILD)/test-logs

build-units:
	@$(PARALLEL) -s MODE=debug unit-programs
build-engine:
	@$(PARALLEL) -s all

test: ## run every test, on SQLite and on a PostgreSQL of its own
	@$(AGAIN) deps
	@$(AGAIN) build-engine build-units
	@$(TEST_ENV) $(WITH_PG) $(RUN) unit spec e2e proofs -- $(UNITS)

unit: build-units ## the C unit tests of all layers
	@$(TEST_ENV) $(WITH_PG) $(RUN) unit -- $(UNITS)

spec: ## the Lua specs that need no engine
	@$(TEST_ENV) $(RUN) spec

e2e: build-engine ## drive the real binary, on both stores
	@$(TEST_ENV) $(WITH_PG) $(RUN) e2e

proofs: build-engine ## nothing lost, doubled or out of order: at full size
	@$(TEST_ENV) PERIGEE_TEST_FULL=1 PERIGEE_TEST_WIDTH=1 tests/support/pg.sh $(RUN) proofs

$(BUILD)/bench-loop: tests/bench/loop.c
	@mkdir -p $(@D)
	@$(CC) -O2 $(shell pkg-config --cflags libpq) -o $@ $< -lpq

bench: build-engine $(BUILD)/bench-loop ## measure the engine beside the limits of its stores
	@PERIGEE_BIN=$(abspath $(OBJ)/perigee) BUILD=$(BUILD) tests/support/pg.sh tests/bench/bench.sh

sanitize: ## units and reduced e2e under AddressSanitizer and UBSan
	@$(AGAIN) SAN=address sanitized

tsan: ## units and reduced e2e under ThreadSanitizer
	@$(AGAIN) SAN=thread sanitized

# ThreadSanitizer waits a second at each end, takes the threads of an engine
# that was forced to end for leaks, and has no room for the stacks of scripts
# that run away.
SANITIZER_ENV = ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 \
                TSAN_OPTIONS=atexit_sleep_ms=0:report_thread_leaks=0 PERIGEE_TEST_REDUCED=1 \
                $(if $(filter thread,$(SAN)),PERIGEE_TEST_WITHOUT=runaway)

sanitized:
	@$(PARALLEL) -s SAN=$(SAN) program unit-programs
	@$(TEST_ENV) $(SANITIZER_ENV) $(WITH_PG) $(RUN) unit e2e -- $(UNIT_TESTS)

# --- fuzzing ----------------------------------------------------------------

FUZZ_SECONDS ?= 60
FUZZ_NAMES   := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

fuzz: ## give hostile bytes to each parser for FUZZ_SECONDS (60)
	@$(PARALLEL) -s CC=clang SAN=fuzzer BUILD=$(BUILD)/fuzz fuzz-programs
	@tests/fuzz/run.sh $(BUILD)/fuzz $(FUZZ_SECONDS) $(FUZZ_NAMES)

FUZZ_PROGRAMS := $(FUZZ_NAMES:%=$(OBJ)/fuzz/%)
fuzz-programs: $(FUZZ_PROGRAMS)
$(FUZZ_PROGRAMS): $(OBJ)/fuzz/%: tests/fuzz/driver.c $(FUZZ_OBJS) $(filter-out %/main.o,$(call objs,$(wildcard engine/*.c))) $(call libs,$(LAYERS))
	@$(CC) $(ALL_CFLAGS) -iquote tests -DFUZZ_TARGET=fuzz_$* -fsanitize=fuzzer $(ALL_LDFLAGS) -o $@ \
	    $(filter %.c %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)

# --- checks -----------------------------------------------------------------

# Everything that can be said without running: goes on after a fault, so that
# all of them show.  The build may leave nothing that git would add.
check: ## format, lints, both compilers, static analysis
	@$(AGAIN) deps
	@mkdir -p $(BUILD) && git ls-files --others --exclude-standard >$(BUILD)/untracked.before
	@$(AGAIN) -k format-check lint check-gcc check-clang tidy cppcheck
	@git ls-files --others --exclude-standard | diff $(BUILD)/untracked.before - || \
	    { echo "check: the build leaves files that git does not ignore" >&2; exit 1; }
	@echo "check: clean"

format: ## rewrite the C files as .clang-format says
	@clang-format -i $(C_FILES)

format-check: ## say which C files are not formatted
	@clang-format --dry-run -Werror $(C_FILES)

lint: lint-own lint-lua lint-shell lint-spelling ## layers, headers, words, Lua, shell, spelling
lint-own:
	@luajit tests/lint/run.lua
lint-lua:
	@luacheck -q $(LUA_FILES)
lint-shell:
	@shellcheck $(SHELL_FILES)
lint-spelling:
	@codespell $(shell git ls-files --cached --others --exclude-standard)

check-gcc check-clang: check-%:
	@$(PARALLEL) -s CC=$* WERROR=-Werror BUILD=$(BUILD)/$@ program unit-programs

TIDY_FLAGS = -std=gnu11 -iquote engine -DPERIGEE_FAULTS -D_GNU_SOURCE= $(PKG_CFLAGS) \
             -DPERIGEE_VERSION='""' -DPERIGEE_COMMIT='""' \
             $(if $(filter %/base/err.c,$<),,-include tests/lint/analyser.h)

# A file that was found clean is looked at again once it or a header changes.
tidy:
	@$(PARALLEL) -s -k $(patsubst engine/%.c,$(BUILD)/tidy/%.ok,$(SOURCES))
$(BUILD)/tidy/%.ok: engine/%.c $(wildcard engine/*.h engine/*/*.h) .clang-tidy
	@mkdir -p $(@D)
	@clang-tidy -quiet $< -- $(TIDY_FLAGS) 2>$@.err || { cat $@.err >&2; exit 1; }
	@touch $@

cppcheck:
	@mkdir -p $(BUILD)/cppcheck
	@cppcheck --quiet -j2 --std=c11 --language=c --enable=warning,performance,portability \
	    --inline-suppr --error-exitcode=1 --cppcheck-build-dir=$(BUILD)/cppcheck \
	    -Iengine -DPERIGEE_FAULTS --suppressions-list=tests/lint/cppcheck.txt engine

.PHONY: program unit-programs unit-names build-units build-engine test unit spec \
        e2e proofs bench sanitize tsan sanitized fuzz fuzz-programs check \
        format format-check lint \
        lint-own lint-lua lint-shell lint-spelling check-gcc check-clang tidy cppcheck
