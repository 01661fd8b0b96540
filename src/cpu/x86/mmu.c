/* Guest memory for instructions: what a TLB miss does, and the accessors behind the inline fast path (tlb.h).
 *
 * With SMAP on, user pages never enter the supervisor bank; an access under EFLAGS.AC that misses there is
 * tried in the user bank, whose rights are a subset of what the supervisor may do to that page. Pages with an
 * enabled data breakpoint, MMIO, and stores to ROM never enter a bank: every access comes here. */
#include "cpu/x86/mmu.h"

#include "base/bytes.h"
#include "cpu/vcpu.h"
#include "cpu/x86/apic.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/debug.h"
#include "cpu/x86/exc.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/mmu_int.h"
#include "cpu/x86/tlb_int.h"
#include "mem/space.h"

#include <string.h>

/* Its base is the guest's system's to choose, SMRAM and secure flash are not: in SMM the APIC does not hide what is there for
 * SMM alone, or stores to flash would end in it. */
static bool is_apic_page(const struct viv_x86 *c, uint64_t gpa)
{
    return c->vcpu && c->vcpu->apic && viv_apic_maps(c->vcpu->apic, gpa) && !(c->in_smm && viv_space_covers(c->mem, gpa));
}

/* The map may have changed by this very access. */
static void after_mmio(struct viv_x86 *c)
{
    if (c->vcpu && (atomic_load_explicit(&c->vcpu->requests, memory_order_relaxed) & VIV_REQ_TLB))
        viv_mmu_flush_map(c);
    viv_interp_leave_block(c);
}

static uint64_t mmio_read(struct viv_x86 *c, uint64_t gpa, unsigned size)
{
    uint64_t v;

    if (is_apic_page(c, gpa))
        return viv_apic_mmio_read(c->vcpu->apic, gpa & 0xfff, size);
    v = viv_space_read(c->mem, gpa, size);
    after_mmio(c);
    return v;
}

static void mmio_write(struct viv_x86 *c, uint64_t gpa, uint64_t v, unsigned size)
{
    if (is_apic_page(c, gpa)) {
        viv_apic_mmio_write(c->vcpu->apic, gpa & 0xfff, v, size);
        viv_interp_leave_block(c);
        return;
    }
    viv_space_write(c->mem, gpa, v, size);
    after_mmio(c);
}

/* ---- translation ---- */

struct xlat {
    uint64_t gpa;
    uint8_t *hva; /* NULL: go through the bus */
};

/* Which bank may hold this page for an access made like this? */
static void cache(struct viv_x86 *c, uint64_t lin, const struct viv_walk *w, struct viv_gpa_page p,
                  enum viv_access acc, unsigned how)
{
    bool user = how & VIV_HOW_USER;

    if (acc == VIV_ACC_EXEC) {
        viv_code_fill(c, &c->tlb->code, lin, w->shift, user, w->global, p.hva);
        return;
    }
    if (viv_debug_watches(c, lin & VIV_PAGE_MASK, VIV_PAGE_SIZE))
        return;
    if (!user && w->user && (c->cr0 & VIV_CR0_PG) && (c->cr4 & VIV_CR4_SMAP)) {
        if (viv_mmu_pkey_denies(c, w, false, VIV_HOW_USER))
            return;
        user = true;
    }
    viv_tlb_fill(c, lin, w, p, user);
}

static struct xlat translate(struct viv_x86 *c, uint64_t lin, enum viv_access acc, unsigned how)
{
    struct viv_walk w;
    struct viv_gpa_page p;
    struct xlat x = {0};
    uint32_t error;

    if (acc == VIV_ACC_EXEC) { /* what has been promised is not looked up again: code_space.h */
        x.hva = viv_code_find(&c->tlb->code, lin, how & VIV_HOW_USER);
        if (x.hva) {
            x.hva += lin & (VIV_PAGE_SIZE - 1);
            return x;
        }
    }
    error = viv_mmu_walk(c, lin, acc, how, &w);
    if (error)
        viv_x86_raise_pf(c, lin, error & ~VIV_WALK_FAULT);
    p = viv_tlb_gpa_page(c, w.gpa);
    x.gpa = w.gpa;
    if (p.hva) {
        cache(c, lin, &w, p, acc, how);
        if (p.ram || acc == VIV_ACC_READ || acc == VIV_ACC_EXEC)
            x.hva = p.hva + (w.gpa & 0xfff);
    }
    return x;
}

/* The bank that this access may use now, and, under SMAP with AC, the other one. */
static uint8_t *lookup(struct viv_x86 *c, uint64_t lin, unsigned size, enum viv_access acc,
                       unsigned how)
{
    unsigned slot = viv_tlb_index(lin);
    uint64_t page = (lin + size - 1) & VIV_PAGE_MASK;
    const struct viv_tlb_entry *e = how & VIV_HOW_USER ? &viv_tlb_user_bank(c)->e[slot]
                                                       : &c->tlb->super.e[slot];

    if ((acc == VIV_ACC_READ ? e->tag_read : e->tag_write) == page)
        return (uint8_t *)(lin + e->addend);
    if (!how && (c->eflags & VIV_FL_AC) && (c->cr4 & VIV_CR4_SMAP)) {
        e = &viv_tlb_user_bank(c)->e[slot];
        if ((acc == VIV_ACC_READ ? e->tag_read : e->tag_write) == page)
            return (uint8_t *)(lin + e->addend);
    }
    return NULL;
}

static inline unsigned how_now(const struct viv_x86 *c)
{
    return c->cpl == 3 ? VIV_HOW_USER : 0;
}

/* Operands outside 64-bit mode have 32-bit addresses; descriptor tables and interrupt stacks have 64-bit ones even while
 * compatibility mode runs. */
static inline uint64_t wrap(const struct viv_x86 *c, uint64_t lin, unsigned how)
{
    bool wide = how & VIV_HOW_IMPLICIT ? c->msr.efer & VIV_EFER_LMA : c->mode == VIV_MODE_LONG;

    return wide ? lin : (uint32_t)lin;
}

/* A part of an access that crosses pages: what may be done there is known when a bank has it. */
static struct xlat place(struct viv_x86 *c, uint64_t lin, unsigned len, enum viv_access acc, unsigned how)
{
    uint8_t *h = acc == VIV_ACC_EXEC ? NULL : lookup(c, lin, len, acc, how);

    return h ? (struct xlat){.hva = h} : translate(c, lin, acc, how);
}

static inline bool crosses(uint64_t lin, unsigned size)
{
    return (lin & (VIV_PAGE_SIZE - 1)) + size > VIV_PAGE_SIZE;
}

/* SDM 3A 6.15, interrupt 17. Only natural sizes: longer operands have their own rules. */
static void check_align(struct viv_x86 *c, uint64_t lin, unsigned size)
{
    if (c->cpl == 3 && (c->cr0 & VIV_CR0_AM) && (c->eflags & VIV_FL_AC) && (lin & (size - 1)) &&
        size <= 8 && !(size & (size - 1)))
        viv_x86_raise_error(c, VIV_AC, 0);
}

/* ---- accessors ---- */

static void copy_in(struct viv_x86 *c, struct xlat x, void *buf, unsigned len)
{
    uint8_t *out = buf;

    if (x.hva) {
        memcpy(out, x.hva, len);
        return;
    }
    while (len) {
        unsigned n = len >= 8 && !(x.gpa & 7) ? 8 : len >= 4 && !(x.gpa & 3) ? 4
                     : len >= 2 && !(x.gpa & 1) ? 2 : 1;
        uint64_t v = mmio_read(c, x.gpa, n);

        memcpy(out, &v, n);
        out += n, x.gpa += n, len -= n;
    }
}

static void copy_out(struct viv_x86 *c, struct xlat x, const void *buf, unsigned len)
{
    const uint8_t *in = buf;

    if (x.hva) {
        memcpy(x.hva, in, len);
        viv_mmu_stored(c, x.hva, len);
        return;
    }
    while (len) {
        unsigned n = len >= 8 && !(x.gpa & 7) ? 8 : len >= 4 && !(x.gpa & 3) ? 4
                     : len >= 2 && !(x.gpa & 1) ? 2 : 1;
        uint64_t v = 0;

        memcpy(&v, in, n);
        mmio_write(c, x.gpa, v, n);
        in += n, x.gpa += n, len -= n;
    }
}

static void load(struct viv_x86 *c, uint64_t lin, void *buf, unsigned len, enum viv_access acc,
                 unsigned how)
{
    unsigned first = VIV_PAGE_SIZE - (lin & (VIV_PAGE_SIZE - 1));
    struct xlat a, b;

    lin = wrap(c, lin, how);
    if (acc != VIV_ACC_EXEC)
        viv_debug_data(c, lin, len, false);
    if (len <= first) {
        copy_in(c, translate(c, lin, acc, how), buf, len);
        return;
    }
    a = place(c, lin, first, acc, how);
    b = place(c, wrap(c, lin + first, how), len - first, acc, how);
    copy_in(c, a, buf, first);
    copy_in(c, b, (uint8_t *)buf + first, len - first);
}

static void store(struct viv_x86 *c, uint64_t lin, const void *buf, unsigned len, unsigned how)
{
    unsigned first = VIV_PAGE_SIZE - (lin & (VIV_PAGE_SIZE - 1));
    struct xlat a, b;

    lin = wrap(c, lin, how);
    viv_debug_data(c, lin, len, true);
    if (len <= first) {
        copy_out(c, translate(c, lin, VIV_ACC_WRITE, how), buf, len);
        return;
    }
    a = place(c, lin, first, VIV_ACC_WRITE, how);
    b = place(c, wrap(c, lin + first, how), len - first, VIV_ACC_WRITE, how);
    copy_out(c, a, buf, first);
    copy_out(c, b, (const uint8_t *)buf + first, len - first);
}

/* One host access: another CPU sees all of it or nothing, if it is aligned. */
static inline uint64_t host_load(const uint8_t *h, unsigned size)
{
    switch (size) {
    case 1: return *h;
    case 2: return viv_ld_le16(h);
    case 4: return viv_ld_le32(h);
    default: return viv_ld_le64(h);
    }
}

static inline void host_store(uint8_t *h, uint64_t v, unsigned size)
{
    switch (size) {
    case 1: *h = (uint8_t)v; break;
    case 2: viv_st_le16(h, (uint16_t)v); break;
    case 4: viv_st_le32(h, (uint32_t)v); break;
    default: viv_st_le64(h, v); break;
    }
}

static uint64_t load_scalar(struct viv_x86 *c, uint64_t lin, unsigned size, unsigned how)
{
    uint64_t v = 0;
    uint8_t *h;

    if (!(how & VIV_HOW_IMPLICIT))
        check_align(c, lin, size);
    h = lookup(c, lin, size, VIV_ACC_READ, how);
    if (h)
        return host_load(h, size);
    if (!crosses(lin, size)) { /* a bus access keeps its size, whatever its alignment */
        struct xlat x;

        lin = wrap(c, lin, how);
        viv_debug_data(c, lin, size, false);
        x = translate(c, lin, VIV_ACC_READ, how);
        if (!x.hva)
            return mmio_read(c, x.gpa, size);
        return host_load(x.hva, size);
    }
    load(c, lin, &v, size, VIV_ACC_READ, how);
    return v;
}

static void store_scalar(struct viv_x86 *c, uint64_t lin, uint64_t v, unsigned size, unsigned how)
{
    uint8_t *h;

    if (!(how & VIV_HOW_IMPLICIT))
        check_align(c, lin, size);
    h = lookup(c, lin, size, VIV_ACC_WRITE, how);
    if (h) {
        host_store(h, v, size);
        viv_mmu_stored(c, h, size);
        return;
    }
    if (!crosses(lin, size)) {
        struct xlat x;

        lin = wrap(c, lin, how);
        viv_debug_data(c, lin, size, true);
        x = translate(c, lin, VIV_ACC_WRITE, how);
        if (!x.hva) {
            mmio_write(c, x.gpa, v, size);
            return;
        }
        host_store(x.hva, v, size);
        viv_mmu_stored(c, x.hva, size);
        return;
    }
    store(c, lin, &v, size, how);
}

uint8_t viv_ld8(struct viv_x86 *c, uint64_t lin)
{
    return (uint8_t)load_scalar(c, lin, 1, how_now(c));
}

uint16_t viv_ld16(struct viv_x86 *c, uint64_t lin)
{
    return (uint16_t)load_scalar(c, lin, 2, how_now(c));
}

uint32_t viv_ld32(struct viv_x86 *c, uint64_t lin)
{
    return (uint32_t)load_scalar(c, lin, 4, how_now(c));
}

uint64_t viv_ld64(struct viv_x86 *c, uint64_t lin)
{
    return load_scalar(c, lin, 8, how_now(c));
}

void viv_st8(struct viv_x86 *c, uint64_t lin, uint8_t v)
{
    store_scalar(c, lin, v, 1, how_now(c));
}

void viv_st16(struct viv_x86 *c, uint64_t lin, uint16_t v)
{
    store_scalar(c, lin, v, 2, how_now(c));
}

void viv_st32(struct viv_x86 *c, uint64_t lin, uint32_t v)
{
    store_scalar(c, lin, v, 4, how_now(c));
}

void viv_st64(struct viv_x86 *c, uint64_t lin, uint64_t v)
{
    store_scalar(c, lin, v, 8, how_now(c));
}

void viv_ld_bytes(struct viv_x86 *c, uint64_t lin, void *buf, unsigned len)
{
    uint8_t *h;

    check_align(c, lin, len);
    h = len <= VIV_PAGE_SIZE ? lookup(c, lin, len, VIV_ACC_READ, how_now(c)) : NULL;
    if (h)
        memcpy(buf, h, len);
    else
        load(c, lin, buf, len, VIV_ACC_READ, how_now(c));
}

void viv_st_bytes(struct viv_x86 *c, uint64_t lin, const void *buf, unsigned len)
{
    check_align(c, lin, len);
    store(c, lin, buf, len, how_now(c));
}

void viv_fetch_bytes(struct viv_x86 *c, uint64_t lin, uint8_t *buf, unsigned len)
{
    load(c, lin, buf, len, VIV_ACC_EXEC, how_now(c));
}

uint64_t viv_ld_sys(struct viv_x86 *c, uint64_t lin, unsigned size)
{
    return load_scalar(c, lin, size, VIV_HOW_IMPLICIT);
}

void viv_st_sys(struct viv_x86 *c, uint64_t lin, uint64_t v, unsigned size)
{
    store_scalar(c, lin, v, size, VIV_HOW_IMPLICIT);
}

void viv_mmu_probe_sys(struct viv_x86 *c, uint64_t lin, unsigned len, enum viv_access acc)
{
    lin = wrap(c, lin, VIV_HOW_IMPLICIT);
    translate(c, lin, acc, VIV_HOW_IMPLICIT);
    if (crosses(lin, len))
        translate(c, wrap(c, (lin + len - 1) & VIV_PAGE_MASK, VIV_HOW_IMPLICIT), acc, VIV_HOW_IMPLICIT);
}

void viv_probe(struct viv_x86 *c, uint64_t lin, unsigned len, enum viv_access acc)
{
    check_align(c, lin, len);
    lin = wrap(c, lin, 0);
    translate(c, lin, acc, how_now(c));
    if (crosses(lin, len))
        translate(c, wrap(c, (lin + len - 1) & VIV_PAGE_MASK, 0), acc, how_now(c));
}

void *viv_mmu_host(struct viv_x86 *c, uint64_t lin, unsigned len, enum viv_access acc)
{
    uint8_t *h;

    if (crosses(lin, len))
        return NULL;
    lin = wrap(c, lin, 0);
    if (acc == VIV_ACC_EXEC)
        return translate(c, lin, acc, how_now(c)).hva;
    check_align(c, lin, len);
    h = lookup(c, lin, len, acc, how_now(c));
    if (h)
        return h;
    if (viv_debug_watches(c, lin & VIV_PAGE_MASK, VIV_PAGE_SIZE)) {
        translate(c, lin, acc, how_now(c));
        return NULL;
    }
    return translate(c, lin, acc, how_now(c)).hva;
}

bool viv_mmu_exec_global(struct viv_x86 *c, uint64_t lin)
{
    return viv_code_is_global(&c->tlb->code, wrap(c, lin, 0), c->cpl == 3);
}

void viv_mmu_stored(struct viv_x86 *c, void *hva, unsigned len)
{
    size_t first = viv_arena_page(hva), last = viv_arena_page((uint8_t *)hva + len - 1);

    if (viv_page_flags(first) || (last != first && viv_page_flags(last)))
        if (viv_ram_store_slow(hva, len))
            viv_interp_leave_block(c);
}

bool viv_mmu_translate_debug(struct viv_x86 *c, uint64_t lin, uint64_t *gpa)
{
    struct viv_walk w;

    if (viv_mmu_walk(c, wrap(c, lin, VIV_HOW_IMPLICIT), VIV_ACC_READ, VIV_HOW_DEBUG, &w))
        return false;
    *gpa = w.gpa;
    return true;
}
