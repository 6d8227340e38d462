#!/bin/sh
# Runs tests/fastocsp and the connection loop's tests against modules built with AddressSanitizer and UBSan: `tests/asan.sh [PYTHON [pytest arguments]]`.
# The build goes to .build-asan, a copy of the tracked and new files, so that the normal build stays as it is. Left out
# are the leak test (under ASan freed memory is quarantined and the process grows by design) and the processes that
# share memory (spawned interpreters, slow under sanitizers; what they call is covered by the other tests).
# CC names the compiler (gcc).
set -eu

python=${1:-${PYTHON:-python3}}
[ $# -gt 0 ] && shift
case $python in */*) python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") ;; esac
compiler=${CC:-gcc}
root=$(cd "$(dirname "$0")/.." && pwd)
copy=$root/.build-asan

"$root/tests/copy.sh" "$copy"
cd "$copy"
FASTOCSP_BUILD=asan "$python" setup.py -q build_ext --inplace

asan=$("$compiler" -print-file-name=libasan.so)
ubsan=$("$compiler" -print-file-name=libubsan.so)
LD_PRELOAD="$asan $ubsan" \
    PYTHONMALLOC=malloc \
    ASAN_OPTIONS=detect_leaks=0 \
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
    "$python" -m pytest tests/fastocsp tests/responder/hotpath -q -p no:cacheprovider --timeout=600 \
    --deselect tests/responder/hotpath/test_loop_sharing.py::test_a_python_that_holds_the_gil_holds_no_cached_answer \
    --ignore tests/fastocsp/test_leaks.py --ignore tests/fastocsp/revoked/test_sharing.py "$@"
