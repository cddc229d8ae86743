# Every target installs what it needs (Debian packages, through apt-get) and
# says so before it does. What is not ours to keep in the checkout lives in CACHE.

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

CACHE   := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/outrigger-dev
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# The platforms that have an agent; machine.Platforms says the same and a test compares.
PLATFORMS := darwin/amd64 darwin/arm64 linux/amd64 linux/arm64 windows/amd64 windows/arm64

# The same sources make the same agent wherever they lie and whenever they are built:
# a machine is given an agent only if it lacks that content.
GOBUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false
MODULE  := outrigger.dev/outrigger

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: go
go:
	@command -v go >/dev/null || { echo "make: no go on the PATH: install Go 1.26 or newer (1.21 and up fetch it by themselves)" >&2; exit 1; }

.PHONY: build
build: go ## bin/outrigger, and the agents of all platforms in bin/agents
	@$(GOBUILD) -ldflags '-s -w -X $(MODULE)/internal/version.Version=$(VERSION)' -o bin/outrigger ./cmd/outrigger
	@for p in $(PLATFORMS); do \
		os=$${p%/*} arch=$${p#*/} ext=; [ $$os != windows ] || ext=.exe; \
		GOOS=$$os GOARCH=$$arch $(GOBUILD) -ldflags '-s -w' -o bin/agents/outrigger-agent-$$os-$$arch$$ext ./cmd/agent; \
	done
	@cd bin/agents && { sha256sum outrigger-agent-* 2>/dev/null || shasum -a 256 outrigger-agent-*; } > SHA256SUMS

# Container images are packed without a container engine; REGISTRY is where they are pushed,
# and the name that manifests give them.
REGISTRY   := registry.local/outrigger
IMAGE_ARCH := amd64 arm64

.PHONY: programs
programs: build
	@for arch in $(IMAGE_ARCH); do \
		for p in relay controller outrigger; do \
			GOOS=linux GOARCH=$$arch $(GOBUILD) -ldflags '-s -w -X $(MODULE)/internal/version.Version=$(VERSION)' -o bin/linux-$$arch/$$p ./cmd/$$p; \
		done; \
	done

.PHONY: images
images: programs ## container images of relay, controller and CLI in bin/images
	@cd tools/image && go run . build -bin ../../bin -out ../../bin/images -registry $(REGISTRY) -version $(VERSION) -arch '$(IMAGE_ARCH)'

.PHONY: push
push: images ## push the images: make push REGISTRY=registry.example.com/outrigger
	@cd tools/image && go run . push -from ../../bin/images -version $(VERSION) $(REGISTRY)

.PHONY: try
try: build ## build a real C project on a machine and bring the result back (ON=qemu: in a real VM)
	@tools/try $(ON)

# The real parts that tests run against. Without them a test is skipped, and in CI that is a failure. A result that
# is cached knows nothing of what was installed since, so CI takes none.
TEST_PACKAGES := gcc libc6-dev make git procps openssh-client openssh-server sudo openssl rsync \
	busybox-static zsh ksh tcsh fish \
	qemu-system-x86 qemu-utils mmdebstrap fakeroot uidmap e2fsprogs dosfstools dropbear-bin cpio \
	binutils-mingw-w64-x86-64 wine64 \
	iproute2 microsocks tinyproxy dante-server wireguard-go wireguard-tools curl python3-minimal cron at

.PHONY: test
test: go ## all tests that need no cluster
	@tools/need $(TEST_PACKAGES)
	@go run ./tools/testsum $(if $(CI),-strict tools/testsum/skips.txt) -- go test -json -race $(if $(CI),-count=1) -timeout 20m $(or $(PKG),./...)

# The test bed: a real Kubernetes with a real Tekton on this computer (docs/howto/test-bed.md).
BED_PACKAGES := containerd runc containernetworking-plugins nftables iptables conntrack socat iproute2 util-linux mmdebstrap openssh-server

.PHONY: bed
bed: go
	@tools/need $(BED_PACKAGES)
	@CGO_ENABLED=0 go build -buildvcs=false -o bin/bed ./test/bed

.PHONY: cluster-up
cluster-up: bed ## the test bed: Kubernetes, Tekton, machines (builds them the first time, 10 minutes)
	@bin/bed up hosts

# The test bed runs here: images for other architectures would only cost minutes.
cluster-install e2e examples demo: IMAGE_ARCH = $(shell go env GOARCH)

.PHONY: cluster-install
cluster-install: bed images ## Outrigger as it is now into the test bed, and a pool of its machines
	@bin/bed up install hosts

# Four at a time: each test has Pods of its own, and what they wait for is a processor.
.PHONY: e2e
e2e: cluster-install ## what users do with a cluster, on the test bed
	@eval "$$(bin/bed env)"; go run ./tools/testsum -- go test -json -tags e2e -count=1 -p 1 -parallel 4 -timeout 40m $(or $(PKG),./test/e2e ./test/e2e/orka)

.PHONY: examples
examples: ## Tekton's own examples on the node and on machines, compared: a quarter of an hour
	@$(MAKE) e2e PKG=./test/e2e/examples

DEMO_PACKAGES := qemu-system-x86 qemu-utils mmdebstrap fakeroot uidmap e2fsprogs

.PHONY: demo
demo: cluster-install ## a cluster, Outrigger, virtual machines, and a Pipeline that builds something on one
	@tools/need $(DEMO_PACKAGES)
	@bin/bed demo

.PHONY: demo-down
demo-down: bed ## what make demo made goes; the cluster stays
	@bin/bed undemo

.PHONY: cluster-status
cluster-status: bed ## what of the test bed is up
	@bin/bed status

.PHONY: cluster-down
cluster-down: bed ## stop the test bed; what it knows is kept
	@bin/bed down

.PHONY: cluster-wipe
cluster-wipe: bed ## stop the test bed and forget it; what was built is kept
	@bin/bed wipe

# The systems differ in files, the processors in none of ours: one of each system is all of them.
VET_PLATFORMS := darwin/arm64 linux/amd64 windows/amd64

.PHONY: vet
vet: go ## go vet for every system
	@for p in $(VET_PLATFORMS); do echo "vet $$p"; GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 go vet ./...; done

# Built from its own module, so that its 200 dependencies stay out of ours; 3 minutes, once.
LINTER := $(CACHE)/golangci-lint-$(shell awk '$$1 == "github.com/golangci/golangci-lint/v2" { print $$2 }' tools/lint/go.mod)-$(shell go env GOVERSION 2>/dev/null)

$(LINTER):
	@echo "lint: building $(notdir $@) from source, about 3 minutes, once" >&2
	@mkdir -p $(CACHE)
	@cd tools/lint && go build -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: lint
lint: go $(LINTER) ## gofmt and the linters of .golangci.yml
	@out=$$(git ls-files -z '*.go' | xargs -0 gofmt -l); [ -z "$$out" ] || { echo "lint: not gofmt-ed:"; echo "$$out"; exit 1; }
	@$(LINTER) run ./...

# Without a database it says that it is skipped, which is no failure: see the script.
.PHONY: vuln
vuln: go ## known vulnerabilities in what the programs call (VULNDB=DIR: a copy of the database)
	@tools/vulncheck || [ $$? = 77 ]

.PHONY: fuzz
fuzz: go ## every fuzz target for FUZZTIME=30s; some: make fuzz PKG=internal/parcel
	@tools/fuzz $(or $(FUZZTIME),30s) $(PKG)

.PHONY: generate
generate: go ## everything in the tree that is made from something else in the tree
	@go generate ./...

.PHONY: check
check: ## exactly what CI does
	@.ci/run

.PHONY: soak
soak: go ## random cases for hours; goes on where it stopped (FOR=2h, ONLY=trees,pods, FRESH=1)
	@tools/need $(TEST_PACKAGES)
	@go run ./tools/soak -state $(CACHE)/soak $(if $(FOR),-for $(FOR)) $(if $(ONLY),-only $(ONLY)) $(if $(FRESH),-fresh)

.PHONY: bench
bench: build ## compare sync and start-up with scp, rsync, tar and ssh (FULL=1: the large data sets)
	@tools/need openssh-client openssh-server rsync tar
	@go run ./test/bench $(if $(FULL),-full) $(BENCHFLAGS)

.PHONY: clean
clean: ## remove bin/
	@rm -rf bin
