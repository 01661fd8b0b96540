/* The in-kernel local APIC's register page (SDM 3A, 11.4; offsets are those of the xAPIC). */
#include "accel/kvm/kvm_int.h"

#include "base/bytes.h"
#include "cpu/x86/state.h"

#include <errno.h>
#include <string.h>

enum { LAPIC_ID = 0x20, LAPIC_VERSION = 0x30, LAPIC_DFR = 0xe0, LAPIC_SVR = 0xf0, LAPIC_LVT_CMCI = 0x2f0,
       LAPIC_LVT_TIMER = 0x320, LAPIC_LVT_THERMAL = 0x330, LAPIC_LVT_PERF = 0x340, LAPIC_LVT0 = 0x350,
       LAPIC_LVT1 = 0x360, LAPIC_LVT_ERROR = 0x370, LVT_MASKED = 0x10000, LVT_NMI = 0x400, LVT_EXTINT = 0x700,
       SVR_ENABLED = 0x100, MSR_APIC_BASE = 0x1b };

/* The page goes in by the rules of the mode that the kernel's APIC is in: one set while it was in x2APIC mode, and then taken out of it,
 * would answer to no xAPIC ID but 0. So the mode of the new state comes first. */
static bool put_base(struct kvm_cpu *k)
{
    return viv_kvm_put_msr(k, MSR_APIC_BASE, k->v->x86->msr.apic_base);
}

void viv_kvm_lapic_reset(struct kvm_cpu *k)
{
    static const uint16_t lvt[] = {LAPIC_LVT_TIMER, LAPIC_LVT_THERMAL, LAPIC_LVT_PERF, LAPIC_LVT_ERROR};
    bool boot = k->v->index == 0;
    struct kvm_lapic_state s;
    char *regs = s.regs;

    put_base(k);
    if (viv_kvm_ioctl(k->fd, KVM_GET_LAPIC, &s) < 0)
        return;
    {
        uint32_t version = viv_ld_le32(regs + LAPIC_VERSION);

        memset(&s, 0, sizeof(s));
        viv_st_le32(regs + LAPIC_VERSION, version);
    }
    viv_st_le32(regs + LAPIC_ID, k->v->apic_id << 24);
    viv_st_le32(regs + LAPIC_DFR, 0xffffffff);
    for (size_t i = 0; i < sizeof(lvt) / sizeof(lvt[0]); i++)
        viv_st_le32(regs + lvt[i], LVT_MASKED);
    /* The boot CPU takes the 8259's interrupts from the start, as firmware sets it up (virtual wire mode). */
    viv_st_le32(regs + LAPIC_SVR, boot ? SVR_ENABLED | 0xff : 0xff);
    viv_st_le32(regs + LAPIC_LVT0, boot ? LVT_EXTINT : LVT_MASKED);
    viv_st_le32(regs + LAPIC_LVT1, boot ? LVT_NMI : LVT_MASKED);
    viv_kvm_ioctl(k->fd, KVM_SET_LAPIC, &s);
}

void viv_kvm_lapic_save(struct viv_state_writer *w, struct kvm_cpu *k)
{
    struct kvm_lapic_state s;

    memset(&s, 0, sizeof(s));
    viv_kvm_ioctl(k->fd, KVM_GET_LAPIC, &s);
    viv_state_put(w, s.regs, sizeof(s.regs));
}

int viv_kvm_lapic_load(struct viv_state_reader *r, struct kvm_cpu *k, struct viv_err *err)
{
    struct kvm_lapic_state s;
    int ret = viv_state_get(r, s.regs, sizeof(s.regs), err);

    if (ret)
        return ret;
    ret = put_base(k) ? viv_kvm_ioctl(k->fd, KVM_SET_LAPIC, &s) : -EINVAL;
    return ret < 0 ? viv_fail_os(err, -ret, "KVM does not take the local APIC of CPU %u", k->v->index) : 0;
}
