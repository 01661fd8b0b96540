/* In which states a sequence runs, and what changes between its runs: registers, privilege, mode, the alias it is reached
 * by, memory and code as the last run left them or anew, a byte changed from outside. */
#include "../common/values.h"
#include "seq.h"

#include <stdlib.h>

#define POOL 8
static struct {
    uint8_t page[HOT_PAGES][0x1000];
} *pool;

static void small_numbers(uint8_t *data_a)
{
    for (uint32_t n = 0; n < 8; n++) { /* indices of gathers */
        uint32_t d = n * 12 % 40;
        uint64_t q = n * 24 % 64;

        memcpy(data_a + 0x40 + 4 * n, &d, 4);
        memcpy(data_a + 0x80 + 8 * n, &q, 8);
    }
}

/* Contents come out of a pool: making them anew takes longer than a run. The page tables are the machine's. */
void plan_init(const struct machine *m)
{
    static const uint32_t faults = 24;
    uint64_t s = 17;

    pool = calloc(POOL, sizeof(*pool));
    for (unsigned k = 0; k < POOL; k++) {
        for (unsigned p = 0; p < HOT_PAGES; p++) {
            for (unsigned n = 0; n < 0x1000; n += 64)
                fill(&s, pool[k].page[p] + n, 64);
        }
        small_numbers(pool[k].page[HOT_DATA_A]);
        memcpy(pool[k].page[HOT_SYS_STACK] + (SYS_BUDGET - SYS_STACK), &faults, 4);
        memcpy(pool[k].page[HOT_TABLE_LOW], m->ram + PHYS_PAGE(HOT_TABLE_LOW), 0x1000);
        memcpy(pool[k].page[HOT_TABLE_HIGH], m->ram + PHYS_PAGE(HOT_TABLE_HIGH), 0x1000);
    }
}

bool plan_tables_changed(const uint8_t *low)
{
    for (unsigned n = 0; n < 0x1000; n += 8) {
        uint64_t was, is;

        memcpy(&was, pool[0].page[HOT_TABLE_LOW] + n, 8);
        memcpy(&is, low + n, 8);
        if ((was ^ is) & ~0x60ull)
            return true;
    }
    return false;
}

void plan_images(const struct scene *s, const uint8_t *code, const uint8_t *want[HOT_PAGES])
{
    for (unsigned p = 0; p < HOT_PAGES; p++)
        want[p] = s->keep_memory ? NULL : pool[s->images].page[p];
    for (unsigned p = 0; p < 4; p++)
        want[HOT_CODE + p] = s->keep_code ? NULL : code + 0x1000 * p;
    want[HOT_SYS_STACK] = pool[s->images].page[HOT_SYS_STACK];
    want[HOT_TABLE_LOW] = s->warm ? NULL : pool[0].page[HOT_TABLE_LOW];
    want[HOT_TABLE_HIGH] = s->warm ? NULL : pool[0].page[HOT_TABLE_HIGH];
}

static void new_fp(struct scene *c, uint64_t *s)
{
    uint8_t fx[512], ymm[16][16];
    struct viv_x86_fpu *f = &c->fpu;

    random_fp(s, fx, ymm);
    if (below(s, 2)) { /* most code runs with everything masked */
        memcpy(fx, (uint8_t[]){0x7f, 0x03, 0, 0}, 4);
        memcpy(fx + 24, (uint8_t[]){0x80, 0x1f, 0, 0}, 4);
    }
    memset(f, 0, sizeof(*f));
    memcpy(&f->fcw, fx, 2);
    memcpy(&f->fsw, fx + 2, 2);
    f->ftw = fx[4];
    memcpy(&f->mxcsr, fx + 24, 4);
    for (unsigned n = 0; n < 8; n++)
        memcpy(f->st[n], fx + 32 + 16 * n, 10);
    for (unsigned n = 0; n < 16; n++) {
        memcpy(f->zmm[n], fx + 160 + 16 * n, 16);
        memcpy(f->zmm[n] + 16, ymm[n], 16);
    }
}

/* The parts of vector registers that AVX-512 adds. ZMM16-19 are indices for gathers. */
static void new_avx512(struct scene *c, uint64_t *s)
{
    struct viv_x86_fpu *f = &c->fpu;

    for (unsigned n = 0; n < 32; n++)
        fill(s, f->zmm[n] + (n < 16 ? 32 : 0), n < 16 ? 32 : 64);
    for (unsigned k = 0; k < 64; k += 4) {
        uint32_t d = k * 3 % 56;
        uint64_t q = k * 5 % 80;

        memcpy(f->zmm[16] + k, &d, 4);
        memcpy(f->zmm[17] + k, &d, 4);
        memcpy(f->zmm[18] + (k & 56), &q, 8);
        memcpy(f->zmm[19] + (k & 56), &q, 8);
    }
    for (unsigned n = 0; n < 8; n++)
        f->k[n] = below(s, 4) ? rnd(s) : below(s, 2) ? ~0ull : 1ull << below(s, 64);
}

static void new_flags(struct scene *c, uint64_t *s)
{
    c->flags = 2 | (rnd(s) & VIV_FL_ARITH) | (below(s, 2) ? VIV_FL_IF : 0);
    if (below(s, 16) == 0)
        c->flags |= VIV_FL_DF;
    if (below(s, 8) == 0)
        c->flags |= VIV_FL_IOPL;
    if (below(s, 16) == 0)
        c->flags |= VIV_FL_AC;
    if (below(s, 80) == 0)
        c->flags |= below(s, 2) ? VIV_FL_TF : VIV_FL_NT;
}

static void new_control(struct scene *c, uint64_t *s)
{
    c->cr0 = VIV_CR0_PE | VIV_CR0_MP | VIV_CR0_ET | VIV_CR0_NE | VIV_CR0_WP | VIV_CR0_PG;
    c->cr4 = VIV_CR4_PAE | VIV_CR4_OSFXSR | VIV_CR4_OSXMMEXCPT | VIV_CR4_OSXSAVE | VIV_CR4_FSGSBASE;
    if (below(s, 16) == 0)
        c->cr0 |= VIV_CR0_AM;
    if (below(s, 16) == 0)
        c->cr0 |= VIV_CR0_TS;
    if (below(s, 60) == 0)
        c->cr0 |= VIV_CR0_EM;
    if (below(s, 20) == 0)
        c->cr0 &= ~(uint64_t)VIV_CR0_WP;
    if (below(s, 40) == 0)
        c->cr4 &= ~(uint64_t)(below(s, 2) ? VIV_CR4_OSXMMEXCPT : VIV_CR4_OSFXSR);
    if (below(s, 40) == 0)
        c->cr4 &= ~(uint64_t)VIV_CR4_OSXSAVE;
    if (below(s, 30) == 0)
        c->cr4 |= VIV_CR4_SMAP;
    if (below(s, 60) == 0)
        c->cr4 |= VIV_CR4_UMIP | VIV_CR4_TSD;
}

static void new_place(struct scene *c, const struct seq *q, uint64_t *s)
{
    uint64_t base = CODE_A;
    unsigned first = below(s, 8) ? 0 : below(s, q->items);

    if (below(s, 5) == 0)
        base = CODE_B;
    else if (c->mode == RUN_LONG && c->cpl == 0 && below(s, 4) == 0)
        base = KTEXT;
    c->start = base + q->at[first];
}

static void new_mode(struct scene *c, const struct seq *q, uint64_t *s, bool first)
{
    c->mode = first || below(s, 8) ? q->mode : (enum run_mode)below(s, 3);
    c->cpl = c->mode == RUN_COMPAT || below(s, 2) ? 3 : 0;
    c->skip = below(s, 3);
    c->ist = below(s, 4);
}

static void new_registers(struct scene *c, const struct seq *q, uint64_t *s, bool first)
{
    bool others = !first && below(s, 2);

    memcpy(c->gpr, q->reg, sizeof(c->gpr));
    for (unsigned n = 0; n < 16 && others; n++) {
        if (n != VIV_RSP && (c->gpr[n] - LOW >= 0x200000 || below(s, 6) == 0))
            c->gpr[n] = interesting(s);
    }
    for (unsigned n = 0; n < 16 && c->mode != RUN_LONG; n++)
        c->gpr[n] = n < 8 ? (uint32_t)c->gpr[n] : 0;
    c->fs_base = q->fs_base;
    c->gs_base = c->mode == RUN_LONG ? q->gs_base : (uint32_t)q->gs_base;
}

static void next_scene(struct scene *c, const struct seq *q, uint64_t *s, bool first)
{
    bool same = !first && below(s, 2); /* as the last time, but for data */

    c->warm = same && below(s, 3);
    if (!same) {
        new_mode(c, q, s, first);
        new_control(c, s);
        new_place(c, q, s);
    }
    new_registers(c, q, s, first);
    new_flags(c, s);
    if (first || below(s, 2)) {
        new_fp(c, s);
        if (seq_avx512)
            new_avx512(c, s);
    }
    if (first || below(s, 3) == 0)
        c->images = below(s, POOL);
    c->keep_memory = !first && below(s, 4) == 0;
    c->keep_code = !first && below(s, 3) == 0;
    c->dma_item = !first && below(s, 4) == 0 ? (int)below(s, q->items) : -1;
    for (unsigned k = 0; k < 4; k++)
        c->dma_byte[k] = below(s, 3) ? 0x90 : (uint8_t)rnd(s);
    c->nmi = below(s, 30) == 0;
    c->breakpoint = below(s, 60) ? 0 : DATA_A + 0x100 + below(s, 96) * 8;
}

void plan_make(struct plan *p, const struct seq *q)
{
    uint64_t s = q->seed ^ 0x5deece66d1234567ull;

    memset(p, 0, sizeof(*p));
    p->runs = 2 + below(&s, SEQ_RUNS - 1);
    for (unsigned n = 0; n < p->runs; n++) {
        if (n)
            p->scene[n] = p->scene[n - 1];
        next_scene(&p->scene[n], q, &s, n == 0);
    }
}
