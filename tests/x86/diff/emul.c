/* The software CPU: a machine of one CPU in 64-bit mode, its page tables mapping the areas of diff.h at the same linear
 * addresses, a kernel half that consists of an IDT whose handlers are never run. */
#include "diff.h"

#include "cpu/vcpu.h"
#include "cpu/x86/exc.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/mmu.h"
#include "mem/ram.h"
#include "mem/space.h"

#include <stdlib.h>

#define RAM_SIZE   0x200000u
#define HANDLERS   0xffff800000000000ull /* of vector n: + 16 n */
#define SYS_BASE   0xffff800000100000ull /* supervisor pages: IDT, GDT, TSS, stack */
#define SYS_SIZE   0x4000u

uint8_t *emul_data, *emul_stack;

static struct viv_ram *ram;
static struct viv_x86 *cpu;
static struct viv_vcpu vcpu;
static uint64_t next_page = 0x1000, cr3;
static uint8_t *code, *sys;

static uint64_t new_page(void)
{
    uint64_t p = next_page;

    next_page += 0x1000;
    return p;
}

static uint64_t *entry(uint64_t table, unsigned index)
{
    return (uint64_t *)(ram->hva + table) + index;
}

/* Leaf flags; upper levels allow everything. */
static void map_page(uint64_t lin, uint64_t phys, uint64_t flags)
{
    uint64_t table = cr3;

    for (int shift = 39; shift > 12; shift -= 9) {
        uint64_t *e = entry(table, lin >> shift & 511);

        if (!*e)
            *e = new_page() | 7;
        table = *e & ~0xfffull;
    }
    *entry(table, lin >> 12 & 511) = phys | flags;
}

#define PTE_USER 5ull
#define PTE_RW   2ull
#define PTE_SYS  3ull
#define PTE_AD   0x60ull
#define PTE_NX   (1ull << 63)

static uint8_t *map_area(uint64_t lin, uint64_t size, uint64_t flags)
{
    uint64_t phys = next_page;

    next_page += size;
    for (uint64_t n = 0; n < size; n += 0x1000)
        map_page(lin + n, phys + n, flags | PTE_AD);
    return ram->hva + phys;
}

static void make_memory(struct viv_space **mem, struct viv_space **io)
{
    struct viv_err err = {0};
    struct viv_region_desc d = {.name = "ram", .kind = VIV_REGION_RAM, .size = RAM_SIZE};

    if (viv_ram_new("ram", RAM_SIZE, &ram, &err) < 0) {
        fprintf(stderr, "no guest memory\n");
        exit(77);
    }
    d.ram = ram;
    *mem = viv_space_new("memory", 52);
    *io = viv_space_new("io", 16);
    viv_region_map(viv_region_new(*mem, &d), 0, 0);
}

static void make_tables(void)
{
    cr3 = new_page();
    code = map_area(CODE_BASE, CODE_SIZE, PTE_USER);
    emul_data = map_area(DATA_BASE, DATA_SIZE, PTE_USER | PTE_RW | PTE_NX);
    memcpy(map_area(RO_BASE, RO_SIZE, PTE_USER | PTE_NX), ro_page, RO_SIZE);
    emul_stack = map_area(STACK_BASE, STACK_SIZE, PTE_USER | PTE_RW | PTE_NX);
    sys = map_area(SYS_BASE, SYS_SIZE, PTE_SYS);
    memset(code, 0xcc, CODE_SIZE);
    for (unsigned n = 0; n < 256; n++) {
        uint64_t h = HANDLERS + 16 * n, dpl = n == VIV_BP || n == VIV_OF ? 3 : 0;
        uint64_t gate[2] = {(h & 0xffff) | 0x10 << 16 | (0x8e00 | dpl << 13) << 32 |
                                (h & 0xffff0000) << 32,
                            h >> 32};

        memcpy(sys + 16 * n, gate, 16);
    }
    /* GDT as Linux has it, as far as this goes: 0x10 kernel code, 0x23 0x2b 0x33 user */
    uint64_t gdt[] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff,
                      0x00cff3000000ffff, 0x00affb000000ffff};
    uint64_t rsp0 = SYS_BASE + SYS_SIZE;

    memcpy(sys + 0x1000, gdt, sizeof(gdt));
    memcpy(sys + 0x1800 + 4, &rsp0, 8);
    sys[0x1800 + 0x66] = 0x68; /* no I/O permission map */
}

static struct viv_seg seg(unsigned sel, unsigned attr)
{
    return (struct viv_seg){.limit = 0xffffffff, .attr = attr, .sel = (uint16_t)sel};
}

void emul_init(const struct viv_cpuid *cpuid)
{
    struct viv_space *mem, *io;

    make_memory(&mem, &io);
    make_tables();
    cpu = viv_x86_new(&vcpu, cpuid, mem, NULL, io);
    vcpu.x86 = cpu;
    viv_x86_reset(cpu, false, true);
    if (viv_interp_init(cpu) < 0)
        exit(77);
    cpu->cr0 = VIV_CR0_PE | VIV_CR0_MP | VIV_CR0_ET | VIV_CR0_NE | VIV_CR0_WP | VIV_CR0_AM | VIV_CR0_PG;
    cpu->cr3 = cr3;
    cpu->cr4 = VIV_CR4_PAE | VIV_CR4_OSFXSR | VIV_CR4_OSXMMEXCPT | VIV_CR4_OSXSAVE | VIV_CR4_FSGSBASE;
    cpu->msr.efer = VIV_EFER_SCE | VIV_EFER_LME | VIV_EFER_LMA | VIV_EFER_NXE;
    cpu->xcr0 = cpuid->xcr0_mask;
    cpu->idtr = (struct viv_dtr){.base = SYS_BASE, .limit = 0xfff};
    cpu->gdtr = (struct viv_dtr){.base = SYS_BASE + 0x1000, .limit = 7 * 8 - 1};
    cpu->seg[VIV_TR] = (struct viv_seg){.base = SYS_BASE + 0x1800, .limit = 0x67, .attr = 0x8b, .sel = 8};
    cpu->seg[VIV_LDTR] = (struct viv_seg){.attr = VIV_SEG_UNUSABLE};
}

static void put_state(const struct test_case *t)
{
    const struct cpu_state *s = &t->in;
    struct viv_x86_fpu *f = &cpu->fpu;

    memcpy(cpu->gpr, s->gpr, sizeof(cpu->gpr));
    cpu->rip = cpu->next_rip = s->rip;
    cpu->seg[VIV_CS] = t->long_mode ? seg(0x33, 0xa0fb) : seg(0x23, 0xc0fb);
    cpu->seg[VIV_SS] = cpu->seg[VIV_DS] = cpu->seg[VIV_ES] = seg(0x2b, 0xc0f3);
    cpu->seg[VIV_FS] = (struct viv_seg){.base = s->fs_base, .attr = VIV_SEG_UNUSABLE};
    cpu->seg[VIV_GS] = (struct viv_seg){.base = s->gs_base, .attr = VIV_SEG_UNUSABLE};
    cpu->attention = 0;
    cpu->pending_db = 0;
    cpu->step_armed = cpu->sti_shadow = cpu->mov_ss_shadow = false;
    cpu->halted = false;
    cpu->delivering = false;
    cpu->dr[6] = 0xffff0ff0;
    cpu->dr[7] = 0x400;
    viv_x86_set_eflags(cpu, (uint32_t)s->flags | VIV_FL_TF);
    memcpy(&f->fcw, s->fx, 2);
    memcpy(&f->fsw, s->fx + 2, 2);
    f->ftw = s->fx[4];
    memcpy(&f->fop, s->fx + 6, 2);
    memcpy(&f->fip, s->fx + 8, 8);
    memcpy(&f->fdp, s->fx + 16, 8);
    f->fcs = f->fds = 0;
    memcpy(&f->mxcsr, s->fx + 24, 4);
    memcpy(f->st, s->fx + 32, 128);
    for (unsigned n = 0; n < 16; n++) {
        memcpy(f->zmm[n], s->fx + 160 + 16 * n, 16);
        memcpy(f->zmm[n] + 16, s->ymm[n], 16);
        memcpy(f->zmm[n] + 32, s->hi256[n], 32);
        memcpy(f->zmm[n + 16], s->hi16[n], 64);
    }
    memcpy(f->k, s->k, sizeof(f->k));
    viv_x86_update_mode(cpu);
}

static void get_state(struct cpu_state *s)
{
    const struct viv_x86_fpu *f = &cpu->fpu;

    memcpy(s->gpr, cpu->gpr, sizeof(s->gpr));
    s->rip = cpu->rip;
    s->flags = viv_x86_get_eflags(cpu);
    s->fs_base = cpu->seg[VIV_FS].base;
    s->gs_base = cpu->seg[VIV_GS].base;
    memset(s->fx, 0, sizeof(s->fx));
    memcpy(s->fx, &f->fcw, 2);
    memcpy(s->fx + 2, &f->fsw, 2);
    s->fx[4] = f->ftw;
    memcpy(s->fx + 6, &f->fop, 2);
    memcpy(s->fx + 8, &f->fip, 8);
    memcpy(s->fx + 16, &f->fdp, 8);
    memcpy(s->fx + 24, &f->mxcsr, 4);
    memcpy(s->fx + 32, f->st, 128);
    for (unsigned n = 0; n < 16; n++) {
        memcpy(s->fx + 160 + 16 * n, f->zmm[n], 16);
        memcpy(s->ymm[n], f->zmm[n] + 16, 16);
        memcpy(s->hi256[n], f->zmm[n] + 32, 32);
        memcpy(s->hi16[n], f->zmm[n + 16], 64);
    }
    memcpy(s->k, f->k, sizeof(f->k));
}

static bool has_error_code(unsigned v)
{
    return v == VIV_DF || (v >= VIV_TS && v <= VIV_PF) || v == VIV_AC;
}

/* In a handler: the vector by its address, the interrupted state from the frame on the kernel's stack. */
static void unwind(struct outcome *o)
{
    uint64_t frame[6], *p = frame;
    uint64_t rsp = cpu->gpr[VIV_RSP];

    o->vector = (unsigned)((cpu->rip - HANDLERS) / 16);
    if (rsp < SYS_BASE || rsp > SYS_BASE + SYS_SIZE - 48 + 8 || o->vector > 255)
        return;
    memcpy(frame, sys + (rsp - SYS_BASE), has_error_code(o->vector) ? 48 : 40);
    if (has_error_code(o->vector))
        o->error = *p++;
    o->s.rip = p[0];
    o->s.flags = p[2];
    o->s.gpr[VIV_RSP] = p[3];
    o->cr2 = cpu->cr2;
}

void emul_run(const struct test_case *t, struct outcome *o)
{
    unsigned at = (unsigned)(t->in.rip - CODE_BASE), n = CODE_SIZE - at < 16 ? CODE_SIZE - at : 16;

    memcpy(code + at, t->code + at, n);
    viv_ram_written(code + at, n);
    put_state(t);
    o->error = 0;
    o->vector = NO_FAULT;
    viv_interp_step(cpu);
    get_state(&o->s);
    if (cpu->cpl == 0)
        unwind(o);
    memset(code + at, 0xcc, n);
    viv_ram_written(code + at, n);
}
