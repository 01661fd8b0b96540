/* CPUID: the model restricted to KVM_GET_SUPPORTED_CPUID, then handed to each vCPU as a table. */
#include "accel/kvm/kvm_int.h"

#include "base/log.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/state.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define MAX_ENTRIES 256
#define MSR_ARCH_CAPABILITIES 0x10a

static const struct {
    uint32_t leaf, sub;
    unsigned reg;
} words[VIV_FW_COUNT] = {
#define _(id, text, leaf, sub, reg) {leaf, sub, reg},
    VIV_CPUID_WORDS(_)
#undef _
};

static struct kvm_cpuid2 *supported(struct viv_err *err)
{
    size_t size = sizeof(struct kvm_cpuid2) + MAX_ENTRIES * sizeof(struct kvm_cpuid_entry2);
    struct kvm_cpuid2 *c = g_malloc0(size);
    int fd = viv_kvm_open(err), ret = fd;

    c->nent = MAX_ENTRIES;
    if (fd >= 0)
        ret = viv_kvm_ioctl(fd, KVM_GET_SUPPORTED_CPUID, c);
    if (ret >= 0)
        return c;
    if (fd >= 0)
        viv_fail_os(err, -ret, "KVM_GET_SUPPORTED_CPUID");
    g_free(c);
    return NULL;
}

static const struct kvm_cpuid_entry2 *entry(const struct kvm_cpuid2 *c, uint32_t leaf, uint32_t sub)
{
    for (uint32_t i = 0; i < c->nent; i++) {
        const struct kvm_cpuid_entry2 *e = &c->entries[i];

        if (e->function == leaf && (e->index == sub || !(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)))
            return e;
    }
    return NULL;
}

static uint32_t entry_reg(const struct kvm_cpuid_entry2 *e, unsigned reg)
{
    const uint32_t r[4] = {e->eax, e->ebx, e->ecx, e->edx};

    return r[reg];
}

static uint32_t feature_msr(uint32_t index)
{
    struct {
        struct kvm_msrs h;
        struct kvm_msr_entry e[1];
    } m = {.h = {.nmsrs = 1}, .e = {{.index = index}}};

    if (viv_kvm_cap(KVM_CAP_GET_MSR_FEATURES) <= 0 ||
        viv_kvm_ioctl(viv_kvm_open(NULL), KVM_GET_MSRS, &m) != 1)
        return 0;
    return (uint32_t)m.e[0].data;
}

/* KVM may have these, but their registers are in no state of ours, and no leaves say more about them: nested guests, counters and
 * traces, enclaves, and what needs XSAVE components or bits of XSS that we do not know. */
static void drop_unkept(uint32_t have[VIV_FW_COUNT])
{
    static const uint16_t unkept[] = {
        VIV_FT_VMX, VIV_FT_SVM, VIV_FT_PDCM, VIV_FT_PERFCTR_CORE, VIV_FT_PERFCTR_NB, VIV_FT_INTEL_PT, VIV_FT_ARCH_LBR, VIV_FT_SGX,
        VIV_FT_SGXLC, VIV_FT_MPX, VIV_FT_AMX_TILE, VIV_FT_AMX_INT8, VIV_FT_AMX_BF16, VIV_FT_AMX_FP16, VIV_FT_XFD,
    };

    for (size_t i = 0; i < G_N_ELEMENTS(unkept); i++)
        have[unkept[i] >> 5] &= ~(1u << (unkept[i] & 31));
    have[VIV_FW_EA_EDX] = 0;
}

/* A guest that is told of more would put BARs there, and its CPU takes such an entry of a page table for a malformed one. */
static int limit_phys_bits(struct viv_cpuid *model, const struct kvm_cpuid_entry2 *e, struct viv_err *err)
{
    uint8_t host = e && e->eax & 0xff ? e->eax & 0xff : 36; /* SDM 3A, 4.1.4: of a CPU that does not say */

    if (model->phys_bits <= host)
        return 0;
    if (model->phys_bits_asked)
        return viv_fail(err, ENOTSUP, "-cpu: phys-bits=%u: physical addresses have %u bits under KVM on this host; leave it out",
                        model->phys_bits, host);
    model->phys_bits = host;
    return 0;
}

int viv_kvm_filter_cpuid(struct viv_cpuid *model, struct viv_err *err)
{
    g_autofree struct kvm_cpuid2 *c = supported(err);
    uint32_t have[VIV_FW_COUNT] = {0};
    int ret;

    if (!c)
        return -ENODEV;
    for (unsigned w = 0; w < VIV_FW_COUNT; w++) {
        const struct kvm_cpuid_entry2 *e = words[w].leaf ? entry(c, words[w].leaf, words[w].sub) : NULL;

        if (e)
            have[w] = entry_reg(e, words[w].reg);
    }
    have[VIV_FW_NONE] = 1;
    /* What KVM leaves to us to announce: it works, but is not in its list. */
    have[VIV_FW_1_ECX] |= 1u << 31 | 1u << 21; /* hypervisor, x2apic (in-kernel APIC) */
    have[VIV_FW_1_EDX] |= 1u << 28;            /* htt: topology is ours */
    have[VIV_FW_6_EAX] |= 1u << 2;             /* ARAT: the timer never stops */
    if (viv_kvm_cap(KVM_CAP_TSC_DEADLINE_TIMER) > 0)
        have[VIV_FW_1_ECX] |= 1u << 24;
    have[VIV_FW_ARCH_CAP] = feature_msr(MSR_ARCH_CAPABILITIES);
    drop_unkept(have);
    ret = limit_phys_bits(model, entry(c, 0x80000008, 0), err);
    return ret < 0 ? ret : viv_cpuid_restrict(model, have, "KVM", err);
}

struct table {
    struct kvm_cpuid2 *c;
    const struct viv_cpuid *model;
    uint32_t apic_id;
};

/* Returns the leaf's registers in out. */
static void add(struct table *t, uint32_t leaf, uint32_t sub, bool indexed, uint32_t out[4])
{
    struct kvm_cpuid_entry2 *e;

    viv_cpuid_leaf(t->model, t->apic_id, leaf, sub, out);
    if (t->c->nent == MAX_ENTRIES)
        return;
    e = &t->c->entries[t->c->nent++];
    *e = (struct kvm_cpuid_entry2){
        .function = leaf, .index = sub, .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
        .eax = out[0], .ebx = out[1], .ecx = out[2], .edx = out[3],
    };
}

/* XSAVE areas are the hardware's: offsets and sizes of components are not a model's to choose. */
static void add_xsave(struct table *t, const struct kvm_cpuid2 *host)
{
    uint32_t out[4];

    add(t, 0xd, 0, true, out);
    add(t, 0xd, 1, true, out);
    for (uint32_t sub = 2; sub < 63; sub++) {
        const struct kvm_cpuid_entry2 *e = entry(host, 0xd, sub);

        if (!((t->model->xcr0_mask | t->model->xss_mask) >> sub & 1) || !e || t->c->nent == MAX_ENTRIES)
            continue;
        t->c->entries[t->c->nent++] = *e;
    }
}

/* Sub-leaves until the one that says there are no more. */
static void add_indexed(struct table *t, uint32_t leaf)
{
    uint32_t out[4], last = 0;

    for (uint32_t sub = 0; sub < 16; sub++) {
        add(t, leaf, sub, true, out);
        if (leaf == 7 && sub == 0)
            last = out[0];
        if ((leaf == 7 && sub >= last) || ((leaf == 4 || leaf == 0x8000001d) && !(out[0] & 0x1f)) ||
            ((leaf == 0xb || leaf == 0x1f) && !(out[2] >> 8 & 0xff)))
            break;
    }
}

static void add_range(struct table *t, uint32_t first, const struct kvm_cpuid2 *host)
{
    uint32_t out[4], max;

    add(t, first, 0, false, out);
    max = out[0];
    if (max < first || max - first > 0x40)
        return;
    for (uint32_t leaf = first + 1; leaf <= max; leaf++) {
        switch (leaf) {
        case 0xd:
            add_xsave(t, host);
            break;
        case 0x4: case 0x7: case 0xb: case 0x1f: case 0x8000001d:
            add_indexed(t, leaf);
            break;
        default:
            add(t, leaf, 0, false, out);
        }
    }
}

int viv_kvm_set_cpuid(struct kvm_cpu *k, struct viv_err *err)
{
    g_autofree struct kvm_cpuid2 *host = supported(err);
    struct table t = {.model = k->v->x86->cpuid, .apic_id = k->v->apic_id};
    g_autofree struct kvm_cpuid2 *c =
        g_malloc0(sizeof(*c) + MAX_ENTRIES * sizeof(struct kvm_cpuid_entry2));
    int ret;

    if (!host)
        return -ENODEV;
    for (uint32_t n = 2; n < 63; n++) {
        const struct kvm_cpuid_entry2 *e = entry(host, 0xd, n);

        viv_kvm->xsave_offset[n] = e && e->eax && !(e->ecx & 1) ? e->ebx : 0;
    }
    t.c = c;
    add_range(&t, 0, host);
    add_range(&t, 0x40000000, host);
    add_range(&t, 0x80000000, host);
    ret = viv_kvm_ioctl(k->fd, KVM_SET_CPUID2, c);
    if (ret < 0)
        return viv_fail_os(err, -ret, "KVM does not take the CPUID of CPU model %s", t.model->model);
    /* Part of the model like a leaf; left alone, it is the host's. Some kernels have it and take nothing. */
    if (viv_cpuid_has(t.model, VIV_FT_ARCH_CAPABILITIES) &&
        !viv_kvm_put_msr(k, MSR_ARCH_CAPABILITIES, t.model->word[VIV_FW_ARCH_CAP]))
        viv_log(VIV_LOG_UNIMP, "kvm: MSR 0x%x is not taken by this kernel", MSR_ARCH_CAPABILITIES);
    return 0;
}
