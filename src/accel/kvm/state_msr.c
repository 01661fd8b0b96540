/* Model-specific registers: those of the table that this kernel lists (KVM_GET_MSR_INDEX_LIST) and takes.
 *
 * A register that the kernel refuses is left alone from then on: some hosts list registers that they do not accept
 * (PVM and 10Ah), or not with our value at power-on (3AH on AMD's CPUs), which each CPU tries first. Another value that it refuses
 * later is an error: it would be lost. The TSC is written only when it has to move, because each write makes the kernel guess anew whether the
 * CPUs' counters belong together. */
#include "accel/kvm/kvm_int.h"

#include "base/log.h"
#include "cpu/x86/state.h"
#include "host/clock.h"

#include <errno.h>
#include <glib.h>
#include <stddef.h>

#define MSR_TSC          0x10
#define MSR_TSC_DEADLINE 0x6e0

struct msr_map {
    uint32_t index;
    size_t offset; /* in struct viv_x86_msrs */
};

#define M(i, m) {i, offsetof(struct viv_x86_msrs, m)}
#define BANK(n)                                                                                    \
    M(0x400 + 4 * (n), mc_ctl[n]), M(0x401 + 4 * (n), mc_status[n]), M(0x402 + 4 * (n), mc_addr[n]), \
        M(0x403 + 4 * (n), mc_misc[n])

static const struct msr_map map[] = {
    M(0xc0000081, star), M(0xc0000082, lstar), M(0xc0000083, cstar), M(0xc0000084, fmask),
    M(0xc0000102, kernel_gs_base), M(0xc0000103, tsc_aux),
    M(0x174, sysenter_cs), M(0x175, sysenter_esp), M(0x176, sysenter_eip),
    M(0x277, pat), M(0x1a0, misc_enable), M(0x48, spec_ctrl), M(0xda0, xss), M(0x3b, tsc_adjust),
    M(0x2ff, mtrr_def_type),
    M(0x250, mtrr_fix[0]), M(0x258, mtrr_fix[1]), M(0x259, mtrr_fix[2]), M(0x268, mtrr_fix[3]),
    M(0x269, mtrr_fix[4]), M(0x26a, mtrr_fix[5]), M(0x26b, mtrr_fix[6]), M(0x26c, mtrr_fix[7]),
    M(0x26d, mtrr_fix[8]), M(0x26e, mtrr_fix[9]), M(0x26f, mtrr_fix[10]),
    M(0x200, mtrr_base[0]), M(0x201, mtrr_mask[0]), M(0x202, mtrr_base[1]), M(0x203, mtrr_mask[1]),
    M(0x204, mtrr_base[2]), M(0x205, mtrr_mask[2]), M(0x206, mtrr_base[3]), M(0x207, mtrr_mask[3]),
    M(0x208, mtrr_base[4]), M(0x209, mtrr_mask[4]), M(0x20a, mtrr_base[5]), M(0x20b, mtrr_mask[5]),
    M(0x20c, mtrr_base[6]), M(0x20d, mtrr_mask[6]), M(0x20e, mtrr_base[7]), M(0x20f, mtrr_mask[7]),
    M(0x17a, mcg_status), M(0x1d9, debugctl), M(0x9e, smbase), M(0x6e1, pkrs),
    M(0x3a, feature_control), M(0xc001011f, virt_spec_ctrl), M(0xc0010015, hwcr), M(0x8b, bios_sign_id),
    M(0x4b564d00, kvm_wall_clock), M(0x4b564d01, kvm_system_time), M(0x4b564d05, kvm_poll_control),
    M(0x4b564d06, kvm_async_pf_int), M(0x4b564d02, kvm_async_pf_en), /* the vector before what may use it */
    M(0x4b564d03, kvm_steal_time), M(0x4b564d04, kvm_pv_eoi),
    M(0x122, tsx_ctrl), M(0xe1, umwait_control), M(0x140, misc_features_enables),
    M(0x17b, mcg_ctl), BANK(0), BANK(1), BANK(2), BANK(3), BANK(4), BANK(5), BANK(6), BANK(7), BANK(8), BANK(9),
};

#undef BANK
#undef M

G_STATIC_ASSERT(G_N_ELEMENTS(map) <= KVM_MSRS_MAX);

struct msrs {
    struct kvm_msrs h;
    struct kvm_msr_entry e[KVM_MSRS_MAX];
};

/* MTRRs and machine check banks are not in the kernel's list, though it has them. */
static bool listed(uint32_t index)
{
    if ((index >= 0x200 && index <= 0x2ff && index != 0x277) || (index >= 0x400 && index < 0x428))
        return true;
    for (uint32_t i = 0; i < viv_kvm->msr_list->nmsrs; i++)
        if (viv_kvm->msr_list->indices[i] == index)
            return true;
    return false;
}

static uint64_t *member(struct viv_x86 *c, size_t n)
{
    return (uint64_t *)((char *)&c->msr + map[n].offset);
}

/* Reads or writes all; the kernel stops at the first it refuses, which is then left out for good. */
static int transfer(struct kvm_cpu *k, bool put, struct viv_err *err)
{
    size_t at[KVM_MSRS_MAX];
    struct msrs m;
    int done;

    for (;;) {
        m.h = (struct kvm_msrs){.nmsrs = 0};
        for (size_t i = 0; i < G_N_ELEMENTS(map); i++) {
            if (k->msr_refused[i] || !listed(map[i].index))
                continue;
            /* Some have effects when written, kvmclock's wall clock even in guest memory. */
            if (put && k->msr_known[i] && k->msr_value[i] == *member(k->v->x86, i))
                continue;
            at[m.h.nmsrs] = i;
            m.e[m.h.nmsrs++] = (struct kvm_msr_entry){
                .index = map[i].index,
                .data = put ? *member(k->v->x86, i) : 0,
            };
        }
        done = viv_kvm_ioctl(k->fd, put ? KVM_SET_MSRS : KVM_GET_MSRS, &m);
        if (done < 0)
            return viv_fail_os(err, -done, "%s of CPU %u", put ? "KVM_SET_MSRS" : "KVM_GET_MSRS", k->v->index);
        if ((uint32_t)done >= m.h.nmsrs)
            break;
        if (put && k->msr_known[at[done]])
            return viv_fail(err, EINVAL, "KVM does not take 0x%llx as MSR 0x%x of CPU %u", (unsigned long long)m.e[done].data,
                            m.e[done].index, k->v->index);
        viv_log(VIV_LOG_UNIMP, "kvm: MSR 0x%x is not taken by this kernel", m.e[done].index);
        k->msr_refused[at[done]] = true;
    }
    for (uint32_t i = 0; i < m.h.nmsrs; i++) {
        *member(k->v->x86, at[i]) = k->msr_value[at[i]] = m.e[i].data;
        k->msr_known[at[i]] = true;
    }
    return 0;
}

static bool get_one(struct kvm_cpu *k, uint32_t index, uint64_t *value)
{
    struct msrs m = {.h = {.nmsrs = 1}};

    m.e[0] = (struct kvm_msr_entry){.index = index};
    if (viv_kvm_ioctl(k->fd, KVM_GET_MSRS, &m) != 1)
        return false;
    *value = m.e[0].data;
    return true;
}

bool viv_kvm_put_msr(struct kvm_cpu *k, uint32_t index, uint64_t value)
{
    struct msrs m = {.h = {.nmsrs = 1}};

    m.e[0] = (struct kvm_msr_entry){.index = index, .data = value};
    return viv_kvm_ioctl(k->fd, KVM_SET_MSRS, &m) == 1;
}

int viv_kvm_get_msrs(struct kvm_cpu *k, struct viv_err *err)
{
    struct viv_x86 *c = k->v->x86;
    uint64_t tsc;
    int ret = transfer(k, false, err);

    if (ret)
        return ret;
    if (get_one(k, MSR_TSC, &tsc)) {
        c->tsc_offset = (int64_t)(tsc - viv_guest_tsc());
        k->tsc_offset = c->tsc_offset;
        k->tsc_known = true;
    }
    if (!get_one(k, MSR_TSC_DEADLINE, &c->msr.tsc_deadline))
        c->msr.tsc_deadline = 0;
    k->deadline = c->msr.tsc_deadline;
    return 0;
}

int viv_kvm_put_msrs(struct kvm_cpu *k, struct viv_err *err)
{
    return transfer(k, true, err);
}

int viv_kvm_put_tsc(struct kvm_cpu *k, struct viv_err *err)
{
    const struct viv_x86 *c = k->v->x86;

    /* In a new VM the kernel's counters begin at 0, together. */
    bool moved = k->tsc_loaded || (k->tsc_known && c->tsc_offset != k->tsc_offset);

    if (moved && !viv_kvm_put_msr(k, MSR_TSC, viv_guest_tsc() + (uint64_t)c->tsc_offset))
        return viv_fail(err, EIO, "KVM does not take the time stamp counter of CPU %u", k->v->index);
    k->tsc_offset = c->tsc_offset;
    k->tsc_known = true;
    k->tsc_loaded = false;
    if (c->msr.tsc_deadline != k->deadline || (moved && c->msr.tsc_deadline))
        viv_kvm_put_msr(k, MSR_TSC_DEADLINE, c->msr.tsc_deadline);
    k->deadline = c->msr.tsc_deadline;
    return 0;
}
