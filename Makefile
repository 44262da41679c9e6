# `make bench` and `make test` do everything, set-up included; `make help` lists the rest.
# Afterwards plain cargo works: cargo bench, cargo test, cargo loom, cargo shuttle.

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:

# HWLOC=off builds without hwloc; the topology then comes from sysfs.
HWLOC   ?= on
# The trace of `make replay` and `make bench`.
TRACE   ?= bench-harness/traces/python-startup.ftrace.gz
# Where `make bench` and `make bench-full` keep their records.
RESULTS ?= results
# For how long `make fuzz` runs each target.
SECONDS_EACH ?= 60

# Evaluated when used, which is after the set-up. Where hwloc is too old, as where it is not wanted, it is left out.
PROBE    = pkg-config --static --libs 'hwloc >= 2.8' libudev >/dev/null 2>&1
FEATURES = $(shell [ "$(HWLOC)" != off ] && $(PROBE) || echo --no-default-features --features bench-harness/rivals)
# The gate counts gfp alone: without the rivals it is built in half of the time.
ALONE    = --no-default-features $(shell [ "$(HWLOC)" != off ] && $(PROBE) && echo --features bench-harness/hwloc)
GFP      = cargo run --quiet --release --package bench-harness --bin gfp $(FEATURES) --
TARGET   = $(or $(CARGO_TARGET_DIR),target)
# How long `make soak` takes, and what its random numbers follow from: another seed each time.
MINUTES ?= 10
SEED    ?=
FAULTS   = --features bench-harness/fault-injection
STEP    := scripts/step
ARM     := aarch64-unknown-linux-gnu
RACE    := --allocator gfp,gfp-tls,mimalloc,jemalloc


# Machines for `make test-numa`, a line each: options of bench-harness/numavm/guest. The first has pools of huge pages, the
# last a node without CPUs.
define MACHINES
--nodes 2 --cpus 2,2 --memory 384,384 --hugepages 40
--nodes 4
--nodes 8
--nodes 3 --cpus 2,1,0 --distances 0-2=17,1-2=28
endef
export MACHINES

# The library's tests for which its features make a difference.
ON_FEATURES := --lib --test probes --test faults --test limits --test nodes --test surface --test page_alloc

# What sanitizers look at; why not more is said in allocator/README.md.
ASAN := --test stress --test surface --test oracle --test shared --test misuse --test page_frag --test close
TSAN := --test stress --test misuse --test sleepers

.PHONY: help setup bench bench-full test test-long test-numa lint unit no-hwloc loom shuttle at-random plant plant-all gate aarch64 fuzz soak \
  sanitize coverage mutants format clippy doc patches replay topo command

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Check what a build needs; install what is missing (apt)
	@scripts/setup $(HWLOC)

bench: command ## Measure gfp against other allocators in less than 10 minutes, and make a report of it in results/
	@TRACE=$(TRACE) scripts/measure quick $(RESULTS)/quick $(TARGET)/release/gfp

bench-full: command ## The same with more of everything: up to all CPUs and 16 threads each, working sets, counters; an hour or more
	@TRACE=$(TRACE) scripts/measure full $(RESULTS)/full $(TARGET)/release/gfp

test: unit no-hwloc loom shuttle gate aarch64 ## Run all tests: unit, property, models, schedules, instruction counts

test-long: ## Everything else: hours; says what each part takes
	@echo "on 2 CPUs: 20 times the random programs and schedules of make test, 30 minutes; soak, 10; fuzzing, 6;"
	@echo "sanitizers, 15; machines with several nodes, 10; planted bugs, 45"
	@$(MAKE) -k --no-print-directory at-random soak fuzz sanitize test-numa plant-all

at-random: setup ## The oracle's random programs and the random schedules, 20 times as many as make test runs
	@$(STEP) "programs" env GFP_TEST_SCALE=20 cargo test --release --package gfp --no-default-features --test oracle
	@GFP_TEST_SCALE=20 $(MAKE) --no-print-directory shuttle

test-numa: setup ## Test in virtual machines of 2, 4, 8 and 3 nodes (fetches qemu and a kernel with apt)
	@while read -r machine; do \
	  CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="bench-harness/numavm/guest $$machine" \
	  $(STEP) "numa, $$machine" cargo test --quiet --package gfp --no-default-features --test numa -- --test-threads=1 </dev/null \
	    || failed=1; \
	done <<<"$$MACHINES"; exit $${failed:-0}

sanitize: setup ## Run tests under AddressSanitizer and ThreadSanitizer, where a nightly compiler is installed
	@if ! rustup toolchain list 2>/dev/null | grep -q ^nightly; then \
	  echo "sanitize: skipped: no nightly compiler is installed (rustup toolchain install nightly)"; exit 0; fi; \
	sanitize() { $(STEP) "$$1 sanitizer" env RUSTFLAGS="-Zsanitizer=$$1 $$2" CARGO_TARGET_DIR=$(TARGET)/$$1 \
	  TSAN_OPTIONS="suppressions=$(CURDIR)/scripts/tsan.supp" cargo +nightly test --no-fail-fast \
	  --package gfp --no-default-features --target x86_64-unknown-linux-gnu "$${@:3}"; }; \
	failed=0; \
	sanitize address "" $(ASAN) || failed=1; \
	sanitize thread -Cunsafe-allow-abi-mismatch=sanitizer $(TSAN) -- --test-threads=1 || failed=1; \
	exit $$failed

unit: setup ## Unit, property and documentation tests
	@$(STEP) tests cargo test --no-fail-fast --workspace $(FEATURES) $(FAULTS)

no-hwloc: setup ## The library's tests that depend on its features: without hwloc, with all probes and faces
	@$(STEP) "tests without hwloc" cargo test --no-fail-fast --package gfp --no-default-features \
	  --features usdt,allocator-api2,fault-injection $(ON_FEATURES)

loom: setup ## Model-check every lock-free protocol
	@$(STEP) models env RUSTFLAGS="--cfg loom -C debug-assertions" CARGO_TARGET_DIR=$(TARGET)/loom cargo loom

shuttle: setup ## Run the whole allocator under random schedules of eight threads
	@$(STEP) schedules env RUSTFLAGS="--cfg shuttle -C debug-assertions" CARGO_TARGET_DIR=$(TARGET)/shuttle cargo shuttle

plant: setup ## Plant a bug and see which test catches it: make plant PATCH=file
	@scripts/plant $(PATCH)

plant-all: setup ## Plant every bug of loom-tests/planted; each must be caught by the test that it names
	@$(STEP) "planted bugs" scripts/plant --all

coverage: setup ## Count which lines the library's tests run, and write results/coverage.md (installs cargo-tarpaulin)
	@$(STEP) coverage scripts/coverage

mutants: setup ## See which small changes the tests notice, for MINUTES, and go on where it stopped (installs cargo-mutants)
	@$(STEP) mutants scripts/mutants --minutes $(MINUTES)

gate: setup ## Count the instructions of a pair (needs valgrind)
	@$(STEP) "instruction gate" cargo test --release --package bench-harness $(ALONE) --test instructions

aarch64: setup ## Type-check for aarch64, where that target is installed
	@if [ -d "$$(rustc --print target-libdir --target $(ARM))" ]; then \
	  $(STEP) aarch64 cargo check --package gfp --no-default-features --target $(ARM); \
	else echo "aarch64: skipped: the target is missing (rustup target add $(ARM))"; fi

fuzz: setup ## Run each fuzz target for a minute (needs a nightly toolchain; installs cargo-fuzz)
	@$(STEP) fuzz scripts/fuzz run $(SECONDS_EACH)

lint: format clippy doc patches ## Check format, lints, documentation, and that planted bugs apply

format: setup
	@$(STEP) format cargo fmt --all --check

clippy: setup
	@$(STEP) clippy cargo clippy --workspace --all-targets $(FEATURES) -- -D warnings
	@$(STEP) "clippy, all the library's parts" cargo clippy --package gfp --all-targets --no-default-features \
	  --features lock-stats,fault-injection,serde,usdt,allocator-api2 -- -D warnings

doc: setup ## Build the documentation
	@$(STEP) documentation env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps $(FEATURES)

patches: ## Check that the planted bugs still apply (needs patch)
	@if command -v patch >/dev/null; then $(STEP) "planted bugs apply" scripts/plant --check; \
	else echo "planted bugs: skipped: patch is missing (apt install patch)"; fi

replay: command ## Replay a kernel's trace: make replay TRACE=file
	@$(GFP) replay $(TRACE) $(RACE)

soak: setup ## Do all that gfp offers at random, on 8 threads, and check everything: make soak MINUTES=10 SEED=1
	@cargo run --quiet --release --package bench-harness --bin gfp $(ALONE) $(FAULTS) -- \
	  soak --minutes $(MINUTES) --threads 8 $(if $(SEED),--seed $(SEED))

topo: command ## Show this machine's nodes, CPUs and memory
	@$(GFP) topo

command: setup
	@cargo build --release --package bench-harness --bin gfp $(FEATURES)
