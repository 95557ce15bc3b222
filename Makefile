# Two commands for users: `make demo` and `make test`. The rest is for contributors: `make help`.

.DEFAULT_GOAL := help
.PHONY: help deps build demo test check bench deb image

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## what cargo alone cannot get: libclang, and RocksDB compiled once per machine
	@scripts/deps.sh

build: deps ## both binaries, in target/debug (optimised)
	cargo build --bins

demo: build ## a guided tour on a throw-away ledger
	@echo "==> The demo starts a server on a temporary directory and walks through its features."
	@cargo run --quiet -- demo

test: deps ## every test, documentation examples included; then schemathesis, and three verifiers that must agree
	@scripts/softhsm.sh
	@scripts/interop.sh
	cargo test --workspace
	cargo build --bins
	scripts/schemathesis.sh
	scripts/verifiers.sh

check: deps ## what a change must pass: format, lints, licences, layers, all tests
	@scripts/check.sh

bench: deps ## micro-benchmarks, then the load benchmark on a real store
	cargo bench --profile dev
	cargo run --quiet -- bench

deb: deps ## a Debian package, in target/debian; checked
	@scripts/deb.sh

image: ## a container image, where an engine runs; started once
	@scripts/image.sh
