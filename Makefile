# The verbs of the project; CI calls the same ones. `make` alone lists them.
PYTHON ?= python3
CORES ?= 2
VENV := .venv
BIN := $(VENV)/bin
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup setup-chexagent setup-vision demo findings lofi zoo zoo-fetch seeds test test-slow mutate check format sync base-record preset doctor compare bench estimate lock

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' Makefile

setup: $(READY) ## make .venv with the exact versions of requirements.lock

$(READY): requirements.lock requirements-torch.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, {sys.version.split()[0]} found: make setup PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-torch.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m workflow.plots
	@touch $@

setup-chexagent: $(READY) ## make .venv-chexagent2, which CheXagent-2 alone wants (non-commercial licence)
	$(RUN) python -m workflow.chexagent_env

setup-vision: $(READY) ## make .venv-vision, for rows of the libraries timm, torchxrayvision and open_clip
	$(RUN) python -m workflow.vision_env

demo: $(READY) ## run the embedded study and say where the report is
	@cmp -s params.yaml workflow/presets/demo.yaml || { echo "params.yaml is not the demo study: run it as it is with snakemake, or put the demo in its place with make preset NAME=demo (yours is kept beside it)"; exit 1; }
	@# The tiny model fits as often as there are cores, so its jobs need not wait for each other.
	$(RUN) snakemake --cores $(CORES) --resources gpu=$(CORES) --rerun-incomplete --quiet host
	@$(RUN) python -m workflow.summary

findings: $(READY) ## run the findings benchmark in force (as shipped: drawn cases, a tiny model) and say where its page is
	$(RUN) snakemake --cores $(CORES) $(if $(shell cmp -s params.yaml workflow/presets/demo.yaml && echo demo),--resources gpu=$(CORES)) --rerun-incomplete --quiet host -- findings
	@$(RUN) python -m workflow.summary findings

lofi: $(READY) ## run the chapter lofi in force (as shipped: simulated images, tiny models) and say where its page is
	$(RUN) snakemake --cores $(CORES) $(if $(shell cmp -s params.yaml workflow/presets/demo.yaml && echo demo),--resources gpu=$(CORES)) --rerun-incomplete --quiet host -- lofi
	@$(RUN) python -m workflow.summary lofi

zoo: $(READY) ## compare the models of zoo.models on the study's split, running what of the study is missing, and say where the page is
	$(RUN) snakemake --cores $(CORES) $(if $(shell cmp -s params.yaml workflow/presets/demo.yaml && echo demo),--resources gpu=$(CORES)) --rerun-incomplete --quiet host -- zoo
	@$(RUN) python -m workflow.summary zoo

zoo-fetch: $(READY) ## find or fetch what the models of zoo.models need, before any GPU is asked for
	$(RUN) snakemake --cores $(CORES) --rerun-incomplete --quiet host -- zoo_fetch
	@$(RUN) python -m workflow.zoo_doctor

seeds: $(READY) ## run the study in force with three seeds
	$(RUN) snakemake --cores $(CORES) --rerun-incomplete --configfile workflow/three_seeds.yaml -- all nodules_seeds

test: $(READY) ## the tests, minutes
	$(RUN) OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile -m "not slow" $(PYTEST)

test-slow: $(READY) ## the tests that run a whole study, a browser or a cluster
	$(RUN) OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow $(PYTEST)

mutate: $(READY) ## plant small changes in a copy and count those that the tests notice: make mutate [SAMPLE=200] [SEED=0] [ONLY="froc matching"]
	@$(RUN) python -m workflow.mutate $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY))

check: $(READY) ## formatting, lint, types, and the agreement of dvc.yaml and the schema with the rules
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) snakefmt --check Snakefile rules
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) python -m workflow.lint
	$(RUN) python -m workflow.dvc_sync --check
	$(RUN) python -m workflow.schema --check

format: $(READY) ## format all code
	$(RUN) ruff format .
	$(RUN) ruff check --fix .
	$(RUN) snakefmt Snakefile rules

sync: $(READY) ## write dvc.yaml and the parameter schema from the rules and stages
	$(RUN) python -m workflow.schema
	$(RUN) python -m workflow.dvc_sync

base-record: $(READY) ## write the records of the demos' bases, such as workflow/demo_base.json
	$(RUN) OMP_NUM_THREADS=1 python -m workflow.base_record

preset: $(READY) ## put a study's parameters in force: make preset NAME=demo|nodulocc|nodulocc_published|medpix|medpix_published|lofi_padchest_gr|lofi_mimic|lofi_published
	$(RUN) python -m workflow.preset "$(NAME)"

doctor: $(READY) ## what is missing on this machine for the parameters in force
	@$(RUN) python -m workflow.doctor

compare: $(READY) ## two experiments side by side: make compare A=exp-one [B=exp-two]
	@$(RUN) python -m workflow.compare $(A) $(B)

bench: $(READY) ## count and measure what it costs: make bench [ONLY=flops]
	@$(RUN) OMP_NUM_THREADS=1 python -m workflow.bench $(ONLY)

estimate: $(READY) ## what the study takes on a GPU: make estimate [GPU="RTX 4090"] [PRESET=nodulocc]
	@$(RUN) python -m workflow.estimate --gpu "$(GPU)" --preset "$(PRESET)"

lock: $(READY) ## resolve requirements.lock anew
	$(RUN) python -m workflow.lock
