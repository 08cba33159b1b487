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

.PHONY: bench-step
bench-step: ## training step against python3-torch, alternating; last line 'RATIO step …'
	@eng/setup --test
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 dotnet artifacts/bin/Step.Bench/release/DarkMatter.Step.Bench.dll $(ARGS)

.PHONY: bench-collectives
bench-collectives: ## all-reduce over gRPC against Gloo, alternating
	@eng/setup --test
	@dotnet artifacts/bin/Collectives.Bench/release/DarkMatter.Collectives.Bench.dll $(ARGS)

.PHONY: bench-data
bench-data: ## decoding and augmentation against python3-torchvision, alternating
	@eng/setup --test
	@dotnet artifacts/bin/Data.Bench/release/DarkMatter.Data.Bench.dll $(ARGS)

.PHONY: simulate
simulate: ## simulate clusters that fail at random (RUNS=10000 SEED=1); a broken invariant prints how to replay it (TRACE=1 tells the story)
	@eng/setup --test
	@dotnet artifacts/bin/Simulation.Tests/release/DarkMatter.Simulation.Tests.dll simulate --runs $(or $(RUNS),10000) --seed $(or $(SEED),1) $(if $(TRACE),--trace)

.PHONY: bench-recovery
bench-recovery: ## one of 4 trainers killed, hung, replaced: seconds to the next committed step; last line 'SECONDS recovery_p50 …'
	@eng/setup --test
	@dotnet artifacts/bin/Recovery.Bench/release/DarkMatter.Recovery.Bench.dll $(ARGS)

.PHONY: bench-checkpoint
bench-checkpoint: ## what a checkpoint a minute costs the training thread; last line 'PERCENT checkpoint_stall …'
	@eng/setup
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 dotnet artifacts/bin/Checkpoint.Bench/release/DarkMatter.Checkpoint.Bench.dll $(ARGS)

.PHONY: certify
certify: setup ## W = 1, 2, 3, 4 ranks against one, for every method: loss, gradients, state: docs/benchmarks/certificate.md; last line 'CERTIFICATE …' (ARGS="--method moco" for a part)
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(DARKMATTER) certify $(or $(ARGS),--output docs/benchmarks/certificate.md)

.PHONY: bench-methods
bench-methods: setup ## every method on Fashion-MNIST for 10 minutes, one after the other, resumable: docs/benchmarks/methods.md (ARGS="--seconds 60 --only simclr")
	@/usr/bin/python3 bench/methods/table.py $(ARGS)

.PHONY: bench-bank
bench-bank: ## the queue's append and read in a step, the way to the silo, memory of 1.3 M images: docs/benchmarks/bank.md; last line 'MILLISECONDS bank_p50 …'
	@eng/setup --test
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 dotnet artifacts/bin/Bank.Bench/release/DarkMatter.Bank.Bench.dll $(or $(ARGS),--output docs/benchmarks/bank.md)

.PHONY: soak
soak: ## real trainers and a silo that are killed, stopped and drained at random (SECONDS=600 SEED=1); last line 'VERDICT …' of the ledger
	@eng/setup --test
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 dotnet artifacts/bin/Faults.Tests/release/DarkMatter.Faults.Tests.dll soak --seconds $(or $(SECONDS),600) --seed $(or $(SEED),1)

.PHONY: disturbed
disturbed: ## a run struck by 20 failures against the untouched run: steps, ledger, losses; last line 'VERDICT …'
	@eng/setup --test
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 dotnet artifacts/bin/Faults.Tests/release/DarkMatter.Faults.Tests.dll disturbed

.PHONY: reference
reference: ## the demo's training in plain python3-torch: the accuracy the demo is held against (takes long; STEPS=…)
	@eng/setup --test
	@/usr/bin/python3 tests/Interop/simclr_reference.py --recipe recipes/simclr-fashion-mnist.yaml $(if $(STEPS),--steps $(STEPS))

.PHONY: compare-accuracy
compare-accuracy: ## DarkMatter's kNN accuracy against that reference over SEEDS="1 2 3", 500 steps each (takes long; goes on where it stopped)
	@eng/setup --test
	@OMP_NUM_THREADS=1 /usr/bin/python3 tests/Interop/compare_accuracy.py --recipe recipes/simclr-fashion-mnist.yaml --output artifacts/accuracy \
		--steps $(or $(STEPS),500) --seeds $(or $(SEEDS),1 2 3)

.PHONY: build
build: setup ## build everything

.PHONY: format
format: ## format the source as CI expects it
	@dotnet format Distributed.sln

.PHONY: clean
clean: ## remove everything built or trained here
	rm -rf artifacts .data
