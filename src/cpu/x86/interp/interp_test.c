/* The interpreter on payloads: what the manual says about instructions as a whole, faults and
 * their state, code that changes itself, repeated strings. Single results against the bare CPU
 * are another test's. */
#include "cpu/x86/interp/test_cpu.h"

#include "base/bytes.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/msr.h"

#include <glib.h>
#include <string.h>

static unsigned from_hex(const char *hex, uint8_t *out)
{
    unsigned n = 0;

    for (; *hex; hex++) {
        if (*hex == ' ')
            continue;
        out[n++] = (uint8_t)(g_ascii_xdigit_value(hex[0]) << 4 | g_ascii_xdigit_value(hex[1]));
        hex++;
    }
    return n;
}

static struct test_cpu *with_code(unsigned mode, const char *hex)
{
    struct test_cpu *t = test_cpu_get(mode);
    uint8_t bytes[256];

    test_cpu_code(t, bytes, from_hex(hex, bytes));
    return t;
}

/* Runs it; it must halt. The exception it ended in, or -1. */
static int run(struct test_cpu *t)
{
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
    return test_cpu_exception(t);
}

/* Payloads that end in HLT, and one register to look at. */
struct payload {
    const char *what, *hex;
    uint8_t mode, reg;
    int exception; /* -1: none */
    uint64_t value;
};

static const struct payload payloads[] = {
    {"32-bit result clears the upper half", "48c7c0ffffffff 01c0 f4", VIV_MODE_LONG, VIV_RAX, -1, 0xfffffffe},
    {"16-bit result keeps it", "48c7c0ffffffff 6601c0 f4", VIV_MODE_LONG, VIV_RAX, -1, 0xfffffffffffffffe},
    {"AH without REX", "b834120000 88e3 f4", VIV_MODE_LONG, VIV_RBX, -1, 0x12},
    {"SPL with REX", "4088e3 f4", VIV_MODE_LONG, VIV_RBX, -1, 0},
    {"NOP is not XCHG EAX, EAX", "48c7c0ffffffff 90 f4", VIV_MODE_LONG, VIV_RAX, -1, ~0ull},
    {"CMOV clears the upper half when it does not move", "48c7c0ffffffff 31db 0f45c3 f4", VIV_MODE_LONG,
     VIV_RAX, -1, 0xffffffff},
    {"loop sums 1..100", "31c0 b964000000 01c8 e2fc f4", VIV_MODE_LONG, VIV_RAX, -1, 5050},
    {"call, ret, leave", "e801000000 f4 c8100000 b807000000 c9 c3", VIV_MODE_LONG, VIV_RAX, -1, 7},
    {"RIP-relative", "8b0506000000 90 f4 0000000078563412", VIV_MODE_LONG, VIV_RAX, -1, 0x12345678},
    {"POP [RSP] uses the new RSP", "6a05 6a07 8f0424 58 f4", VIV_MODE_LONG, VIV_RAX, -1, 7},
    {"DIV by zero", "31c9 f7f1 f4", VIV_MODE_LONG, VIV_RCX, VIV_DE, 0},
    {"IDIV overflow", "b800000080 99 83c9ff f7f9 f4", VIV_MODE_LONG, VIV_RDX, VIV_DE, 0xffffffff},
    {"UD2", "0f0b", VIV_MODE_LONG, VIV_RAX, VIV_UD, 0},
    {"LOCK without memory", "f001c0", VIV_MODE_LONG, VIV_RAX, VIV_UD, 0},
    {"PUSH ES in 64-bit mode", "06", VIV_MODE_LONG, VIV_RAX, VIV_UD, 0},
    {"16 bytes", "2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e90", VIV_MODE_LONG, VIV_RAX, VIV_GP, 0},
    {"jump to a non-canonical address", "48b80000000000000080 ffe0", VIV_MODE_LONG, VIV_RAX, VIV_GP,
     0x8000000000000000ull},
    {"load from a non-canonical address", "48b80000000000000080 8b18", VIV_MODE_LONG, VIV_RBX, VIV_GP, 0},
    {"RBP-based load from a non-canonical address", "48bd0000000000000080 8b4500", VIV_MODE_LONG, VIV_RBP, VIV_SSF,
     0x8000000000000000ull},
    {"absent page", "b800000003 8b18", VIV_MODE_LONG, VIV_RAX, VIV_PF, 0x3000000},
    {"INT3", "cc", VIV_MODE_LONG, VIV_RAX, VIV_BP, 0},
    {"PUSHA, POPA", "b801000000 60 b802000000 61 f4", VIV_MODE_PROT32, VIV_RAX, -1, 1},
    {"BOUND inside", "bb00000200 c70301000000 c7430405000000 b805000000 6203 f4", VIV_MODE_PROT32, VIV_RAX,
     -1, 5},
    {"BOUND outside", "bb00000200 c70301000000 c7430405000000 b806000000 6203 f4", VIV_MODE_PROT32, VIV_RAX,
     VIV_BR, 6},
    {"INTO", "b8ffffff7f 40 ce f4", VIV_MODE_PROT32, VIV_RAX, VIV_OF, 0x80000000},
    {"DAA", "b89a000000 27 f4", VIV_MODE_PROT32, VIV_RAX, -1, 0},
    {"AAM", "b84f000000 d40a f4", VIV_MODE_PROT32, VIV_RAX, -1, 0x709},
    {"AAM by zero", "d400", VIV_MODE_PROT32, VIV_RAX, VIV_DE, 0},
    {"16-bit address wraps in 32-bit code", "c605ffff000007 bbffff0000 31f6 46 67 8a00 f4", VIV_MODE_PROT32,
     VIV_RSI, -1, 1},
    {"real mode counts in CX", "31c0 b90a00 40 e2fd f4", VIV_MODE_REAL, VIV_RAX, -1, 10},
    {"real mode with a 32-bit operand", "66b878563412 f4", VIV_MODE_REAL, VIV_RAX, -1, 0x12345678},
    {"real mode: word at FFFF", "bbffff 8b07 f4", VIV_MODE_REAL, VIV_RBX, VIV_GP, 0xffff},
    {"real mode: LES of a register", "c4c0", VIV_MODE_REAL, VIV_RAX, VIV_UD, 0},
    {"CMPXCHG16B of an odd address", "be01000200 480fc70e", VIV_MODE_LONG, VIV_RSI, VIV_GP, 0x20001},
};

static void run_payload(gconstpointer data)
{
    const struct payload *p = data;
    struct test_cpu *t = with_code(p->mode, p->hex);

    g_assert_cmpint(run(t), ==, p->exception);
    g_assert_cmphex(t->c->gpr[p->reg], ==, p->value);
}

/* A fault's frame holds the address of the instruction, and CR2 that of the access. */
static void fault_frame(void)
{
    struct test_cpu *t = with_code(VIV_MODE_LONG, "90 be08000003 90 480106 f4");
    struct viv_x86 *c = t->c;
    uint8_t *frame;

    g_assert_cmpint(run(t), ==, VIV_PF);
    frame = t->ram + c->gpr[VIV_RSP];
    g_assert_cmphex(viv_ld_le64(frame), ==, 2); /* a write, supervisor, not present: ADD faults as a write */
    g_assert_cmphex(viv_ld_le64(frame + 8), ==, TEST_CODE + 7);
    g_assert_cmphex(c->cr2, ==, 0x3000008);
}

/* MOV over two pages, the second absent: nothing is written to the first. */
static void store_across_pages(void)
{
    struct test_cpu *t = with_code(VIV_MODE_LONG, "48b8ffffffffffffffff bffcffff02 488907");

    g_assert_cmpint(run(t), ==, VIV_PF);
    g_assert_cmphex(t->c->cr2, ==, TEST_ABSENT);
    g_assert_cmphex(t->c->gpr[VIV_RDI], ==, TEST_ABSENT - 4);
}

/* An instruction that starts in one page and ends in the next. */
static void insn_across_pages(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);
    static const uint8_t mov_hlt[] = {0xb8, 0x78, 0x56, 0x34, 0x12, 0xf4};

    for (unsigned n = 1; n < 5; n++) {
        t = test_cpu_get(VIV_MODE_LONG);
        memcpy(t->ram + 0x12000 - n, mov_hlt, sizeof(mov_hlt));
        viv_ram_written(t->ram + 0x11000, 0x2000);
        t->c->rip = 0x12000 - n;
        g_assert_cmpint(run(t), ==, -1);
        g_assert_cmphex(t->c->gpr[VIV_RAX], ==, 0x12345678);
    }
}

/* The same, run again after either half has changed, by a store and by another page behind the second half. */
static void insn_across_pages_changes(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);
    static const uint8_t mov_hlt[] = {0xb8, 1, 0, 0, 0, 0xf4};
    static const uint8_t end[] = {0, 0, 3, 0xf4};
    uint8_t *pd = t->ram + 0x102000;

    memcpy(t->ram + 0x3ffffe, mov_hlt, sizeof(mov_hlt)); /* over the end of a 2 MiB page */
    memcpy(t->ram + 0x800000, end, sizeof(end));
    for (unsigned n = 0; n < 8; n++) {
        t->ram[0x3fffff] = (uint8_t)(n + 1);
        t->ram[0x400002] = n & 2 ? 7 : 0;
        viv_ram_written(t->ram + 0x3fffff, 4);
        viv_st_le64(pd + 2 * 8, (n & 4 ? 0x800000 : 0x400000) | 0x87);
        viv_tlb_flush_page(t->c, 0x400000);
        t->c->halted = false;
        t->c->rip = 0x3ffffe;
        g_assert_cmpint(run(t), ==, -1);
        g_assert_cmphex(t->c->gpr[VIV_RAX], ==, (n & 4 ? 3u << 24 : n & 2 ? 7u << 24 : 0) + n + 1);
    }
    viv_st_le64(pd + 2 * 8, 0);
    viv_tlb_flush_page(t->c, 0x400000);
    t->c->halted = false;
    t->c->rip = 0x3ffffe;
    g_assert_cmpint(run(t), ==, VIV_PF);
    g_assert_cmphex(t->c->cr2, ==, 0x400000);
}

static void code_in_mmio(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);

    t->c->rip = TEST_MMIO + 0xf00;
    g_assert_cmpint(run(t), ==, -1);
    g_assert_cmphex(t->c->rip, ==, TEST_MMIO + 0xff1);
}

/* MOV BYTE [next instruction's immediate], 5; MOV EAX, imm: one block, changed while it runs. */
static void changes_itself(void)
{
    struct test_cpu *t = with_code(VIV_MODE_LONG, "c6050100000005 b801000000 f4");

    g_assert_cmpint(run(t), ==, -1);
    g_assert_cmphex(t->c->gpr[VIV_RAX], ==, 5);
}

/* A loop that counts up its own immediate: runs from the cache and is invalidated each time. */
static void changes_itself_in_a_loop(void)
{
    struct test_cpu *t = with_code(VIV_MODE_LONG, "b90a000000 b800000000 fe05f6ffffff 01c3 e2f1 f4");

    /* b8 imm at 10005; fe05 rel32 at 1000a addresses 10006; loop back to 10005 */
    g_assert_cmpint(run(t), ==, -1);
    g_assert_cmphex(t->c->gpr[VIV_RAX], ==, 9);
    g_assert_cmphex(t->c->gpr[VIV_RBX], ==, 45);
}

/* DMA changes code that has run. */
static void changed_by_dma(void)
{
    struct test_cpu *t = with_code(VIV_MODE_LONG, "b801000000 f4");
    static const uint8_t other[] = {0xb8, 2, 0, 0, 0, 0xf4};

    g_assert_cmpint(run(t), ==, -1);
    memcpy(t->ram + TEST_CODE, other, sizeof(other));
    viv_ram_written(t->ram + TEST_CODE, sizeof(other));
    t->c->halted = false;
    t->c->rip = TEST_CODE;
    g_assert_cmpint(run(t), ==, -1);
    g_assert_cmphex(t->c->gpr[VIV_RAX], ==, 2);
}

static void set_string(struct test_cpu *t, uint64_t si, uint64_t di, uint64_t count)
{
    t->c->gpr[VIV_RSI] = si;
    t->c->gpr[VIV_RDI] = di;
    t->c->gpr[VIV_RCX] = count;
}

static void movs_copies(void)
{
    for (unsigned skew = 0; skew < 5; skew++) {
        struct test_cpu *t = with_code(VIV_MODE_LONG, "f3a4 f4");

        for (unsigned n = 0; n < 20000; n++)
            t->ram[0x20000 + n] = (uint8_t)(n * 7);
        set_string(t, 0x20000, 0x30000 + skew, 20000);
        g_assert_cmpint(run(t), ==, -1);
        g_assert_cmpint(memcmp(t->ram + 0x20000, t->ram + 0x30000 + skew, 20000), ==, 0);
        g_assert_cmpuint(t->c->gpr[VIV_RCX], ==, 0);
        g_assert_cmphex(t->c->gpr[VIV_RDI], ==, 0x30000 + skew + 20000);
    }
}

/* Destination just above the source: the pattern repeats, as bytewise execution makes it. */
static void movs_overlap(void)
{
    static const unsigned gaps[] = {1, 2, 3, 7, 8, 9, 4096, 4097};
    static const struct {
        const char *hex;
        unsigned size;
    } forms[] = {{"f3a4 f4", 1}, {"66f3a5 f4", 2}, {"f3a5 f4", 4}, {"f348a5 f4", 8}};

    for (unsigned f = 0; f < G_N_ELEMENTS(forms); f++) {
        for (unsigned g = 0; g < G_N_ELEMENTS(gaps); g++) {
            struct test_cpu *t = with_code(VIV_MODE_LONG, forms[f].hex);
            uint8_t want[16384];
            unsigned size = forms[f].size, count = 8000 / size;

            for (unsigned n = 0; n < sizeof(want); n++)
                want[n] = t->ram[0x20000 + n] = (uint8_t)(n * 13 + 1);
            for (unsigned n = 0; n < count; n++) {
                uint8_t element[8];

                memcpy(element, want + n * size, size);
                memcpy(want + gaps[g] + n * size, element, size);
            }
            set_string(t, 0x20000, 0x20000 + gaps[g], count);
            g_assert_cmpint(run(t), ==, -1);
            g_assert_cmpint(memcmp(want, t->ram + 0x20000, sizeof(want)), ==, 0);
        }
    }
}

static void movs_backwards(void)
{
    struct test_cpu *t = with_code(VIV_MODE_LONG, "fd f3a4 fc f4");

    for (unsigned n = 0; n < 6000; n++)
        t->ram[0x20000 + n] = (uint8_t)(n * 3);
    set_string(t, 0x20000 + 5999, 0x40000 + 5999, 6000);
    g_assert_cmpint(run(t), ==, -1);
    g_assert_cmpint(memcmp(t->ram + 0x20000, t->ram + 0x40000, 6000), ==, 0);
}

/* A fault in the middle leaves registers at the element that faulted. */
static void stos_faults(void)
{
    struct test_cpu *t = with_code(VIV_MODE_LONG, "f348ab f4");

    set_string(t, 0, TEST_ABSENT - 0x2000, 4096); /* 0x2fffxxx is outside RAM: writes go nowhere */
    g_assert_cmpint(run(t), ==, VIV_PF);
    g_assert_cmphex(t->c->gpr[VIV_RDI], ==, TEST_ABSENT);
    g_assert_cmpuint(t->c->gpr[VIV_RCX], ==, 4096 - 0x2000 / 8);
    g_assert_cmphex(viv_ld_le64(t->ram + t->c->gpr[VIV_RSP] + 8), ==, TEST_CODE);
}

static void scas_and_cmps(void)
{
    struct test_cpu *t = with_code(VIV_MODE_LONG, "f2ae f4");

    strcpy((char *)t->ram + 0x20000, "hello, world");
    t->c->gpr[VIV_RAX] = ',';
    set_string(t, 0, 0x20000, 100);
    g_assert_cmpint(run(t), ==, -1);
    g_assert_cmphex(t->c->gpr[VIV_RDI], ==, 0x20006);
    g_assert_cmpuint(t->c->gpr[VIV_RCX], ==, 94);
    t = with_code(VIV_MODE_LONG, "f3a6 f4");
    strcpy((char *)t->ram + 0x20000, "same till here");
    strcpy((char *)t->ram + 0x21000, "same till HERE");
    set_string(t, 0x20000, 0x21000, 14);
    g_assert_cmpint(run(t), ==, -1);
    g_assert_cmphex(t->c->gpr[VIV_RSI], ==, 0x2000b);
    g_assert_false(t->c->arith & VIV_AR_ZF);
}

/* REP with a count of zero does nothing, whatever the addresses are. */
static void rep_zero(void)
{
    struct test_cpu *t = with_code(VIV_MODE_LONG, "f3a4 f3ab f2ae f4");

    set_string(t, TEST_ABSENT, TEST_ABSENT, 0);
    g_assert_cmpint(run(t), ==, -1);
    g_assert_cmphex(t->c->gpr[VIV_RSI], ==, TEST_ABSENT);
}

/* TF: #DB after the instruction, with the next one's address in the frame. */
static void single_step(void)
{
    struct test_cpu *t = with_code(VIV_MODE_LONG, "9c 810c2400010000 9d 90 90 f4");

    g_assert_cmpint(run(t), ==, VIV_DB);
    g_assert_cmphex(viv_ld_le64(t->ram + t->c->gpr[VIV_RSP]), ==, TEST_CODE + 10);
    g_assert_cmphex(t->c->dr[6] & 0x4000, ==, 0x4000);
}

/* Which system descriptors LAR and LSL know outside IA-32e mode (SDM vol. 2, tables of LAR and LSL). */
static void lar_and_lsl(void)
{
    static const uint16_t known[2] = {0x1a3e, 0x0a0e};

    for (unsigned n = 0; n < 32; n++) {
        unsigned lsl = n / 16, type = n % 16;
        /* mov eax, 30h; lar ebx, eax or lsl ebx, eax; hlt */
        struct test_cpu *t = with_code(VIV_MODE_PROT32, lsl ? "b830000000 0f03d8 f4" : "b830000000 0f02d8 f4");

        t->c->gdtr.limit = 0x3f;
        viv_st_le64(t->ram + TEST_GDT + 0x30, 0x0000800012340067ull | (uint64_t)type << 40);
        g_assert_cmpint(run(t), ==, -1);
        g_assert_cmpuint(viv_x86_get_eflags(t->c) >> 6 & 1, ==, known[lsl] >> type & 1);
    }
}

static uint64_t msr(struct test_cpu *t, uint32_t index)
{
    uint64_t v = 0;

    viv_msr_read(t->c, index, &v);
    return v;
}

/* A WRMSR that faults leaves the register alone. */
static void refused_msr(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);

    g_assert_true(viv_msr_write(t->c, 0xc0000084, 0x47700));
    g_assert_false(viv_msr_write(t->c, 0xc0000084, 0x100000001));
    g_assert_cmphex(msr(t, 0xc0000084), ==, 0x47700);
    g_assert_true(viv_msr_write(t->c, 0x17a, 5));
    g_assert_false(viv_msr_write(t->c, 0x17a, 8));
    g_assert_cmphex(msr(t, 0x17a), ==, 5);
    /* Of a model that lacks them. */
    t->cpuid->word[VIV_FW_1_EDX] &= ~((1u << (VIV_FT_SEP & 31)) | 1u << (VIV_FT_MCA & 31));
    t->cpuid->word[VIV_FW_E1_EDX] &= ~(1u << (VIV_FT_SYSCALL & 31));
    t->c->msr = (struct viv_x86_msrs){0};
    g_assert_false(viv_msr_write(t->c, 0x174, 1) || viv_msr_write(t->c, 0x17a, 1) || viv_msr_write(t->c, 0xc0000081, 1));
    g_assert_cmphex(t->c->msr.sysenter_cs | t->c->msr.mcg_status | t->c->msr.star, ==, 0);
    t->cpuid->word[VIV_FW_1_EDX] |= 1u << (VIV_FT_SEP & 31) | 1u << (VIV_FT_MCA & 31);
    t->cpuid->word[VIV_FW_E1_EDX] |= 1u << (VIV_FT_SYSCALL & 31);
}

static void step_runs_one(void)
{
    struct test_cpu *t = with_code(VIV_MODE_LONG, "ffc0 ffc0 eb00 ffc0 f4");

    viv_interp_step(t->c);
    g_assert_cmphex(t->c->rip, ==, TEST_CODE + 2);
    g_assert_cmpuint(t->c->gpr[VIV_RAX], ==, 1);
    viv_interp_step(t->c);
    viv_interp_step(t->c);
    g_assert_cmphex(t->c->rip, ==, TEST_CODE + 6);
    g_assert_cmpuint(t->c->gpr[VIV_RAX], ==, 2);
}

static void counts_instructions(void)
{
    struct test_cpu *t = with_code(VIV_MODE_LONG, "b9e8030000 ffc0 e2fc 31d2 f7f2");
    uint64_t before = t->c->insn_count;

    g_assert_cmpint(run(t), ==, VIV_DE);
    /* mov, 1000 times inc and loop, xor; the div did not retire; hlt */
    g_assert_cmpuint(t->c->insn_count - before, ==, 1 + 2000 + 1 + 1);
}

/* Ends with a request from another thread, in the middle of an endless loop. */
static void request_stops(void)
{
    struct test_cpu *t = with_code(VIV_MODE_LONG, "ebfe");

    atomic_store(&t->vcpu.requests, VIV_REQ_STOP);
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_REQUEST);
    atomic_store(&t->vcpu.requests, 0);
}

static void triple_fault(void)
{
    struct test_cpu *t = with_code(VIV_MODE_LONG, "0f0b");

    t->c->idtr.limit = 0;
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_SHUTDOWN);
}

/* One repeated string instruction on random operands near the end of a page, many elements at once and one iteration at a
 * time: the same registers, flags and memory. */
static void strings_in_bulk(void)
{
    static const uint8_t opcode[] = {0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xae, 0xaf};
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);
    struct viv_x86 *c = t->c;
    uint8_t *area = t->ram + 0x400000, *before = g_malloc(0x4000), *after = g_malloc(0x4000);

    for (unsigned n = 0; n < 20000; n++) {
        uint8_t code[4] = {g_random_boolean() ? 0xf3 : 0xf2, g_random_boolean() ? 0x48 : 0x40,
                           opcode[g_random_int_range(0, 8)], 0xf4};
        uint64_t gpr[16] = {[VIV_RAX] = g_random_int_range(0, 3) * 0x0101010101010101ull, [VIV_RSP] = TEST_STACK,
                            [VIV_RCX] = g_random_int_range(0, 700)};
        uint64_t end[16];
        uint32_t df = g_random_boolean() ? VIV_FL_DF : 0;
        uint16_t arith = 0;

        memset(area, 1, 0x4000);
        for (unsigned k = g_random_int_range(0, 4); k; k--)
            area[g_random_int_range(0, 0x4000)] = (uint8_t)g_random_int_range(0, 3);
        gpr[VIV_RSI] = 0x401f00 + (unsigned)g_random_int_range(0, 0x200);
        gpr[VIV_RDI] = gpr[VIV_RSI] + (uint64_t)(int64_t)g_random_int_range(-0x100, 0x100);
        memcpy(before, area, 0x4000);
        for (unsigned pass = 0; pass < 2; pass++) {
            memcpy(area, before, 0x4000);
            test_cpu_code(t, code, sizeof(code));
            memcpy(c->gpr, gpr, sizeof(gpr));
            c->arith = 0;
            c->eflags = 2 | df;
            c->halted = false;
            if (pass == 0) {
                test_cpu_run(t);
                memcpy(end, c->gpr, sizeof(end));
                memcpy(after, area, 0x4000);
                arith = c->arith;
                continue;
            }
            while (!c->halted)
                viv_interp_step(c);
            g_assert_cmpmem(end, sizeof(end), c->gpr, sizeof(end));
            g_assert_cmpmem(after, 0x4000, area, 0x4000);
            g_assert_cmphex(arith, ==, c->arith);
        }
    }
    g_free(before);
    g_free(after);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned n = 0; n < G_N_ELEMENTS(payloads); n++) {
        char *path = g_strdup_printf("/interp/payload/%s", payloads[n].what);

        g_test_add_data_func(path, &payloads[n], run_payload);
        g_free(path);
    }
    g_test_add_func("/interp/fault-frame", fault_frame);
    g_test_add_func("/interp/store-across-pages", store_across_pages);
    g_test_add_func("/interp/insn-across-pages", insn_across_pages);
    g_test_add_func("/interp/insn-across-pages-changes", insn_across_pages_changes);
    g_test_add_func("/interp/code-in-mmio", code_in_mmio);
    g_test_add_func("/interp/smc/one-block", changes_itself);
    g_test_add_func("/interp/string/bulk", strings_in_bulk);
    g_test_add_func("/interp/smc/loop", changes_itself_in_a_loop);
    g_test_add_func("/interp/smc/dma", changed_by_dma);
    g_test_add_func("/interp/string/movs", movs_copies);
    g_test_add_func("/interp/string/overlap", movs_overlap);
    g_test_add_func("/interp/string/backwards", movs_backwards);
    g_test_add_func("/interp/string/fault", stos_faults);
    g_test_add_func("/interp/string/compare", scas_and_cmps);
    g_test_add_func("/interp/string/zero", rep_zero);
    g_test_add_func("/interp/single-step", single_step);
    g_test_add_func("/interp/lar-lsl", lar_and_lsl);
    g_test_add_func("/interp/refused-msr", refused_msr);
    g_test_add_func("/interp/step", step_runs_one);
    g_test_add_func("/interp/count", counts_instructions);
    g_test_add_func("/interp/request", request_stops);
    g_test_add_func("/interp/triple-fault", triple_fault);
    return g_test_run();
}
