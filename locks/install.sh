#!/bin/sh
# Installs a lock file and then this project, editable, with nothing unlocked.
# Usage: install.sh VENV LOCK
set -eu
venv=$1
lock=$2

echo "setup: installing $lock"
# uv is quick but does not read pip's own settings (mirrors, certificates): where
# it cannot reach the registry, pip installs the same hashes. Both leave bytecode:
# where shells set PYTHONDONTWRITEBYTECODE, every start would compile all anew.
if ! "$venv/bin/uv" pip install --quiet --system-certs --require-hashes \
  --compile-bytecode --python "$venv/bin/python" -r "$lock"; then
  echo "setup: uv could not; trying pip with its own settings"
  "$venv/bin/python" -m pip install --quiet --require-hashes --compile -r "$lock"
fi
# hatchling is in the bootstrap lock, so the build fetches nothing.
"$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation \
  --no-index --editable .
"$venv/bin/python" -m compileall -q src
