/* What a hostile guest, or an unlucky moment, could do to the translator. */
#include "cpu/x86/xlate/xlate_testing.h"

#include "base/bytes.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/xlate/xlate_int.h"
#include "mem/ram.h"

#include <glib.h>
#include <string.h>

/* ---- names ---- */

GUEST(to_zero, "xor %eax, %eax\n"
               "mov $50000, %ecx\n"
               "jmp *%rax");
GUEST(at_zero, "dec %ecx\n"
               "jz 0f\n"
               "jmp *%rax\n"
               "0: hlt");

static bool stop;

static void *kick_on(void *arg)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        viv_xlate_kick(c);
    return NULL;
}

/* An empty entry of the jump cache holds zeros: no address may find it, at any moment. */
static void test_jump_to_zero(void)
{
    GThread *other;

    start(&(struct viv_xlate_opts){.no_chain = true}); /* its entries stay empty */
    LOAD(TEST_CODE, to_zero);
    LOAD(0, at_zero);
    stop = false;
    other = g_thread_new("kicks", kick_on, NULL);
    run(TEST_CODE);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    g_thread_join(other);
    g_assert_cmpuint(c->gpr[VIV_RCX], ==, 0);
    finish();
}

/* A guest that knew the names could compute an address that finds another mode's entry. */
static void test_names_differ(void)
{
    uint64_t name[3];

    for (unsigned n = 0; n < 3; n++) {
        start(NULL);
        LOAD(TEST_CODE, to_zero);
        LOAD(0, at_zero);
        run(TEST_CODE);
        name[n] = c->xl.jump_key;
        viv_xlate_kick(c);
        g_assert_cmphex(c->xl.jump_key, !=, 0);
        g_assert_cmphex(c->xl.jump_key, !=, name[n]);
        finish();
    }
    g_assert_cmphex(name[0], !=, name[1]);
    g_assert_cmphex(name[1] - name[0], !=, name[2] - name[1]);
}

GUEST(call_loop, "mov $1000, %ecx\n"
                 "0: call *%rsi\n"
                 "dec %ecx\n"
                 "jnz 0b\n"
                 "hlt");
GUEST(callee_1, "mov $1, %eax\n"
                "ret");
GUEST(callee_2, "mov $2, %eax\n"
                "ret");

/* A kick whose last store comes after the vCPU has seen the first: the names come back. */
static void test_late_kick(void)
{
    uint64_t before;

    start(NULL);
    LOAD(TEST_CODE, call_loop);
    LOAD(TEST_DATA, callee_1);
    c->gpr[VIV_RSI] = TEST_DATA;
    run(TEST_CODE);
    before = stats().dispatches;
    viv_xlate_kick(c);
    c->xl.calm = 1;
    run(TEST_CODE);
    g_assert_cmpuint(stats().dispatches - before, <, 20);
    finish();
}

/* The entries that lead to code that has been replaced are replaced as well. */
static void test_replaced_callee(void)
{
    uint64_t before;

    start(NULL);
    LOAD(TEST_CODE, call_loop);
    LOAD(TEST_DATA, callee_1);
    c->gpr[VIV_RSI] = TEST_DATA;
    run(TEST_CODE);
    LOAD(TEST_DATA, callee_2);
    before = stats().dispatches;
    run(TEST_CODE);
    g_assert_cmpuint(c->gpr[VIV_RAX], ==, 2);
    g_assert_cmpuint(stats().dispatches - before, <, 20);
    finish();
}

/* ---- code that is written while it is read ---- */

#define WRITES 20000u
#define MOST_US 2000000 /* on a busy host */
#define OVER   UINT32_MAX

static struct {
    uint32_t round, written; /* atomic */
} race;

/* Waits for the round; false: there is no more. */
static bool wait_round(uint32_t n)
{
    uint32_t now;

    while ((now = __atomic_load_n(&race.round, __ATOMIC_ACQUIRE)) < n)
        g_thread_yield();
    return now != OVER;
}

static bool more_rounds(uint32_t n, gint64 from)
{
    return n <= WRITES && g_get_monotonic_time() - from < MOST_US;
}

static void *write_code(void *arg)
{
    uint32_t rnd = 1;

    for (uint32_t n = 1; wait_round(n); n++) {
        rnd = rnd * 1664525u + 1013904223u;
        for (volatile uint32_t k = 0; k < rnd >> 20; k = k + 1)
            ;
        __atomic_store_n((uint32_t *)(t->ram + TEST_CODE), n << 8 | 0xb8, __ATOMIC_RELAXED); /* mov $n, %eax */
        viv_ram_written(t->ram + TEST_CODE, 4);
        __atomic_store_n(&race.written, n, __ATOMIC_RELEASE);
    }
    return NULL;
}

/* What runs when nobody writes any more is what stands there. */
static void code_written_while_read(const struct viv_xlate_opts *opts)
{
    gint64 from = g_get_monotonic_time();
    uint8_t code[256];
    GThread *other;

    start(opts);
    memset(code, 0x90, sizeof(code)); /* that take time to translate */
    memcpy(code, (uint8_t[]){0xb8, 0, 0, 0, 0}, 5);
    memcpy(code + 40, (uint8_t[]){0xf4}, 1);
    load(TEST_CODE, code, code + sizeof(code));
    race.round = race.written = 0;
    other = g_thread_new("writer", write_code, NULL);
    for (uint32_t n = 1; more_rounds(n, from); n++) {
        uint32_t one = n << 16; /* new code on the same page each time */

        viv_st_le32(t->ram + TEST_CODE + 36, one | 0x9090);
        viv_ram_written(t->ram + TEST_CODE + 36, 4);
        viv_st_le32(t->ram + TEST_CODE + 36, 0x90909090);
        viv_ram_written(t->ram + TEST_CODE + 36, 4);
        __atomic_store_n(&race.round, n, __ATOMIC_RELEASE);
        run(TEST_CODE);
        while (__atomic_load_n(&race.written, __ATOMIC_ACQUIRE) < n)
            g_thread_yield();
        run(TEST_CODE);
        g_assert_cmpuint(c->gpr[VIV_RAX], ==, n);
    }
    __atomic_store_n(&race.round, OVER, __ATOMIC_RELEASE);
    g_thread_join(other);
    finish();
}

static void test_written_while_read(void)
{
    code_written_while_read(NULL);
}

static void test_written_while_read_interp(void)
{
    code_written_while_read(&(struct viv_xlate_opts){.interp_cold = true});
}

/* ---- cross-modifying code (SDM 3A 9.1.3) ---- */

/* Wait for the flag, which is looked at long after any look for news; serialize; run what was written before the flag. */
GUEST(wait_for_code, "0: mov $0x1000000, %eax\n"
                     "mov $3, %esi\n"
                     ".rept 12\n"
                     "xor %edx, %edx\n"
                     "div %esi\n"
                     "or $0x1000000, %eax\n"
                     ".endr\n"
                     "mov (%rdi), %eax\n"
                     "test %eax, %eax\n"
                     "jz 0b\n"
                     "xor %eax, %eax\n"
                     "cpuid\n"
                     "mov $0, %eax\n"
                     "hlt");
#define WRITTEN (TEST_CODE + (uint32_t)(wait_for_code_end - wait_for_code) - 5)

static void *write_and_tell(void *arg)
{
    for (uint32_t n = 1; wait_round(n); n++) {
        for (volatile uint32_t k = 0; k < (n * 7 & 1023); k = k + 1)
            ;
        memcpy(t->ram + WRITTEN, &n, 4);
        viv_ram_written(t->ram + WRITTEN, 4);
        __atomic_store_n((uint32_t *)(t->ram + TEST_DATA), 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void test_serialized(void)
{
    gint64 from = g_get_monotonic_time();
    GThread *other;

    start(NULL);
    LOAD(TEST_CODE, wait_for_code);
    c->gpr[VIV_RDI] = TEST_DATA;
    race.round = 0;
    other = g_thread_new("writer", write_and_tell, NULL);
    for (uint32_t n = 1; more_rounds(n, from); n++) {
        viv_st_le32(t->ram + TEST_DATA, 0);
        __atomic_store_n(&race.round, n, __ATOMIC_RELEASE);
        run(TEST_CODE);
        g_assert_cmpuint(c->gpr[VIV_RAX], ==, n);
    }
    __atomic_store_n(&race.round, OVER, __ATOMIC_RELEASE);
    g_thread_join(other);
    finish();
}

/* ---- code among page tables ---- */

GUEST(in_table, "mov (%rdi), %ecx\n" /* sets the accessed bit of an entry beside this code */
                "movb $2, 1f+1(%rip)\n"
                "1: mov $1, %eax\n"
                "hlt");
GUEST(in_table_group, "mov (%rdi), %ecx\n"
                      "lea 1f(%rip), %rdx\n"
                      "movb $2, 1(%rdx)\n"
                      "movb $1, 2(%rdx)\n"
                      "1: mov $1, %eax\n"
                      "hlt");
#define IN_TABLE (SMALL_TABLE + 0x800)

static void in_table_sets(const uint8_t *code, const uint8_t *end, uint64_t rax)
{
    start(NULL);
    for (unsigned n = 0; n < 4; n++) {
        load(IN_TABLE, code, end);
        map(SMALL, PAGE_1 | 7);
        c->gpr[VIV_RDI] = SMALL;
        viv_tlb_flush_page(c, SMALL);
        run(IN_TABLE);
        g_assert_cmphex(viv_ld_le64(t->ram + SMALL_TABLE), ==, PAGE_1 | 0x27);
        g_assert_cmphex(c->gpr[VIV_RAX], ==, rax);
    }
    finish();
}

/* A walk that stores to the page that runs takes the flag away by which later stores would be seen. */
static void test_code_in_table(void)
{
    in_table_sets(in_table, in_table_end, 2);
    in_table_sets(in_table_group, in_table_group_end, 0x102);
}

GUEST(count_up, "xor %ebx, %ebx\n"
                "mov $20, %ecx\n"
                "0: call *%rsi\n"
                "add %eax, %ebx\n"
                "incb (%rdi)\n" /* the immediate */
                "dec %ecx\n"
                "jnz 0b\n"
                "hlt");

/* The fetch of an instruction's other half stores to the page that its first half is in. */
static void test_crossing_out_of_table(void)
{
    static const uint8_t code[] = {0xb8, 1, 0, 0, 0, 0xc3}; /* mov $1, %eax; ret */

    start(NULL);
    LOAD(TEST_CODE, count_up);
    load(SMALL_TABLE + 0xffd, code, code + 3);
    load(PAGE_2, code + 3, code + 6);
    map(SMALL + 0x10000, SMALL_TABLE | 7);
    map(SMALL + 0x11000, PAGE_2 | 7);
    c->gpr[VIV_RSI] = SMALL + 0x10ffd;
    c->gpr[VIV_RDI] = SMALL_TABLE + 0xffe;
    run(TEST_CODE);
    g_assert_cmpuint(c->gpr[VIV_RBX], ==, 20 * 21 / 2);
    finish();
}

/* ---- slots ---- */

#define SLOTS_AWAY (1u << 28) /* the same slot of the first-level TLB */

GUEST(behind_base, "mov (%rsi), %eax\n" /* fills the slot of the base, or of what lies behind it */
                   "mov %r8, %rbp\n"
                   "mov 0x7f(%rbx), %edx\n"
                   "addl $1, 0x7f(%r8)\n" /* its base is in memory */
                   "mov 0x7f(%rbx), %ecx\n"
                   "hlt");

/* [base + disp] by the slot of the base: whatever that holds, and wherever the page ends, the right memory is found. */
static void test_slot_of_base(void)
{
    start(NULL);
    LOAD(TEST_CODE, behind_base);
    viv_st_le64(t->ram + 0x102000 + ((SMALL + SLOTS_AWAY) >> 21) * 8, 0x109007);
    for (unsigned n = 0; n < 4; n++) {
        map(SMALL + n * 0x1000, (PAGE_1 + n * 0x2000) | 7);
        viv_st_le64(t->ram + 0x109000 + n * 8, (PAGE_2 + n * 0x1000) | 7);
    }
    for (unsigned n = 0; n < 0x180; n++) {
        uint32_t base = SMALL + 0xf00 + n, at = base + 0x7f, page = at >> 12 & 1, in = at & 0xfff;
        uint32_t fill[] = {SMALL, SMALL + 0x1000, SMALL + SLOTS_AWAY, SMALL + SLOTS_AWAY + 0x1000};

        for (unsigned k = 0; k < 4; k++) {
            uint32_t v = n << 16 | k << 8;

            memset(t->ram + PAGE_1, 0xee, 0x4000);
            memset(t->ram + PAGE_2, 0x77, 0x4000);
            for (unsigned b = 0; b < 4; b++) /* it may cross */
                t->ram[PAGE_1 + (page + (in + b) / 4096) * 0x2000 + (in + b) % 4096] = (uint8_t)(v >> 8 * b);
            c->gpr[VIV_RSI] = fill[k];
            c->gpr[VIV_RBX] = c->gpr[8] = base;
            run(TEST_CODE);
            g_assert_cmphex(c->gpr[VIV_RDX], ==, v);
            g_assert_cmphex(c->gpr[VIV_RCX], ==, v + 1);
        }
    }
    finish();
}

/* ---- groups of accesses ---- */

GUEST(around_up, "movq $0, (%rsp)\n" /* now the page is in the TLB */
                 "jmp 1f\n"
                 "1: mov (%rsp), %rax\n"
                 "mov 8(%rsp), %rcx\n"
                 "add $0x7fffffff, %rsp\n"
                 "add $0x7fffffff, %rsp\n"
                 "add $2, %rsp\n"
                 "mov %rax, (%rsp)\n"
                 "hlt");
GUEST(around_down, "movq $0, (%rsp)\n" /* now the page is in the TLB */
                   "jmp 1f\n"
                   "1: mov (%rsp), %rax\n"
                   "mov 8(%rsp), %rcx\n"
                   "sub $-0x80000000, %rsp\n"
                   "lea 0x7fffffff(%rsp), %rsp\n"
                   "lea 1(%rsp), %rsp\n"
                   "mov %rax, (%rsp)\n"
                   "hlt");

/* Two addresses 4 GiB apart are not alike, in the guest nor in the host. */
static void test_around(void)
{
    for (unsigned again = 0; again < 2; again++) {
        start(NULL);
        viv_st_le64(t->ram + TEST_STACK, 0);
        if (again)
            LOAD(TEST_CODE, around_down);
        else
            LOAD(TEST_CODE, around_up);
        run(TEST_CODE);
        g_assert_cmpint(test_cpu_exception(t), ==, VIV_PF);
        g_assert_cmphex(c->cr2, ==, TEST_STACK + (1ull << 32));
        finish();
    }
}

GUEST(fill_and_go, "movb $0, (%rdi)\n" /* the page is writable in the table */
                   "movb $0, (%rdi)\n"
                   "jmp *%rsi");
GUEST(group_on_itself, "movb $2, 1f+1-0f(%rdx)\n"
                       "0: movb $1, 1f+2-0b(%rdx)\n"
                       "1: mov $1, %eax\n"
                       "hlt");

/* A group that stores to the page that it runs in, by another address that was writable before there was code. */
static void test_group_on_itself(void)
{
    start(NULL);
    LOAD(TEST_CODE, fill_and_go);
    map(SMALL, PAGE_1 | 7);
    map(SMALL + 0x5000, PAGE_1 | 7);
    c->gpr[VIV_RSI] = SMALL;
    c->gpr[VIV_RDI] = SMALL + 0x5800;
    c->gpr[VIV_RDX] = SMALL + 0x5007; /* label 0 */
    for (unsigned n = 0; n < 4; n++) {
        LOAD(PAGE_1, group_on_itself);
        run(TEST_CODE);
        g_assert_cmphex(c->gpr[VIV_RAX], ==, 0x102);
    }
    finish();
}

/* Two groups of a block have stored, and both pages have become code meanwhile: leaving for the first, the second is not
 * forgotten. */
static void test_two_groups(void)
{
    uint32_t version[2];
    size_t page[2];

    start(NULL);
    for (unsigned n = 0; n < 2; n++) {
        page[n] = viv_arena_page(t->ram + (n ? PAGE_2 : PAGE_1));
        version[n] = viv_ram_mark_code(t->ram + (n ? PAGE_2 : PAGE_1));
        c->xl_group[VIV_RBX + 4 * n][1] = (uintptr_t)&viv_arena_flags[page[n]];
    }
    viv_xl_stored(c, (uint8_t *)&viv_arena_flags[page[0]]);
    for (unsigned n = 0; n < 2; n++)
        g_assert_cmpuint(viv_arena_version[page[n]], ==, version[n] + 1);
    finish();
}

/* ---- branches that go far ---- */

GUEST(far_jmp, ".byte 0xe9; .long 0x7fffffff");
GUEST(far_jcc, ".byte 0x0f, 0x81; .long 0x7fffffff"); /* jno */
GUEST(far_call, ".byte 0xe8; .long 0x7fffffff");
GUEST(far_back, ".byte 0xe9; .long 0x80000000");

static void far(const uint8_t *from, const uint8_t *end, int64_t distance)
{
    start(NULL);
    load(TEST_CODE, from, end);
    run(TEST_CODE);
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_PF);
    g_assert_cmphex(c->cr2, ==, TEST_CODE + (uint64_t)(end - from) + (uint64_t)distance);
    finish();
}

static void test_far_branches(void)
{
    far(far_jmp, far_jmp_end, 0x7fffffff);
    far(far_jcc, far_jcc_end, 0x7fffffff);
    far(far_call, far_call_end, 0x7fffffff);
    far(far_back, far_back_end, -0x80000000ll);
}

/* ---- the end of the canonical addresses ---- */

#define LAST_PAGE 0x7ffffffff000ull
#define END       0x800000000000ull

static void map_last_page(uint32_t phys)
{
    viv_st_le64(t->ram + 0x100000 + 255 * 8, 0x109007);
    viv_st_le64(t->ram + 0x109000 + 511 * 8, 0x10a007);
    viv_st_le64(t->ram + 0x10a000 + 511 * 8, 0x10b007);
    viv_st_le64(t->ram + 0x10b000 + 511 * 8, phys | 7);
}

static void at_the_end(const char *name, const uint8_t *code, unsigned len, unsigned offset, uint64_t rip)
{
    static const uint8_t enter[] = {0xff, 0xe6}; /* jmp *%rsi */

    for (unsigned again = 0; again < 2; again++) {
        g_test_message("%s", name);
        load(TEST_CODE, enter, enter + 2);
        memset(t->ram + PAGE_1, 0x90, 4096);
        load(PAGE_1 + offset, code, code + len);
        c->gpr[VIV_RSI] = LAST_PAGE + offset;
        c->gpr[VIV_RBX] = END;
        viv_st_le64(t->ram + TEST_STACK, END);
        run(TEST_CODE);
        g_assert_cmpint(test_cpu_exception(t), ==, VIV_GP);
        g_assert_cmphex(frame(0), ==, rip);
        g_assert_cmphex(frame(3), ==, TEST_STACK);
    }
}

static void test_end_of_canonical(void)
{
    static const uint8_t ret_imm[] = {0xc2, 0x30, 0}, fall[] = {0x90, 0x90}, fall_1[] = {0x31, 0xc0};
    static const uint8_t jmp[] = {0xe9, 0, 1, 0, 0}, call[] = {0xe8, 0, 1, 0, 0};
    static const uint8_t jcc[] = {0x31, 0xc0, 0x0f, 0x84, 0, 1, 0, 0}, jmp_rbx[] = {0xff, 0xe3}, call_rbx[] = {0xff, 0xd3};

    start(NULL);
    map_last_page(PAGE_1);
    at_the_end("ret", ret_imm, 3, 0xf00, LAST_PAGE + 0xf00); /* leaves something behind for the others */
    at_the_end("fall", fall, 2, 0xffe, END);
    at_the_end("fall from another block", fall_1, 2, 0xf00, END);
    at_the_end("ret", ret_imm, 3, 0xf00, LAST_PAGE + 0xf00);
    at_the_end("jmp", jmp, 5, 0xfc0, LAST_PAGE + 0xfc0);
    at_the_end("ret", ret_imm, 3, 0xf00, LAST_PAGE + 0xf00);
    at_the_end("jcc", jcc, 8, 0xfc0, LAST_PAGE + 0xfc2);
    at_the_end("call", call, 5, 0xfc0, LAST_PAGE + 0xfc0);
    at_the_end("jmp reg", jmp_rbx, 2, 0xfc0, LAST_PAGE + 0xfc0);
    at_the_end("call reg", call_rbx, 2, 0xfc0, LAST_PAGE + 0xfc0);
    finish();
    start(&(struct viv_xlate_opts){.interp_cold = true});
    map_last_page(PAGE_1);
    at_the_end("fall", fall, 2, 0xffe, END);
    at_the_end("jmp", jmp, 5, 0xfc0, LAST_PAGE + 0xfc0);
    finish();
}

/* ---- what the host does otherwise than the guest's CPU ---- */

GUEST(vex_code, "vmovaps %xmm1, %xmm0\n"
                "vpaddd %ymm1, %ymm2, %ymm2\n"
                "movaps %xmm1, %xmm3\n"
                "hlt");

/* VEX clears up to bit 511, SSE nothing. */
static void test_vex_clears(void)
{
    static const uint8_t none[32];

    start(NULL);
    if (!(~t->cpuid->xcr0_mask & 0xe6)) {
        c->cr4 |= VIV_CR4_OSXSAVE;
        c->xcr0 = 0xe7;
        viv_x86_update_mode(c);
        memset(c->fpu.zmm, 0xa5, sizeof(c->fpu.zmm));
        LOAD(TEST_CODE, vex_code);
        run(TEST_CODE);
        g_assert_cmpmem(c->fpu.zmm[0] + 32, 32, none, 32);
        g_assert_cmpmem(c->fpu.zmm[0] + 16, 16, none, 16);
        g_assert_cmpmem(c->fpu.zmm[2] + 32, 32, none, 32);
        g_assert_cmphex(c->fpu.zmm[2][16], ==, 0x4a);
        g_assert_cmpmem(c->fpu.zmm[3], 64, c->fpu.zmm[1], 64);
        g_assert_cmphex(c->fpu.zmm[31][63], ==, 0xa5);
    } else {
        g_test_skip("no AVX-512");
    }
    finish();
}

GUEST(movdiri_code, "movdiri %eax, (%rbx)\n"
                    "hlt");

/* Promised to the guest whatever the host has. */
static void test_movdiri(void)
{
    uint64_t before;

    start(NULL);
    LOAD(TEST_CODE, movdiri_code);
    c->gpr[VIV_RAX] = 0x12345678;
    c->gpr[VIV_RBX] = TEST_DATA;
    before = stats().helper_calls;
    run(TEST_CODE);
    g_assert_cmphex(viv_ld_le32(t->ram + TEST_DATA), ==, 0x12345678);
    g_assert_cmpuint(stats().helper_calls - before, ==, 2); /* with HLT */
    finish();
}

/* ---- 32-bit code ---- */

static void start_32(void)
{
    static const struct viv_xlate_opts normal;
    struct viv_err err = VIV_ERR_INIT;

    t = test_cpu_get(VIV_MODE_PROT32);
    c = t->c;
    atomic_store(&t->vcpu.requests, 0);
    g_assert_cmpint(viv_xlate_attach(c, &normal, &err), ==, 0);
}

/* Thread-local variables lie below the base: the sum wraps, and is no exception to be done slowly. */
static void test_below_base(void)
{
    static const uint8_t code[] = {0x65, 0xa1, 0xfc, 0xff, 0xff, 0xff,        /* mov %gs:-4, %eax */
                                   0x65, 0x8b, 0x1d, 0xf8, 0xff, 0xff, 0xff,  /* mov %gs:-8, %ebx */
                                   0xb9, 0xf4, 0xff, 0xff, 0xff,              /* mov $-12, %ecx */
                                   0x64, 0x89, 0x19, 0xf4};                   /* mov %ebx, %fs:(%ecx) */

    start_32();
    load(TEST_CODE, code, code + sizeof(code));
    c->seg[VIV_GS].base = c->seg[VIV_FS].base = TEST_DATA + 0x100;
    viv_st_le32(t->ram + TEST_DATA + 0xfc, 0x11223344);
    viv_st_le32(t->ram + TEST_DATA + 0xf8, 0x55667788);
    run(TEST_CODE);
    g_assert_cmphex(c->gpr[VIV_RAX], ==, 0x11223344);
    g_assert_cmphex(c->gpr[VIV_RBX], ==, 0x55667788);
    g_assert_cmphex(viv_ld_le32(t->ram + TEST_DATA + 0xf4), ==, 0x55667788);
    g_assert_cmpuint(stats().interp_insns, ==, 0);
    c->seg[VIV_GS].attr |= VIV_SEG_UNUSABLE;
    run(TEST_CODE);
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_GP);
    c->seg[VIV_GS].attr &= ~VIV_SEG_UNUSABLE;
    c->seg[VIV_GS].limit = 0xfff;
    run(TEST_CODE);
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_GP);
    finish();
}

/* VEX.W of general registers does not count: one that did would store 8 bytes where 4 have been looked up. */
static void test_vex_w(void)
{
    static const uint8_t code[] = {0xc4, 0xe1, 0xf9, 0x7e, 0x03,        /* vmovd %xmm0, (%ebx), W = 1 */
                                   0xc4, 0xe2, 0xf0, 0xf2, 0xc2, 0xf4}; /* andn %edx, %ecx, %eax, W = 1 */

    start_32();
    load(TEST_CODE, code, code + sizeof(code));
    c->cr4 |= VIV_CR4_OSXSAVE | VIV_CR4_OSFXSR;
    c->xcr0 = 7;
    viv_x86_update_mode(c);
    memset(c->fpu.zmm[0], 0xa5, 16);
    c->gpr[VIV_RBX] = TEST_DATA + 0xffc;
    c->gpr[VIV_RCX] = 0;
    c->gpr[VIV_RDX] = 0xffffffff80000000;
    run(TEST_CODE);
    g_assert_cmphex(viv_ld_le64(t->ram + TEST_DATA + 0xffc), ==, 0xa5a5a5a5);
    g_assert_cmphex(c->gpr[VIV_RAX], ==, 0x80000000);
    finish();
}

/* ---- what grows ---- */

GUEST(crossing, "0: dec %ecx\n"
                "mov $0x12345678, %eax\n" /* its last bytes are on the next page */
                "jnz 0b\n"
                "hlt");

static void test_crossing_instruction(void)
{
    start(&(struct viv_xlate_opts){.cache_bytes = 256 << 10});
    LOAD(TEST_CODE + 0x1000 - 4, crossing);
    c->gpr[VIV_RCX] = 20000;
    run(TEST_CODE + 0x1000 - 4);
    g_assert_cmpuint(c->gpr[VIV_RCX], ==, 0);
    g_assert_cmpuint(stats().flushes, ==, 0);
    finish();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xlate/attack/jump-to-zero", test_jump_to_zero);
    g_test_add_func("/xlate/attack/names", test_names_differ);
    g_test_add_func("/xlate/attack/late-kick", test_late_kick);
    g_test_add_func("/xlate/attack/replaced-callee", test_replaced_callee);
    g_test_add_func("/xlate/attack/written-while-read", test_written_while_read);
    g_test_add_func("/xlate/attack/written-while-read/interp", test_written_while_read_interp);
    g_test_add_func("/xlate/attack/serialized", test_serialized);
    g_test_add_func("/xlate/attack/code-in-table", test_code_in_table);
    g_test_add_func("/xlate/attack/code-in-table/crossing", test_crossing_out_of_table);
    g_test_add_func("/xlate/attack/slot-of-base", test_slot_of_base);
    g_test_add_func("/xlate/attack/around", test_around);
    g_test_add_func("/xlate/attack/group-on-itself", test_group_on_itself);
    g_test_add_func("/xlate/attack/two-groups", test_two_groups);
    g_test_add_func("/xlate/attack/far-branches", test_far_branches);
    g_test_add_func("/xlate/attack/end-of-canonical", test_end_of_canonical);
    g_test_add_func("/xlate/attack/vex-clears", test_vex_clears);
    g_test_add_func("/xlate/attack/movdiri", test_movdiri);
    g_test_add_func("/xlate/attack/below-base", test_below_base);
    g_test_add_func("/xlate/attack/vex-w", test_vex_w);
    g_test_add_func("/xlate/attack/crossing-instruction", test_crossing_instruction);
    return run_tests();
}
