# Carrick: one line per habit. A newcomer needs only `make demo` and `make test`.
SHELL := /bin/bash
CACHE ?= $(HOME)/.cache/carrick
# Outside the clone, so that RocksDB's C++ (most of a first build) is compiled once per machine.
export CARGO_TARGET_DIR ?= $(CACHE)/target
export CARRICK_CACHE ?= $(CACHE)
# The commit that the binary reports; empty outside a clone, as in an unpacked archive.
export CARRICK_COMMIT := $(shell [ -e .git ] && git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null)
CARGO := bash scripts/cargo.sh
# Ends a suite that hangs, after that many minutes, and names what has not ended.
WITHIN := bash scripts/within.sh
UNITS := --release --locked --workspace --exclude e2e --exclude benches
RULES := --release --locked -p e2e --lib --bin kafka-suite --test tidy
BIN := $(CARGO_TARGET_DIR)/release/carrick
E2E_THREADS ?= 2

.PHONY: demo test test-unit test-e2e test-crash test-clients test-kafka-suite test-kafka-authz bench lint fmt fuzz build deps kafka peers

build: deps            ## the carrick binary
	$(CARGO) build --release --locked --bin carrick

deps:                  ## installs compilers and libclang, or prints what to install
	@bash scripts/deps.sh build

kafka: deps            ## a real Apache Kafka from Maven Central
	@bash scripts/kafka-peer.sh >/dev/null

peers: kafka           ## also older releases as sources, and client libraries of other languages
	@for version in 2.8.2 3.9.1; do bash scripts/kafka-source.sh $$version >/dev/null; done
	@bash scripts/client-peers.sh all

demo: build            ## a real Kafka mirrored, killed and failed over; SOURCE=carrick needs no Java
ifeq ($(SOURCE),carrick)
	$(CARGO) build --release --locked -p e2e --bin demo --bin librdkafka-peer
else
	@$(MAKE) -s kafka
	$(CARGO) build --release --locked -p e2e --bin demo --no-default-features
endif
	$(dir $(BIN))demo --source $(or $(SOURCE),kafka)

test: test-unit test-e2e test-clients test-crash test-kafka-suite test-kafka-authz ## everything, at CI size

test-unit: deps        ## unit, property and model tests, house rules
	$(CARGO) test $(UNITS) --no-run
	$(CARGO) test $(RULES) --no-run
	$(WITHIN) 20 $(CARGO) test $(UNITS) --no-fail-fast
	$(WITHIN) 10 $(CARGO) test $(RULES)

test-e2e: build peers  ## a real Apache Kafka as source
	$(CARGO) test --release --locked -p e2e --test e2e --no-run
	$(WITHIN) 30 $(CARGO) test --release --locked -p e2e --test e2e -- --test-threads=$(E2E_THREADS)

test-clients: build peers ## real client libraries and applications by capability; ONLY="sarama kafkajs" selects some
	$(CARGO) test --release --locked -p e2e --test clients --no-run
	$(WITHIN) 30 $(CARGO) test --release --locked -p e2e --test clients -- --at-once $(E2E_THREADS) $(ONLY)

test-crash: build peers ## SIGKILL at random points, under mirrors, transactions and groups; CRASH_ROUNDS=…
	$(CARGO) test --release --locked -p e2e --test crash --no-run
	$(WITHIN) $(or $(CRASH_MINUTES),30) $(CARGO) test --release --locked -p e2e --test crash -- --test-threads=1

test-kafka-suite: build ## Apache Kafka's own client tests, each once; SUITE=all: in fresh and in shared mode
	$(CARGO) build --release --locked -p e2e --bin kafka-suite
	$(WITHIN) 60 $(dir $(BIN))kafka-suite $(if $(filter all,$(SUITE)),--all)

test-kafka-authz: build ## Apache Kafka's own tests of authentication, encryption and authorization
	$(CARGO) build --release --locked -p e2e --bin kafka-suite
	$(WITHIN) 30 $(dir $(BIN))kafka-suite --security

bench: build peers     ## one bench per question: see benches/README.md
	$(CARGO) bench --profile release --locked -p benches

lint: deps             ## formatting and lints; warnings are errors
	@bash scripts/deps.sh lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings
	@bash scripts/advisories.sh

fmt:
	$(CARGO) fmt --all

fuzz: deps             ## property tests of everything that reads bytes, for much longer: PROPTEST_CASES=20000
	PROPTEST_CASES=$(or $(PROPTEST_CASES),20000) $(CARGO) test --release --locked -p carrick-protocol -p carrick-storage -p carrick-link
