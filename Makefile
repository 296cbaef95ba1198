# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the Torsion authors
#
# The one door to the project: `make` alone lists what there is. Each target installs what it lacks.

SWIFT ?= swift
# A part of a test's name or a regular expression: make test FILTER=Deferred
FILTER ?=
# Exclusivity and overflow checks differ between the two, so a change of the hot path is tested in
# both: make test CONFIGURATIONS="debug release"
CONFIGURATIONS ?= debug
BUILD_FLAGS ?= --explicit-target-dependency-import-check error
# Swift Testing runs tests side by side by itself; there are no XCTest cases to look for
TEST_FLAGS ?= --disable-xctest
# How many tests run at the same time, each with a thread of Tests/CTestThreads. Most wait, so there are more
# than cores; without a bound each would wait for all others, and what takes time would be seen as late.
TEST_WIDTH ?= $(shell expr 3 '*' "$$(nproc)")
# For make sim: one seed alone, or how many
SEED ?=
SEEDS ?=
# How many seeds of each scenario the tests search under the sanitizers, 300 otherwise: a simulation
# has one thread, so that many find no more there, and each takes ten times as long.
SAN_SEEDS ?= 30
# What `make ci` runs after lint and build, in this order
CI_TARGETS ?= test adapters docs first-program fuzz-short bench-counts-short

# Warnings are errors and every trait is on in our own runs: see Package.swift.
export TORSION_DEVELOPMENT := 1
export SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH = $(TEST_WIDTH)
SWIFT_SOURCES = Package.swift $(wildcard Sources Tests Tool Benchmarks)
# As somebody builds it who depends on Torsion, with headers that are errors for what a trait needs.
AS_USER = env -u TORSION_DEVELOPMENT
plain_FLAGS = -Xcc -I$(CURDIR)/Tests/AbsentLibraries
# @testable wants -enable-testing, which a release build lacks; with a folder of its own the
# test build does not throw away the plain one.
release_FLAGS = -c release -Xswiftc -enable-testing
debug_FLAGS = -c debug
tsan_FLAGS = --sanitize=thread
asan_FLAGS = --sanitize=address -Xswiftc -use-ld=lld
folder = .build$(addprefix -,$(filter-out debug,$(1)))
# The flags of a kind of build, of the library and of the command. These are two packages, and a folder
# is one package's alone: SwiftPM takes what it planned there for the one as the plan of the other.
library = $($(1)_FLAGS) --scratch-path $(call folder,$(1))
command = $($(1)_FLAGS) --package-path Tool --scratch-path Tool/$(call folder,$(1))
filter = $(if $(FILTER),--filter '$(FILTER)')

.DEFAULT_GOAL := help
.PHONY: help build servers test test-all lint fix san sim fuzz fuzz-short mutants docs docs-serve interfaces first-program new-program check ci clean
.PHONY: http-corpus ws-conformance dependencies versions restarts random-users plain install adapters
# One build at a time: two would wait for each other's lock, or fight for the memory.
.NOTPARALLEL:

help: ## list these targets
	@echo "make TARGET, where TARGET is one of"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

dependencies:
	@scripts/install-dependencies test

servers:
	@scripts/install-dependencies servers

build: dependencies ## build everything in debug mode, the command as Tool/.build/debug/torsion
	$(SWIFT) build $(BUILD_FLAGS) $(call library,debug)
	$(SWIFT) build $(BUILD_FLAGS) $(call command,debug)

# Both are the same tests. `test` repeats the contract over fewer variants of the backends, and searches
# fewer seeds: Tests/TestPrograms/TestScope.swift.
test: ## run the tests; FILTER=name for some, CONFIGURATIONS="debug release" for both
test-all: ## the same with every variant and longer searches, as `make ci` does
test-all: export TEST_ALL = 1
test-all: servers
test test-all: dependencies
	@set -e; $(foreach c,$(CONFIGURATIONS),\
	    echo "==> building the tests ($(c))"; \
	    $(SWIFT) build --build-tests $(BUILD_FLAGS) $(call library,$(c)); \
	    $(SWIFT) build --build-tests $(BUILD_FLAGS) $(call command,$(c)); \
	    echo "==> running the tests ($(c))"; \
	    scripts/run-tests $(SWIFT) test --skip-build $(TEST_FLAGS) $(call library,$(c)) $(filter); \
	    scripts/run-tests $(SWIFT) test --skip-build $(TEST_FLAGS) $(call command,$(c)) $(filter);)

plain: dependencies ## build and test without any trait, as on a machine without liburing
	$(AS_USER) $(SWIFT) build --build-tests $(BUILD_FLAGS) $(call library,plain)
	$(AS_USER) scripts/run-tests $(SWIFT) test --skip-build $(TEST_FLAGS) $(call library,plain) $(filter)

lint: ## check formatting, layers, licence headers, the C shims and the README
	$(SWIFT) format lint --strict --recursive --parallel $(SWIFT_SOURCES)
	scripts/lint-layers
	scripts/check-readme
	scripts/snippets check
	scripts/english

fix: ## format every Swift file in place, and put its snippets into the guides
	$(SWIFT) format --in-place --recursive --parallel $(SWIFT_SOURCES)
	scripts/snippets write

# LeakSanitizer finds 368 bytes of XCTest's own, so XCTest is left out; gold, the default linker,
# warns of each of the address sanitizer's symbols, lld does not.
san: dependencies ## run the tests of the shim, then all, under the sanitizers
	@echo "==> the C shims by themselves"
	scripts/test-shim
	@echo "==> thread sanitizer"
	TEST_ALL=1 TEST_SEEDS=$(SAN_SEEDS) scripts/run-tests $(SWIFT) test --disable-xctest $(call library,tsan) $(filter)
	scripts/run-tests $(SWIFT) test --disable-xctest $(call command,tsan) $(filter)
	@echo "==> address sanitizer, with leaks"
	TEST_ALL=1 TEST_SEEDS=$(SAN_SEEDS) scripts/run-tests $(SWIFT) test --disable-xctest $(call library,asan) $(filter)
	scripts/run-tests $(SWIFT) test --disable-xctest $(call command,asan) $(filter)

# Optimised, since ten thousand seeds of each scenario are many.
sim: dependencies ## run the scenarios under SEEDS seeds (10000); FILTER=echo for one, SEED=7 again
	$(SWIFT) build -c release --product Simulate $(BUILD_FLAGS)
	SEED=$(SEED) .build/release/Simulate $(or $(SEEDS),10000) $(FILTER)

# What the scenario `randomUser` of `make sim` is, over sockets.
random-users: dependencies ## run SEEDS random users (500) over each real backend; SEED=7 again
	$(SWIFT) build --product RandomUsers $(BUILD_FLAGS)
	SEED=$(SEED) .build/debug/RandomUsers $(or $(SEEDS),500)

# The man page and the completions are what swift-argument-parser makes of the command itself.
PREFIX ?= /usr/local
DESTDIR ?=
install: dependencies ## build the command optimised, install it below PREFIX (/usr/local)
	$(SWIFT) build $(BUILD_FLAGS) $(call command,release) --product torsion
	$(SWIFT) package --package-path Tool --scratch-path Tool/$(call folder,release) \
	    generate-manual
	scripts/install-command Tool/$(call folder,release) "$(DESTDIR)$(PREFIX)"

adapters: dependencies ## test TorsionLog, TorsionMetrics, TorsionLifecycle, TorsionHTTPTypes with what they adapt to
	$(AS_USER) scripts/run-tests $(SWIFT) test --package-path Tests/Adapters $(TEST_FLAGS)

restarts: dependencies ## restart servers fifty times under load on each backend: no answer is lost
	TEST_RESTARTS=50 scripts/run-tests $(SWIFT) test $(TEST_FLAGS) $(BUILD_FLAGS) $(call command,debug) --filter RestartTests

# Sixty seconds for each decoder; CI runs a few, over the seeds and what they lead to at once.
fuzz: ## feed each decoder with any bytes in any cuts for SECONDS (60); FILTER=Lines for one
	scripts/run-fuzz $(or $(SECONDS),60) $(FILTER)

# Other releases of libuv and liburing, and another Debian: scripts/versions says how they are given.
VERSIONS ?= here debian
versions: ## test with other libraries: LIBUV_PREFIX="DIR…" LIBURING_PREFIX="DIR…", and Debian 13's
	LIBUV_PREFIX="$(LIBUV_PREFIX)" LIBURING_PREFIX="$(LIBURING_PREFIX)" scripts/versions $(VERSIONS)

fuzz-short: ## the same for five seconds each, as CI does
	scripts/run-fuzz 5 $(FILTER)

# Needs `pip install kosoku`, or PYTHONPATH=FOLDER with it; nothing of it is kept here.
ws-conformance: build ## run Autobahn's 517 cases against both sides of WebSocket; CASES='1.*,7.*' for some
	scripts/ws-conformance Tool/.build/debug/torsion $(if $(CASES),'$(CASES)')

# h11 by `pip install h11`; node and nginx as the machine has them. Nothing of theirs is kept here.
http-corpus: dependencies ## judge the corpus of HTTP requests by h11, node and nginx as well; PEERS='h11 node'
	HTTP_CORPUS=$(CURDIR)/.build/http-corpus.tsv TORSION_TESTS="TorsionHTTPTests TestPrograms" \
	    $(SWIFT) test $(TEST_FLAGS) $(BUILD_FLAGS) $(call library,debug) --filter CorpusFileTests
	scripts/http-corpus .build/http-corpus.tsv $(PEERS)

mutants: dependencies ## break the engine in each way of Tests/Mutants; fails if a search misses one
	scripts/run-mutants $(or $(SEEDS),300) $(FILTER)

docs: dependencies ## build the documentation into .build/docs, warnings being errors
	scripts/build-docs

docs-serve: docs build ## build the documentation and serve it at http://127.0.0.1:8090/
	Tool/.build/debug/torsion serve --listen tcp:8090:interface=127.0.0.1 .build/docs

interfaces: build ## write the page of all public protocols from what the compiler knows
	scripts/make-interfaces write "$$($(SWIFT) build --show-bin-path)"

first-program: dependencies ## follow the README alone, in an empty folder: under a minute
	scripts/first-program

new-program: build ## build, test and run what `torsion new` writes
	scripts/new-program

check: lint build test ## what to run before a commit: lint, build and test

# Half an hour on two cores is for all of it: `make sim` searches further.
ci: export TEST_ALL = 1
ci: export TEST_SEEDS = 150
ci: lint servers build $(CI_TARGETS) ## what CI runs: the tests with every variant

clean: ## remove everything that was built
	rm -rf .build .build-* Tool/.build* Benchmarks/.build Benchmarks/*/.build

# Their recipes are the benchmarks' own; what stands here is what `help` says of them.
ifneq ($(wildcard Benchmarks/bench.mk),)
bench: ## build in release mode and run the throughput comparison; PEERS=nio adds SwiftNIO
bench-full: ## the same with the rounds that steady figures need, io_uring and SwiftNIO
budget: ## all budgets line by line: counts, parts and bench-full, an hour; fails on a missed count
bench-counts: ## system calls, allocations and instructions against their budgets
bench-counts-short: ## the same with fewer rounds, and the tests of the harness, as CI does
bench-http: ## HTTP against C, nginx and hyper, with charts; PEERS=nio adds SwiftNIO, Hummingbird, Go, Node
bench-tls: ## echo, bulk and handshakes over TLS against C; PEERS=nio adds SwiftNIO
bench-websocket: ## the echo of a WebSocket's messages against SwiftNIO
bench-proxy: ## a proxied HTTP request against nginx as a proxy
bench-flow: ## a proxied byte against socat and HAProxy, a sent file against sendfile in C
bench-loads: ## `torsion bench` against the load generator in C, at the same rates
bench-parts: ## callbacks, timers and calls from threads against SwiftNIO, libuv, Twisted, asyncio
include Benchmarks/bench.mk
endif
