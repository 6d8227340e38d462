#!/bin/sh
# Runs tests/fastocsp against modules built with AddressSanitizer and UBSan: `tests/asan.sh [pytest arguments]`.
# The build goes to .build-asan, a copy of the tracked and new files, so that the normal build stays as it is. The leak
# test is left out: under ASan freed memory is quarantined and the process grows by design.
# PYTHON names the interpreter (python3), CC the compiler (gcc).
set -eu

python=${PYTHON:-python3}
compiler=${CC:-gcc}
root=$(cd "$(dirname "$0")/.." && pwd)
copy=$root/.build-asan

cd "$root"
mkdir -p "$copy"
git ls-files --cached --others --exclude-standard | while IFS= read -r name; do
    if [ -f "$name" ] && ! cmp -s "$name" "$copy/$name"; then
        mkdir -p "$copy/$(dirname "$name")"
        cp -p "$name" "$copy/$name"
    fi
done

cd "$copy"
FASTOCSP_BUILD=asan "$python" setup.py -q build_ext --inplace

asan=$("$compiler" -print-file-name=libasan.so)
ubsan=$("$compiler" -print-file-name=libubsan.so)
LD_PRELOAD="$asan $ubsan" \
    PYTHONMALLOC=malloc \
    ASAN_OPTIONS=detect_leaks=0 \
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
    "$python" -m pytest tests/fastocsp -q -p no:cacheprovider --ignore tests/fastocsp/test_leaks.py "$@"
