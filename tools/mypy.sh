#!/bin/sh
# Check types of the package as it is installed: top-level folders are sub-packages of svf_edge there (pyproject.toml),
# so they are linked together in a scratch tree that mypy can read.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
tree="$root/build/typing"
rm -rf "$tree"
mkdir -p "$tree/svf_edge"
for entry in "$root"/svf_edge/*; do ln -s "$entry" "$tree/svf_edge/"; done
for part in calib export runtimes; do ln -s "$root/$part" "$tree/svf_edge/$part"; done
ln -s "$root/benchmarks" "$tree/"
cd "$tree"
# The cache lies outside the scratch tree: the second run takes seconds.
exec "$1" --config-file "$root/pyproject.toml" --cache-dir "$root/build/mypy" -p svf_edge -p benchmarks
