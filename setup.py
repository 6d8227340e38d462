"""Build the Cython modules in one of four flavours, chosen by FASTOCSP_BUILD.

fast    what ships: optimised, no checks that cost
trace   line tracing for coverage; the generated C stays beside the .pyx
asan    AddressSanitizer and UBSan, for `make asan`
tsan    ThreadSanitizer, for `make tsan`
"""

import os
import platform
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# What a memory error in the parsers of a stranger's bytes is to run into: canaries, checked copies, guarded stacks,
# branch targets that are marked as such, and tables of functions that are read-only once the module is loaded.
HARDENED = [
    "-fstack-protector-strong",
    "-fstack-clash-protection",
    "-U_FORTIFY_SOURCE",
    "-D_FORTIFY_SOURCE=3",
    *(["-fcf-protection=full"] if platform.machine() in ("x86_64", "i686") else []),
    *(["-mbranch-protection=standard"] if platform.machine() == "aarch64" else []),
]
READ_ONLY_TABLES = ["-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"]
FLAVOURS = {
    "fast": (["-O3", "-g1", *HARDENED], READ_ONLY_TABLES, {}),
    "trace": (["-O0", "-g", "-DCYTHON_TRACE_NOGIL=1"], [], {"linetrace": True, "profile": False}),
    "asan": (
        ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
        ["-fsanitize=address,undefined"],
        {},
    ),
    "tsan": (["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=thread"], ["-fsanitize=thread"], {}),
}
WARNINGS = ["-Wall", "-Wno-unused-function", "-Wno-unused-variable", "-Wno-maybe-uninitialized"]
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "freethreading_compatible": False,
    "embedsignature": False,
    "warn.unused": True,
}
PYX_ROOTS = ("_fastocsp", "responder")


def require_toolchain() -> None:
    """Fail before Cython runs, naming the package to install."""
    compiler = os.environ.get("CC", "cc").split()[0]
    if shutil.which(compiler) is None:
        sys.exit(f"fastocsp: no C compiler '{compiler}' found. On Debian or Ubuntu: apt-get install build-essential")
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    if not header.exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        sys.exit(f"fastocsp: {header} is missing. On Debian or Ubuntu: apt-get install python{version}-dev")


def extensions() -> list[Extension]:
    """One extension for each .pyx."""
    compile_args, link_args, extra = FLAVOURS[os.environ.get("FASTOCSP_BUILD", "fast")]
    modules = [
        Extension(
            ".".join(path.with_suffix("").parts),
            [str(path)],
            extra_compile_args=WARNINGS + compile_args,
            extra_link_args=link_args,
        )
        for root in PYX_ROOTS
        for path in sorted(Path(root).rglob("*.pyx"))
    ]
    from Cython.Build import cythonize

    return cythonize(modules, compiler_directives=DIRECTIVES | extra, nthreads=os.cpu_count() or 1, quiet=True)


class ParallelBuild(build_ext):
    """Compile the modules side by side."""

    def finalize_options(self) -> None:
        """Use every core."""
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()


if __name__ == "__main__":
    require_toolchain()
    setup(ext_modules=extensions(), cmdclass={"build_ext": ParallelBuild})
