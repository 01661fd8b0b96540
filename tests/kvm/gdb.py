#!/usr/bin/env python3
"""gdb on Debian's kernel that viv-vm runs by KVM: gdb.py

The KVM is a true one in a guest of Debian's QEMU, which emulates SVM (as in nested.sh); gdb is here, and reaches in by a
forwarded port. QEMU does not heed debug registers in its guest's guest: no watchpoint."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import gdb_session  # noqa: E402
import vm  # noqa: E402

OUTER = """
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
stty raw -echo
viv-vm -accel kvm -M pc -smp 2 -m 256 -nodefaults -display none -serial stdio -monitor none -gdb tcp:0.0.0.0:1234 \\
    -kernel /root/vmlinuz -initrd /root/inner -append "console=ttyS0 panic=-1 nokaslr"
echo inner ended $?
"""


def main():
    vm.need("qemu-system-x86_64", "gdb")
    work = vm.scratch()
    kernel = vm.kernel()
    inner = vm.initramfs(gdb_session.SCRIPT, [])
    outer = vm.initramfs(OUTER, ["kvm_amd", "virtio_pci", "virtio_net"], [f"{kernel}:root/vmlinuz", f"{inner}:root/inner"],
                         programs=[vm.emulator()[0]])
    port = vm.free_port()
    args = ["-accel", "tcg", "-cpu", "max,+svm", "-smp", "2", "-m", "2048", "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio",
            "-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{port}-:1234", "-device", "virtio-net-pci,netdev=n",
            "-kernel", kernel, "-initrd", outer, "-append", "console=ttyS0 quiet panic=-1"]
    with vm.Guest(args, "QEMU", ["qemu-system-x86_64"]) as g:
        gdb_session.session(g, f"127.0.0.1:{port}", work, 400, watches=False)
    print("ok: gdb under KVM")


main()
