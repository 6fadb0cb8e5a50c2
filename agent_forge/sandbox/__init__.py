"""Running programs that nobody trusts, and judging what they compute.

Two processes, each in a sandbox of its own: the *candidate* runs the program, the *examiner* runs the tests. They share
no interpreter, memory, file system or process table, only a pair of pipes, over which the examiner asks for calls and
gets plain values back (`values`, `wire`). So whatever a program does to its own interpreter, the comparison is made by
one that it has never touched.

    forge (judge) ── job, verdict ── examiner ── calls, plain values ── candidate
                                     tests                              program

A sandbox (`launch`) is bubblewrap with its own user, process, network, IPC, host name and control group namespaces, no
capabilities, no new privileges, an empty environment, no /proc, and a read-only root that holds nothing but Python's
standard library, the system's and these modules, with 16 MiB of private memory for files in /tmp. A filter (`seccomp`)
refuses every new process and thread, sockets, shared memory, changes to what stands about a file, calls that it does
not know, and what is known to reach into kernels. CPU time, memory, open files and
file sizes have hard limits, wall time is kept from outside, and everything ends with the process that started it.

Not covered: a fault in the kernel or the processor. Seen from outside, the processes belong to the user who started
them, and a program may read the Python installation. Time spent is not hidden from it.

`values`, `wire`, `statements`, `program`, `examiner`, `candidate` and `limits` run inside, where nothing but the
standard library is.
"""
