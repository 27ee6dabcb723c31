# Every target sets up what it needs by itself, in .venv; `make help` lists targets and variables out of this file:
# "## " explains a target, "#? " a variable, which is given as in `make bench METHOD=salun PARAMS="lr=0.01 epochs=5"`.

#? METHOD         name of the method (default: salun)
#? PARAMS         its hyper-parameters where they differ from the preset: "name=value name=value"
#? PRESET         which of its sets of hyper-parameters
#? PLUGIN         a .py file with a method of your own
#? SANDBOX        any value: a plugin sees neither data files, caches, results nor network (needs bubblewrap)
#? KIND           of a new method: unlearning, defense, training-defense, attack; of one to check: unlearning, defense
#? OUTPUT         folder of a new method's file (default: this one)
#? DATASET        bloodmini, a MedMNIST data set by name, or a MedMNIST-style .npz file
#? DATA_ROOT      folder with MedMNIST files
#? ARCH           architecture: cnn-small, resnet18-quarter, resnet18, timm:NAME
#? RECIPE         training recipe: cpu, medmnist, salun
#? SCENARIO       what is forgotten: random:, random-iid: or fixed:SHARE, part:NUMBER/PARTS, class:NUMBER, ids:FILE
#? SHADOWS        audit with so many half-split models; each block is another of them that the method unlearns from
#? ATTACK         backdoor attack, for a defence: badnets, blended, ...; clean is the control
#? ATTACK_PARAMS  its hyper-parameters: "ratio=0.05"
#? ATTACK_PRESET  which of its sets of hyper-parameters
#? POOL           the defender's clean images: reserved, reserved:50, seen
#? BLOCKS         how many repetitions with seeds of their own
#? PROFILE        how large a run: quick, full
#? DEVICE         cpu, cuda, ...
#? RESULTS        folder for records and leaderboards
#? SUITE          which of suites/*.toml to sweep (default: smoke)
#? PLAN           any value: a sweep says what there is to do, and does nothing
#? WORKERS        processes of a sweep (default: one for each core, or each GPU)
#? PER_GPU        how many of them share a GPU
#? EXECUTOR       of a sweep: local (default), or ray for a cluster
#? ADDRESS        of a running Ray cluster: HOST:PORT, or auto on one of its nodes (default: one is started here)
#? WANDB          also log to Weights & Biases: offline (no network), online (default: off)
METHOD ?= salun
SUITE ?= smoke

#? PYTHON         interpreter to build .venv with (default: python3.13, 3.12, 3.11 or python3, the first that works)
PYTHON ?=

#? TEST_DATA      folder with official MedMNIST files; tests that need them are skipped where it is missing
TEST_DATA ?= ../shared/data

VENV := .venv
IN_VENV := $(VENV)/bin/python
INSTALL_COMMAND = $(IN_VENV) -m pip install --quiet --disable-pip-version-check \
	--editable '.[test,dev,ray,wandb]' --constraint constraints.txt

# A value as one word of the shell, whatever it contains.
quote = '$(subst ','\'',$(1))'
# $(call option,VARIABLE,name) is ` --name 'value'`, and nothing where the variable is not set.
option = $(if $(value $(1)), --$(2) $(call quote,$(value $(1))))
run_options = $(call option,METHOD,method)$(call option,PARAMS,params)$(call option,PRESET,preset)$(call \
	option,PLUGIN,plugin)$(call option,DATASET,dataset)$(call option,DATA_ROOT,data-root)$(call \
	option,ARCH,arch)$(call option,RECIPE,recipe)$(call option,SCENARIO,scenario)$(call \
	option,ATTACK,attack)$(call option,ATTACK_PARAMS,attack-params)$(call \
	option,ATTACK_PRESET,attack-preset)$(call option,POOL,pool)$(call \
	option,BLOCKS,blocks)$(call option,PROFILE,profile)$(call option,SHADOWS,shadows)$(call \
	option,DEVICE,device)$(call option,RESULTS,results)$(call option,WANDB,wandb)$(if $(SANDBOX), --sandbox)

.DEFAULT_GOAL := help
.PHONY: help bench sweep new-method check-method leaderboard doctor perf gpu-report test test-full lint format clean
.SECONDEXPANSION:

help:  ## show this list
	@echo 'make TARGET [VARIABLE=value ...]'
	@echo; echo 'Targets'
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{ printf "  %-12s  %s\n", $$1, $$2 }'
	@echo; echo 'Variables (`.venv/bin/medsafe run --help` says more)'
	@sed -n 's/^#? /  /p' Makefile

bench: $$(INSTALLED)  ## run one method, then show its scores and the leaderboard
	$(VENV)/bin/medsafe run$(run_options)

sweep: $$(INSTALLED)  ## run a whole suite, or what is left of it (variables: SUITE, PLAN, WORKERS, EXECUTOR, DEVICE, RESULTS)
	$(VENV)/bin/medsafe sweep $(call quote,suites/$(value SUITE).toml)$(if $(PLAN), --plan)$(call \
		option,EXECUTOR,executor)$(call option,ADDRESS,address)$(call option,WORKERS,workers)$(call \
		option,PER_GPU,per-gpu)$(call option,DEVICE,device)$(call option,DATA_ROOT,data-root)$(call option,RESULTS,results)

new-method: $$(INSTALLED)  ## write a method's template (variables: METHOD, KIND, OUTPUT)
	$(VENV)/bin/medsafe new-method $(call quote,$(value METHOD))$(call option,KIND,kind)$(call option,OUTPUT,output)

check-method: $$(INSTALLED)  ## find out whether a method keeps the contract (variables: METHOD, PLUGIN, KIND)
	$(VENV)/bin/medsafe check-method$(call option,METHOD,method)$(call option,PLUGIN,plugin)$(call option,KIND,kind)

leaderboard: $$(INSTALLED)  ## rebuild leaderboards and page from the records (variable: RESULTS)
	$(VENV)/bin/medsafe leaderboard$(call option,RESULTS,results)

doctor: $$(INSTALLED)  ## check device, data, cache and folders (variables: RESULTS, DATA_ROOT)
	$(VENV)/bin/medsafe doctor$(call option,RESULTS,results)$(call option,DATA_ROOT,data-root)

perf: $$(INSTALLED)  ## measure the suite beside what one would write without it, into results/perf (needs an idle machine)
	$(IN_VENV) -m benchmark.perf --output results/perf

gpu-report: $$(INSTALLED)  ## measure what matters on a GPU, into results/perf; without a GPU it says so
	$(IN_VENV) -m benchmark.perf.gpu --output results/perf

test: $$(INSTALLED)  ## the fast tests, without network (variable: TEST_DATA)
	@$(call pytest,not slow and not network)

test-full: $$(INSTALLED)  ## these and the slow ones
	@$(call pytest,not network)

lint: $$(INSTALLED)  ## check style and types
	@$(IN_VENV) -m ruff check .
	@$(IN_VENV) -m ruff format --check .
	@$(IN_VENV) -m mypy

format: $$(INSTALLED)  ## put the code into the common style
	@$(IN_VENV) -m ruff check --fix .
	@$(IN_VENV) -m ruff format .

clean:  ## remove caches, and have .venv checked anew; results stay
	rm -rf $(VENV)/.installed-* .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
	find $(wildcard benchmark methods attacks metrics tests) -name __pycache__ -prune -exec rm -rf {} +

define pytest
if [ -z "$$MEDSAFE_DATA" ] && [ -d $(call quote,$(value TEST_DATA)) ]; then \
	MEDSAFE_DATA=$$(cd $(call quote,$(value TEST_DATA)) && pwd); export MEDSAFE_DATA; \
fi; \
$(IN_VENV) -m pytest -m '$(1)'
endef

# The set-up. What it depends on (the two files, the interpreter, this folder) is summed up in the name of a stamp,
# which is written last. A set-up that was killed leaves .installing behind, and the next one starts from nothing.

# Prints that sum and the interpreter behind any venv; fails where Python is too old or cannot make a venv.
inspect := import ensurepip, hashlib, os, sys, venv; \
	sys.version_info >= (3, 11) or sys.exit(1); \
	inputs = [open(name, "rb").read() for name in ("pyproject.toml", "constraints.txt")]; \
	inputs += map(os.fsencode, (sys.version, os.path.realpath(sys.base_prefix), os.getcwd())); \
	print(hashlib.sha256(b"|".join(inputs)).hexdigest()[:16], sys._base_executable)

# Asked once, and only for targets that need it. Without a PYTHON from outside, a venv that works is kept.
pythons = $(if $(PYTHON),$(call quote,$(PYTHON)),$(IN_VENV) python3.13 python3.12 python3.11 python3)
inspected = $(eval inspected := $(shell for python in $(pythons); do \
	"$$python" -I -c '$(inspect)' 2>/dev/null && break; done))$(inspected)
checksum = $(or $(firstword $(inspected)),$(error No Python >= 3.11 with venv found$(if $(PYTHON), as $(PYTHON)). \
	Install one (Debian and Ubuntu: python3 and python3-venv), or name one: PYTHON=/path/to/python3.12))
base_python = $(wordlist 2,99,$(inspected))
INSTALLED = $(VENV)/.installed-$(checksum)

$(VENV)/.installed-%:
	@set -e; exec 9< Makefile; \
	if command -v flock >/dev/null && ! flock -n 9; then \
		echo 'Waiting for another make that sets up $(VENV)'; flock 9; \
	fi; \
	if [ -e $@ ]; then exit 0; fi; \
	found=$$($(IN_VENV) -I -c '$(inspect)' 2>/dev/null) || true; \
	echo 'Setting up $(VENV) (first time: a few minutes, about 6 GB)'; \
	if [ "$${found%% *}" != $* ] || [ -e $(VENV)/.installing ] || ! $(IN_VENV) -m pip --version >/dev/null 2>&1; then \
		$(call quote,$(base_python)) -m venv --clear $(VENV); \
	fi; \
	rm -f $(VENV)/.installed-*; touch $(VENV)/.installing; \
	$(INSTALL_COMMAND) || { rm -f $(VENV)/.installing; echo 'Setting up $(VENV) failed' >&2; exit 1; }; \
	mv $(VENV)/.installing $@; echo 'Set-up done'
