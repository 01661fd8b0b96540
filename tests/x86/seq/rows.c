/* Which rows of the decoder are generated, and how often: typical compiler output most. */
#include "seq.h"

#include <stdlib.h>

bool seq_avx512;
static const struct viv_cpuid *model;

struct list {
    const struct viv_row **row;
    unsigned *upto; /* cumulative weights */
    unsigned n;
};
static struct list lists[CAT_COUNT];

static bool named(const struct viv_row *r, const char *const *list)
{
    for (; *list; list++) {
        size_t n = strlen(*list);

        if (!strcmp(r->name, *list) || ((*list)[n - 1] == '*' && !strncmp(r->name, *list, n - 1)))
            return true;
    }
    return false;
}

/* Results differ from run to run. */
static const char *const banned[] = {
    "rdtsc", "rdtscp", "rdrand", "rdseed", "rdpmc", "rdmsr", "wrmsr", "monitor", "mwait", "vmcall", "vmmcall", NULL,
};

/* Nearly always the end of the sequence: left to random bytes. */
static const char *const deadly[] = {"lgdt", "lidt", "lldt", "ltr", "lmsw", "xsetbv", "rsm", NULL};

/* Made by macros.c, or by the way sequences end. */
static const char *const macros[] = {
    "hlt", "call", "jmp", "ret", "j*", "loop*", "popf*", "syscall", "invlpg", NULL,
};

static const char *const stack[] = {"push*", "pop", "popa*", "enter", "leave", NULL};

static const struct {
    const char *name;
    unsigned weight;
} common[] = {
    {"mov", 10}, {"lea", 60}, {"movzx", 30}, {"movsx", 20}, {"movsxd", 40}, {"add", 5}, {"sub", 5}, {"cmp", 6},
    {"and", 4}, {"or", 4}, {"xor", 4}, {"test", 8}, {"nop", 2}, {"endbr64", 2},
};

static const char *const flags[] = {
    "adc", "sbb", "set*", "cmov*", "inc", "dec", "neg", "not", "shl", "shr", "sar", "rol", "ror", "rcl", "rcr",
    "lahf", "sahf", "clc", "stc", "cmc", "cld", "std", NULL,
};

static const char *const system_rows[] = {
    "int*", "icebp", "iret*", "retf", "callf", "jmpf", "cli", "sti", "pause", "clts", "swapgs", "wb*", "inv*", "sgdt", "sidt", "smsw", "sldt", "str", "verr", "verw", "lar", "lsl", "arpl", "les", "lds", "lss", "lfs", "lgs",
    "cpuid", "rdpid", "xgetbv", "rdpkru", "wrpkru", "rdfsbase", "rdgsbase", "wrfsbase", "wrgsbase",
    "serialize", "sys*", "stac", "clac", NULL,
};

static bool uses(const struct viv_row *r, unsigned kind)
{
    for (unsigned n = 0; n < 4; n++) {
        if (viv_operand_info[r->operand[n]].kind == kind)
            return true;
    }
    return false;
}

static bool machine_row(const struct viv_row *r)
{
    return uses(r, VIV_K_CREG) || uses(r, VIV_K_DREG);
}

static int category(const struct viv_row *r, unsigned *weight)
{
    *weight = 4;
    if (named(r, banned) || named(r, deadly) || (machine_row(r) && r->opcode >= 0x22))
        return -1;
    if (r->attr & A_AVX512)
        return seq_avx512 ? CAT_AVX512 : -1;
    if (named(r, system_rows))
        return CAT_SYS;
    if (named(r, macros))
        return -1;
    if (named(r, stack) && !uses(r, VIV_K_FIXSEG))
        return CAT_STACK;
    if (r->map >= VIV_MAP_X87_MEM || (r->attr & A_X87))
        return CAT_X87;
    if (r->attr & A_MMX)
        return CAT_MMX;
    if (r->attr & A_AVX)
        return CAT_AVX;
    if (r->attr & A_SSE)
        return CAT_SSE;
    if ((r->attr & (A_PRIV | A_IO)) || uses(r, VIV_K_SREG) || uses(r, VIV_K_FIXSEG) || machine_row(r))
        return CAT_SYS;
    if (r->attr & A_REP)
        return CAT_STRING;
    for (unsigned n = 0; n < sizeof(common) / sizeof(common[0]); n++) {
        if (!strcmp(r->name, common[n].name)) {
            *weight = common[n].weight * (r->attr & A_BYTE ? 2 : 4);
            return CAT_COMMON;
        }
    }
    return named(r, flags) ? CAT_FLAGS : CAT_RARE;
}

void rows_init(const struct viv_cpuid *cpuid)
{
    model = cpuid;
    for (unsigned n = 0; n < CAT_COUNT; n++) {
        lists[n].row = calloc(viv_row_count, sizeof(*lists[n].row));
        lists[n].upto = calloc(viv_row_count, sizeof(*lists[n].upto));
    }
    for (unsigned n = 0; n < viv_row_count; n++) {
        const struct viv_row *r = &viv_rows[n];
        unsigned weight;
        int c = category(r, &weight);
        struct list *l = &lists[c < 0 ? 0 : c];

        if (c < 0 || !viv_cpuid_has(cpuid, r->feature))
            continue;
        l->row[l->n] = r;
        l->upto[l->n] = (l->n ? l->upto[l->n - 1] : 0) + weight;
        l->n++;
    }
}

const struct viv_cpuid *rows_cpuid(void)
{
    return model;
}

const struct viv_row *rows_named(const char *name, unsigned opcode)
{
    for (unsigned n = 0; n < viv_row_count; n++) {
        if (!strcmp(viv_rows[n].name, name) && (!opcode || viv_rows[n].opcode == opcode) &&
            viv_cpuid_has(model, viv_rows[n].feature))
            return &viv_rows[n];
    }
    return NULL;
}

const struct viv_row *rows_pick(uint64_t *s, enum category cat)
{
    const struct list *l = &lists[cat];
    unsigned lo = 0, hi, at;

    if (!l->n)
        return lists[CAT_COMMON].row[0];
    at = below(s, l->upto[l->n - 1]);
    for (hi = l->n - 1; lo < hi;) {
        unsigned mid = (lo + hi) / 2;

        if (at < l->upto[mid])
            hi = mid;
        else
            lo = mid + 1;
    }
    return l->row[lo];
}

bool rows_banned(const struct viv_insn *i)
{
    static int8_t *known;
    unsigned n = (unsigned)(i->row - viv_rows);

    if (!known)
        known = calloc(viv_row_count, 1);
    if (!known[n])
        known[n] = named(i->row, banned) ? 1 : -1;
    return known[n] == 1;
}

bool rows_expected(const struct viv_row *r)
{
    return viv_cpuid_has(model, r->feature) && !named(r, banned) && (seq_avx512 || !(r->attr & A_AVX512));
}
