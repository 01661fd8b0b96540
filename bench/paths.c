/* What the shared paths of the software CPU cost, one call at a time: TLB misses, flushes, system calls, exceptions,
 * string instructions. Prints ns each: the least of several rounds of this thread's CPU time, so that other load on the
 * host disturbs little.
 *
 * usage: cpu-paths [WORD]     only lines whose name contains WORD */
#include "base/bytes.h"
#include "cpu/x86/exc_int.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/interp/test_cpu.h"
#include "cpu/x86/mmu_int.h"
#include "cpu/x86/msr.h"
#include "cpu/x86/seg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 15

static struct test_cpu *t;
static struct viv_x86 *c;
static const char *only = "";
static uint64_t sum; /* keeps loads alive */

#define FAR    0x40000000ull /* 64 MiB of pages in random order, mapped to 8 MiB of RAM from 4 MiB on */
#define PAGES  16384u
#define FRAMES 2048u
#define TABLES 0x104000u     /* of FAR: page directory, then four page tables */

static double now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void measure(const char *name, void (*fn)(unsigned n), unsigned n)
{
    double best = 1e18;

    if (!strstr(name, only))
        return;
    for (unsigned r = 0; r < ROUNDS; r++) {
        double t0 = now_ns(), d;

        fn(n);
        d = now_ns() - t0;
        best = d < best ? d : best;
    }
    printf("%-44s %8.1f ns\n", name, best / n);
}

/* ---- address space ---- */

static void map_far(bool global)
{
    uint64_t pd = TABLES;
    unsigned order[PAGES];

    for (unsigned n = 0; n < PAGES; n++)
        order[n] = n;
    srandom(1);
    for (unsigned n = PAGES - 1; n > 0; n--) {
        unsigned k = (unsigned)random() % (n + 1), x = order[n];

        order[n] = order[k];
        order[k] = x;
    }
    viv_st_le64(t->ram + 0x101000 + 8, pd | 0x67);
    for (unsigned n = 0; n < PAGES / 512; n++)
        viv_st_le64(t->ram + pd + n * 8, (pd + 4096 * (n + 1)) | 0x67);
    for (unsigned n = 0; n < PAGES; n++)
        viv_st_le64(t->ram + pd + 4096 + n * 8, (0x400000 + (uint64_t)(order[n] % FRAMES) * 4096) | 0x67 | (global ? 0x100 : 0));
    viv_tlb_flush_all(c);
}

static uint64_t address(unsigned n, unsigned pages)
{
    return FAR + (uint64_t)(n * 2654435761u % pages) * 4096 + (n & 63) * 8;
}

static void load_hit(unsigned n)
{
    while (n--)
        sum += viv_ld64(c, FAR + (n & 3) * 4096);
}

static void load_256(unsigned n)
{
    while (n--)
        sum += viv_ld64(c, address(n, 256));
}

static void load_2048(unsigned n)
{
    while (n--)
        sum += viv_ld64(c, address(n, 2048));
}

static void load_all(unsigned n)
{
    while (n--)
        sum += viv_ld64(c, address(n, PAGES));
}

static void store_all(unsigned n)
{
    while (n--)
        viv_st64(c, address(n, PAGES), n);
}

/* Direct-mapped tables throw these two out of each other's place. */
static void load_conflict(unsigned n)
{
    while (n--)
        sum += viv_ld64(c, n & 1 ? FAR : 0);
}

static void first_touch(unsigned n)
{
    for (unsigned k = 0; k < n; k++) {
        if (k % 1024 == 0)
            viv_tlb_flush_all(c);
        sum += viv_ld64(c, FAR + k % 1024 * 4096);
    }
}

static unsigned touched;
static void cr3_load(unsigned n)
{
    while (n--) {
        viv_cr_write(c, 3, c->cr3);
        for (unsigned k = 0; k < touched; k++)
            sum += viv_ld64(c, FAR + k * 4096);
    }
}

static void invlpg(unsigned n)
{
    while (n--)
        viv_tlb_flush_page(c, FAR + n % PAGES * 4096);
}

static void pge_toggle(unsigned n)
{
    while (n--) {
        viv_cr_write(c, 4, c->cr4 ^ VIV_CR4_PGE);
        sum += viv_ld64(c, FAR);
    }
}

/* ---- instructions ---- */

static struct viv_insn insn[4];

static void decode(struct viv_insn *i, const char *bytes, unsigned len)
{
    char padded[16] = {0};

    memcpy(padded, bytes, len);
    if (viv_decode((const uint8_t *)padded, 15, VIV_MODE_LONG, c->cpuid, i) != VIV_DECODE_OK)
        abort();
}

static void run(const struct viv_insn *i)
{
    c->next_rip = c->rip + i->len;
    c->insn = i;
    i->exec(c, i);
    c->rip = c->next_rip;
}

static void syscall_sysret(unsigned n)
{
    while (n--) {
        run(&insn[0]);
        viv_interp_context(c);
        run(&insn[1]);
        viv_interp_context(c);
    }
}

static void int_iret(unsigned n)
{
    while (n--) {
        run(&insn[0]);
        viv_interp_context(c);
        run(&insn[1]);
        viv_interp_context(c);
    }
}

static void page_fault(unsigned n)
{
    struct viv_interp *it = c->interp;

    while (n--) {
        if (_setjmp(it->jmp) == 0)
            viv_ld64(c, TEST_ABSENT);
        viv_x86_deliver_pending(c);
        viv_interp_context(c);
        c->next_rip = c->rip;
        c->gpr[VIV_RSP] += 8;
        run(&insn[1]);
        viv_interp_context(c);
    }
}

static void one_insn(unsigned n)
{
    while (n--)
        run(&insn[0]);
}

static void context(unsigned n)
{
    while (n--)
        viv_interp_context(c);
}

static unsigned count;
static void rep(unsigned n)
{
    while (n--) {
        c->gpr[VIV_RCX] = count;
        c->gpr[VIV_RSI] = TEST_DATA;
        c->gpr[VIV_RDI] = TEST_DATA + 0x10000;
        c->gpr[VIV_RAX] = 1;
        do
            run(&insn[0]);
        while (c->gpr[VIV_RCX] && !(insn[0].opcode & 2 && insn[0].opcode != 0xaa && insn[0].opcode != 0xab));
        c->rip = TEST_CODE;
    }
}

/* Kernel at CPL 0, user code at selector 0x33, and a TSS for the way back. */
static void user_mode(void)
{
    uint8_t *gdt = t->ram + TEST_GDT;

    viv_st_le64(gdt + 8, 0x00af9b000000ffffull);
    viv_st_le64(gdt + 16, 0x00cf93000000ffffull);
    viv_st_le64(gdt + 0x28, 0x00cff3000000ffffull);
    viv_st_le64(gdt + 0x30, 0x00affb000000ffffull);
    viv_st_le64(t->ram + 0x6004, TEST_STACK);
    c->seg[VIV_TR] = (struct viv_seg){.base = 0x6000, .limit = 0x67, .attr = 0x8b, .sel = 0x38};
    viv_st_le32(t->ram + TEST_IDT + 14 * 16 + 4, 0x8e00 | 3 << 13);
    viv_st_le32(t->ram + TEST_IDT + 3 * 16 + 4, 0x8e00 | 3 << 13);
    c->msr.star = 0x0023000800000000ull;
    c->msr.lstar = TEST_CODE;
    c->msr.fmask = 0x47700;
    c->gpr[VIV_RCX] = TEST_CODE;
    c->gpr[11] = 0x202;
    decode(&insn[1], "\x48\x0f\x07", 3);
    run(&insn[1]);
    viv_interp_context(c);
}

static void bench_tlb(void)
{
    map_far(false);
    measure("load, TLB hit (C accessor)", load_hit, 100000);
    measure("load, random over 1 MiB", load_256, 100000);
    measure("load, random over 8 MiB", load_2048, 100000);
    measure("load, random over 64 MiB", load_all, 100000);
    measure("store, random over 64 MiB", store_all, 100000);
    measure("load, two pages in one slot", load_conflict, 100000);
    measure("load, first touch of each page", first_touch, 102400);
    for (touched = 1; touched <= 1024; touched *= 4) {
        char name[64];

        snprintf(name, sizeof(name), "CR3 load, then %u pages", touched);
        measure(name, cr3_load, 2000);
    }
    measure("INVLPG", invlpg, 100000);
    measure("CR4.PGE toggle, then a load", pge_toggle, 2000);
}

static void bench_system(void)
{
    measure("viv_interp_context", context, 100000);
    user_mode();
    decode(&insn[0], "\x0f\x05", 2);
    decode(&insn[1], "\x48\x0f\x07", 3);
    measure("SYSCALL + SYSRET", syscall_sysret, 100000);
    decode(&insn[0], "\xcc", 1);
    decode(&insn[1], "\x48\xcf", 2);
    measure("INT3 + IRETQ, user to kernel and back", int_iret, 100000);
    measure("#PF + IRETQ, user to kernel and back", page_fault, 100000);
    viv_x86_set_cpl(c, 0);
    viv_interp_context(c);
    decode(&insn[0], "\x0f\x01\xf8", 3);
    measure("SWAPGS", one_insn, 100000);
    c->gpr[VIV_RCX] = 0xc0000100;
    c->gpr[VIV_RAX] = c->gpr[VIV_RDX] = 0;
    decode(&insn[0], "\x0f\x30", 2);
    measure("WRMSR FS.base", one_insn, 100000);
    decode(&insn[0], "\x0f\x31", 2);
    measure("RDTSC", one_insn, 100000);
    decode(&insn[0], "\xfa", 1);
    measure("CLI", one_insn, 100000);
    decode(&insn[0], "\xfb", 1);
    measure("STI", one_insn, 100000);
    c->sti_shadow = false;
}

static void bench_strings(void)
{
    static const struct {
        const char *name, *code;
        unsigned count;
    } s[] = {
        {"REP MOVSB, 8 bytes", "\xf3\xa4", 8}, {"REP MOVSB, 64 bytes", "\xf3\xa4", 64},
        {"REP MOVSQ, page", "\xf3\x48\xa5", 512}, {"REP STOSB, 8 bytes", "\xf3\xaa", 8},
        {"REP STOSQ, page", "\xf3\x48\xab", 512}, {"REPE CMPSB, 4096 bytes", "\xf3\xa6", 4096},
        {"REPE CMPSB, 16 bytes", "\xf3\xa6", 16}, {"REPNE SCASB, 4096 bytes", "\xf2\xae", 4096},
        {"REPNE SCASB, 16 bytes", "\xf2\xae", 16},
    };

    c->gpr[VIV_RSP] = TEST_STACK;
    for (unsigned n = 0; n < sizeof(s) / sizeof(s[0]); n++) {
        memset(t->ram + TEST_DATA, 0, 0x20000);
        decode(&insn[0], s[n].code, 3);
        count = s[n].count;
        measure(s[n].name, rep, 1000);
    }
    c->eflags |= VIV_FL_DF;
    decode(&insn[0], "\xf3\x48\xa5", 3);
    count = 512;
    measure("REP MOVSQ downwards, page", rep, 1000);
    c->eflags &= ~VIV_FL_DF;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        only = argv[1];
    t = test_cpu_get(VIV_MODE_LONG);
    c = t->c;
    viv_interp_context(c);
    bench_tlb();
    bench_system();
    bench_strings();
    return sum == 1;
}
