#!/bin/sh
# Compiles the request path with mypyc, in place; without a C compiler the same
# sources run as they are, at about twice the CPU. Usage: compile.sh VENV MODULE...
set -eu
venv=$1
shift

without() {
  echo "setup: $*; the request path runs as plain Python" >&2
  exit 0
}

has_headers() {
  "$venv/bin/python" - <<'END'
import pathlib, sys, sysconfig
sys.exit(not (pathlib.Path(sysconfig.get_path("include")) / "Python.h").exists())
END
}

if ! command -v cc >/dev/null || ! has_headers; then
  command -v apt-get >/dev/null || without "no C compiler or no Python.h"
  as_root=
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || without "a C compiler needs: apt-get install gcc libc6-dev python3-dev"
    as_root=sudo
  fi
  echo "setup: installing a C compiler with apt-get"
  $as_root apt-get update -qq || without "apt-get update failed"
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends gcc libc6-dev python3-dev >/dev/null ||
    without "apt-get could not install a C compiler"
  has_headers || without "no Python.h for $venv/bin/python"
fi

echo "setup: compiling the request path"
bin=$(cd "$venv/bin" && pwd)
mkdir -p build
log=$(pwd)/build/compile.log
find src -name '*.so' -delete
if ! (cd src && MYPYC_OPT_LEVEL=3 "$bin/mypyc" --ignore-missing-imports "$@") \
  >"$log" 2>&1; then
  grep -E "error" "$log" >&2 || tail -n 20 "$log" >&2
  find src -name '*.so' -delete
  rm -rf src/build
  [ -z "${CI:-}" ] || { echo "setup: mypyc failed; see $log" >&2; exit 1; }
  without "mypyc failed, see $log"
fi
rm -rf src/build
