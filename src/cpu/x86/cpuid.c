/* CPUID leaves made from a model (SDM vol. 2A CPUID, APM vol. 3 appendix E). */
#include "cpu/x86/cpuid.h"

#include "base/log.h"
#include "base/units.h"
#include "cpu/vcpu.h"
#include "cpu/x86/apic.h"
#include "cpu/x86/state.h"
#include "host/clock.h"

#include <glib.h>
#include <string.h>

#define W(m, id) ((m)->word[VIV_FW_##id])

/* Bits of 1.EDX that AMD repeats in 80000001.EDX. */
#define AMD_COPIES 0x0183f3ffu
#define KVM_LEAF   0x40000000u
#define KVM_LAST   0x40000010u

static unsigned bits_for(unsigned n) /* log2, rounded up */
{
    unsigned b = 0;

    while ((1u << b) < n)
        b++;
    return b;
}

void viv_cpuid_set_topology(struct viv_cpuid *m, unsigned sockets, unsigned dies, unsigned cores,
                            unsigned threads)
{
    m->sockets = sockets;
    m->dies = dies ? dies : 1;
    m->cores = cores ? cores : 1;
    m->threads = threads ? threads : 1;
    if (m->dies > 1 && m->kind == VIV_VENDOR_INTEL && m->level < 0x1f)
        m->level = 0x1f; /* which tells of dies */
}

uint32_t viv_cpuid_apic_id(const struct viv_cpuid *m, unsigned index)
{
    unsigned thread = index % m->threads, core = index / m->threads % m->cores;
    unsigned die = index / (m->threads * m->cores) % m->dies;
    unsigned socket = index / (m->threads * m->cores * m->dies);
    unsigned tb = bits_for(m->threads), cb = bits_for(m->cores), db = bits_for(m->dies);

    return socket << (db + cb + tb) | die << (cb + tb) | core << tb | thread;
}

uint32_t viv_cpuid_signature(const struct viv_cpuid *m)
{
    uint32_t ext_family = m->family > 15 ? m->family - 15 : 0;
    uint32_t family = m->family > 15 ? 15 : m->family;

    return ext_family << 20 | (m->family_model >> 4) << 16 | family << 8 | (m->family_model & 15) << 4 |
           (m->stepping & 15);
}

/* ---- XSAVE ---- */

static const struct {
    uint16_t size, offset;
} xsave_comp[] = {
    [2] = {256, 576}, [5] = {64, 1088}, [6] = {512, 1152}, [7] = {1024, 1664}, [9] = {8, 2688},
};

bool viv_xsave_component(unsigned n, uint32_t *size, uint32_t *offset)
{
    if (n >= VIV_ARRAY_SIZE(xsave_comp) || !xsave_comp[n].size)
        return false;
    *size = xsave_comp[n].size;
    *offset = xsave_comp[n].offset;
    return true;
}

uint32_t viv_xsave_size(uint64_t components, bool compacted)
{
    uint32_t end = 576, size, offset;

    for (unsigned n = 2; n < VIV_ARRAY_SIZE(xsave_comp); n++) {
        if (!(components >> n & 1) || !viv_xsave_component(n, &size, &offset))
            continue;
        if (compacted)
            end += size;
        else if (offset + size > end)
            end = offset + size;
    }
    return end;
}

static void leaf_xsave(const struct viv_cpuid *m, uint32_t sub, uint64_t xcr0, uint32_t r[4])
{
    uint32_t size, offset;

    if (!viv_cpuid_has(m, VIV_FT_XSAVE))
        return;
    if (sub == 0) {
        r[0] = (uint32_t)m->xcr0_mask;
        r[1] = viv_xsave_size(xcr0, false);
        r[2] = viv_xsave_size(m->xcr0_mask, false);
        r[3] = (uint32_t)(m->xcr0_mask >> 32);
    } else if (sub == 1) {
        r[0] = W(m, D1_EAX);
        r[1] = viv_cpuid_has(m, VIV_FT_XSAVES) || viv_cpuid_has(m, VIV_FT_XSAVEC)
                   ? viv_xsave_size(xcr0, true)
                   : 0;
        r[2] = (uint32_t)m->xss_mask;
        r[3] = (uint32_t)(m->xss_mask >> 32);
    } else if (sub < 64 && (m->xcr0_mask >> sub & 1) && viv_xsave_component(sub, &size, &offset)) {
        r[0] = size;
        r[1] = offset;
    }
}

/* ---- caches and topology ---- */

static unsigned per_socket(const struct viv_cpuid *m)
{
    return m->threads * m->cores * m->dies;
}

static void leaf_cache(const struct viv_cpuid *m, uint32_t sub, bool amd, uint32_t r[4])
{
    const struct viv_cache_info *k;
    unsigned sharing;

    if (sub >= m->caches)
        return;
    k = &m->cache[sub];
    sharing = k->shared ? m->threads * m->cores : m->threads;
    sharing = amd ? sharing : 1u << bits_for(sharing);
    r[0] = k->type | (uint32_t)k->level << 5 | 1u << 8 | (sharing - 1) << 14;
    if (!amd)
        r[0] |= ((1u << bits_for(m->cores)) - 1) << 26;
    r[1] = (k->line - 1u) | (k->ways - 1u) << 22;
    r[2] = k->sets - 1;
    r[3] = k->level == 3 ? 2 : 0; /* inclusive */
}

static unsigned core_bits(const struct viv_cpuid *m)
{
    return bits_for(m->threads) + bits_for(m->cores);
}

static unsigned socket_bits(const struct viv_cpuid *m)
{
    return core_bits(m) + bits_for(m->dies);
}

/* SDM, leaf 1Fh: threads, cores, dies. Bh knows no dies: its second level is the socket. */
static void leaf_topology(const struct viv_cpuid *m, uint32_t leaf, uint32_t sub, uint32_t apic_id, uint32_t r[4])
{
    enum { THREADS = 1, CORES = 2, DIES = 5 };
    bool dies = leaf == 0x1f;

    r[2] = sub & 0xff;
    r[3] = apic_id;
    if (sub == 0) {
        r[0] = bits_for(m->threads);
        r[1] = m->threads;
        r[2] |= THREADS << 8;
    } else if (sub == 1) {
        r[0] = dies ? core_bits(m) : socket_bits(m);
        r[1] = dies ? m->threads * m->cores : per_socket(m);
        r[2] |= CORES << 8;
    } else if (sub == 2 && dies) {
        r[0] = socket_bits(m);
        r[1] = per_socket(m);
        r[2] |= DIES << 8;
    }
}

static uint32_t cache_kib(const struct viv_cpuid *m, unsigned n)
{
    return m->cache[n].line * m->cache[n].ways * m->cache[n].sets / 1024;
}

/* AMD's associativity code of 80000006H. */
static uint32_t assoc_code(unsigned ways)
{
    return ways <= 2 ? ways : ways == 4 ? 4 : ways <= 8 ? 6 : ways <= 16 ? 8 : ways <= 32 ? 10 : 15;
}

/* ---- leaf groups ---- */

static void leaf_1(const struct viv_cpuid *m, uint32_t apic_id, uint32_t r[4])
{
    unsigned n = per_socket(m);

    r[0] = viv_cpuid_signature(m);
    r[1] = apic_id << 24 | (8 << 8);
    r[2] = W(m, 1_ECX);
    r[3] = W(m, 1_EDX);
    if (n > 1) {
        r[1] |= (n > 255 ? 255 : n) << 16;
        r[3] |= 1u << 28;
    } else {
        r[3] &= ~(1u << 28);
    }
}

static void leaf_tsc(const struct viv_cpuid *m, uint32_t leaf, uint32_t r[4])
{
    uint64_t hz = m->tsc_hz ? m->tsc_hz : viv_tsc_hz();

    if (leaf == 0x15) { /* TSC = crystal * EBX / EAX; the crystal is what the APIC timer counts */
        r[0] = 1000000;
        r[1] = (uint32_t)(hz / 1000);
        r[2] = (uint32_t)VIV_APIC_HZ;
    } else {
        r[0] = r[1] = (uint32_t)(hz / 1000000);
        r[2] = 100;
    }
}

static void basic_leaf(const struct viv_cpuid *m, uint32_t apic_id, uint32_t leaf, uint32_t sub,
                       uint32_t r[4])
{
    switch (leaf) {
    case 0:
        r[0] = m->level;
        memcpy(&r[1], m->vendor, 4);
        memcpy(&r[3], m->vendor + 4, 4);
        memcpy(&r[2], m->vendor + 8, 4);
        break;
    case 1:
        leaf_1(m, apic_id, r);
        break;
    case 2:
        if (m->kind == VIV_VENDOR_INTEL) {
            r[0] = 0x00feff01; /* FFH: caches are in leaf 4, FEH: TLBs in leaf 18H */
            r[1] = 0xf0;       /* 64-byte prefetch */
        }
        break;
    case 4:
        if (m->kind == VIV_VENDOR_INTEL)
            leaf_cache(m, sub, false, r);
        break;
    case 6:
        r[0] = W(m, 6_EAX);
        break;
    case 7:
        if (sub == 0) {
            r[0] = W(m, 7_1_EAX) ? 1 : 0;
            r[1] = W(m, 7_EBX);
            r[2] = W(m, 7_ECX);
            r[3] = W(m, 7_EDX);
        } else if (sub == 1) {
            r[0] = W(m, 7_1_EAX);
        }
        break;
    case 0xb:
    case 0x1f:
        leaf_topology(m, leaf, sub, apic_id, r);
        break;
    case 0xd:
        leaf_xsave(m, sub, 1, r);
        break;
    case 0x15:
    case 0x16:
        if (m->kind == VIV_VENDOR_INTEL)
            leaf_tsc(m, leaf, r);
        break;
    }
}

static void kvm_leaf(const struct viv_cpuid *m, uint32_t leaf, uint32_t r[4])
{
    if (leaf == KVM_LEAF) {
        r[0] = KVM_LAST;
        memcpy(&r[1], "KVMKVMKVM\0\0\0", 12);
    } else if (leaf == KVM_LEAF + 1) {
        r[0] = W(m, KVM_EAX);
    } else if (leaf == KVM_LAST) {
        r[0] = (uint32_t)((m->tsc_hz ? m->tsc_hz : viv_tsc_hz()) / 1000);
        r[1] = (uint32_t)(VIV_APIC_HZ / 1000);
    }
}

static void amd_cache_leaf(const struct viv_cpuid *m, uint32_t leaf, uint32_t r[4])
{
    if (m->caches < 4)
        return;
    if (leaf == 0x80000005) {
        r[0] = r[1] = 0x40ff40ff; /* TLBs: 64 entries, fully associative */
        r[2] = cache_kib(m, 0) << 24 | (uint32_t)m->cache[0].ways << 16 | 1 << 8 | m->cache[0].line;
        r[3] = cache_kib(m, 1) << 24 | (uint32_t)m->cache[1].ways << 16 | 1 << 8 | m->cache[1].line;
    } else {
        r[0] = r[1] = 0x42004200;
        r[2] = cache_kib(m, 2) << 16 | assoc_code(m->cache[2].ways) << 12 | 1 << 8 | m->cache[2].line;
        r[3] = cache_kib(m, 3) / 512 << 18 | assoc_code(m->cache[3].ways) << 12 | 1 << 8 | m->cache[3].line;
    }
}

static void extended_leaf(const struct viv_cpuid *m, uint32_t apic_id, uint32_t leaf, uint32_t sub,
                          uint32_t r[4])
{
    bool amd = m->kind == VIV_VENDOR_AMD;
    char id[48] = {0};

    switch (leaf) {
    case 0x80000000:
        r[0] = m->xlevel;
        if (amd)
            basic_leaf(m, apic_id, 0, 0, (uint32_t[4]){0});
        if (amd) {
            memcpy(&r[1], m->vendor, 4);
            memcpy(&r[3], m->vendor + 4, 4);
            memcpy(&r[2], m->vendor + 8, 4);
        }
        break;
    case 0x80000001:
        r[0] = amd ? viv_cpuid_signature(m) : 0;
        r[2] = W(m, E1_ECX);
        r[3] = W(m, E1_EDX) | (amd ? W(m, 1_EDX) & AMD_COPIES : 0);
        if (per_socket(m) > 1 && amd)
            r[2] |= 2; /* CmpLegacy: the count in leaf 1 is cores */
        else
            r[2] &= ~2u;
        break;
    case 0x80000002:
    case 0x80000003:
    case 0x80000004:
        memcpy(id, m->model_id, strnlen(m->model_id, sizeof(id)));
        memcpy(r, id + (leaf - 0x80000002) * 16, 16);
        break;
    case 0x80000005:
        if (amd)
            amd_cache_leaf(m, leaf, r);
        break;
    case 0x80000006:
        amd_cache_leaf(m, leaf, r);
        if (!amd) {
            r[0] = r[1] = r[3] = 0;
        }
        break;
    case 0x80000007:
        r[3] = W(m, E7_EDX);
        break;
    case 0x80000008:
        r[0] = m->phys_bits | (uint32_t)m->virt_bits << 8;
        r[1] = W(m, E8_EBX);
        if (amd && per_socket(m) > 1)
            r[2] = (per_socket(m) - 1) | socket_bits(m) << 12;
        break;
    case 0x8000000a:
        if (viv_cpuid_has(m, VIV_FT_SVM)) {
            r[0] = 1;
            r[1] = 16;
            r[3] = W(m, EA_EDX);
        }
        break;
    case 0x8000001d:
        if (viv_cpuid_has(m, VIV_FT_TOPOEXT))
            leaf_cache(m, sub, true, r);
        break;
    case 0x8000001e:
        if (viv_cpuid_has(m, VIV_FT_TOPOEXT)) {
            r[0] = apic_id;
            r[1] = (apic_id >> bits_for(m->threads) & ((1u << bits_for(m->cores)) - 1) & 0xff) | (m->threads - 1) << 8; /* the core in its die */
            r[2] = (apic_id >> core_bits(m) & 0xff) | (m->dies - 1) << 8; /* which die of all; how many a socket has */
        }
        break;
    case 0x80000021:
        r[0] = W(m, E21_EAX);
        break;
    }
}

void viv_cpuid_leaf(const struct viv_cpuid *m, uint32_t apic_id, uint32_t leaf, uint32_t sub,
                    uint32_t r[4])
{
    r[0] = r[1] = r[2] = r[3] = 0;
    if (leaf >= 0x80000000) {
        if (leaf <= m->xlevel || leaf == 0x80000000) {
            extended_leaf(m, apic_id, leaf, sub, r);
            return;
        }
    } else if (leaf >= KVM_LEAF) {
        if (m->kvm_leaves && leaf <= KVM_LAST)
            kvm_leaf(m, leaf, r);
        return;
    } else if (leaf <= m->level) {
        basic_leaf(m, apic_id, leaf, sub, r);
        return;
    }
    /* Out of range: Intel answers with the highest basic leaf, others with zeros. */
    if (m->kind == VIV_VENDOR_INTEL)
        basic_leaf(m, apic_id, m->level, sub, r);
}

void viv_cpuid_execute(const struct viv_x86 *c, uint32_t leaf, uint32_t sub, uint32_t r[4])
{
    const struct viv_cpuid *m = c->cpuid;

    viv_cpuid_leaf(m, c->vcpu ? c->vcpu->apic_id : 0, leaf, sub, r);
    if (leaf == 1) {
        if (c->cr4 & VIV_CR4_OSXSAVE)
            r[2] |= 1u << 27;
        if (c->vcpu && c->vcpu->apic && !(viv_apic_get_base(c->vcpu->apic) & VIV_APIC_BASE_ENABLE))
            r[3] &= ~(1u << 9);
    } else if (leaf == 7 && sub == 0) {
        if (c->cr4 & VIV_CR4_PKE)
            r[2] |= 1u << 4;
    } else if (leaf == 0xd && leaf <= m->level && viv_cpuid_has(m, VIV_FT_XSAVE)) {
        if (sub == 0)
            r[1] = viv_xsave_size(c->xcr0, false);
        else if (sub == 1 && r[1])
            r[1] = viv_xsave_size(c->xcr0 | c->msr.xss, true);
    }
}
