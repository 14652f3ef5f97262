# Copyright The packages-operator Authors.
# SPDX-License-Identifier: Apache-2.0

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := help

export GOFLAGS ?= -mod=readonly -buildvcs=false
export GOTOOLCHAIN ?= local
# Static binaries, and one build cache for all; the race detector alone needs cgo.
export CGO_ENABLED ?= 0

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZ ?= .
# Without gRPC's own traces the linker can leave out methods that nothing calls: a
# quarter of the program, and of the memory it takes. hack/release has them as well.
PROGRAM_TAGS = grpcnotrace
RUN_LISTEN ?= 127.0.0.1:5000
RUN_DATA_DIR ?= run/data
# Or: -bucket for blobs in S3 storage, -only EXPRESSION for some cells.
CLIENTS_FLAGS ?= -write ../../../docs/clients.md

# Packages whose tests need a Kubernetes API server; the others come first.
API_SERVER_TESTS = ./api/... ./controllers/... ./registry/policy/watch/... ./plugin
# These need helm and kubectl, and none of our code that could race.
CHART_TESTS = ./test/chart/...
# End-to-end tests need a whole cluster: make e2e.
E2E_TESTS = ./test/e2e/...

##@ Main jobs

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN {FS = ":.*##"; printf "Usage: make \033[36mTARGET\033[0m\n"} \
	  /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
	  /^[a-zA-Z0-9_-]+:.*##/ {printf "  \033[36m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Run the whole product: a cluster, the operator, docker push, a pod that pulls.
	@$(GO) run ./hack/demo up

.PHONY: demo-down
demo-down: ## Remove everything that the demo made.
	@$(GO) run ./hack/demo down

.PHONY: run
run: build ## Run the registry alone on 127.0.0.1:5000, with sample users and tokens.
	@hack/run.sh $(RUN_LISTEN) $(RUN_DATA_DIR)

##@ Tests

.PHONY: test
test: test-unit test-api test-chart ## Run all tests but the end-to-end ones.

.PHONY: test-unit
test-unit: ## Run the tests that need no Kubernetes, with the race detector.
	@hack/apt.sh race clients postgresql
	@hack/tools.sh versitygw >/dev/null
	CGO_ENABLED=1 $(GO) test -race -timeout 30m $$($(GO) list ./... | grep -vxF -f <($(GO) list $(API_SERVER_TESTS) $(CHART_TESTS) $(E2E_TESTS)))

.PHONY: test-api
test-api: ## Run the tests against a real Kubernetes API server, with the race detector.
	@hack/apt.sh race clients
	KUBEBUILDER_ASSETS="$${KUBEBUILDER_ASSETS:-$$(hack/tools.sh control-plane)}" CGO_ENABLED=1 $(GO) test -race -timeout 30m $(API_SERVER_TESTS)

.PHONY: test-chart
test-chart: ## Test the Helm chart with helm, v3 and v4, and compare it with kustomize.
	@hack/tools.sh control-plane helm3 helm4 promql >/dev/null
	$(GO) test -timeout 10m $(CHART_TESTS)

.PHONY: e2e
e2e: ## Run the end-to-end tests on a local cluster with a Docker daemon and Traefik.
	@hack/apt.sh node docker clients
	@hack/tools.sh control-plane node traefik helm3 helm4 flux >/dev/null
	$(GO) test -count=1 -timeout 40m -v $(E2E_TESTS)

.PHONY: gitops
gitops: ## Reconcile our objects with Flux's controllers from our own registry; a part of e2e.
	@hack/apt.sh node docker clients
	@hack/tools.sh control-plane node traefik helm4 flux >/dev/null
	$(GO) test -count=1 -timeout 40m -v $(E2E_TESTS) -ginkgo.focus 'Flux reconciles'

.PHONY: clients
clients: ## Try real clients, verb by verb, and write the table in docs/clients.md.
	@hack/apt.sh node docker clients
	@hack/tools.sh crane regctl oras helm3 helm4 cosign buildkit containerd dockerd control-plane >/dev/null
	$(GO) test -tags clients -count=1 -timeout 90m -v -run TestTheTable ./test/clients/table $(CLIENTS_FLAGS)

.PHONY: mutate
mutate: ## Break the code that decides about access in every place; each must fail a test.
	$(GO) run ./hack/mutate

.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZTIME (10s) each; FUZZ=REGEXP chooses some.
	@hack/fuzz.sh "$(FUZZ)"

.PHONY: bench
bench: bench-programs ## Measure the registry beside its peers; BENCH_FLAGS=-help tells how.
	@$(BENCH) $(BENCH_FLAGS)

.PHONY: bench-quick
bench-quick: bench-programs ## Measure the registry for a minute; fail if it is half as good as it was.
	@$(BENCH) -quick -rounds 1 $(BENCH_FLAGS)

BENCH = bin/bench -distribution "$$(hack/tools.sh distribution)/registry" -s3 "$$(hack/tools.sh versitygw)/versitygw"

.PHONY: bench-programs
bench-programs: build
	@hack/apt.sh postgresql
	$(GO) build -o bin/ ./hack/bench ./hack/bench/floor

.PHONY: microbench
microbench: ## Run the micro-benchmarks.
	$(GO) test -run '^$$' -bench . -benchmem ./registry/...

##@ Building

.PHONY: build
build: ## Build the static binaries bin/packages-operator and bin/kubectl-packages.
	$(GO) build -tags $(PROGRAM_TAGS) -ldflags "-s -w -X main.version=$(VERSION)" -o bin/ ./cmd/...

.PHONY: image
image: build ## Build the image packages-operator:dev with docker.
	DOCKER_BUILDKIT=0 docker build -q -t packages-operator:dev .

# Or: -push IMAGE to push the image and the chart; -help lists the flags.
RELEASE_FLAGS ?=

.PHONY: release
release: ## Build programs, image, chart, manifests, bills of materials and checksums in dist/.
	@$(GO) run ./hack/release $(RELEASE_FLAGS)

# The operator in one file, with the image IMAGE.
IMAGE ?= packages-operator:dev
.PHONY: dist/install.yaml
dist/install.yaml: ## Build dist/install.yaml from config/default, with IMAGE=REGISTRY/IMAGE:TAG.
	@mkdir -p dist
	@"$$(hack/tools.sh control-plane)/kubectl" kustomize config/default | sed 's#packages-operator:dev#$(IMAGE)#' >$@

.PHONY: generate
generate: manifests ## Generate deep copies, apply configurations, and the chart's README and schema.
	$(GO) run ./hack/chart docs
	"$$(hack/tools.sh controller-gen)/controller-gen" object:headerFile=hack/boilerplate.go.txt applyconfiguration:headerFile=hack/boilerplate.go.txt paths=./api/... paths=./controllers/certmanager/...

.PHONY: manifests
manifests: ## Generate the CRDs, the operator's RBAC role, docs/reference.md, and what the chart has of config/.
	"$$(hack/tools.sh controller-gen)/controller-gen" crd paths=./api/... output:crd:dir=config/crd/bases
	"$$(hack/tools.sh controller-gen)/controller-gen" rbac:roleName=packages-operator-manager paths=./controllers/... output:rbac:dir=config/rbac
	$(GO) run ./hack/chart manifests
	$(GO) run ./hack/reference >docs/reference.md

##@ Checks

.PHONY: lint
lint: ## Run golangci-lint, built from its module.
	"$$(hack/tools.sh golangci-lint)/golangci-lint" run

.PHONY: verify
verify: generate manifests ## Fail when formatting, vet or generated files are not as committed.
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "Run gofmt -w on these files."; exit 1; }
	$(GO) vet ./...
	@test -z "$$(git status --porcelain -- api config controllers charts docs/reference.md)" || { git status --porcelain -- api config controllers charts docs/reference.md; echo "Run 'make generate manifests' and commit the result."; exit 1; }
