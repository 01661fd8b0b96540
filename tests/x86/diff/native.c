/* The bare CPU. A case is entered and left by signals: INT3 enters a handler that replaces the interrupted context by
 * the case's registers with TF set; after one instruction, or its fault, the next signal hands back what the
 * registers have become and the old context is put in place again. Nothing the instruction does to the registers, RSP and
 * FS base included, survives that.
 *
 * It may write anywhere its addresses reach; gen.c keeps them in the areas of diff.h or far from anything. */
#include "diff.h"

#include "cpu/x86/interp/stubs.h"

#include <cpuid.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

uint8_t *native_data, *native_stack;
static uint8_t *code_alias;

static enum { IDLE, ENTER, RUN } phase;
static const struct test_case *now;
static struct outcome *result;
static gregset_t saved;

/* Used by the assembly below. */
uint64_t native_host_fs, native_host_gs, native_next_fs, native_next_gs, native_seen_fs,
    native_seen_gs;
void native_on_signal(int sig, siginfo_t *info, void *context);

/* The case's FS base is in force when the handler starts: no C, thread-locals and stack protector included, before
 * ours is back. Flags too: AC would make C fault. */
__asm__(".text\n"
        ".globl native_entry\n"
        "native_entry:\n"
        "  pushq $2\n"
        "  popfq\n"
        "  rdfsbase %rax\n"
        "  mov %rax, native_seen_fs(%rip)\n"
        "  rdgsbase %rax\n"
        "  mov %rax, native_seen_gs(%rip)\n"
        "  mov native_host_fs(%rip), %rax\n"
        "  wrfsbase %rax\n"
        "  mov native_host_gs(%rip), %rax\n"
        "  wrgsbase %rax\n"
        "  sub $8, %rsp\n"
        "  call native_on_signal\n"
        "  add $8, %rsp\n"
        "  mov native_next_fs(%rip), %rax\n"
        "  wrfsbase %rax\n"
        "  mov native_next_gs(%rip), %rax\n"
        "  wrgsbase %rax\n"
        "  ret\n");
void native_entry(int sig, siginfo_t *info, void *context);

static const int greg_of[16] = {
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

#define XSTATE_BV 512
#define XSTATE_AVX 576
#define STATE 0xe7u /* components of struct cpu_state */

static unsigned xstate_avx512; /* opmask, ZMM_Hi256 and Hi16_ZMM follow each other; 0: the host has none */

static void put_fp(uint8_t *x, const struct cpu_state *s)
{
    uint64_t bv;

    memcpy(x, s->fx, 416); /* not the kernel's words at 464 */
    memcpy(&bv, x + XSTATE_BV, 8);
    bv = (bv & (1u << 9)) | (xstate_avx512 ? STATE : 7); /* PKRU stays as it is */
    memcpy(x + XSTATE_BV, &bv, 8);
    memcpy(x + XSTATE_AVX, s->ymm, 256);
    if (xstate_avx512)
        memcpy(x + xstate_avx512, s->k, 1600);
}

static void init_fp(uint8_t *x)
{
    static const uint32_t mxcsr = 0x1f80;
    uint64_t bv;

    memcpy(&bv, x + XSTATE_BV, 8);
    bv &= 1u << 9;
    memcpy(x + XSTATE_BV, &bv, 8);
    memcpy(x + 24, &mxcsr, 4);
}

/* Components in their initial state are not in the frame. */
static void get_fp(const uint8_t *x, struct cpu_state *s)
{
    uint64_t bv;

    memcpy(&bv, x + XSTATE_BV, 8);
    memset(s->fx, 0, sizeof(s->fx));
    memcpy(s->fx + 24, x + 24, 8);
    if (bv & 1) {
        memcpy(s->fx, x, 24);
        memcpy(s->fx + 32, x + 32, 128);
    } else {
        s->fx[0] = 0x7f;
        s->fx[1] = 0x03;
    }
    if (bv & 2)
        memcpy(s->fx + 160, x + 160, 256);
    if (bv & 4)
        memcpy(s->ymm, x + XSTATE_AVX, 256);
    else
        memset(s->ymm, 0, 256);
    memset(s->k, 0, 1600);
    if (xstate_avx512 && (bv & 0x20))
        memcpy(s->k, x + xstate_avx512, 64);
    if (xstate_avx512 && (bv & 0x40))
        memcpy(s->hi256, x + xstate_avx512 + 64, 512);
    if (xstate_avx512 && (bv & 0x80))
        memcpy(s->hi16, x + xstate_avx512 + 576, 1024);
}

static void find_avx512(void)
{
    unsigned b, a, c, d, at[8] = {0};

    __cpuid_count(0xd, 0, a, b, c, d);
    if ((a & STATE) != STATE)
        return;
    for (unsigned n = 5; n < 8; n++)
        __cpuid_count(0xd, n, a, at[n], c, d);
    if (at[6] == at[5] + 64 && at[7] == at[6] + 512)
        xstate_avx512 = at[5];
}

static void enter(ucontext_t *u)
{
    greg_t *g = u->uc_mcontext.gregs;

    memcpy(saved, g, sizeof(saved));
    for (unsigned n = 0; n < 16; n++)
        g[greg_of[n]] = (greg_t)now->in.gpr[n];
    g[REG_RIP] = (greg_t)now->in.rip;
    g[REG_EFL] = (greg_t)(now->in.flags | VIV_FL_TF);
    /* CS selects the mode: Linux has 0x33 for 64-bit and 0x23 for 32-bit user code */
    g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xffffll) | (now->long_mode ? 0x33 : 0x23);
    put_fp((uint8_t *)u->uc_mcontext.fpregs, &now->in);
    native_next_fs = now->in.fs_base;
    native_next_gs = now->in.gs_base;
    phase = RUN;
}

/* #DB is the end of a single step, or the instruction that raises it; si_code does not always tell. */
static bool after_icebp(uint64_t rip)
{
    uint64_t at = rip - 1 - CODE_BASE;

    return rip != now->in.rip && at < CODE_SIZE && now->code[at] == 0xf1 && now->row &&
           now->row->opcode == 0xf1 && now->row->map == VIV_MAP_BASE;
}

static void leave(ucontext_t *u, int sig, const siginfo_t *info)
{
    greg_t *g = u->uc_mcontext.gregs;
    struct cpu_state *s = &result->s;
    unsigned trap = (unsigned)g[REG_TRAPNO];

    for (unsigned n = 0; n < 16; n++)
        s->gpr[n] = (uint64_t)g[greg_of[n]];
    s->rip = (uint64_t)g[REG_RIP];
    s->flags = (uint64_t)g[REG_EFL];
    s->fs_base = native_seen_fs;
    s->gs_base = native_seen_gs;
    get_fp((uint8_t *)u->uc_mcontext.fpregs, s);
    result->vector = trap;
    if (trap == VIV_DB && !after_icebp(s->rip))
        result->vector = NO_FAULT;
    result->error = (uint64_t)g[REG_ERR];
    result->cr2 = (uint64_t)g[REG_CR2];

    memcpy(g, saved, sizeof(saved));
    init_fp((uint8_t *)u->uc_mcontext.fpregs);
    native_next_fs = native_host_fs;
    native_next_gs = native_host_gs;
    phase = IDLE;
}

void native_on_signal(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    uintptr_t rip = (uintptr_t)u->uc_mcontext.gregs[REG_RIP];

    native_next_fs = native_host_fs;
    native_next_gs = native_host_gs;
    if (phase == ENTER) {
        enter(u);
    } else if (phase == RUN) {
        leave(u, sig, info);
    } else if (sig == SIGFPE && viv_stubs_contain(rip)) {
        u->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)viv_stub_recover; /* as stubs_host.c */
    } else {
        fprintf(stderr, "signal %d at %#lx, address %p, outside any case; last case:\n", sig,
                (unsigned long)rip, info->si_addr);
        if (now)
            print_case(now, stderr);
        _exit(3);
    }
}

static void *area(uintptr_t at, size_t size, int prot, int fd)
{
    void *p = mmap((void *)at, size, prot, fd >= 0 ? MAP_SHARED | MAP_FIXED_NOREPLACE
                                                   : MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
                   fd, 0);

    if (p != (void *)at) {
        perror("mmap of a test area");
        exit(77);
    }
    return p;
}

void native_init(void)
{
    static const int signals[] = {SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS};
    struct sigaction sa = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    static uint8_t signal_stack[1 << 18];
    stack_t stack = {.ss_size = sizeof(signal_stack), .ss_sp = signal_stack};
    int fd = memfd_create("diff-code", 0);

    if (fd < 0 || ftruncate(fd, CODE_SIZE) < 0) {
        perror("memfd_create");
        exit(77);
    }
    area(CODE_BASE, CODE_SIZE, PROT_READ | PROT_EXEC, fd);
    code_alias = mmap(NULL, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    native_data = area(DATA_BASE, DATA_SIZE, PROT_READ | PROT_WRITE, -1);
    memcpy(area(RO_BASE, RO_SIZE, PROT_READ | PROT_WRITE, -1), ro_page, RO_SIZE);
    mprotect((void *)(uintptr_t)RO_BASE, RO_SIZE, PROT_READ);
    native_stack = area(STACK_BASE, STACK_SIZE, PROT_READ | PROT_WRITE, -1);
    memset(code_alias, 0xcc, CODE_SIZE);
    find_avx512();

    /* 32-bit code needs DS and ES; sigreturn leaves them as they are. */
    __asm__ volatile("mov %0, %%ds\n mov %0, %%es" ::"r"(0x2b));
    __asm__ volatile("rdfsbase %0" : "=r"(native_host_fs));
    __asm__ volatile("rdgsbase %0" : "=r"(native_host_gs));
    sigaltstack(&stack, NULL);
    sa.sa_sigaction = native_entry;
    sigemptyset(&sa.sa_mask);
    for (unsigned n = 0; n < sizeof(signals) / sizeof(signals[0]); n++)
        sigaction(signals[n], &sa, NULL);
}

void native_run(const struct test_case *t, struct outcome *o)
{
    unsigned at = (unsigned)(t->in.rip - CODE_BASE), n = CODE_SIZE - at < 16 ? CODE_SIZE - at : 16;

    memcpy(code_alias + at, t->code + at, n);
    now = t;
    result = o;
    phase = ENTER;
    __asm__ volatile("int3" ::: "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
                     "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                     "xmm15");
    memset(code_alias + at, 0xcc, n);
}
