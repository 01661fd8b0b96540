/* System management mode: what an SMI saves and sets, that RSM puts everything back, what is held meanwhile, and
 * which saved states RSM refuses (APM vol. 2, chapter 10). The handlers are real code in memory. */
#include "base/bytes.h"
#include "cpu/x86/apic.h"
#include "cpu/x86/debug.h"
#include "cpu/x86/interp/test_cpu.h"
#include "cpu/x86/kvmclock.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/mmu_int.h"
#include "host/lock.h"

#include <glib.h>
#include <string.h>

#define SMBASE   0x30000u /* after reset */
#define NEW_BASE 0x50000u
#define AREA     (SMBASE + 0xfe00)
#define CODE(t, s) test_cpu_code(t, s, sizeof(s) - 1)

/* nop; inc dword [TEST_DATA], which is beyond 64 KiB; rsm */
static const char handler[] = "\x90\x66\x67\xff\x05\x00\x00\x02\x00\x0f\xaa";

static void put_handler(struct test_cpu *t, uint32_t smbase)
{
    memcpy(t->ram + smbase + 0x8000, handler, sizeof(handler));
    viv_ram_written(t->ram + smbase + 0x8000, sizeof(handler));
}

/* A CPU in the mode, about to run NOPs, with a value of its own in every register. */
static struct test_cpu *prepare(unsigned mode)
{
    struct test_cpu *t = test_cpu_get(mode);
    struct viv_x86 *c = t->c;

    atomic_store(&t->vcpu.requests, 0);
    atomic_store(&t->vcpu.nmis, 0);
    put_handler(t, SMBASE);
    CODE(t, "\x90\x90\xf4");
    for (unsigned n = 0; n < 16; n++) {
        if (n != VIV_RSP)
            c->gpr[n] = mode == VIV_MODE_LONG ? 0x1122334455667700 + n : 0x55667700 + n;
    }
    viv_x86_set_eflags(c, 2 | VIV_FL_ARITH | VIV_FL_DF | VIV_FL_IF | VIV_FL_ID);
    c->cr0 |= VIV_CR0_MP | VIV_CR0_NE | VIV_CR0_TS;
    c->cr2 = 0x1234567;
    c->dr[0] = 0x777000;
    c->dr[6] = VIV_DR6_FIXED | 1;
    c->dr[7] = VIV_DR7_FIXED | 2; /* breakpoint 0: not on these instructions */
    c->idtr.limit -= 16;
    if (mode != VIV_MODE_REAL) {
        c->seg[VIV_LDTR] = (struct viv_seg){.sel = 0x40, .base = 0x2c00, .limit = 0x27, .attr = 0x82};
        c->seg[VIV_TR] = (struct viv_seg){.sel = 0x28, .base = 0x2a00, .limit = 0x67, .attr = 0x8b};
        c->seg[VIV_ES] = (struct viv_seg){.attr = VIV_SEG_UNUSABLE};
        c->seg[VIV_DS] = (struct viv_seg){.sel = 0x23, .limit = 0x12fff, .attr = 0xd0f3};
    }
    c->seg[VIV_FS].base = mode == VIV_MODE_LONG ? 0xffff888012345000 : 0x345000;
    c->seg[VIV_GS].base = mode == VIV_MODE_LONG ? 0x00007f0087654321 : 0x654321;
    viv_x86_update_mode(c);
    return t;
}

static void request(struct test_cpu *t, uint32_t bits)
{
    atomic_fetch_or(&t->vcpu.requests, bits);
}

static uint64_t saved(struct test_cpu *t, unsigned off)
{
    return viv_ld_le64(t->ram + SMBASE + off);
}

/* APM vol. 2, table 10-1. */
static void check_area(struct test_cpu *t, const struct viv_x86 *b)
{
    static const uint8_t order[] = {VIV_ES, VIV_CS, VIV_SS, VIV_DS, VIV_FS, VIV_GS};

    for (unsigned n = 0; n < 6; n++) {
        const struct viv_seg *s = &b->seg[order[n]];
        uint32_t attr = s->attr & VIV_SEG_UNUSABLE ? 0 : (s->attr & 0xff) | (s->attr >> 12 & 0xf) << 8;

        g_assert_cmphex(saved(t, 0xfe00 + 16 * n), ==, s->sel | attr << 16 | (uint64_t)s->limit << 32);
        g_assert_cmphex(saved(t, 0xfe08 + 16 * n), ==, s->base);
    }
    g_assert_cmphex(saved(t, 0xfe60) >> 32, ==, b->gdtr.limit);
    g_assert_cmphex(saved(t, 0xfe68), ==, b->gdtr.base);
    g_assert_cmphex(saved(t, 0xfe70) & 0xffff, ==, b->seg[VIV_LDTR].sel);
    g_assert_cmphex(saved(t, 0xfe78), ==, b->seg[VIV_LDTR].base);
    g_assert_cmphex(saved(t, 0xfe80) >> 32, ==, b->idtr.limit);
    g_assert_cmphex(saved(t, 0xfe88), ==, b->idtr.base);
    g_assert_cmphex(saved(t, 0xfe90) & 0xffff, ==, b->seg[VIV_TR].sel);
    g_assert_cmphex(saved(t, 0xfe98), ==, b->seg[VIV_TR].base);
    g_assert_cmphex(t->ram[SMBASE + 0xfec9], ==, b->halted);
    g_assert_cmphex(saved(t, 0xfed0), ==, b->msr.efer);
    g_assert_cmphex(viv_ld_le32(t->ram + SMBASE + 0xfefc), ==, 0x20064);
    g_assert_cmphex(viv_ld_le32(t->ram + SMBASE + 0xff00), ==, SMBASE);
    g_assert_cmphex(saved(t, 0xff48), ==, b->cr4);
    g_assert_cmphex(saved(t, 0xff50), ==, b->cr3);
    g_assert_cmphex(saved(t, 0xff58), ==, b->cr0);
    g_assert_cmphex(saved(t, 0xff60), ==, b->dr[7]);
    g_assert_cmphex(saved(t, 0xff68), ==, b->dr[6]);
    g_assert_cmphex(saved(t, 0xff70), ==, viv_x86_get_eflags(b));
    g_assert_cmphex(saved(t, 0xff78), ==, b->rip);
    for (unsigned n = 0; n < 16; n++)
        g_assert_cmphex(saved(t, 0xfff8 - 8 * n), ==, b->gpr[n]);
}

/* APM vol. 2, 10.3.3: after the handler's NOP. */
static void check_inside(const struct viv_x86 *c, const struct viv_x86 *b, uint32_t smbase)
{
    g_assert_true(c->in_smm);
    g_assert_false(c->halted);
    g_assert_cmpint(c->mode, ==, VIV_MODE_REAL);
    g_assert_cmphex(c->rip, ==, 0x8001);
    g_assert_cmphex(c->cr0, ==, b->cr0 & ~(uint64_t)(VIV_CR0_PE | VIV_CR0_EM | VIV_CR0_TS | VIV_CR0_PG));
    g_assert_cmphex(c->cr4, ==, 0);
    g_assert_cmphex(c->msr.efer, ==, 0);
    g_assert_cmphex(viv_x86_get_eflags(c), ==, 2);
    g_assert_cmphex(c->dr[7], ==, VIV_DR7_FIXED);
    g_assert_cmphex(c->seg[VIV_CS].sel, ==, smbase >> 4);
    for (unsigned n = 0; n < 6; n++) {
        g_assert_cmphex(c->seg[n].base, ==, n == VIV_CS ? smbase : 0);
        g_assert_cmphex(c->seg[n].limit, ==, 0xffffffff);
    }
    g_assert_cmpmem(c->gpr, sizeof(c->gpr), b->gpr, sizeof(b->gpr));
}

#define SAME(field) g_assert_cmpmem(&c->field, sizeof(c->field), &b->field, sizeof(b->field))

static void check_same(const struct viv_x86 *c, const struct viv_x86 *b)
{
    SAME(gpr); SAME(rip); SAME(eflags); SAME(arith); SAME(cpl); SAME(mode);
    for (unsigned n = 0; n < VIV_SEG_COUNT; n++) {
        g_assert_cmphex(c->seg[n].sel, ==, b->seg[n].sel);
        g_assert_cmphex(c->seg[n].attr, ==, b->seg[n].attr);
        g_assert_cmphex(c->seg[n].limit, ==, b->seg[n].limit);
        g_assert_cmphex(c->seg[n].base, ==, b->seg[n].base);
    }
    g_assert_cmphex(c->gdtr.base, ==, b->gdtr.base);
    g_assert_cmphex(c->gdtr.limit, ==, b->gdtr.limit);
    g_assert_cmphex(c->idtr.base, ==, b->idtr.base);
    g_assert_cmphex(c->idtr.limit, ==, b->idtr.limit);
    SAME(cr0); SAME(cr2); SAME(cr3); SAME(cr4); SAME(cr8); SAME(xcr0); SAME(pdpte); SAME(dr);
    SAME(msr); SAME(fpu); SAME(nmi_blocked); SAME(nmi_pending); SAME(smi_pending); SAME(in_smm);
    SAME(halted); SAME(sti_shadow); SAME(mov_ss_shadow); SAME(pending_db); SAME(shutdown);
}

static void step(struct test_cpu *t)
{
    g_assert_cmpint(viv_interp_step(t->c), ==, VIV_RUN_REQUEST);
}

static void round_trip(struct test_cpu *t)
{
    struct viv_x86 before = *t->c;

    request(t, VIV_REQ_SMI);
    step(t);
    check_area(t, &before);
    check_inside(t->c, &before, SMBASE);
    step(t);
    g_assert_cmpint(viv_interp_step(t->c), ==, before.halted ? VIV_RUN_HALT : VIV_RUN_REQUEST);
    check_same(t->c, &before);
    g_assert_cmpuint(viv_ld_le32(t->ram + TEST_DATA), ==, 1);
}

static void test_mode(const void *arg)
{
    struct test_cpu *t = prepare(GPOINTER_TO_UINT(arg));
    uint64_t rip = t->c->rip;

    round_trip(t);
    step(t);
    g_assert_cmphex(t->c->rip, ==, rip + 1);

    t = prepare(GPOINTER_TO_UINT(arg)); /* the same by blocks */
    request(t, VIV_REQ_SMI);
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
    g_assert_cmphex(t->c->rip, ==, rip + 3);
    g_assert_cmpuint(viv_ld_le32(t->ram + TEST_DATA), ==, 1);
}

/* CPL 3 is in SS alone; the NMI mask is at FECAH. */
static void test_user_in_nmi(void)
{
    struct test_cpu *t = prepare(VIV_MODE_LONG);

    t->c->seg[VIV_CS].sel = 0x1b, t->c->seg[VIV_CS].attr = 0xa0fb;
    t->c->seg[VIV_SS].sel = 0x23, t->c->seg[VIV_SS].attr = 0xc0f3;
    t->c->nmi_blocked = true;
    viv_x86_update_mode(t->c);
    g_assert_cmpuint(t->c->cpl, ==, 3);
    round_trip(t);
    g_assert_cmpuint(t->c->cpl, ==, 3);
    g_assert_cmphex(t->ram[SMBASE + 0xfeca], ==, 1);
}

static void test_hlt(void)
{
    struct test_cpu *t = prepare(VIV_MODE_LONG);

    test_cpu_run(t);
    g_assert_true(t->c->halted);
    round_trip(t);
    g_assert_true(t->c->halted);

    t = prepare(VIV_MODE_LONG);
    CODE(t, "\xf4\x90");
    test_cpu_run(t);
    request(t, VIV_REQ_SMI);
    step(t);
    t->ram[SMBASE + 0xfec9] = 0; /* go on behind HLT */
    step(t);
    step(t);
    g_assert_false(t->c->halted);
    step(t);
    g_assert_cmphex(t->c->rip, ==, TEST_CODE + 2);
}

static void test_relocation(void)
{
    /* mov dword [AREA + 100h], NEW_BASE; rsm */
    static const char mover[] = "\x66\x67\xc7\x05\x00\xff\x03\x00\x00\x00\x05\x00\x0f\xaa";
    struct test_cpu *t = prepare(VIV_MODE_PROT32);
    struct viv_x86 before = *t->c;

    memcpy(t->ram + SMBASE + 0x8000, mover, sizeof(mover));
    viv_ram_written(t->ram + SMBASE + 0x8000, sizeof(mover));
    put_handler(t, NEW_BASE);
    request(t, VIV_REQ_SMI);
    step(t);
    g_assert_cmphex(t->c->msr.smbase, ==, SMBASE);
    step(t);
    before.msr.smbase = NEW_BASE;
    check_same(t->c, &before);
    memset(t->ram + AREA, 0, 0x200);
    request(t, VIV_REQ_SMI);
    step(t);
    check_inside(t->c, &before, NEW_BASE);
    g_assert_cmphex(saved(t, 0xff78), ==, 0);
    g_assert_cmphex(viv_ld_le32(t->ram + NEW_BASE + 0xff00), ==, NEW_BASE);
    step(t);
    step(t);
    check_same(t->c, &before);
}

/* APM vol. 2, 10.3.4: NMI and SMI wait for RSM, and the SMI goes first (table 8-8). */
static void test_held(void)
{
    struct test_cpu *t = prepare(VIV_MODE_LONG);

    request(t, VIV_REQ_SMI);
    step(t);
    atomic_store(&t->vcpu.nmis, 1);
    request(t, VIV_REQ_SMI | VIV_REQ_NMI);
    step(t);
    g_assert_true(t->c->in_smm);
    g_assert_cmphex(t->c->rip, ==, 0x8009);
    step(t);
    g_assert_false(t->c->in_smm);
    memset(t->ram + AREA, 0, 0x200);
    step(t);
    g_assert_true(t->c->in_smm);
    g_assert_cmphex(t->c->rip, ==, 0x8001);
    g_assert_cmphex(saved(t, 0xff78), ==, TEST_CODE);
    step(t);
    step(t);
    g_assert_cmpuint(viv_ld_le32(t->ram + TEST_DATA), ==, 2);
    g_assert_cmphex(t->c->rip, ==, TEST_CODE);
    g_assert_cmpint(viv_interp_step(t->c), ==, VIV_RUN_HALT); /* the NMI, and the HLT of its handler */
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_NMI);
}

/* A processor that waits for a SIPI keeps the SMI for later. */
static void test_wait_sipi(void)
{
    struct test_cpu *t = prepare(VIV_MODE_REAL);

    t->c->wait_sipi = true;
    request(t, VIV_REQ_SMI);
    g_assert_cmpint(viv_interp_step(t->c), ==, VIV_RUN_HALT);
    g_assert_false(t->c->in_smm);
    g_assert_cmphex(atomic_load(&t->vcpu.requests), ==, 0); /* or its thread could not sleep */
    t->c->wait_sipi = false;
    viv_x86_update_mode(t->c);
    step(t);
    g_assert_true(t->c->in_smm);
}

static void test_rsm_outside(void)
{
    struct test_cpu *t = prepare(VIV_MODE_LONG);

    CODE(t, "\x0f\xaa");
    test_cpu_run(t);
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_UD);
}

static void test_refused(void)
{
    static const struct {
        unsigned off;
        uint64_t clear, set;
        bool fine;
    } cases[] = {
        {0xff58, 0, 0, true},
        {0xff58, VIV_CR0_PE, 0}, /* PG without PE */
        {0xff58, VIV_CR0_CD, VIV_CR0_NW},
        {0xff58, 0, 1ull << 32},
        {0xff48, 0, 1u << 31},
        {0xff48, 0, 1u << 13}, /* VMXE: not offered */
        {0xff48, 0, 1ull << 32},
        {0xff48, VIV_CR4_PAE, 0}, /* of long mode */
        {0xff50, 0, 1ull << 52},
        {0xfed0, 0, 1u << 1},
        {0xfed0, VIV_EFER_LME, 0}, /* LMA stays */
        {0xff70, 0, VIV_FL_VM},    /* no virtual-8086 mode in long mode */
        {0xff70, 0, VIV_FL_NT, true},
    };

    for (unsigned n = 0; n < G_N_ELEMENTS(cases); n++) {
        struct test_cpu *t = prepare(VIV_MODE_LONG);
        uint8_t *at = t->ram + SMBASE + cases[n].off;

        request(t, VIV_REQ_SMI);
        step(t);
        viv_st_le64(at, (viv_ld_le64(at) & ~cases[n].clear) | cases[n].set);
        step(t);
        g_test_message("case %u", n);
        g_assert_cmpint(viv_interp_step(t->c), ==, cases[n].fine ? VIV_RUN_REQUEST : VIV_RUN_SHUTDOWN);
    }
}

/* Bits of RFLAGS that do not exist are not made by RSM. */
static void test_reserved_flags(void)
{
    struct test_cpu *t = prepare(VIV_MODE_PROT32);
    struct viv_x86 before = *t->c;

    request(t, VIV_REQ_SMI);
    step(t);
    viv_st_le64(t->ram + SMBASE + 0xff70, saved(t, 0xff70) | 0xffc08028);
    step(t);
    step(t);
    check_same(t->c, &before);
}

/* SMRAM that is seen in SMM alone: the save area and the handler lie there, and what the program reads at the same addresses is
 * something else, before and after. */
static void test_smram(const void *arg)
{
    /* mov eax, [SMBASE + 8000h]; nop; mov ebx, [the same]; hlt */
    static const char program[] = "\x8b\x04\x25\x00\x80\x03\x00\x90\x8b\x1c\x25\x00\x80\x03\x00\xf4";
    /* mov ecx, cs:[8000h]; mov cs:[8100h], ecx; rsm */
    static const char inside[] = "\x66\x2e\x8b\x0e\x00\x80\x66\x2e\x89\x0e\x00\x81\x0f\xaa";
    struct test_cpu *t = prepare(VIV_MODE_LONG);
    uint8_t *smram = t->ram + TEST_SMRAM;
    bool first = GPOINTER_TO_INT(arg);

    memset(t->ram + SMBASE, 0xf4, 0x20000);
    memset(smram, 0, TEST_SMRAM_BYTES);
    memcpy(smram + 0x8000, inside, sizeof(inside));
    viv_ram_written(t->ram + SMBASE, 0x20000);
    viv_ram_written(smram, TEST_SMRAM_BYTES);
    viv_region_map(t->smram, SMBASE, 0);
    viv_x86_update_mode(t->c);
    test_cpu_code(t, program, sizeof(program) - 1);
    if (!first) { /* the page is in the TLB */
        step(t);
        g_assert_cmphex(t->c->gpr[VIV_RAX], ==, 0xf4f4f4f4);
    }
    request(t, VIV_REQ_SMI);
    step(t);
    g_assert_true(t->c->in_smm);
    g_assert_cmphex(t->c->gpr[VIV_RCX], ==, 0x0e8b2e66);
    g_assert_cmphex(viv_ld_le64(smram + 0xff78), ==, TEST_CODE + (first ? 0 : 7));
    g_assert_cmphex(t->ram[SMBASE + 0xff78], ==, 0xf4);
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
    g_assert_false(t->c->in_smm);
    g_assert_cmphex(t->c->gpr[VIV_RAX], ==, 0xf4f4f4f4);
    g_assert_cmphex(t->c->gpr[VIV_RBX], ==, 0xf4f4f4f4);
    g_assert_cmphex(viv_ld_le32(smram + 0x8100), ==, 0x0e8b2e66);
    g_assert_cmphex(t->ram[SMBASE + 0x8100], ==, 0xf4);
}

/* A reset takes the CPU out of SMM, INIT too: what runs next is not the handler's. */
static void test_reset(void)
{
    for (unsigned init = 0; init < 2; init++) {
        struct test_cpu *t = prepare(VIV_MODE_LONG);

        request(t, VIV_REQ_SMI);
        step(t);
        g_assert_true(t->c->in_smm);
        g_assert_true(t->c->mem == t->smm);
        viv_x86_reset(t->c, init, true);
        g_assert_false(t->c->in_smm);
        g_assert_true(t->c->mem == t->mem);
    }
}

/* What came meanwhile and was put off is asked for again. */
static void test_init_held(void)
{
    struct test_cpu *t = prepare(VIV_MODE_LONG);

    request(t, VIV_REQ_SMI);
    step(t);
    t->c->init_held = true;
    step(t);
    g_assert_cmphex(atomic_load(&t->vcpu.requests), ==, 0);
    step(t);
    g_assert_false(t->c->init_held);
    g_assert_cmphex(atomic_load(&t->vcpu.requests), ==, VIV_REQ_INIT);
}

static uint64_t flash_read(void *opaque, uint64_t off, unsigned size)
{
    return 0x80;
}

static void flash_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    *(uint64_t *)opaque = v;
}

/* Secure flash is in the SMM space alone. A system that moves its local APIC's page there does not get between the handler and the
 * flash; everywhere else that page is the APIC's, in SMM, too. */
static void test_apic_over_flash(void)
{
    /* mov [TEST_MMIO + 80h], ecx; mov edx, [TEST_MMIO + 80h]; rsm */
    static const char inside[] = "\x67\x66\x89\x0d\x80\x00\x00\x02\x67\x66\x8b\x15\x80\x00\x00\x02\x0f\xaa";
    static const struct viv_region_ops ops = {.read = flash_read, .write = flash_write, .lockless = true};
    static struct viv_intc intc;
    uint64_t written = 0;
    struct viv_region_desc d = {.name = "flash", .kind = VIV_REGION_IO, .size = 4096, .ops = &ops, .opaque = &written};
    struct test_cpu *t = prepare(VIV_MODE_LONG);
    struct viv_region *flash = viv_region_new(t->smm, &d);
    struct viv_apic *a;

    viv_dev_lock();
    a = t->vcpu.apic = viv_apic_new(&t->vcpu, &intc);
    viv_dev_unlock();
    g_assert_true(viv_apic_set_base(a, TEST_MMIO | VIV_APIC_BASE_ENABLE | VIV_APIC_BASE_BSP));
    for (unsigned covered = 0; covered < 2; covered++) {
        memcpy(t->ram + SMBASE + 0x8000, inside, sizeof(inside));
        viv_ram_written(t->ram + SMBASE + 0x8000, sizeof(inside));
        if (covered)
            viv_region_map(flash, TEST_MMIO, 0);
        viv_x86_update_mode(t->c);
        viv_mmu_flush_map(t->c);
        viv_st32(t->c, TEST_MMIO + 0x80, 0x10);
        g_assert_cmphex(viv_ld32(t->c, TEST_MMIO + 0x80), ==, 0x10);
        t->c->gpr[VIV_RCX] = 0x40;
        atomic_store(&t->vcpu.requests, VIV_REQ_SMI);
        for (unsigned n = 0; n < 2; n++)
            step(t);
        g_assert_true(t->c->in_smm);
        g_assert_cmphex((uint32_t)t->c->gpr[VIV_RDX], ==, covered ? 0x80 : 0x40);
        g_assert_cmphex(written, ==, covered ? 0x40 : 0);
        step(t);
        g_assert_false(t->c->in_smm);
        g_assert_cmphex(viv_ld32(t->c, TEST_MMIO + 0x80), ==, covered ? 0x10 : 0x40);
    }
    viv_region_free(flash);
    viv_dev_lock();
    viv_apic_free(a);
    viv_dev_unlock();
    t->vcpu.apic = NULL;
    atomic_store(&t->vcpu.requests, 0);
}

/* The clock's page is at an address that the guest's system chose: a handler that moves the TSC does not have it written to SMRAM. */
static void test_clock_page(void)
{
    struct test_cpu *t = prepare(VIV_MODE_LONG);
    uint8_t *smram = t->ram + TEST_SMRAM;

    memset(smram, 0, TEST_SMRAM_BYTES);
    memcpy(smram + 0x8000, handler, sizeof(handler));
    viv_ram_written(smram, TEST_SMRAM_BYTES);
    viv_region_map(t->smram, SMBASE, 0);
    t->c->msr.kvm_system_time = (SMBASE + 0x8100) | 1;
    request(t, VIV_REQ_SMI);
    step(t);
    g_assert_true(t->c->in_smm);
    viv_kvmclock_tsc_changed(t->c);
    g_assert_cmphex(viv_ld_le32(smram + 0x8100), ==, 0);
    g_assert_cmphex(viv_ld_le32(t->ram + SMBASE + 0x8100), !=, 0);
    t->c->msr.kvm_system_time = 0;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/smm/long", GUINT_TO_POINTER(VIV_MODE_LONG), test_mode);
    g_test_add_data_func("/smm/protected", GUINT_TO_POINTER(VIV_MODE_PROT32), test_mode);
    g_test_add_data_func("/smm/real", GUINT_TO_POINTER(VIV_MODE_REAL), test_mode);
    g_test_add_func("/smm/user-in-nmi", test_user_in_nmi);
    g_test_add_func("/smm/hlt", test_hlt);
    g_test_add_func("/smm/relocation", test_relocation);
    g_test_add_func("/smm/held", test_held);
    g_test_add_func("/smm/wait-sipi", test_wait_sipi);
    g_test_add_func("/smm/rsm-outside", test_rsm_outside);
    g_test_add_func("/smm/refused", test_refused);
    g_test_add_func("/smm/reserved-flags", test_reserved_flags);
    g_test_add_data_func("/smm/smram", GINT_TO_POINTER(true), test_smram);
    g_test_add_data_func("/smm/smram-cached", GINT_TO_POINTER(false), test_smram);
    g_test_add_func("/smm/reset", test_reset);
    g_test_add_func("/smm/clock-page", test_clock_page);
    g_test_add_func("/smm/init-held", test_init_held);
    g_test_add_func("/smm/apic-over-flash", test_apic_over_flash);
    return g_test_run();
}
