"""The workloads of bench/cpu, in the groups whose geometric means are judged apart: group, name, preparation (untimed
shell, or None), command, count at scale 1. {n} is the count. A new one goes at the end of its group; counts do not
change once figures are compared over time."""
from typing import NamedTuple, Optional


class Workload(NamedTuple):
    group: str
    name: str
    prepare: Optional[str]
    command: str
    count: int


GROUPS = {"int": "integer, memory, interpreters, compression, database", "simd": "FP, SIMD, crypto",
          "kernel": "kernel paths"}

HEAD = "head -c {n} /bench/data/text > in"


def program(group, binary, *counts):
    return [Workload(group, name, None, f"/bench/bin/{binary} {name} {{n}}", n) for name, n in counts]


WORKLOADS = [
    *program("int", "integer", ("alu", 1000), ("sieve", 50), ("fib", 100), ("icall", 5000), ("qsort", 16),
             ("chase", 100), ("loads", 500), ("stores", 1000), ("memcpy", 1500), ("text", 300)),
    *program("int", "sha256", ("sha256-c", 8000)),
    Workload("int", "sqlite", None, "/bench/bin/database {n}", 40000),
    Workload("int", "python", None, "/usr/bin/python3 -sS /bench/bin/script.py {n}", 160),
    Workload("int", "perl", None, "/usr/bin/perl /bench/bin/script.pl {n}", 120),
    Workload("int", "gzip", HEAD, "/bin/gzip -nc6 in", 4 << 20),
    Workload("int", "xz", HEAD, "/usr/bin/xz -c6 -T1 in", 600000),
    Workload("int", "zstd", HEAD, "/usr/bin/zstd -qc9 --single-thread in", 4 << 20),
    Workload("int", "gcc", "head -n {n} /bench/data/code.c > in.c", "/usr/bin/gcc -O2 -S -o - in.c", 60),
    *program("int", "threads", ("threads", 1000), ("atomics", 8000)),
    *program("simd", "fp", ("matmul", 250), ("nbody", 1500), ("mandelbrot", 60), ("x87", 5000)),
    *program("simd", "vector", ("fmatmul", 250), ("pixels", 5000), ("strlen", 100000), ("avx512", 200000)),
    *program("simd", "crypto", ("aes-gcm", 20000), ("sha256", 10000), ("rsa2048", 200), ("chacha20", 6000)),
    *program("kernel", "kernel", ("getppid", 1000000), ("faults", 300), ("fork", 700), ("exec-static", 300),
             ("exec-dynamic", 150), ("pipe", 30000), ("pipe-bulk", 3000), ("futex", 50000), ("futex-smp", 3000),
             ("files", 30000), ("yield", 100000), ("signals", 100000)),
]
