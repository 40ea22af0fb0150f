#!/bin/sh
# Makes the virtual environment and puts the locked installer and builder in it.
# Usage: bootstrap.sh PYTHON VENV
set -eu
python=$1
venv=$2

fail() {
  echo "setup: $*" >&2
  exit 1
}

# A bare Debian's Python cannot make an environment with pip: install the missing part.
install_venv_support() {
  command -v apt-get >/dev/null || fail "$python has no ensurepip; install your" \
    "system's package for Python's venv (Debian: python3-venv), then repeat"
  package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  as_root=
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
      fail "as root, run: apt-get install $package ca-certificates; then repeat"
    as_root=sudo
  fi
  echo "setup: installing $package with apt-get"
  $as_root apt-get update -qq || fail "apt-get update failed: is there a network?"
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends "$package" ca-certificates >/dev/null ||
    fail "apt-get could not install $package"
}

[ -n "$python" ] || fail "no python3 on the PATH; install Python 3.11 or later"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "$python is older than 3.11; name another: make setup PYTHON=/path/to/python3.11"

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
  "$python" -c 'import ensurepip' 2>/dev/null || install_venv_support
  echo "setup: creating $venv"
  rm -rf "$venv"
  "$python" -m venv "$venv" || fail "$python -m venv $venv failed"
fi
"$venv/bin/python" -m pip install --quiet --require-hashes -r locks/bootstrap.txt ||
  fail "pip could not install locks/bootstrap.txt: is there a network?"
