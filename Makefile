# The commands of Bitlens. `make` alone lists them.
#   PORT=8502     the port of the dashboard          PYTHON=python3.12   the Python that makes .venv
#   ARGS="..."    more arguments for pytest      LOCKED=no           not the tested versions, the newest
#   WORKERS=4     processes that run tests

VENV := .venv
PORT ?= 8501
HOST ?= 127.0.0.1
ARGS ?=
WORKERS ?= 2
export PYTHON VENV LOCKED
# glibc hands big blocks back at once and gets them anew, page by page; that can double the time of relevance.
export MALLOC_MMAP_THRESHOLD_ := 268435456
export MALLOC_TRIM_THRESHOLD_ := 2147483648

python = "$(VENV)/bin/python"
setup = bash scripts/setup.sh
lowest = $(VENV)-lowest
# Small models gain more from two processes than from two threads. A file's tests share what is made
# for them, so they stay together; in the order of folders, as the last files are short.
pytest = OMP_NUM_THREADS=1 "$(1)/bin/python" -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)
# One version of each package for all systems and Pythons, with the hashes of all its files.
compile = $(python) -m uv pip compile -q --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --custom-compile-command "make lock"
# It warns of each mark (nosec) that it needs, so what it says is shown only where it found something.
bandit = $(python) -m bandit -q -r app assets lrp quant scripts streamlit_app.py -c pyproject.toml

.PHONY: help setup export-tools run serve test test-lowest lint format lock bench clean distclean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv and install requirements.lock
	@$(setup) run

export-tools: ## install what writes and checks models for other programs
	@$(setup) export

run: ## open the dashboard
	@$(setup) run
	@$(python) scripts/check_port.py "$(PORT)"
	@exec $(python) -m streamlit run streamlit_app.py --server.port "$(PORT)"

serve: ## serve it to a class: HOST=0.0.0.0 BITLENS_HOSTS=name PORT=80
	@$(setup) run
	@$(python) scripts/check_port.py "$(PORT)"
	@exec env PORT="$(PORT)" HOST="$(HOST)" $(python) scripts/serve.py

test: ## run all tests
	@$(setup) dev
	@$(call pytest,$(VENV))

test-lowest: ## run all tests with the oldest versions that requirements.txt allows
	@$(setup) dev
	@$(python) -m venv "$(lowest)"
	@$(python) -m uv pip compile -q --resolution lowest-direct requirements.txt -o "$(lowest)/versions.txt"
	@$(python) -m uv pip install -q --python "$(lowest)" -r requirements-dev.txt -c "$(lowest)/versions.txt"
	@$(call pytest,$(lowest))

lint: ## check style, types, known weaknesses and that text from outside is escaped
	@$(setup) dev
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy
	@$(python) scripts/check_text.py
	@$(bandit) 2>/dev/null || $(bandit)

format: ## format the code and mend what ruff can mend
	@$(setup) dev
	@$(python) -m ruff check --fix-only --quiet .
	@$(python) -m ruff format .

lock: ## lock versions that fit the requirements, and list their licences (ARGS=--upgrade: the newest)
	@$(setup) dev
	@$(compile) $(ARGS) requirements.txt -o requirements.lock
	@$(compile) $(ARGS) requirements-export.txt -c requirements.lock -o requirements-export.lock
	@$(compile) $(ARGS) requirements-dev.txt -c requirements-export.lock -o requirements-dev.lock
	@$(setup) dev
	@$(python) scripts/list_licences.py

bench: ## measure speed and accuracy
	@$(setup) dev
	@$(python) -m bench

clean: ## remove caches and logs
	@rm -rf .pytest_cache .mypy_cache .ruff_cache "$(VENV)-install.log"
	@find . -path ./.git -prune -o -path "./$(VENV)" -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## remove .venv too
	@rm -rf "$(VENV)" "$(lowest)"
