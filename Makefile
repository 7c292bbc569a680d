# Targets for people and for CI. Each is one line of scripts/; see CONTRIBUTING.md.

.DEFAULT_GOAL := help

FUZZTIME  ?= 30s
BENCHTIME ?= 1s
PEERS     ?= quick
VISITORS  ?=
DEMOFLAGS ?=

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## run the sample shop behind Sedge; DEMOFLAGS="--traffic 500" adds visitors
	go run ./cmd/sedge demo $(DEMOFLAGS)

.PHONY: build
build: ## build bin/sedge, static and without paths of this machine
	CGO_ENABLED=0 go build -trimpath -o bin/sedge ./cmd/sedge

.PHONY: setup
setup: ## install what the tests need (Debian and Ubuntu; elsewhere say what is missing)
	scripts/setup

.PHONY: test
test: ## install what the tests need, then run all of them
	scripts/test

.PHONY: test-go
test-go: ## run the tests of the packages alone
	go test -race -shuffle=on ./...

.PHONY: e2e
e2e: ## run the tests against the built binary, with a real browser
	cd e2e && go test -count=1 -timeout 10m ./...

.PHONY: bench
bench: ## print what a request costs, part by part; BENCHTIME=3s for steadier numbers
	BENCHTIME=$(BENCHTIME) scripts/bench

.PHONY: peers
peers: ## measure Sedge beside nginx and others; PEERS='quick -p nginx -w "W2 W3"' chooses
	bench/peers.sh $(PEERS)

.PHONY: visitors
visitors: ## measure 100 000 different visitors beside three and nginx, and check the ledger
	go run ./bench/visitors $(VISITORS)

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (30s)
	FUZZTIME=$(FUZZTIME) scripts/fuzz

.PHONY: soak
soak: ## run the long versions of the tests that have one
	SEDGE_SOAK=1 go test -count=1 -timeout 2h ./...
	cd e2e && SEDGE_SOAK=1 go test -count=1 -timeout 2h ./...

.PHONY: lint
lint: ## gofmt, go vet and staticcheck
	scripts/lint

.PHONY: fmt
fmt: ## format all Go files
	gofmt -w .
