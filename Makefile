# `make help` lists the targets. They need Debian, Rust and Go, and install everything else themselves.
SHELL := /bin/bash
.DEFAULT_GOAL := help
TARGET := x86_64-unknown-linux-gnu
BUILT := $(or $(CARGO_TARGET_DIR),target)/$(TARGET)/bed
RELEASED := $(abspath $(or $(CARGO_TARGET_DIR),target))/release
GUARD_SUITE := E2E_GUARD_PROGRAM=$${E2E_GUARD_PROGRAM:-$(RELEASED)/quorum-guard} e2e/guard/run
# folder of the local cluster; the demo and the end-to-end tests each create an empty cluster
export BED_DIR ?= $(CURDIR)/.bed

# help prints headings (##@) and the targets that have a help text (##)
.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^##@ / {print "\n" substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Cluster

.PHONY: demo demo-down
demo: ## Two nodes on a real cluster on this machine, in .demo/
	@e2e/demo up
demo-down: ## Remove the demo and its cluster
	@e2e/demo down

.PHONY: bed-up bed-down
bed-up: ## Start a real cluster for use by hand, in BED_DIR (.bed/)
	e2e/cluster/bed up
bed-down: ## Remove that cluster
	e2e/cluster/bed down

##@ Test

.PHONY: test check unit guard fuzz e2e
test: export FUZZ_SECONDS ?= 10
test: check unit ipv6 guard test-libraries fuzz instructions e2e ## check, unit, ipv6, guard, test-libraries, fuzz (short), instructions and e2e

check: ## Formatting, lints and documentation
	@e2e/packages build-essential cmake
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features --quiet

unit: ## Unit tests, without a cluster and with a real PostgreSQL
	@e2e/packages build-essential cmake postgresql-15
	cargo test --locked --all-features --lib --bins
	cargo check --locked --no-default-features --features guard --bins

.PHONY: ipv6
ipv6: ## Listeners in network namespaces with IPv4 only, IPv6 only, and both
	@e2e/packages build-essential cmake iproute2
	cargo test --locked --all-features --lib -- --ignored listen::tests::every_address

guard: released-guard ## Hostile payloads and floods through the guard to a real client, without a cluster
	@E2E_GUARD_CASES=$${E2E_GUARD_CASES:-60} E2E_GUARD_P99_MS=$${E2E_GUARD_P99_MS:-500} $(GUARD_SUITE)

# the floods need an optimized guard; `make instructions` builds the same
.PHONY: released-guard
released-guard:
	@e2e/packages build-essential cmake
	cargo build --locked --release --no-default-features --features guard,e2e --bin quorum-guard --example bench-guard

.PHONY: test-guard
test-guard: released-guard ## Like guard with E2E_GUARD_CASES=1000 payloads of each kind; E2E_GUARD_SEED=N repeats a run
	@E2E_GUARD_CASES=$${E2E_GUARD_CASES:-1000} $(GUARD_SUITE)

.PHONY: test-libraries
test-libraries: ## Common JSON-RPC libraries, and the examples of docs/calling.md, through the guard
	@e2e/guard/libraries/run

fuzz: ## Fuzz all parsers of untrusted input for FUZZ_SECONDS (30) each
	@e2e/packages build-essential cmake
	@fuzz/run

e2e: ## End-to-end tests on a real cluster with a real client and a real PostgreSQL
	@e2e/run

.PHONY: e2e-long
e2e-long: ## End-to-end tests that wait for kubelets and alarms, almost an hour
	@E2E_LONG=1 e2e/run

.PHONY: e2e-network
e2e-network: ## A network through everything that replaces pods; E2E_CLIENT_IMAGE replaces the scripted client
	@E2E_NETWORK=1 e2e/run

.PHONY: chaos
chaos: ## Two replicas with a real API server through failing proxies, and long fault tests in memory
	@e2e/packages build-essential cmake
	cargo test --locked --all-features --lib -- --ignored faults
	@e2e/chaos/run

##@ Build

.PHONY: crds
crds: ## Generate crds/ from the Rust types
	cargo run --quiet -- crds > crds/quorumnodes.yaml.new && mv crds/quorumnodes.yaml.new crds/quorumnodes.yaml

.PHONY: images static
static: ## Build both programs as static files for the images
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile bed --target $(TARGET) --bins

images: static ## Build the images for the local cluster, without a registry or container engine
	e2e/images/build all
	e2e/images/build operator $(BUILT)/quorum-operator $(BUILT)/quorum-guard

##@ Bench

.PHONY: bench-operator
bench-operator: ## Compare the operator with a raw client on a real API server; N sets the number of nodes (200)
	@benches/operator/run

.PHONY: bench-guard instructions
bench-guard: ## Compare the guard with nginx with Lua, HAProxy and Envoy; BENCH_ROUNDS=1 for a short run
	@benches/guard/run
instructions: ## Count the guard's instructions for a small call; fails if they exceed the known number
	@benches/guard/run instructions
