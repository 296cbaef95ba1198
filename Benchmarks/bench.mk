# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the Torsion authors
#
# bench        the table of Benchmarks/README.md in at most three minutes after the build
# bench-full   the same with the rounds that steady figures need (about forty minutes), io_uring, SwiftNIO
# bench-counts instructions, system calls, allocations and memory against their budgets; fails on a miss
# bench-counts-short  the same in about two minutes, and the harness's own tests, as CI does
# budget       every budget, line by line: bench-counts, bench-parts, bench-full, and then
#              what they found; fails on a count that was missed
# bench-parts  a Deferred's callback, a timer, a call from a thread against SwiftNIO's, libuv's and,
#              where Python is there, Twisted's and asyncio's; fails on a miss
# bench-http   an HTTP hello, a POST and a file against C, nginx and hyper, whose packages it installs, with
#              charts; PEERS=nio adds SwiftNIO and Hummingbird (minutes), and Go and Node where they are
# bench-tls    echo, bulk and handshakes over TLS against C, with charts; PEERS=nio adds swift-nio-ssl
# bench-websocket  the echo of a WebSocket's messages against SwiftNIO, with charts
# bench-redis  the example MiniRedis against redis-server and the same over SwiftNIO, with charts
# bench-flow   a proxied byte against socat and HAProxy, a sent file against a loop over sendfile;
#              installs the two; fails on a miss
#
# bench-proxy  a proxied HTTP request against nginx as a proxy, in turns; installs nginx-light; fails on a miss
# bench-loads  `torsion bench` against the load generator in C, at the same rates against one server
#
# PEERS=nio adds SwiftNIO to `bench` (its build takes minutes). BENCH_ARGS go to the harness as they
# are: `make bench BENCH_ARGS='--scenarios echo.64connections --server mine=./my-echo'`.
# BENCH_JSON names the file of results, .build/bench.json unless set.

PEERS ?=
BENCH_BIN := .build/bench
BENCH_CC ?= gcc
BENCH_CFLAGS := -O2 -Wall -Wextra -Werror
BENCH_TWINS := $(BENCH_BIN)/libuv-c $(BENCH_BIN)/epoll-c $(BENCH_BIN)/udp-c $(BENCH_BIN)/tls-c \
    $(BENCH_BIN)/http-c
BENCH_PROGRAMS := $(BENCH_TWINS) $(BENCH_BIN)/load $(BENCH_BIN)/malloc_counter.so
BENCH_PEERS := $(if $(filter nio,$(PEERS)),bench-nio)
BENCH_RUN = Benchmarks/.build/release/torsion-bench
BENCH_JSON ?= .build/bench.json
# The command, as Tool/.build/release/torsion
BENCH_TORSION = swift build -c release --product torsion --package-path Tool
# The example that answers HTTP requests, as .build/release/HTTPHello
BENCH_HTTP = swift build -c release --product HTTPHello
# One of SwiftNIO's servers: each pays for its own dependencies alone
BENCH_NIO = swift build -c release --package-path Benchmarks/PeerNIO --product
# Of the peers of bench-http that need a program of the system, those whose program is here
BENCH_FOUND = $(foreach peer,go node,$(if $(shell command -v $(peer)),--peers $(peer)))

.PHONY: budget bench-redis bench-http bench-tls bench-websocket bench-hyper bench-tokio bench bench-flow bench-proxy bench-loads bench-full bench-counts bench-counts-short bench-parts
.PHONY: bench-build bench-nio bench-nio-http bench-nio-tls bench-nio-websocket bench-hummingbird bench-go
.PHONY: bench-test bench-dependencies

bench: bench-build $(BENCH_PEERS)
	$(BENCH_RUN) run --quick --json $(BENCH_JSON) $(if $(BENCH_PEERS),--peers nio) $(BENCH_ARGS)

bench-full: bench-build bench-nio bench-nio-http bench-nio-websocket bench-nio-tls $(BENCH_BIN)/uring-c
	$(BENCH_RUN) run --full --json $(BENCH_JSON) --html $(BENCH_JSON:.json=.html) \
	    --peers nio,uring $(BENCH_ARGS)

bench-counts: bench-build $(BENCH_BIN)/uring-c
	$(BENCH_RUN) counts --json $(BENCH_JSON:.json=-counts.json) --peers uring $(BENCH_ARGS)

# What is counted is optimised, the harness need not be: the build of its tests has it too. The two that are
# optimised are packages of their own, and one compiles most of its time on one core: so side by side.
bench-counts-short: bench-test $(BENCH_PROGRAMS) $(BENCH_BIN)/uring-c
	$(BENCH_TORSION) & command=$$!; $(BENCH_HTTP) && wait $$command
	Benchmarks/.build/debug/torsion-bench counts --short --peers uring \
	    --json $(BENCH_JSON:.json=-counts-short.json) $(BENCH_ARGS)

bench-parts: $(BENCH_BIN)/parts-c $(BENCH_BIN)/malloc_counter.so bench-nio
	swift build -c release --package-path Benchmarks
	swift build -c release --package-path Benchmarks/Parts
	$(BENCH_RUN) parts --peers nio --json $(BENCH_JSON:.json=-parts.json) $(BENCH_ARGS)

bench-http: $(BENCH_BIN)/load $(BENCH_BIN)/http-c bench-hyper \
    $(if $(BENCH_PEERS),bench-nio-http bench-hummingbird bench-go)
	$(BENCH_TORSION)
	$(BENCH_HTTP)
	swift build -c release --package-path Benchmarks
	$(BENCH_RUN) run --full --no-counts \
	    --peers nginx,hyper $(if $(BENCH_PEERS),--peers nio --peers hummingbird $(BENCH_FOUND)) \
	    --scenarios http.hello,http.browser,http.pipelined,http.browser.pipelined,http.post,http.file \
	    --json $(BENCH_JSON:.json=-http.json) --html $(BENCH_JSON:.json=-http.html) $(BENCH_ARGS)

bench-tls: $(BENCH_BIN)/load $(BENCH_BIN)/tls-c $(if $(BENCH_PEERS),bench-nio-tls)
	$(BENCH_TORSION)
	swift build -c release --package-path Benchmarks
	$(BENCH_RUN) run --full --no-counts $(if $(BENCH_PEERS),--peers nio) \
	    --scenarios secure.64connections,secure.bulk,secure.connect,secure.resume \
	    --json $(BENCH_JSON:.json=-tls.json) --html $(BENCH_JSON:.json=-tls.html) $(BENCH_ARGS)

bench-websocket: $(BENCH_BIN)/load bench-nio-websocket
	$(BENCH_TORSION)
	swift build -c release --package-path Benchmarks
	$(BENCH_RUN) run --full --no-counts --peers nio \
	    --scenarios websocket.16connections \
	    --json $(BENCH_JSON:.json=-websocket.json) --html $(BENCH_JSON:.json=-websocket.html) $(BENCH_ARGS)

bench-redis: $(BENCH_BIN)/load bench-nio
	@scripts/install-dependencies servers
	swift build -c release --product MiniRedis
	swift build -c release --package-path Benchmarks
	$(BENCH_RUN) run --full --no-counts --peers redis --only mini-redis,redis,nio-redis \
	    --scenarios redis.set,redis.get,redis.set.pipelined,redis.get.pipelined \
	    --json $(BENCH_JSON:.json=-redis.json) --html $(BENCH_JSON:.json=-redis.html) $(BENCH_ARGS)

bench-flow: $(BENCH_BIN)/flow
	@scripts/install-dependencies bench-flow
	$(BENCH_TORSION)
	swift build -c release --package-path Benchmarks
	$(BENCH_RUN) flow --json $(BENCH_JSON:.json=-flow.json) $(BENCH_ARGS)

bench-proxy: $(BENCH_BIN)/load
	@scripts/install-dependencies bench-proxy
	$(BENCH_TORSION)
	Benchmarks/Proxy/compare Tool/.build/release/torsion $(BENCH_BIN)/load $(or $(ROUNDS),7)

bench-loads: bench-build
	scripts/compare-loads

# Each goes on where another has missed, or failed: the last line says what, and fails. What an earlier
# run left must not stand in for one that failed.
budget: bench-build bench-nio bench-tokio $(BENCH_BIN)/uring-c
	rm -f $(BENCH_JSON) $(BENCH_JSON:.json=-counts.json) $(BENCH_JSON:.json=-parts.json)
	-$(MAKE) bench-counts BENCH_ARGS='--peers nio,tokio $(BENCH_ARGS)'
	-$(MAKE) bench-parts
	-$(MAKE) bench-full
	$(BENCH_RUN) budget --json $(BENCH_JSON)

bench-test: ## run the tests of the harness
	swift test --package-path Benchmarks

# One build at a time: both packages would otherwise compete for the cores.
bench-build: $(BENCH_PROGRAMS)
	$(BENCH_TORSION)
	$(BENCH_HTTP)
	swift build -c release --package-path Benchmarks

bench-nio: bench-dependencies
	$(BENCH_NIO) nio-echo
	$(BENCH_NIO) nio-parts
	$(BENCH_NIO) nio-redis

bench-nio-http bench-nio-websocket: bench-%: bench-dependencies
	$(BENCH_NIO) $*

bench-nio-tls: $(BENCH_BIN)/certificate.pem
	$(BENCH_NIO) nio-tls

bench-hummingbird: bench-dependencies
	swift build -c release --package-path Benchmarks/PeerHummingbird

# Only where it is: `scripts/install-dependencies go` brings Debian's.
bench-go:
	if command -v go >/dev/null; then go build -o Benchmarks/PeerGo/.build/go-hello Benchmarks/PeerGo/hello.go; fi

# Debian's own cargo and packages, so that nothing is downloaded.
bench-tokio:
	@scripts/install-dependencies tokio
	cd Benchmarks/PeerTokio && /usr/bin/cargo build --quiet --release --offline --target-dir .build

bench-hyper:
	@scripts/install-dependencies bench-http
	cd Benchmarks/PeerHyper && /usr/bin/cargo build --quiet --release --offline --target-dir .build

bench-dependencies:
	@if [ -x scripts/install-dependencies ]; then scripts/install-dependencies bench; fi

$(BENCH_BIN): | bench-dependencies
	@mkdir -p $@

$(BENCH_BIN)/libuv-c $(BENCH_BIN)/parts-c: BENCH_LIBS := -luv
$(BENCH_BIN)/uring-c: BENCH_LIBS := -luring
$(BENCH_BIN)/tls-c: BENCH_LIBS := -lssl -lcrypto
$(BENCH_BIN)/%-c: Benchmarks/Twins/%.c Benchmarks/Twins/twin.h | $(BENCH_BIN)
	$(BENCH_CC) $(BENCH_CFLAGS) -o $@ $< $(BENCH_LIBS) -lpthread

# Of the same kind as those that the other servers of TLS make for themselves.
$(BENCH_BIN)/certificate.pem: | $(BENCH_BIN)
	@scripts/install-dependencies bench-tls
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=localhost \
	    -keyout $(BENCH_BIN)/key.pem -out $@ 2>/dev/null

$(BENCH_BIN)/load: $(wildcard Benchmarks/Load/*.c) $(wildcard Benchmarks/Load/*.h) | $(BENCH_BIN)
	$(BENCH_CC) $(BENCH_CFLAGS) -o $@ $(filter %.c,$^) -lssl -lcrypto

$(BENCH_BIN)/malloc_counter.so: Benchmarks/Counts/malloc_counter.c | $(BENCH_BIN)
	$(BENCH_CC) $(BENCH_CFLAGS) -fPIC -shared -fno-builtin -o $@ $<

$(BENCH_BIN)/flow: Benchmarks/Flow/flow.c | $(BENCH_BIN)
	$(BENCH_CC) $(BENCH_CFLAGS) -o $@ $< -lpthread
