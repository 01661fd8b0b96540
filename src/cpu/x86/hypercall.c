#include "cpu/x86/hypercall.h"

#include "cpu/vcpu.h"
#include "cpu/x86/apic.h"

#define CALL_SEND_IPI 10

#define CALL_EPERM  1
#define CALL_EINVAL 22
#define CALL_ENOSYS 1000

#define ICR_DELIVERY  0x700u
#define ICR_NMI       0x400u
#define ICR_LOGICAL   0x800u
#define ICR_SHORTHAND 0xc0000u

/* A bitmap of APIC ids from `first` on: 128 of them from 64-bit code, 64 from 32-bit code. */
static int64_t send_ipi(const uint64_t arg[4], bool wide)
{
    uint64_t set[2] = {arg[0], arg[1]};
    uint32_t icr = (uint32_t)arg[3];

    if (!wide) {
        set[0] |= arg[1] << 32;
        set[1] = 0;
    }
    if ((icr & (ICR_LOGICAL | ICR_SHORTHAND)) || ((icr & ICR_DELIVERY) && (icr & ICR_DELIVERY) != ICR_NMI))
        return -CALL_EINVAL;
    return viv_apic_send_bitmap(set, (uint32_t)arg[2], icr);
}

void viv_x86_hypercall(struct viv_x86 *c)
{
    bool wide = c->mode == VIV_MODE_LONG;
    uint64_t mask = wide ? UINT64_MAX : UINT32_MAX;
    uint64_t arg[4] = {c->gpr[VIV_RBX] & mask, c->gpr[VIV_RCX] & mask, c->gpr[VIV_RDX] & mask,
                       c->gpr[VIV_RSI] & mask};
    int64_t ret = -CALL_ENOSYS;

    if (c->cpl)
        ret = -CALL_EPERM;
    else if ((c->gpr[VIV_RAX] & mask) == CALL_SEND_IPI && c->vcpu && c->vcpu->apic)
        ret = send_ipi(arg, wide);
    c->gpr[VIV_RAX] = (uint64_t)ret & mask;
}
