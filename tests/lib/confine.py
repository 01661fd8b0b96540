#!/usr/bin/env python3
"""Runs a program as a container or a service manager confines it: confine.py PROFILE PROGRAM [ARG...]

  docker   system calls that Docker's default profile refuses (docs.docker.com/engine/security/seccomp) fail as they do
           there, without privileges to gain
  mdwe     PR_SET_MDWE, systemd's MemoryDenyWriteExecute=: no mapping is writable and executable, none becomes executable
  noexec   no executable memory but private mappings of files, which is what the dynamic linker makes

Exit status 77: this kernel has no such thing."""
import ctypes
import errno
import os
import re
import struct
import sys

HEADER = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 22, 38, 65
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LD, JEQ, JSET, RET = 0x20, 0x15, 0x45, 0x06
NR, ARCH, ARG = 0, 4, 16
AUDIT_ARCH_X86_64 = 0xC000003E
PROT_EXEC, MAP_SHARED, MAP_ANONYMOUS = 4, 1, 0x20
CLONE_NEW_ANY = 0x7E020000
AF_VSOCK = 40
PERSONALITIES = [0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF]

# Of Docker's documentation: blocked for want of a capability, because they reach what no namespace parts, or because
# their past is bad. io_uring since Docker 25.
DOCKER = """acct add_key bpf clock_adjtime clock_settime create_module delete_module finit_module fsconfig fsmount
    fsopen fspick get_kernel_syms get_mempolicy init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp
    kexec_file_load kexec_load keyctl lookup_dcookie mbind mount mount_setattr move_mount move_pages nfsservctl
    open_by_handle_at open_tree perf_event_open pivot_root query_module quotactl quotactl_fd reboot request_key
    set_mempolicy setns settimeofday swapoff swapon sysfs _sysctl umount2 unshare uselib userfaultfd ustat vhangup""".split()


def numbers():
    try:
        with open(HEADER) as f:
            return {m[1]: int(m[2]) for m in re.finditer(r"#define __NR_(\w+)\s+(\d+)", f.read())}
    except OSError:
        print(f"skipped: no {HEADER}", file=sys.stderr)
        sys.exit(77)


class Filter:
    """A classic BPF program: rules are tried in order, what none refuses is allowed."""

    def __init__(self):
        self.code = [(LD, 0, 0, ARCH), (JEQ, 1, 0, AUDIT_ARCH_X86_64), (RET, 0, 0, ALLOW)]
        self.nr = numbers()

    def refuse(self, call, error=errno.EPERM):
        if call in self.nr:
            self.code += [(LD, 0, 0, NR), (JEQ, 0, 1, self.nr[call]), (RET, 0, 0, ERRNO | error)]

    def refuse_when(self, call, tests):
        """Each test is (argument, bits): all of them must have one of their bits set."""
        body = []
        for arg, bits in tests:
            body += [(LD, 0, 0, ARG + 8 * arg), (JSET, 0, None, bits)]
        body.append((RET, 0, 0, ERRNO | errno.EPERM))
        size = len(body)
        body = [(op, yes, size - i - 1 if no is None else no, k) for i, (op, yes, no, k) in enumerate(body)]
        self.code += [(LD, 0, 0, NR), (JEQ, 0, size, self.nr[call])] + body

    def refuse_value(self, call, arg, value):
        self.code += [(LD, 0, 0, NR), (JEQ, 0, 3, self.nr[call]), (LD, 0, 0, ARG + 8 * arg), (JEQ, 0, 1, value),
                      (RET, 0, 0, ERRNO | errno.EPERM)]

    def allow_values(self, call, arg, values):
        """All others are refused."""
        n = len(values)
        self.code += [(LD, 0, 0, NR), (JEQ, 0, n + 2, self.nr[call]), (LD, 0, 0, ARG + 8 * arg)]
        self.code += [(JEQ, n - i, 0, v) for i, v in enumerate(values)]
        self.code.append((RET, 0, 0, ERRNO | errno.EPERM))

    def install(self):
        code = self.code + [(RET, 0, 0, ALLOW)]
        raw = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *i) for i in code))
        prog = struct.pack("@HP", len(code), ctypes.addressof(raw))
        prctl(PR_SET_NO_NEW_PRIVS, 1, "no_new_privs")
        prctl(PR_SET_SECCOMP, 2, "seccomp filters", prog)


def prctl(what, value, name, data=None):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(what, ctypes.c_ulong(value), data or ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        print(f"skipped: {name}: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
        sys.exit(77)


def docker():
    f = Filter()
    for call in DOCKER:
        f.refuse(call)
    f.refuse("clone3", errno.ENOSYS)
    f.refuse_when("clone", [(0, CLONE_NEW_ANY)])
    f.refuse_value("socket", 0, AF_VSOCK)
    f.allow_values("personality", 0, PERSONALITIES)
    f.install()


def noexec():
    f = Filter()
    f.refuse_when("mmap", [(2, PROT_EXEC), (3, MAP_ANONYMOUS | MAP_SHARED)])
    f.refuse_when("mprotect", [(2, PROT_EXEC)])
    f.refuse_when("pkey_mprotect", [(2, PROT_EXEC)])
    f.install()


PROFILES = {"docker": docker, "mdwe": lambda: prctl(PR_SET_MDWE, 1, "PR_SET_MDWE"), "noexec": noexec}

if len(sys.argv) < 3 or sys.argv[1] not in PROFILES:
    sys.exit(__doc__)
PROFILES[sys.argv[1]]()
os.execvp(sys.argv[2], sys.argv[2:])
