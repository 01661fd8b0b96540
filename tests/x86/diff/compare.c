/* What differs. */
#include "diff.h"

struct report {
    FILE *out;
    int count;
};

static const char *const gpr_name[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                         "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

static void differ(struct report *r, const char *what, uint64_t native, uint64_t emul)
{
    r->count++;
    if (r->out)
        fprintf(r->out, "  %-10s bare CPU %016lx  ours %016lx\n", what, (unsigned long)native,
                (unsigned long)emul);
}

static void differ_bytes(struct report *r, const char *what, unsigned n, const uint8_t *native,
                         const uint8_t *emul, unsigned len)
{
    r->count++;
    if (!r->out)
        return;
    fprintf(r->out, "  %s%u\n    bare CPU ", what, n);
    for (unsigned k = len; k-- > 0;)
        fprintf(r->out, "%02x", native[k]);
    fprintf(r->out, "\n    ours     ");
    for (unsigned k = len; k-- > 0;)
        fprintf(r->out, "%02x", emul[k]);
    fprintf(r->out, "\n");
}

static uint64_t undefined_flags(const struct test_case *t)
{
    static const struct {
        const char *name;
        uint64_t flags;
    } table[] = {
#define F(name, flags, source) {name, flags},
#include "undefined_flags.def"
#undef F
        {NULL, 0},
    };

    for (unsigned n = 0; t->row && table[n].name; n++) {
        if (!strcmp(table[n].name, t->row->name))
            return table[n].flags;
    }
    return 0;
}

static unsigned prefix_count(const struct test_case *t)
{
    static const uint8_t pfx[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    unsigned n = 0;

    while (n < t->len && (memchr(pfx, t->bytes[n], sizeof(pfx)) || (t->long_mode && (t->bytes[n] & 0xf0) == 0x40)))
        n++;
    return n;
}

static bool several_parts(const struct test_case *t)
{
    unsigned op = t->row ? t->row->operand[0] : VIV_OP__;

    if (t->row && (strstr(t->row->name, "maskmov") || (t->row->attr & A_VSIB)))
        return true;
    return op == VIV_OP_M || op == VIV_OP_Menv || op == VIV_OP_Msave || op == VIV_OP_Mfx;
}

/* A gather that faults after its first element: the bare CPU delivers the single-step trap first, with RIP still at the
 * gather. */
static bool gather_trapped(const struct test_case *t, const struct outcome *n, const struct outcome *e)
{
    return t->row && (t->row->attr & A_VSIB) && n->vector == NO_FAULT && n->s.rip == t->in.rip &&
           e->vector != NO_FAULT;
}

static const char *excluded(const struct test_case *t, const struct outcome *n, const struct outcome *e)
{
#define X(name, condition, reason)                                                                 \
    if (condition)                                                                                 \
        return name;
#include "excluded.def"
#undef X
    return NULL;
}

static void compare_fp(struct report *r, const struct cpu_state *a, const struct cpu_state *b)
{
    static const struct {
        const char *name;
        unsigned offset, size;
    } f[] = {{"fcw", 0, 2}, {"fsw", 2, 2}, {"ftw", 4, 1}, {"fip", 8, 8}, {"mxcsr", 24, 4}};

    for (unsigned n = 0; n < sizeof(f) / sizeof(f[0]); n++) {
        uint64_t x = 0, y = 0;

        memcpy(&x, a->fx + f[n].offset, f[n].size);
        memcpy(&y, b->fx + f[n].offset, f[n].size);
        if (x != y)
            differ(r, f[n].name, x, y);
    }
    for (unsigned n = 0; n < 8; n++) {
        if (memcmp(a->fx + 32 + 16 * n, b->fx + 32 + 16 * n, 10))
            differ_bytes(r, "st", n, a->fx + 32 + 16 * n, b->fx + 32 + 16 * n, 10);
    }
    for (unsigned n = 0; n < 16; n++) {
        if (memcmp(a->fx + 160 + 16 * n, b->fx + 160 + 16 * n, 16))
            differ_bytes(r, "xmm", n, a->fx + 160 + 16 * n, b->fx + 160 + 16 * n, 16);
        if (memcmp(a->ymm[n], b->ymm[n], 16))
            differ_bytes(r, "ymm-high", n, a->ymm[n], b->ymm[n], 16);
        if (memcmp(a->hi256[n], b->hi256[n], 32))
            differ_bytes(r, "zmm-high", n, a->hi256[n], b->hi256[n], 32);
        if (memcmp(a->hi16[n], b->hi16[n], 64))
            differ_bytes(r, "zmm", n + 16, a->hi16[n], b->hi16[n], 64);
    }
    for (unsigned n = 0; n < 8; n++) {
        if (a->k[n] != b->k[n])
            differ_bytes(r, "k", n, (const uint8_t *)&a->k[n], (const uint8_t *)&b->k[n], 8);
    }
}

static void compare_memory(struct report *r, const char *what, const uint8_t *a, const uint8_t *b,
                           unsigned len)
{
    unsigned shown = 0;

    if (!memcmp(a, b, len))
        return;
    for (unsigned n = 0; n < len && shown < 6; n += 8) {
        uint64_t x, y;
        char name[32];

        memcpy(&x, a + n, 8);
        memcpy(&y, b + n, 8);
        if (x == y)
            continue;
        snprintf(name, sizeof(name), "%s+%x", what, n);
        differ(r, name, x, y);
        shown++;
    }
}

/* Operands of several parts: which part faults first is not defined, that they are near is. */
static bool same_cr2(const struct test_case *t, uint64_t a, uint64_t b)
{
    uint64_t apart = t->long_mode ? a - b + 0x1000 : (uint32_t)(a - b + 0x1000);

    if (t->row && (t->row->evex & E_MASK) && a >> 12 == b >> 12) /* of elements: the page is what matters */
        return true;
    return a == b || (several_parts(t) && apart < 0x2000);
}

int compare(const struct test_case *t, const struct outcome *n, const struct outcome *e, FILE *out,
            const char **why)
{
    struct report r = {.out = out};
    uint64_t flags = 0x244dd5 & ~undefined_flags(t); /* all but RF, and the bits that are not the user's */

    *why = excluded(t, n, e);
    if (*why)
        return -1;
    if (n->vector != e->vector)
        differ(&r, "vector", n->vector, e->vector);
    else if (n->vector == VIV_PF || n->vector == VIV_GP || n->vector == VIV_SSF || n->vector == VIV_AC) {
        /* Linux reports every address from TASK_SIZE_MAX on as present */
        uint64_t hidden = n->vector == VIV_PF && n->cr2 >= 0x7ffffffff000 ? 1 : 0;

        if ((n->error | hidden) != (e->error | hidden))
            differ(&r, "error", n->error, e->error);
        if (n->vector == VIV_PF && !same_cr2(t, n->cr2, e->cr2))
            differ(&r, "cr2", n->cr2, e->cr2);
    }
    if (n->s.rip != e->s.rip)
        differ(&r, "rip", n->s.rip, e->s.rip);
    for (unsigned k = 0; k < 16; k++) {
        if (n->s.gpr[k] != e->s.gpr[k])
            differ(&r, gpr_name[k], n->s.gpr[k], e->s.gpr[k]);
    }
    if ((n->s.flags ^ e->s.flags) & flags)
        differ(&r, "flags", n->s.flags & flags, e->s.flags & flags);
    if (n->s.fs_base != e->s.fs_base)
        differ(&r, "fs base", n->s.fs_base, e->s.fs_base);
    if (n->s.gs_base != e->s.gs_base)
        differ(&r, "gs base", n->s.gs_base, e->s.gs_base);
    compare_fp(&r, &n->s, &e->s);
    compare_memory(&r, "data", native_data, emul_data, DATA_SIZE);
    compare_memory(&r, "stack", native_stack, emul_stack, STACK_SIZE);
    return r.count;
}

void print_case(const struct test_case *t, FILE *out)
{
    struct viv_insn i;
    enum viv_decode_result r;
    uint32_t mxcsr;

    fprintf(out, "case %#lx, %s, %s-bit:", (unsigned long)t->seed, t->origin, t->long_mode ? "64" : "32");
    for (unsigned n = 0; n < t->len; n++)
        fprintf(out, " %02x", t->bytes[n]);
    gen_decode(t, &i, &r);
    if (r == VIV_DECODE_OK)
        fprintf(out, "   %s, length %u%s\n", i.row->name, i.len, i.mem ? ", memory" : "");
    else
        fprintf(out, "   our decoder: %s\n", r == VIV_DECODE_UD ? "#UD" : r == VIV_DECODE_MORE ? "more" : "too long");
    for (unsigned n = 0; n < 16; n++)
        fprintf(out, "%s%-4s%016lx", n % 4 ? " " : n ? "\n  " : "  ", gpr_name[n], (unsigned long)t->in.gpr[n]);
    memcpy(&mxcsr, t->in.fx + 24, 4);
    fprintf(out, "\n  rip %lx flags %lx fs %lx gs %lx fcw %02x%02x fsw %02x%02x ftw %02x mxcsr %x\n",
            (unsigned long)t->in.rip, (unsigned long)t->in.flags, (unsigned long)t->in.fs_base,
            (unsigned long)t->in.gs_base, t->in.fx[1], t->in.fx[0], t->in.fx[3], t->in.fx[2], t->in.fx[4], mxcsr);
}
