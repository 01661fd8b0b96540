/* The page walk. SDM 3A 4.3 (32-bit), 4.4 (PAE), 4.5 (4- and 5-level), 4.6 (rights), 4.7 (error codes), 4.8 (A/D).
 *
 * An entry that is not present ends the walk with P = 0; a reserved bit in a present one with P and RSVD. Rights are
 * judged after the whole walk. A/D bits are written last, all levels, with a compare-and-swap on the guest's
 * memory (another CPU may change the entry between our read and our write: then the walk starts again). Entries in
 * MMIO are read through the bus and their A/D bits left alone; real CPUs lock the bus, nobody puts tables there. */
#include "cpu/x86/walk.h"

#include "cpu/x86/cpuid.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/tlb_int.h"
#include "mem/dma.h"
#include "mem/space.h"

#define PTE_P   (1ull << 0)
#define PTE_W   (1ull << 1)
#define PTE_U   (1ull << 2)
#define PTE_A   (1ull << 5)
#define PTE_D   (1ull << 6)
#define PTE_PS  (1ull << 7)
#define PTE_G   (1ull << 8)
#define PTE_NX  (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull

static uint64_t read_entry(struct viv_x86 *c, uint64_t gpa, bool wide, unsigned how)
{
    struct viv_gpa_page p;

    if (how & VIV_HOW_DEBUG) {
        uint64_t v = 0;

        return viv_dma_read(c->mem, gpa, &v, wide ? 8 : 4) == 0 ? v : 0;
    }
    p = viv_tlb_gpa_page(c, gpa);
    if (!p.hva)
        return viv_space_read(c->mem, gpa, wide ? 8 : 4);
    if (wide)
        return __atomic_load_n((uint64_t *)(p.hva + (gpa & 0xff8)), __ATOMIC_RELAXED);
    return __atomic_load_n((uint32_t *)(p.hva + (gpa & 0xffc)), __ATOMIC_RELAXED);
}

/* Returns false when the entry changed under us. */
static bool update_entry(struct viv_x86 *c, const struct viv_walk *w, unsigned level, uint64_t new)
{
    struct viv_gpa_page p = viv_tlb_gpa_page(c, w->entry_gpa[level]);
    uint64_t old = w->entry[level];
    void *host;
    bool ok;

    if (!p.ram)
        return true;
    host = p.hva + (w->entry_gpa[level] & 0xfff);
    if (w->wide) {
        ok = __atomic_compare_exchange_n((uint64_t *)host, &old, new, false, __ATOMIC_SEQ_CST,
                                         __ATOMIC_SEQ_CST);
    } else {
        uint32_t old32 = (uint32_t)old;

        ok = __atomic_compare_exchange_n((uint32_t *)host, &old32, (uint32_t)new, false,
                                         __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    if (ok)
        viv_mmu_stored(c, host, w->wide ? 8 : 4);
    return ok;
}

/* Bits that must be 0 in an 8-byte entry at paging level `level` (1 = PTE). */
static uint64_t reserved_bits(const struct viv_x86 *c, unsigned level, uint64_t e)
{
    uint64_t r = PTE_ADDR & ~((1ull << c->cpuid->phys_bits) - 1);

    if (!(c->msr.efer & VIV_EFER_LMA))
        r |= 0x7ff0000000000000ull; /* PAE: 62:52 are reserved too */
    if (!(c->msr.efer & VIV_EFER_NXE))
        r |= PTE_NX;
    if (level >= 4 || (level == 3 && !viv_cpuid_has(c->cpuid, VIV_FT_PDPE1GB)))
        r |= PTE_PS;
    else if (level > 1 && (e & PTE_PS))
        r |= ((1ull << (12 + 9 * (level - 1))) - 1) & ~0x1fffull; /* bit 12 is PAT */
    return r;
}

static uint32_t walk_wide(struct viv_x86 *c, uint64_t lin, unsigned how, struct viv_walk *w)
{
    uint64_t table, e;
    unsigned level;

    if (c->msr.efer & VIV_EFER_LMA) {
        level = c->cr4 & VIV_CR4_LA57 ? 5 : 4;
        table = c->cr3 & PTE_ADDR;
    } else { /* the PDPTE has no rights of its own */
        e = c->pdpte[(lin >> 30) & 3];
        if (!(e & PTE_P))
            return VIV_WALK_FAULT;
        level = 2;
        table = e & PTE_ADDR;
    }
    for (;; level--) {
        unsigned n = w->levels++;
        unsigned shift = 12 + 9 * (level - 1);

        w->entry_gpa[n] = table + ((lin >> shift) & 511) * 8;
        e = w->entry[n] = read_entry(c, w->entry_gpa[n], true, how);
        if (!(e & PTE_P))
            return VIV_WALK_FAULT;
        if (e & reserved_bits(c, level, e))
            return VIV_WALK_FAULT | VIV_PFE_P | VIV_PFE_RSVD;
        w->write &= (e & PTE_W) != 0;
        w->user &= (e & PTE_U) != 0;
        w->nx |= (e & PTE_NX) != 0;
        if (level == 1 || (e & PTE_PS)) {
            w->shift = (uint8_t)shift;
            w->gpa = (e & PTE_ADDR & ~((1ull << shift) - 1)) | (lin & ((1ull << shift) - 1));
            w->pkey = (e >> 59) & 15;
            return 0;
        }
        table = e & PTE_ADDR;
    }
}

static uint32_t walk_narrow(struct viv_x86 *c, uint64_t lin, unsigned how, struct viv_walk *w)
{
    uint32_t e;

    w->levels = 1;
    w->entry_gpa[0] = (c->cr3 & 0xfffff000) + ((lin >> 22) & 1023) * 4;
    e = (uint32_t)(w->entry[0] = read_entry(c, w->entry_gpa[0], false, how));
    if (!(e & PTE_P))
        return VIV_WALK_FAULT;
    if ((e & PTE_PS) && (c->cr4 & VIV_CR4_PSE)) { /* 4 MiB; PSE-36: 20:13 are address bits 39:32 */
        if (e & (1u << 21))
            return VIV_WALK_FAULT | VIV_PFE_P | VIV_PFE_RSVD;
        w->shift = 22;
        w->gpa = (e & 0xffc00000) | (uint64_t)((e >> 13) & 0xff) << 32 | (lin & 0x3fffff);
    }
    w->write = e & PTE_W;
    w->user = e & PTE_U;
    if (w->shift)
        return 0;
    w->levels = 2;
    w->entry_gpa[1] = (e & 0xfffff000) + ((lin >> 12) & 1023) * 4;
    e = (uint32_t)(w->entry[1] = read_entry(c, w->entry_gpa[1], false, how));
    if (!(e & PTE_P))
        return VIV_WALK_FAULT;
    w->write &= (e & PTE_W) != 0;
    w->user &= (e & PTE_U) != 0;
    w->shift = 12;
    w->gpa = (e & 0xfffff000) | (lin & 0xfff);
    return 0;
}

/* Rights of the whole translation (SDM 4.6.1). Returns 0 or error bits. */
static inline uint32_t check_rights(const struct viv_x86 *c, const struct viv_walk *w, enum viv_access acc,
                             unsigned how)
{
    bool write = acc == VIV_ACC_WRITE || acc == VIV_ACC_RMW;
    bool bad = false, key = false;

    if (acc == VIV_ACC_EXEC) {
        bad = w->nx || (how & VIV_HOW_USER ? !w->user : w->user && (c->cr4 & VIV_CR4_SMEP));
    } else {
        if (how & VIV_HOW_USER)
            bad = !w->user || (write && !w->write);
        else
            bad = (write && !w->write && (c->cr0 & VIV_CR0_WP)) ||
                  (w->user && (c->cr4 & VIV_CR4_SMAP) &&
                   ((how & VIV_HOW_IMPLICIT) || !(c->eflags & VIV_FL_AC)));
        key = viv_mmu_pkey_denies(c, w, write, how);
    }
    if (!bad && !key)
        return 0;
    return VIV_WALK_FAULT | VIV_PFE_P | (key ? VIV_PFE_PK : 0);
}

static bool set_accessed(struct viv_x86 *c, struct viv_walk *w, bool write)
{
    for (unsigned n = 0; n < w->levels; n++) {
        uint64_t new = w->entry[n] | PTE_A | (write && n == w->levels - 1u ? PTE_D : 0);

        if (new != w->entry[n]) {
            if (!update_entry(c, w, n, new))
                return false;
            w->entry[n] = new;
        }
    }
    return true;
}

static uint32_t fault_error(const struct viv_x86 *c, uint32_t error, enum viv_access acc, unsigned how)
{
    bool wide = c->cr4 & VIV_CR4_PAE;

    error |= VIV_WALK_FAULT | (acc == VIV_ACC_WRITE || acc == VIV_ACC_RMW ? VIV_PFE_W : 0) |
             (how & VIV_HOW_USER ? VIV_PFE_U : 0);
    if (acc == VIV_ACC_EXEC && ((c->cr4 & VIV_CR4_SMEP) || (wide && (c->msr.efer & VIV_EFER_NXE))))
        error |= VIV_PFE_I;
    return error;
}

/* A large page: bits below its frame, but for bit 12 (PAT), are reserved. */
static bool odd_large(const struct viv_x86 *c, uint64_t e, unsigned shift)
{
    return shift > 30 || (shift == 30 && !viv_cpuid_has(c->cpuid, VIV_FT_PDPE1GB)) ||
           (e & ((1ull << shift) - 1) & ~0x1fffull);
}

/* The common case: IA-32e paging, tables in RAM or ROM, and no accessed or dirty bit to set. The same judgement as
 * below, with rights added up on the way. True: *error is 0 and `w` is filled but for its entries, or it is that of a
 * fault. False: anything else; nothing has been changed. */
static bool walk_quick(struct viv_x86 *c, uint64_t lin, enum viv_access acc, unsigned how, struct viv_walk *w,
                       uint32_t *error)
{
    uint64_t reserved = (PTE_ADDR & ~((1ull << c->cpuid->phys_bits) - 1)) |
                        (c->msr.efer & VIV_EFER_NXE ? 0 : PTE_NX);
    uint64_t table = c->cr3, all = ~0ull, any = 0, e;
    unsigned shift = c->cr4 & VIV_CR4_LA57 ? 48 : 39;

    for (;; shift -= 9) {
        struct viv_gpa_page p = viv_tlb_gpa_page(c, table & PTE_ADDR);

        if (__builtin_expect(!p.hva, 0))
            return false;
        e = __atomic_load_n((uint64_t *)(p.hva + ((lin >> shift) & 511) * 8), __ATOMIC_RELAXED);
        if (!(e & PTE_P)) {
            *error = fault_error(c, 0, acc, how);
            return true;
        }
        if (e & reserved)
            return false;
        all &= e;
        any |= e;
        if (shift == VIV_PAGE_SHIFT)
            break;
        if (e & PTE_PS) {
            if (odd_large(c, e, shift))
                return false;
            break;
        }
        table = e;
    }
    w->user = all & PTE_U;
    w->write = all & PTE_W;
    w->nx = any & PTE_NX;
    w->pkey = (e >> 59) & 15;
    *error = check_rights(c, w, acc, how);
    if (*error) {
        *error = fault_error(c, *error, acc, how);
        return true;
    }
    if (!(all & PTE_A) || ((acc == VIV_ACC_WRITE || acc == VIV_ACC_RMW) && !(e & PTE_D)))
        return false;
    w->shift = (uint8_t)shift;
    w->gpa = (e & PTE_ADDR & ~((1ull << shift) - 1)) | (lin & ((1ull << shift) - 1));
    w->dirty = e & PTE_D;
    w->global = (e & PTE_G) && (c->cr4 & VIV_CR4_PGE);
    return true;
}

uint32_t viv_mmu_walk(struct viv_x86 *c, uint64_t lin, enum viv_access acc, unsigned how,
                      struct viv_walk *w)
{
    bool write = acc == VIV_ACC_WRITE || acc == VIV_ACC_RMW;
    uint32_t error;

    if ((c->cr0 & VIV_CR0_PG) && (c->msr.efer & VIV_EFER_LMA) && !(how & VIV_HOW_DEBUG) &&
        walk_quick(c, lin, acc, how, w, &error))
        return error;
    if (!(c->cr0 & VIV_CR0_PG)) {
        *w = (struct viv_walk){.gpa = lin & 0xffffffff, .shift = 12, .user = true, .write = true,
                               .dirty = true};
        return 0;
    }
    for (unsigned tries = 0; tries < 1000; tries++) {
        uint64_t leaf;

        *w = (struct viv_walk){.write = true, .user = true, .wide = c->cr4 & VIV_CR4_PAE};
        error = w->wide ? walk_wide(c, lin, how, w) : walk_narrow(c, lin, how, w);
        if (how & VIV_HOW_DEBUG)
            return error;
        if (!error)
            error = check_rights(c, w, acc, how);
        if (error)
            break;
        if (!set_accessed(c, w, write))
            continue;
        leaf = w->entry[w->levels - 1];
        w->dirty = leaf & PTE_D;
        w->global = (leaf & PTE_G) && (c->cr4 & VIV_CR4_PGE);
        return 0;
    }
    return fault_error(c, error, acc, how);
}

bool viv_mmu_load_pdptes(struct viv_x86 *c, uint64_t cr3)
{
    uint64_t reserved = 0x1e6ull | ~((1ull << c->cpuid->phys_bits) - 1);
    uint64_t e[4];

    for (unsigned n = 0; n < 4; n++) {
        e[n] = read_entry(c, (cr3 & 0xffffffe0) + n * 8, true, 0);
        if ((e[n] & PTE_P) && (e[n] & reserved))
            return false;
    }
    for (unsigned n = 0; n < 4; n++)
        c->pdpte[n] = e[n];
    return true;
}
