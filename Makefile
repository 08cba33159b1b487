# Everything DarkMatter does from the command line. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
export DOTNET_NOLOGO = 1
export DOTNET_CLI_TELEMETRY_OPTOUT = 1

DARKMATTER := dotnet artifacts/bin/Trainer/release/darkmatter.dll

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

.PHONY: setup
setup: ## install what is missing, build everything (seconds when done already)
	@eng/setup

.PHONY: demo
demo: setup ## pretrain on Fashion-MNIST: one silo, two trainers, at most 6 minutes (DEMO_SECONDS=60 for a short one)
	@$(DARKMATTER) pretrain --recipe recipes/simclr-fashion-mnist.yaml --run demo --overwrite --output artifacts/demo \
		--seconds $(or $(DEMO_SECONDS),340)

.PHONY: test
test: ## run all tests; the last line is 'N passed, N failed'
	@eng/setup --test
	@eng/test

.PHONY: build
build: setup ## build everything

.PHONY: format
format: ## format the source as CI expects it
	@dotnet format Distributed.sln

.PHONY: clean
clean: ## remove everything built or trained here
	rm -rf artifacts .data
