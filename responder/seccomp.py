"""seccomp: a thread gives up system calls that nothing in it needs, for good. Linux's userspace-api/seccomp_filter.

The filter lists what is refused, with EPERM, rather than what is allowed: libraries may call what is new to us, but
nothing that looks into other processes, starts programs, or changes the machine. It is written for x86-64 and 64-bit
ARM; elsewhere there is none.
"""

import ctypes
import errno
import os
import platform
from collections.abc import Mapping

from responder.landlock import no_new_privileges

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
#: Classic BPF: load a word of the call's description, jump, return.
_LOAD, _JUMP_EQUAL, _JUMP_SET, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_AT_NUMBER, _AT_ARCH, _AT_FIRST_ARGUMENT = 0, 4, 16
_X32 = 0x40000000
_CLONE_THREAD = 0x00010000
#: Socket families that are left: Unix, IPv4, IPv6, and netlink, by which getaddrinfo reads this host's addresses.
_FAMILIES = (1, 2, 10, 16)
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

#: Numbers on x86-64 and on 64-bit ARM; None where there is no such call.
_REFUSED: Mapping[str, tuple[int | None, int | None]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # programs and processes; see clone below
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "vfork": (58, None),
    # another view of the file system, files by handle, devices
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "open_by_handle_at": (304, 265),
    # another account
    "setuid": (105, 146),
    "setgid": (106, 144),
    "setreuid": (113, 145),
    "setregid": (114, 143),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "setgroups": (116, 159),
    "capset": (126, 91),
    # the machine and its clock
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "settimeofday": (164, 170),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "iopl": (172, None),
    "ioperm": (173, None),
    # doors into the kernel that nothing here uses
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
}
_CLONE, _CLONE3, _SOCKET = (56, 220), (435, 435), (41, 198)


class _Instruction(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    ]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction))]


Step = tuple[int, int, int, int]


def lacks() -> str:
    """Return why there is no filter here, empty when there is one."""
    return "" if platform.machine() in _ARCH else f"there is no filter for {platform.machine()}"


def refuse_calls() -> None:
    """Refuse this thread, and those that it starts, what `program` refuses. OSError when the kernel does not do it."""
    steps = program(platform.machine())
    filled = (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))
    no_new_privileges()
    made = _Program(len(steps), filled)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(made), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_SECCOMP): {os.strerror(number)}")


def program(machine: str) -> list[Step]:
    """Return the filter for that machine: (code, jump if true, jump if false, operand) of each instruction.

    New processes are refused, new threads are not. clone3 hides its flags from a filter: the filter claims that it does
    not exist, upon which libraries use clone.
    """
    column = 0 if machine == "x86_64" else 1
    steps: list[Step] = [
        (_LOAD, 0, 0, _AT_ARCH),
        (_JUMP_EQUAL, 1, 0, _ARCH[machine]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _AT_NUMBER),
    ]
    if machine == "x86_64":  # the same calls under other numbers
        steps += [(_JUMP_AT_LEAST, 0, 1, _X32), _refuse(errno.EPERM)]
    for number in (both[column] for both in _REFUSED.values()):
        if number is not None:
            steps += [(_JUMP_EQUAL, 0, 1, number), _refuse(errno.EPERM)]
    steps += [(_JUMP_EQUAL, 0, 1, _CLONE3[column]), _refuse(errno.ENOSYS)]
    steps += [
        (_JUMP_EQUAL, 0, 4, _CLONE[column]),
        (_LOAD, 0, 0, _AT_FIRST_ARGUMENT),
        (_JUMP_SET, 1, 0, _CLONE_THREAD),
        _refuse(errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
        (_JUMP_EQUAL, 0, 3 + len(_FAMILIES), _SOCKET[column]),
        (_LOAD, 0, 0, _AT_FIRST_ARGUMENT),
    ]
    for left, family in zip(range(len(_FAMILIES), 0, -1), _FAMILIES, strict=True):
        steps.append((_JUMP_EQUAL, left, 0, family))
    steps += [_refuse(errno.EAFNOSUPPORT), (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ALLOW)]
    return steps


def _refuse(error: int) -> Step:
    return (_RETURN, 0, 0, _ERRNO | error)
