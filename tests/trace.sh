#!/bin/sh
# Line coverage of the Cython modules: `tests/trace.sh [PYTHON [pytest arguments]]`; without arguments the tests of the
# codec and of the edge's own floor. The build goes to .build-trace, a copy of the tracked and new files: traced modules
# are slow, and the generated C must stay beside the .pyx. Processes that tests start are not measured.
set -eu

python=${1:-${PYTHON:-python3}}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- tests/fastocsp tests/responder
case $python in */*) python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") ;; esac
root=$(cd "$(dirname "$0")/.." && pwd)
copy=$root/.build-trace

"$root/tests/copy.sh" "$copy"
cd "$copy"
FASTOCSP_BUILD=trace "$python" setup.py -q build_ext --inplace
"$python" -m coverage erase
status=0
"$python" -m coverage run -m pytest -q -p no:cacheprovider --timeout=600 \
    --ignore tests/fastocsp/test_leaks.py --ignore tests/fastocsp/revoked/test_sharing.py "$@" || status=$?
"$python" -m coverage report
exit "$status"
