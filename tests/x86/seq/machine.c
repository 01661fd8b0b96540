/* A machine of one CPU whose memory is laid out as layout.h says. */
#include "seq.h"

#include "cpu/x86/debug.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/seg.h"
#include "mem/ram.h"
#include "mem/space.h"

#include <stdlib.h>

#define PTE_P    1ull
#define PTE_RW   2ull
#define PTE_USER 4ull
#define PTE_A    0x20ull
#define PTE_AD   0x60ull
#define PTE_NX   (1ull << 63)

/* ---- the device: what it was asked, in which order and by how many accesses, ends up in a hash ---- */

static void mmio_note(struct machine *m, uint64_t v)
{
    m->mmio_count++;
    m->mmio_hash = (m->mmio_hash ^ v) * 0x9e3779b97f4a7c15ull;
    m->mmio_hash ^= m->mmio_hash >> 29;
}

static uint64_t mmio_read(void *opaque, uint64_t off, unsigned size)
{
    struct machine *m = opaque;

    mmio_note(m, off << 8 | size);
    return m->mmio_hash;
}

static void mmio_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct machine *m = opaque;

    mmio_note(m, 1ull << 63 | off << 8 | size);
    mmio_note(m, value & (size == 8 ? ~0ull : (1ull << size * 8) - 1));
}

static const struct viv_region_ops mmio_ops = {
    .read = mmio_read, .write = mmio_write, .max_size = 8, .unaligned = true, .lockless = true,
};

/* ---- page tables ---- */

static uint64_t next_table;

static uint64_t *entry(struct machine *m, uint64_t table, unsigned index)
{
    return (uint64_t *)(m->ram + (table & 0xffffffffff000ull)) + index;
}

/* The table below an entry; leaf tables of the areas that runs change are hot pages. */
static uint64_t below_entry(struct machine *m, uint64_t table, uint64_t lin, unsigned shift)
{
    uint64_t *e = entry(m, table, lin >> shift & 511);
    uint64_t page = next_table;

    if (!*e) {
        if (shift == 21 && (lin & ~0x1fffffull) == LOW)
            page = PHYS_PAGE(HOT_TABLE_LOW);
        else if (shift == 21 && (lin & ~0x1fffffull) == HIGH)
            page = PHYS_PAGE(HOT_TABLE_HIGH);
        else
            next_table += 0x1000;
        *e = page | PTE_P | PTE_RW | PTE_USER | PTE_AD;
    }
    return *e;
}

static void map_page(struct machine *m, uint64_t lin, uint64_t phys, uint64_t flags)
{
    uint64_t table = PHYS_CR3_LONG;

    for (unsigned shift = 39; shift > 12; shift -= 9)
        table = below_entry(m, table, lin, shift);
    *entry(m, table, lin >> 12 & 511) = phys | flags | PTE_P;
}

static void map_pages(struct machine *m, uint64_t lin, uint64_t phys, unsigned n, uint64_t flags)
{
    while (n--)
        map_page(m, lin + 0x1000 * n, phys + 0x1000 * n, flags);
}

/* Accessed and dirty bits start clear in data pages, so that the tables show who set them. */
static void map_all(struct machine *m)
{
    uint64_t rw = PTE_RW | PTE_USER | PTE_NX, sys = PTE_A; /* dirty: written with CR0.WP clear */
    const uint64_t *pdpt;

    next_table = 0x10000;
    map_page(m, 0, PHYS_PAGE(HOT_ZERO), rw | PTE_AD);
    map_page(m, TOP_PAGE, PHYS_PAGE(HOT_TOP), rw | PTE_AD);
    map_pages(m, CODE_A, PHYS_PAGE(HOT_CODE), 4, PTE_RW | PTE_USER | PTE_AD);
    map_pages(m, CODE_B, PHYS_PAGE(HOT_CODE), 4, PTE_USER | PTE_AD);
    map_page(m, DATA_A, PHYS_PAGE(HOT_DATA_A), rw);
    map_page(m, DATA_B, PHYS_PAGE(HOT_DATA_B), rw);
    map_page(m, DATA_RO, PHYS_PAGE(HOT_DATA_D), PTE_USER | PTE_NX);
    map_page(m, DATA_C, PHYS_PAGE(HOT_DATA_C), rw);
    map_page(m, DATA_MMIO, PHYS_MMIO, rw);
    map_page(m, DATA_SYS, PHYS_PAGE(HOT_DATA_SYS), PTE_RW | PTE_NX);
    map_page(m, DATA_D, PHYS_PAGE(HOT_DATA_D), rw);
    map_pages(m, STACK, PHYS_PAGE(HOT_STACK), 2, rw);
    map_pages(m, SYS, PHYS_SYS, SYS_PAGES, sys);
    map_page(m, SYS_STACK, PHYS_PAGE(HOT_SYS_STACK), PTE_RW | PTE_NX | PTE_AD);
    map_page(m, SYS_TABLE, PHYS_PAGE(HOT_TABLE_LOW), PTE_RW | PTE_NX | PTE_AD);
    map_page(m, HIGH, PHYS_PAGE(HOT_DATA_A), PTE_RW | PTE_NX);
    map_page(m, HIGH + 0x1000, PHYS_PAGE(HOT_DATA_B), PTE_RW | PTE_NX);
    map_pages(m, KTEXT, PHYS_PAGE(HOT_CODE), 4, PTE_AD);
    /* PAE paging: four entries of its own form, the rest shared */
    pdpt = entry(m, *entry(m, PHYS_CR3_LONG, 0), 0);
    for (unsigned n = 0; n < 4; n++)
        *entry(m, PHYS_CR3_PAE, n) = pdpt[n] & ~0xffeull; /* no rights, no accessed bit */
}

/* ---- descriptors and handlers: written through the host's pointer, read-only to the guest ---- */

static uint8_t *sys_at(struct machine *m, uint32_t lin)
{
    return m->ram + PHYS_SYS + (lin - SYS);
}

static bool has_error_code(unsigned v)
{
    return v == VIV_DF || (v >= VIV_TS && v <= VIV_PF) || v == VIV_AC;
}

static uint32_t handler_of(unsigned v, bool skip, bool wide)
{
    if (v == 0x80)
        return SYS_CODE + (wide ? H_INT64 : H_INT32);
    if (v >= 32)
        return SYS_CODE + H_HALT_ANY;
    return SYS_CODE + (!skip ? H_HALT : wide ? H_SKIP64 : H_SKIP32) + 16 * v;
}

static void make_idt(struct machine *m, unsigned which)
{
    uint8_t *idt = sys_at(m, SYS_IDT + 0x1000 * which);
    bool wide = which < 4, skip = which & 1, ist = which == 2 || which == 3;

    for (unsigned v = 0; v < 256; v++) {
        uint64_t h = handler_of(v, skip, wide);
        uint64_t dpl = v == VIV_BP || v == VIV_OF || v == 0x80 ? 3 : 0;
        uint64_t gate = (h & 0xffff) | (wide ? 0x08ull : 0x18ull) << 16 | (0x8e00 | dpl << 13) << 32 |
                        (h & 0xffff0000) << 32 | (ist && v < 32 ? 1ull << 32 : 0);

        memset(idt + (wide ? 16 : 8) * v, 0, wide ? 16 : 8);
        memcpy(idt + (wide ? 16 : 8) * v, &gate, 8);
    }
}

struct asm_buf {
    uint8_t *p;
};

static void bytes(struct asm_buf *a, const char *text)
{
    unsigned v;

    for (; *text; text += 2) {
        while (*text == ' ')
            text++;
        sscanf(text, "%2x", &v);
        *a->p++ = (uint8_t)v;
    }
}

static void word32(struct asm_buf *a, uint32_t v)
{
    memcpy(a->p, &v, 4);
    a->p += 4;
}

/* dec dword [budget]; jz to the byte `over` bytes on */
static void budget(struct asm_buf *a, bool wide, unsigned over)
{
    bytes(a, wide ? "ff0c25" : "ff0d");
    word32(a, SYS_BUDGET);
    bytes(a, "74");
    *a->p++ = (uint8_t)over;
}

/* The frame below has an error code or a stand-in: adds the faulting instruction's length to the saved RIP. */
static void common(struct machine *m, bool wide)
{
    struct asm_buf a = {sys_at(m, SYS_CODE + (wide ? H_COMMON64 : H_COMMON32))};

    bytes(&a, "50 51"); /* push rax; push rcx */
    budget(&a, wide, wide ? 34 : 30);
    bytes(&a, wide ? "488b442418" : "8b44240c"); /* mov rax, [saved rip] */
    bytes(&a, "25ff3f0000");                     /* and eax, 3fffh */
    bytes(&a, "0fb688");                         /* movzx ecx, byte [rax + fixup] */
    word32(&a, SYS_FIXUP);
    bytes(&a, "85c9 74");                              /* test ecx, ecx; jz halt */
    *a.p++ = wide ? 13 : 10;
    bytes(&a, wide ? "48014c2418" : "014c240c");       /* add [saved rip], rcx */
    bytes(&a, wide ? "59 58 4883c408 48cf" : "59 58 83c404 cf"); /* pop both; drop the code; iret */
    bytes(&a, "f4");
}

static void skip_handlers(struct machine *m, bool wide)
{
    for (unsigned v = 0; v < 32; v++) {
        uint32_t at = (wide ? H_SKIP64 : H_SKIP32) + 16 * v;
        struct asm_buf a = {sys_at(m, SYS_CODE + at)};

        if (v == VIV_DB || v == VIV_BP || v == VIV_OF) { /* traps: behind the instruction already */
            budget(&a, wide, wide ? 2 : 1);
            bytes(&a, wide ? "48cf f4" : "cf f4");
            continue;
        }
        if (v == VIV_NMI) {
            bytes(&a, wide ? "48cf" : "cf");
            continue;
        }
        if (v == VIV_NM) { /* as a system does: clts, and the instruction again */
            budget(&a, wide, wide ? 4 : 3);
            bytes(&a, wide ? "0f06 48cf f4" : "0f06 cf f4");
            continue;
        }
        if (!has_error_code(v))
            bytes(&a, "6a00");
        bytes(&a, "e9");
        word32(&a, (wide ? H_COMMON64 : H_COMMON32) -
                       (at + (unsigned)(a.p + 4 - sys_at(m, SYS_CODE + at))));
    }
    common(m, wide);
}

static void make_system(struct machine *m)
{
    static const uint64_t gdt[] = {
        0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff, /* 08 code 64, 10 data, 18 code 32 */
        0x00cffb000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff,    /* 20 user 32, 28 data, 30 user 64 */
        0x10cff30000800000 | 0xffff, 0x0041f3000000ffff | 1ull << 48,  /* 38 with a base, 40 with a limit */
    };
    uint64_t sp0 = SYS_SP0, ist = SYS_IST;
    uint32_t sp32[2] = {SYS_SP0, 0x10};
    uint8_t *gdt_page = sys_at(m, SYS_GDT);
    struct asm_buf a;

    memset(sys_at(m, SYS_CODE), 0xf4, 0x1000); /* HLT: all halting handlers */
    memcpy(gdt_page, gdt, sizeof(gdt));
    memcpy(gdt_page + 0x400 + 4, &sp0, 8);
    memcpy(gdt_page + 0x400 + 36, &ist, 8);
    gdt_page[0x400 + 0x66] = 0x68; /* no I/O permission map */
    memcpy(gdt_page + 0x500 + 4, sp32, 8);
    gdt_page[0x500 + 0x66] = 0x68;
    for (unsigned n = 0; n < 6; n++)
        make_idt(m, n);
    skip_handlers(m, true);
    skip_handlers(m, false);
    a.p = sys_at(m, SYS_CODE + H_INT64);
    bytes(&a, "48cf");
    a.p = sys_at(m, SYS_CODE + H_INT32);
    bytes(&a, "cf");
    a.p = sys_at(m, SYS_CODE + H_SYSCALL);
    budget(&a, true, 3);
    bytes(&a, "480f07 f4");
}

/* ---- the machine ---- */

static uint8_t pristine[PHYS_HOT];

void machine_make(struct machine *m, const char *name, const struct viv_cpuid *cpuid)
{
    struct viv_err err = {0};
    struct viv_ram *ram;
    struct viv_region_desc d = {.name = name, .kind = VIV_REGION_RAM, .size = PHYS_RAM};
    struct viv_region_desc io = {
        .name = "mmio", .kind = VIV_REGION_IO, .size = 4096, .ops = &mmio_ops, .opaque = m};

    if (viv_ram_new(name, PHYS_RAM, &ram, &err) < 0) {
        fprintf(stderr, "no guest memory\n");
        exit(77);
    }
    m->ram = ram->hva;
    m->mem = viv_space_new("memory", 52);
    m->io = viv_space_new("io", 16);
    d.ram = ram;
    viv_region_map(viv_region_new(m->mem, &d), 0, 0);
    viv_region_map(viv_region_new(m->mem, &io), PHYS_MMIO, 1);
    map_all(m);
    make_system(m);
    memcpy(pristine, m->ram, sizeof(pristine));
    m->c = viv_x86_new(&m->vcpu, cpuid, m->mem, NULL, m->io);
    m->vcpu.x86 = m->c;
    viv_x86_reset(m->c, false, true);
    if (viv_interp_init(m->c) < 0)
        exit(77);
}

void machine_restore(struct machine *m, const uint8_t *const want[HOT_PAGES])
{
    for (unsigned n = 0; n < HOT_PAGES; n++) {
        uint8_t *at = m->ram + PHYS_PAGE(n);

        if (!want[n] || !memcmp(at, want[n], 0x1000))
            continue;
        memcpy(at, want[n], 0x1000);
        viv_ram_written(at, 0x1000);
    }
}

void machine_fixups(struct machine *m, const uint8_t *fixup)
{
    memcpy(sys_at(m, SYS_FIXUP), fixup, CODE_BYTES);
}

bool machine_sys_written(const struct machine *m)
{
    const uint64_t *pte = (const uint64_t *)(m->ram + PHYS_PAGE(HOT_TABLE_LOW)) + (SYS >> 12 & 511);

    for (unsigned n = 0; n < SYS_PAGES; n++) {
        if (pte[n] & PTE_AD & ~PTE_A)
            return true;
    }
    return false;
}

void machine_repair(struct machine *m)
{
    memcpy(m->ram, pristine, sizeof(pristine));
    viv_ram_written(m->ram, sizeof(pristine));
}

const uint8_t *machine_static(const struct machine *m, size_t *bytes)
{
    *bytes = PHYS_HOT;
    return m->ram;
}

static struct viv_seg seg(unsigned sel, unsigned attr)
{
    return (struct viv_seg){.limit = 0xffffffff, .attr = attr, .sel = (uint16_t)sel};
}

static void put_segments(struct viv_x86 *c, const struct scene *s)
{
    bool wide = s->mode != RUN_PROT, user = s->cpl == 3;

    if (s->mode == RUN_LONG)
        c->seg[VIV_CS] = user ? seg(0x33, 0xa0fb) : seg(0x08, 0xa09b);
    else
        c->seg[VIV_CS] = user ? seg(0x23, 0xc0fb) : seg(0x18, 0xc09b);
    for (unsigned n = 0; n < 6; n++) {
        if (n != VIV_CS)
            c->seg[n] = user ? seg(0x2b, 0xc0f3) : seg(0x10, 0xc093);
    }
    c->seg[VIV_FS].base = s->fs_base;
    c->seg[VIV_GS].base = s->gs_base;
    c->seg[VIV_LDTR] = (struct viv_seg){.attr = VIV_SEG_UNUSABLE};
    c->seg[VIV_TR] = (struct viv_seg){
        .base = SYS_GDT + (wide ? 0x400 : 0x500), .limit = 0x67, .attr = 0x8b, .sel = 0x50};
    c->gdtr = (struct viv_dtr){.base = SYS_GDT, .limit = 9 * 8 - 1};
    c->idtr = (struct viv_dtr){
        .base = SYS_IDT + 0x1000 * ((wide ? s->ist ? 2 : 0 : 4) + (s->skip ? 1 : 0)),
        .limit = wide ? 0xfff : 0x7ff};
}

static void put_control(struct machine *m, const struct scene *s)
{
    struct viv_x86 *c = m->c;
    bool wide = s->mode != RUN_PROT;

    c->cr0 = s->cr0;
    c->cr2 = 0;
    c->cr3 = wide ? PHYS_CR3_LONG : PHYS_CR3_PAE;
    c->cr4 = s->cr4;
    c->cr8 = 0;
    c->xcr0 = seq_avx512 ? 0xe7 : 7;
    memcpy(c->pdpte, m->ram + PHYS_CR3_PAE, sizeof(c->pdpte));
    memset(&c->msr, 0, sizeof(c->msr));
    c->msr.efer = VIV_EFER_NXE | VIV_EFER_SCE | (wide ? VIV_EFER_LME | VIV_EFER_LMA : 0);
    c->msr.star = 0x23ull << 48 | 8ull << 32;
    c->msr.lstar = SYS_CODE + H_SYSCALL;
    c->msr.cstar = SYS_CODE + H_SYSCALL;
    c->msr.fmask = 0x700;
    c->msr.kernel_gs_base = DATA_B + 0x40;
    c->msr.sysenter_cs = 8;
    c->msr.sysenter_esp = SYS_IST;
    c->msr.sysenter_eip = SYS_CODE + H_HALT_ANY;
    c->msr.pat = 0x0007040600070406ull;
    memset(c->dr, 0, sizeof(c->dr));
    c->dr[6] = 0xffff0ff0;
    c->dr[7] = 0x400;
    if (s->breakpoint) { /* on writes of eight bytes */
        c->dr[0] = s->breakpoint;
        c->dr[7] |= 1 | 9u << 16;
    }
}

/* Nothing that the last run did to the control registers makes what the TLB holds wrong. */
static bool still_warm(const struct viv_x86 *c, const struct scene *s)
{
    uint64_t harmless = VIV_CR0_TS | VIV_CR0_EM | VIV_CR0_MP | VIV_CR0_AM;

    return s->warm && !((c->cr0 ^ s->cr0) & ~harmless) && c->cr4 == s->cr4 &&
           c->cr3 == (s->mode != RUN_PROT ? PHYS_CR3_LONG : PHYS_CR3_PAE);
}

static void put_events(struct machine *m, const struct scene *s)
{
    struct viv_x86 *c = m->c;

    c->attention = 0;
    c->pending_db = 0;
    c->step_armed = c->sti_shadow = c->mov_ss_shadow = c->intr_latched = false;
    c->halted = c->shutdown = c->wait_sipi = c->delivering = false;
    c->nmi_pending = c->nmi_blocked = c->smi_pending = c->event_injected = false;
    c->monitor_armed = false;
    c->tsc_offset = 0;
    atomic_store(&m->vcpu.requests, s->nmi ? VIV_REQ_NMI : 0);
    atomic_store(&m->vcpu.nmis, s->nmi);
}

/* With `warm` whatever is derived from memory stays, as after a return from a handler; else as after a load of saved
 * state. */
void machine_put(struct machine *m, const struct scene *s)
{
    struct viv_x86 *c = m->c;
    bool warm = still_warm(c, s);

    put_events(m, s);
    put_control(m, s);
    put_segments(c, s);
    memcpy(c->gpr, s->gpr, sizeof(c->gpr));
    c->rip = c->next_rip = s->start;
    memcpy(&c->fpu, &s->fpu, sizeof(c->fpu));
    if (warm) {
        viv_x86_set_cpl(c, s->cpl);
        viv_x86_load_flags(c, (uint32_t)s->flags | 2);
        viv_debug_changed(c);
    } else {
        viv_x86_set_eflags(c, (uint32_t)s->flags | 2);
        viv_x86_update_mode(c);
    }
    m->mmio_hash = 1;
    m->mmio_count = 0;
}
