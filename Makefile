# make help says what there is. A bare Debian with Rust and Go is enough: the rest is installed by the
# targets that need it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
TARGET := x86_64-unknown-linux-gnu
BUILT := $(or $(CARGO_TARGET_DIR),target)/$(TARGET)/bed
RELEASED := $(abspath $(or $(CARGO_TARGET_DIR),target))/release
GUARD_SUITE := E2E_GUARD_PROGRAM=$${E2E_GUARD_PROGRAM:-$(RELEASED)/quorum-guard} e2e/guard/run
# one cluster per machine; the demo and the tests each start from an empty one
export BED_DIR ?= $(CURDIR)/.bed

.PHONY: help
help: ## Say what there is
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s $$'\t'

.PHONY: demo demo-down
demo: ## Two hardened nodes on a real cluster on this machine, in .demo/
	@e2e/demo up
demo-down: ## Remove the demo and its cluster
	@e2e/demo down

.PHONY: test check unit guard fuzz e2e
test: export FUZZ_SECONDS ?= 10
test: check unit ipv6 guard test-libraries fuzz instructions e2e ## Everything that runs on one machine: lints, unit tests, hostile payloads, libraries, fuzzing for a moment, instructions, real cluster

check: ## Formatting, lints, documentation
	@e2e/packages build-essential cmake
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features --quiet

unit: ## Unit tests, which need no cluster; a real PostgreSQL is among them
	@e2e/packages build-essential cmake postgresql-15
	cargo test --locked --all-features --lib --bins
	cargo check --locked --no-default-features --features guard --bins

.PHONY: ipv6
ipv6: ## Listeners in network namespaces with one family of addresses, the other, and both
	@e2e/packages build-essential cmake iproute2
	cargo test --locked --all-features --lib -- --ignored listen::tests::every_address

guard: released-guard ## Hostile payloads against the real client, bare and behind the guard, and floods; no cluster
	@E2E_GUARD_CASES=$${E2E_GUARD_CASES:-60} E2E_GUARD_P99_MS=$${E2E_GUARD_P99_MS:-500} $(GUARD_SUITE)

# as `make instructions` builds it: what floods ask of a guard, one that is not optimized does not do
.PHONY: released-guard
released-guard:
	@e2e/packages build-essential cmake
	cargo build --locked --release --no-default-features --features guard,e2e --bin quorum-guard --example bench-guard

.PHONY: test-guard
test-guard: released-guard ## Many more of them: E2E_GUARD_CASES=1000 of each kind, E2E_GUARD_SEED=N to send the same again
	@E2E_GUARD_CASES=$${E2E_GUARD_CASES:-1000} $(GUARD_SUITE)

.PHONY: test-libraries
test-libraries: ## web3.js, ethers, viem, web3.py, go-ethereum's own and jsonrpc4j through the guard, and the examples of docs/calling.md
	@e2e/guard/libraries/run

fuzz: ## Whatever is read from strangers, fuzzed: FUZZ_SECONDS (30) for each of it
	@e2e/packages build-essential cmake
	@fuzz/run

e2e: ## The suite on a real cluster: real kubelets, a real client, a real PostgreSQL
	@e2e/run

.PHONY: e2e-long
e2e-long: ## What waits for kubelets and alarms on a real cluster: an alarm, a rotation; most of an hour
	@E2E_LONG=1 e2e/run

.PHONY: e2e-network
e2e-network: ## Four validators and their members through all that replaces pods; E2E_CLIENT_IMAGE for a client other than the scripted one
	@E2E_NETWORK=1 e2e/run

.PHONY: chaos
chaos: ## The operator twice, before a real API server, through a proxy that fails; the long fault tests in memory
	@e2e/packages build-essential cmake
	cargo test --locked --all-features --lib -- --ignored faults
	@e2e/chaos/run

.PHONY: images static
static: ## The two programs as static files, for the images of the local cluster
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile bed --target $(TARGET) --bins

images: static ## Images for the local cluster, without a registry or container engine
	e2e/images/build all
	e2e/images/build operator $(BUILT)/quorum-operator $(BUILT)/quorum-guard

.PHONY: bench-operator
bench-operator: ## Speed and size against a raw client on a real API server; N=1000 for other than 200 nodes
	@benches/operator/run

.PHONY: bench-guard instructions
bench-guard: ## The guard's cost beside nginx with Lua, HAProxy and Envoy; BENCH_ROUNDS=1 for a quick look
	@benches/guard/run
instructions: ## What a small call takes in the guard, counted; refuses more than is known
	@benches/guard/run instructions

.PHONY: crds
crds: ## Write crds/ from the types
	cargo run --quiet -- crds > crds/quorumnodes.yaml.new && mv crds/quorumnodes.yaml.new crds/quorumnodes.yaml

.PHONY: bed-up bed-down
bed-up: ## A cluster to use by hand
	e2e/cluster/bed up
bed-down: ## Remove it
	e2e/cluster/bed down
