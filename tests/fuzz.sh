#!/bin/sh
# Every fuzz target for so many seconds: `tests/fuzz.sh PYTHON SECONDS`. A finding, or a target that hangs, ends the run
# with a non-zero status; what broke it lies in .build-fuzz and is the argument that repeats it.
set -eu

python=${1:-python3}
seconds=${2:-60}
case $python in */*) python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") ;; esac
root=$(cd "$(dirname "$0")/.." && pwd)
found=$root/.build-fuzz

cd "$root"
mkdir -p "$found"
for path in tests/fuzz/fuzz_*.py; do
    name=$(basename "$path" .py)
    echo "== $name, $seconds s"
    timeout -k 10 $((seconds + 60)) "$python" -m "tests.fuzz.$name" "-max_total_time=$seconds" -timeout=10 \
        -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 "-artifact_prefix=$found/$name-" || {
        echo "fastocsp: $name found something: see $found" >&2
        exit 1
    }
done
