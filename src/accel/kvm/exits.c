/* Why KVM_RUN came back, and what is done about it. vCPU thread, device lock not held. */
#include "accel/kvm/kvm_int.h"

#include "base/bytes.h"
#include "base/log.h"
#include "bus/vmreq.h"
#include "cpu/x86/state.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static uint64_t load_le(const uint8_t *p, unsigned size)
{
    uint64_t v = 0;

    memcpy(&v, p, size);
    return le64toh(v);
}

static void store_le(uint8_t *p, uint64_t v, unsigned size)
{
    v = htole64(v);
    memcpy(p, &v, size);
}

static void port_io(struct kvm_cpu *k)
{
    struct kvm_run *r = k->run;
    uint8_t *data = (uint8_t *)r + r->io.data_offset;
    unsigned size = r->io.size;

    for (uint32_t i = 0; i < r->io.count; i++, data += size) {
        if (r->io.direction == KVM_EXIT_IO_OUT)
            viv_space_write(viv_kvm->io, r->io.port, load_le(data, size), size);
        else
            store_le(data, viv_space_read(viv_kvm->io, r->io.port, size), size);
    }
    k->pending_io = true;
}

/* KVM gives up to eight bytes at any alignment; the bus takes powers of two. */
static void mmio(struct kvm_cpu *k)
{
    struct kvm_run *r = k->run;
    uint64_t addr = r->mmio.phys_addr;
    unsigned len = r->mmio.len > 8 ? 8 : r->mmio.len;
    uint8_t *p = r->mmio.data;

    while (len) {
        unsigned n = len >= 8 ? 8 : len >= 4 ? 4 : len >= 2 ? 2 : 1;

        if (r->mmio.is_write)
            viv_space_write(viv_kvm->mem, addr, load_le(p, n), n);
        else
            store_le(p, viv_space_read(viv_kvm->mem, addr, n), n);
        addr += n;
        p += n;
        len -= n;
    }
    k->pending_io = true;
}

/* Where the guest stood, for errors that end it. */
static uint64_t guest_rip(struct kvm_cpu *k)
{
    struct kvm_regs regs = {0};

    viv_kvm_ioctl(k->fd, KVM_GET_REGS, &regs);
    return regs.rip;
}

/* The bytes that KVM could not emulate, where it tells them. */
static void instruction_text(const struct kvm_run *run, char *out, size_t size)
{
    size_t n = 0, len = run->emulation_failure.insn_size;

    out[0] = 0;
    if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION || run->emulation_failure.ndata < 3 ||
        !(run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
        return;
    n = (size_t)g_snprintf(out, size, ", instruction");
    for (size_t i = 0; i < len && i < sizeof(run->emulation_failure.insn_bytes) && n < size; i++)
        n += (size_t)g_snprintf(out + n, size - n, " %02x", run->emulation_failure.insn_bytes[i]);
}

static int internal_error(struct kvm_cpu *k, struct viv_err *err)
{
    char insn[96];
    static const char *const names[] = {"?", "emulation failed", "simultaneous exceptions", "delivery of an event failed",
                                        "unexpected exit"};
    uint32_t sub = k->run->internal.suberror;

    instruction_text(k->run, insn, sizeof(insn));
    return viv_fail(err, EIO, "KVM cannot run CPU %u on: %s (suberror %u) at RIP 0x%llx%s", k->v->index,
                    sub < 5 ? names[sub] : "?", sub, (unsigned long long)guest_rip(k), insn);
}

static int system_event(struct kvm_cpu *k)
{
    switch (k->run->system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
        viv_vm_request(VIV_VM_SHUTDOWN, 0, "KVM system event");
        return 1;
    case KVM_SYSTEM_EVENT_RESET:
        viv_vm_request(VIV_VM_RESET, 0, "KVM system event");
        return 1;
    default:
        viv_guest_error("kvm", "system event %u is not handled", k->run->system_event.type);
        return 0;
    }
}

int viv_kvm_handle_exit(struct kvm_cpu *k, struct viv_err *err)
{
    k->pending_io = false;
    switch (k->run->exit_reason) {
    case KVM_EXIT_IO:
        port_io(k);
        return 0;
    case KVM_EXIT_MMIO:
        mmio(k);
        return 0;
    case KVM_EXIT_INTR:
    case KVM_EXIT_HLT: /* with the in-kernel APIC it sleeps there */
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        return 0;
    case KVM_EXIT_HYPERCALL:
        k->run->hypercall.ret = (uint64_t)-1000; /* -KVM_ENOSYS */
        k->pending_io = true;
        return 0;
    case KVM_EXIT_DEBUG:
        return viv_kvm_handle_debug(k, err);
    case KVM_EXIT_SHUTDOWN:
        viv_vm_request(VIV_VM_RESET, 0, "triple fault");
        return 1;
    case KVM_EXIT_SYSTEM_EVENT:
        return system_event(k);
    case KVM_EXIT_INTERNAL_ERROR:
        return internal_error(k, err);
    case KVM_EXIT_FAIL_ENTRY:
        return viv_fail(err, EIO, "KVM: the hardware refuses the state of CPU %u (reason 0x%llx) at RIP 0x%llx",
                        k->v->index, (unsigned long long)k->run->fail_entry.hardware_entry_failure_reason,
                        (unsigned long long)guest_rip(k));
    default:
        return viv_fail(err, EIO, "KVM: exit reason %u of CPU %u is not handled (RIP 0x%llx)",
                        k->run->exit_reason, k->v->index, (unsigned long long)guest_rip(k));
    }
}
