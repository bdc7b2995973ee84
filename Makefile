# Needs python3 >= 3.11 with pip, make and a shell; everything else goes into .venv.
# An existing .venv is kept, so a torch of the user's choice (same version) can be put there first.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.iclcheck-installed

.PHONY: setup appendix errata certify-coq test test-all lint types clean

setup: $(INSTALLED)

# Editable, because a plain install leaves a build/ folder that ships deleted modules the next time.
# --no-deps, because the lock is complete and the metadata alone would draw the newest torch.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("need Python >= 3.11, got %s; pass another as make PYTHON=python3.12" % sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || $(PYTHON) -m venv --without-pip .venv
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m pip --python $(BIN)/python install pip
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@: > $@

# Certificates first: the appendix shows them. A derivation that an engine refuses stops it there.
# The appendix is written whatever the verdicts are: they are in it, and the exit status of the check is printed.
# The target fails where there is no appendix; only a check that did not end (70, 130) leaves nothing to write.
appendix: $(INSTALLED)
	@$(BIN)/iclcheck certify --all >/dev/null || exit
	@status=0; table=$$($(BIN)/iclcheck check --profile quick) || status=$$?; \
	if test $$status -ge 70; then printf '%s\n' "$$table"; exit $$status; fi; \
	written=0; $(BIN)/iclcheck appendix --output appendix || written=$$?; \
	printf '\n%s\n\n' "$$table"; \
	case $$written in 0|1|3) ;; *) printf 'The appendix was not written (exit status %s).\n' $$written; exit $$written;; esac; \
	printf 'The appendix lies in %s/appendix. iclcheck check: exit status %s (0 agrees, 1 contradicted, 3 inconclusive).\n' "$$PWD" $$status

# The page on printed statements is a part of the appendix.
errata: appendix
	cp appendix/errata.md docs/errata.md

# Coq is no dependency: without it this says how to get it, and is no failure.
certify-coq: $(INSTALLED)
	@if command -v coqc >/dev/null; then $(BIN)/iclcheck certify --coq; \
	else printf 'coqc is not installed; Debian has it: sudo apt-get install coq\n'; fi

# Two processes, a file of tests in one of them each: a file's fixtures are made once.
test: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile

# pytest exits 5 when no test is marked slow, which is not a failure.
test-all: $(INSTALLED)
	@status=0; $(BIN)/python -m pytest -m slow || status=$$?; test $$status -eq 5 || exit $$status

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy --strict src tests

# Neither .venv nor .iclcheck (the records) is removed: they are dear, and not rebuilt from the sources alone.
clean:
	rm -rf build dist appendix src/*.egg-info *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
