# Every target works on a machine where nothing but Python 3.11 is installed.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0

.DEFAULT_GOAL := help
.PHONY: help install sandbox format lint typecheck test test-gpu test-vllm check compile run run-baseline-wins run-evo image test-image manifests bench docs clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | awk -F: '{printf "%-20s%s\n", $$1, $$2}'

$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet "$(TORCH)"
	$(BIN)/pip install --quiet --editable ".[dev]"
	$(BIN)/python -m compileall -q agent_forge  # pip compiles all else
	touch $@

install: $(VENV)/installed  ## create .venv and install the package with its development tools

sandbox:  ## install bubblewrap, in which answers of kind code are run
	scripts/install_sandbox.sh

format: install  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: install  ## check formatting and lint rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

typecheck: install  ## check types strictly
	$(BIN)/mypy

test: install sandbox  ## run the test suite
	$(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal

VLLM := .venv-vllm
$(VLLM)/installed: pyproject.toml scripts/install_vllm.sh
	PYTHON=$(PYTHON) TORCH=$(TORCH) scripts/install_vllm.sh $(VLLM)
	touch $@

test-vllm: $(VLLM)/installed  ## test engine vllm, in an environment of its own; `make test` leaves these tests out
	OMP_NUM_THREADS=1 $(VLLM)/bin/python -m pytest -m vllm tests/models/test_vllm_engine.py

test-gpu: install  ## test what only a GPU does; `make test` leaves these tests out
	$(BIN)/pytest -m gpu tests/models/test_gpu.py

compile: install  ## compile the Kubeflow pipeline
	$(BIN)/python -m pipelines.compile

check: lint typecheck  ## everything that must pass before a merge
	$(BIN)/python -m pipelines.compile --check
	$(MAKE) test

run: install  ## bake the bundled champion end to end
	$(BIN)/forge bake-quietstar --model agent_forge/demo/champion --config agent_forge/demo/bake.yaml --out runs/demo --resume

run-baseline-wins: install  ## the same champion with a thought prompt that does not help: no_bake
	$(BIN)/forge bake-quietstar --model agent_forge/demo/champion --config agent_forge/demo/baseline_wins.yaml --out runs/baseline-wins --resume

EVO := runs/evo-demo
run-evo: install  ## merge three specialists into a champion, bake it, publish it, and report the whole story
	$(BIN)/python -m agent_forge.demo.specialists --out $(EVO)/specialists
	$(BIN)/forge evo --base-models $(EVO)/specialists/letters,$(EVO)/specialists/signs,$(EVO)/specialists/postfix --base bundled://champion --eval-dataset $(EVO)/specialists/notations.jsonl --config agent_forge/demo/evolve.yaml --out $(EVO)/evolution --publish-to $(EVO)/published --then-bake --resume
	$(BIN)/forge story $(EVO)/evolution

image:  ## build the CPU image; needs podman, or ENGINE=docker
	docker/build.sh cpu

test-image: install  ## install a container engine where there is none, build the image and run the pipeline in it
	docker/install_engine.sh
	docker/build.sh cpu
	$(BIN)/pytest docker/test_image.py

manifests: install  ## build what is applied to a cluster, every overlay
	mkdir -p build/manifests
	for overlay in cpu gpu spot single-user; do scripts/kustomize.sh manifests/overlays/$$overlay > build/manifests/$$overlay.yaml || exit 1; done
	scripts/kustomize.sh manifests/triggers > build/manifests/triggers.yaml
	scripts/kustomize.sh manifests/serving > build/manifests/serving.yaml

bench: install  ## kill runs, calibrate the gate, growth, share of passes; with CHAMPION (a model), decoding and its roofline
	$(BIN)/python bench/kill_resume.py
	$(BIN)/forge calibrate
	$(BIN)/python bench/growth.py
	$(BIN)/python bench/passes_share.py
	test -z "$(CHAMPION)" || $(BIN)/python bench/decode.py --champion "$(CHAMPION)"
	test -z "$(CHAMPION)" || $(BIN)/python bench/roofline.py --champion "$(CHAMPION)"

docs: install  ## write the reference of configuration fields
	$(BIN)/python scripts/write_reference.py

clean:  ## remove the virtual environment and the runs
	rm -rf $(VENV) runs
