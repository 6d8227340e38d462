#!/bin/sh
# Runs the connection loop's tests against modules built with ThreadSanitizer: `tests/tsan.sh [PYTHON [pytest arguments]]`.
# The build goes to .build-tsan, a copy of the tracked and new files. Python itself is not instrumented: what it does
# under the GIL is ordered by its mutexes, which the sanitizer sees. A race that it finds is written to
# .build-tsan/tsan.PID and makes the exit status 66. Clients in processes of their own are left out: they run without the preloaded library.
set -eu

python=${1:-${PYTHON:-python3}}
[ $# -gt 0 ] && shift
case $python in */*) python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") ;; esac
compiler=${CC:-gcc}
root=$(cd "$(dirname "$0")/.." && pwd)
copy=$root/.build-tsan

"$root/tests/copy.sh" "$copy"
cd "$copy"
FASTOCSP_BUILD=tsan "$python" setup.py -q build_ext --inplace
# the sanitizer's shadow memory and a randomised layout do not go together on every kernel
LD_PRELOAD=$("$compiler" -print-file-name=libtsan.so) \
    TSAN_OPTIONS=exitcode=66:history_size=4:log_path="$copy/tsan" \
    setarch "$(uname -m)" -R "$python" -m pytest tests/responder/hotpath -q -p no:cacheprovider --timeout=600 \
    --deselect tests/responder/hotpath/test_loop_sharing.py::test_a_python_that_holds_the_gil_holds_no_cached_answer "$@"
