/* Runs a sequence on both machines. */
#include "seq.h"

#include "cpu/vcpu.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/mmu.h"
#include "mem/ram.h"

#include <stdlib.h>
#include <sys/time.h>
#include <signal.h>
#include <unistd.h>

#define SEQ_EDITED 6 /* entries of the page tables that macros.c edits */

struct run_stats run_stats;
static struct machine ref, fast;
static enum engine engine;
static struct viv_xlate_opts xlate_opts;
static uint64_t now_seed;

/* ---- a run that does not end ---- */

static volatile sig_atomic_t ticks, fired;

static void on_alarm(int sig)
{
    if (++ticks < 3)
        return;
    fired = 1;
    atomic_fetch_or(&fast.vcpu.requests, VIV_REQ_STOP);
    if (engine == ENGINE_XLATE)
        viv_xlate_kick(fast.c);
}

static void start_clock(void)
{
    struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART | SA_ONSTACK};
    struct itimerval t = {.it_interval = {.tv_sec = 1}, .it_value = {.tv_sec = 1}};

    sigaction(SIGPROF, &sa, NULL); /* by CPU time: the host may be busy */
    setitimer(ITIMER_PROF, &t, NULL);
}

void run_tell_case(void)
{
    static const char text[] = "a crash in case 0x";
    char digit[17];

    for (unsigned n = 0; n < 16; n++)
        digit[n] = "0123456789abcdef"[now_seed >> (60 - 4 * n) & 15];
    digit[16] = '\n';
    if (write(2, text, sizeof(text) - 1) < 0 || write(2, digit, sizeof(digit)) < 0)
        _exit(4);
}

/* ---- the engines ---- */

static void attach(void)
{
    struct viv_err err = VIV_ERR_INIT;

    if (engine == ENGINE_XLATE &&
        (viv_xlate_probe(&err) < 0 || viv_xlate_attach(fast.c, &xlate_opts, &err) < 0)) {
        printf("SKIP: %s\n", err.text);
        exit(77);
    }
}

void run_clean(void)
{
    if (engine == ENGINE_INTERP) {
        viv_interp_fini(fast.c);
        if (viv_interp_init(fast.c) < 0)
            exit(77);
        return;
    }
    viv_xlate_detach(fast.c);
    attach();
}

void run_init(enum engine e, const struct viv_cpuid *cpuid, const struct viv_xlate_opts *opts)
{
    engine = e;
    xlate_opts = *opts;
    viv_ram_set_vcpu_count(1);
    machine_make(&ref, "ref", cpuid);
    machine_make(&fast, "fast", cpuid);
    run_stats.hits = calloc(viv_row_count, sizeof(*run_stats.hits));
    plan_init(&ref);
    attach();
    start_clock();
}

/* ---- one run ---- */

static void count(const struct viv_x86 *c, const struct viv_insn *i)
{
    uint64_t at = c->rip - SYS_CODE;

    run_stats.steps++;
    run_stats.hits[i->row - viv_rows]++;
    if (at < H_HALT_ANY && at % 16 == 0)
        run_stats.vectors[at / 16 % 32]++;
}

/* A repeated string instruction that has overwritten itself: whether its remaining iterations see that is not defined (SDM
 * 3A 9.1.3 speaks of the next instruction). */
static bool repeats_differently(const struct viv_insn *i)
{
    struct viv_x86 *c = ref.c;
    struct viv_insn now;
    uint8_t b[15] = {0};
    uint64_t gpa;

    for (unsigned n = 0; n < i->len; n++) {
        if (!viv_mmu_translate_debug(c, c->rip + n, &gpa) || gpa >= PHYS_RAM)
            return false;
        b[n] = ref.ram[gpa];
    }
    if (viv_decode(b, i->len, c->mode, rows_cpuid(), &now) != VIV_DECODE_OK)
        return true;
    return now.row != i->row || now.rep != i->rep || now.len != i->len || now.asz != i->asz || now.seg != i->seg;
}

/* After an edit of the page tables only what flushes the TLB may follow: what else an engine still holds is its own
 * business. */
static bool flushes(const struct viv_insn *i)
{
    if (i->row->map != VIV_MAP_0F)
        return false;
    return i->row->opcode == 0x20 || (i->row->opcode == 0x22 && i->reg == 3) || !strcmp(i->row->name, "invlpg");
}

static bool edited(uint64_t seen[SEQ_EDITED])
{
    static const uint32_t lin[SEQ_EDITED] = {DATA_B, DATA_C, CODE_B, CODE_B + 0x1000, CODE_B + 0x2000, CODE_B + 0x3000};
    const uint8_t *table = ref.ram + PHYS_PAGE(HOT_TABLE_LOW);
    bool changed = false;

    for (unsigned n = 0; n < SEQ_EDITED; n++) {
        uint64_t now;

        memcpy(&now, table + 8 * (lin[n] >> 12 & 511), 8);
        changed |= (now ^ seen[n]) & ~0x60ull;
        seen[n] = now;
    }
    return changed;
}

/* Has it been without our page tables? Then any memory may be another. */
static bool strange;

static bool other_tables(const struct viv_x86 *c)
{
    uint64_t cr3 = c->cr3 & ~0xfffull;

    return !(c->cr0 & VIV_CR0_PG) || !(c->cr4 & VIV_CR4_PAE) || (cr3 != PHYS_CR3_LONG && cr3 != PHYS_CR3_PAE);
}

/* False: it does not end soon, or executes what cannot be compared. */
static bool run_reference(void)
{
    struct viv_x86 *c = ref.c;
    uint64_t seen[SEQ_EDITED] = {0};
    bool stale = false;

    edited(seen);
    for (unsigned n = 0; n < SEQ_STEPS; n++) {
        uint64_t rip = c->rip;
        enum viv_run r;

        c->insn = NULL;
        r = viv_interp_step(c);
        if (c->insn) {
            if (rows_banned(c->insn) ||
                (c->insn->rep && (c->insn->row->attr & A_REP) && c->rip == rip && repeats_differently(c->insn)))
                return false;
            count(c, c->insn);
        }
        strange |= other_tables(c);
        if (stale && (!c->insn || !flushes(c->insn)))
            return false;
        stale = edited(seen) || (stale && c->insn->row->opcode == 0x20);
        /* A trap of HLT itself (TF) wakes it. */
        if (r != VIV_RUN_REQUEST && !(c->halted && (c->attention & VIV_ATT_TRAP)))
            return true;
    }
    return false;
}

static bool run_free(void)
{
    enum viv_run r;

    ticks = fired = 0;
    viv_vcpu_self = &fast.vcpu; /* what it changes itself is no news from outside: xlate/engine.c, code_changed() */
    do {
        r = viv_interp_run(fast.c);
    } while (r == VIV_RUN_REQUEST && !fired);
    viv_vcpu_self = NULL;
    return !fired;
}

static void change(struct machine *m, const struct seq *q, const struct scene *s)
{
    uint32_t at;
    uint8_t *p;

    if (s->dma_item < 0)
        return;
    at = q->at[(unsigned)s->dma_item % q->items];
    if (at + 4 > CODE_BYTES)
        return;
    p = m->ram + PHYS_PAGE(HOT_CODE) + at;
    memcpy(p, s->dma_byte, 4);
    viv_ram_written(p, 4);
}

static void prepare(struct machine *m, const struct seq *q, const struct scene *s)
{
    const uint8_t *want[HOT_PAGES];

    plan_images(s, q->code, want);
    machine_restore(m, want);
    change(m, q, s);
    machine_put(m, s);
    /* A sequence may end between an edit and its INVLPG: what a TLB still holds then is its own business. */
    if (s->warm && plan_tables_changed(m->ram + PHYS_PAGE(HOT_TABLE_LOW)))
        viv_tlb_flush_all(m->c);
}

static void repair(const struct seq *q)
{
    if (!strange && !machine_sys_written(&ref) && !machine_sys_written(&fast))
        return;
    strange = false;
    machine_repair(&ref);
    machine_repair(&fast);
    machine_fixups(&ref, q->fixup);
    machine_fixups(&fast, q->fixup);
}

enum verdict run_seq(const struct seq *q, const struct plan *p, FILE *out)
{
    now_seed = q->seed;
    machine_fixups(&ref, q->fixup);
    machine_fixups(&fast, q->fixup);
    for (unsigned n = 0; n < p->runs; n++) {
        bool ended;

        prepare(&ref, q, &p->scene[n]);
        if (!run_reference()) {
            repair(q);
            return LEFT_OUT;
        }
        prepare(&fast, q, &p->scene[n]);
        ended = run_free();
        run_stats.runs++;
        run_stats.shutdowns += ref.c->shutdown;
        if (ended && !show_differences(&ref, &fast, NULL)) {
            repair(q);
            continue;
        }
        if (out) {
            show_scene(&p->scene[n], n, out);
            if (!ended)
                fprintf(out, "  did not end\n");
            show_differences(&ref, &fast, out);
        }
        repair(q);
        return DIFFERENT;
    }
    return SAME;
}

bool run_check_static(FILE *out)
{
    size_t n;
    const uint8_t *a = machine_static(&ref, &n), *b = machine_static(&fast, &n);

    if (!memcmp(a, b, n))
        return true;
    for (size_t k = 0; k < n; k++) {
        if (a[k] != b[k]) {
            fprintf(out, "memory that nothing may change differs at physical %zx: %02x, %02x\n", k, a[k], b[k]);
            break;
        }
    }
    return false;
}
