# scfmbench: `make demo` shows what it does, `make test` proves it. Everything is set up on the first call.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.tools/bin:$(CURDIR)/.venv/bin:$(CURDIR)/bin:$(PATH)
export NXF_OFFLINE := true
export NXF_SYNTAX_PARSER := v2
export OMP_NUM_THREADS := 1
export NXF_ANSI_LOG ?= false

OUTDIR ?= results
# files with tests that run Nextflow; of the slow ones those that take longest are started first: a worker runs a whole file
PIPELINE = $(shell grep -l mark.pipeline tests/python/test_*.py)
LONGEST := $(addprefix tests/python/test_,determinism.py pipeline_study.py pipeline_shared.py pipeline_query.py)
NF_TEST := $(shell PATH="$(PATH)" command -v nf-test 2> /dev/null)

.PHONY: help setup setup-r demo demo-models demo-study test test-full test-slurm test-profiles test-faults test-containers fuzz lint test-python test-models test-pipeline test-nf containers containers-sif requirements docs bench bench-quick clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 18

setup: ## Python environment in .venv, Nextflow in .tools (once; a second call does nothing)
	@bash scripts/setup.sh

setup-r: ## R with Seurat, for the methods in R alone (Debian, Ubuntu; as root)
	@bash scripts/setup.sh r

demo: setup ## run the pipeline on embedded data and print where the report is
	@nextflow run . -profile test --outdir $(OUTDIR) -resume
	@printf '\nReport: %s\n' "$(OUTDIR)/report/scfmbench_report.html"

demo-models: setup ## the demo with all eight models, on randomly initialised weights (nothing is downloaded)
	@python -c "import anndata; v = anndata.read_h5ad('tests/data/demo.h5ad', backed='r').var; print(*(f'{s}\\t{e}' for s, e in zip(v.index, v['ensembl_id'])), sep='\\n')" > .tools/demo_genes.tsv
	@test -e .tools/tiny_weights/nicheformer || make_tiny_weights.py --model all --genes .tools/demo_genes.tsv --dest .tools/tiny_weights
	@nextflow run . -profile test --models all --random_init --weights_dir .tools/tiny_weights --model_options tests/data/demo_models.yml \
		--accept_license scfoundation --outdir $(OUTDIR)_models -resume
	@printf '\nReport: %s\n' "$(OUTDIR)_models/report/scfmbench_report.html"

demo-study: setup ## the study in miniature: six stand-ins from a local server to the published numbers beside ours
	@nextflow run . -profile test_study --outdir $(OUTDIR)_study -resume
	@printf '\nReport: %s\n' "$(OUTDIR)_study/report/scfmbench_report.html"

lint: setup ## ruff (rules and format), mypy on the core, nextflow lint, nf-core's checks
	@bash scripts/setup.sh lint
	@ruff check bin tests benchmarks setup.py
	@ruff format --check bin tests benchmarks setup.py
	@mypy
	@nextflow lint main.nf nextflow.config conf workflows subworkflows modules
	@.tools/nf-core/bin/python scripts/nf_core_lint.py .

test-python: setup ## unit tests and every module's executable, on two cores
	@pytest -q -n 2 --dist loadfile -m "not pipeline and not slow" --durations 15

test-models: setup ## golden fixtures of the foundation models: one table, then their tests
	@python tests/python/models_table.py
	@pytest -q tests/python/test_models_*.py

test-pipeline: setup ## tests that run Nextflow and read the results back
	@pytest -q -n 2 --dist loadfile -m "pipeline and not slow" --durations 15 $(PIPELINE)

test-nf: setup ## nf-test, when it is on PATH, on two cores
ifdef NF_TEST
	@printf '1\n2\n' | xargs -P 2 -I {} env NFT_WORKDIR=.nf-test/{} nf-test test --shard {}/2 --log .nf-test-{}.log
else
	@echo "nf-test is not on PATH: the nf-test files in tests/, modules/ and subworkflows/ were NOT run"
endif

test: setup lint test-nf test-python test-pipeline ## everything but the slow tests

test-full: export PYTEST_ADDOPTS := --resume
test-full: setup ## the tests that make test leaves out: references, real data sets, long trainings; takes up where it stopped
	@pytest -q -n 2 -m "slow and not pipeline" --durations 15
	@pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "slow and pipeline" --durations 15 \
		$(LONGEST) $(filter-out $(LONGEST) %/test_profiles.py,$(PIPELINE))

test-slurm: setup ## the pipeline on a real Slurm of one node (needs slurm-wlm and munge); takes up where it stopped
	@PYTHONPATH=tests:tests/python:bin python -m engines.run_slurm

test-profiles: setup ## every profile read and as a stub run with both parsers, and a run without a shared file system (needs root)
	@PYTEST_ADDOPTS=--resume pytest -q -n 2 -m "slow and pipeline" tests/python/test_profiles.py
	@PYTHONPATH=tests:tests/python:bin python -m engines.run_profiles

test-faults: setup ## fault injection into a small run (needs root); writes docs/reliability.md, takes up where it stopped
	@PYTHONPATH=tests:tests/python:bin python -m engines.run_faults

test-containers: setup ## build images with podman and run the demo in them (needs root, podman, debootstrap); takes up where it stopped
	@PYTHONPATH=tests:tests/python:bin python -m engines.run_containers

fuzz: setup ## inputs chosen by a fuzzer, a minute for each kind (samplesheet, parameters, YAML, sidecar, h5ad)
	@bash scripts/setup_fuzz.sh
	@PYTHONPATH=tests:tests/python:bin .tools/fuzz/bin/python -m fuzz.run_fuzz

containers: ## build the images (needs docker or podman; ENGINE, REGISTRY, BASE, TORCH_INDEX)
	@bash scripts/build_images.sh images

containers-sif: ## Singularity/Apptainer images from them, into $$NXF_SINGULARITY_LIBRARYDIR
	@bash scripts/build_images.sh sif

requirements: setup ## pin requirements/all.txt anew from requirements/all.in
	@$(shell command -v uv || echo .tools/uv/bin/uv) pip compile -q --python-version 3.11 --no-header --no-annotate \
		requirements/all.in -o requirements/all.txt

docs: setup ## write the parts of docs/ that are made from assets/ and from the corpus of bad inputs
	@make_docs.py
	@PYTHONPATH=tests:tests/python:bin python -m bad_inputs.page

bench: setup ## time our steps and their peers up to a million cells, at most 100 minutes; goes on where it stopped
	@bash scripts/setup.sh scib
	@python benchmarks/bench.py
	@python benchmarks/bench_page.py

bench-quick: setup ## the same up to 10,000 cells, in minutes, into .tools/bench
	@bash scripts/setup.sh scib
	@python benchmarks/bench.py --quick --results .tools/bench --rounds 1

clean: ## remove work, results and caches, keep the set-up
	@rm -rf work results .nextflow .nextflow.log* .nf-test .pytest_cache .ruff_cache .mypy_cache
