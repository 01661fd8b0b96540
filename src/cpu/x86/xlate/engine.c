/* The translator as an engine of the interpreter's run loop: find or make the block, enter it, look why it came back. */
#include "cpu/x86/xlate/gen.h"
#include "cpu/x86/xlate/host.h"
#include "cpu/x86/xlate/l1.h"

#include "cpu/vcpu.h"
#include "cpu/x86/exc.h"
#include "cpu/x86/interp/block.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/mmu.h"
#include "mem/ram.h"

#include <cpuid.h>
#include <errno.h>
#include <glib.h>
#include <stddef.h>
#include <sys/mman.h>

_Static_assert(offsetof(struct viv_x86, xl_page) == XL_O_PAGE, "layout.h");
_Static_assert(offsetof(struct viv_x86, xl_last) == XL_O_LAST, "layout.h");
_Static_assert(offsetof(struct viv_x86, xl_page_mask) == XL_O_MASK, "layout.h");
_Static_assert(offsetof(struct viv_x86, xl_space) == XL_O_SPACE, "layout.h");
_Static_assert(offsetof(struct viv_x86, gpr) == XL_O_GPR, "layout.h");
_Static_assert(offsetof(struct viv_x86, rip) == XL_O_RIP, "layout.h");
_Static_assert(offsetof(struct viv_x86, xl.host_sp) == XL_O_SP, "layout.h");
_Static_assert(offsetof(struct viv_x86, xl.jump_key) == XL_O_JKEY, "layout.h");
_Static_assert(offsetof(struct viv_x86, xl.jump_mask) == XL_O_JMASK, "layout.h");
_Static_assert(offsetof(struct viv_x86, xl.poll) == XL_O_POLL, "layout.h");
_Static_assert(offsetof(struct viv_x86, xl.vec_off) == XL_O_VECOFF, "layout.h");
_Static_assert(offsetof(struct viv_x86, xl.wide) == XL_O_WIDE, "layout.h");
_Static_assert(offsetof(struct viv_x86, xl.why) == XL_O_WHY, "layout.h");
_Static_assert(offsetof(struct viv_x86, xl.ret) == XL_O_RET, "layout.h");
_Static_assert(offsetof(struct viv_x86, xl.save_r10) == XL_O_R10, "layout.h");
_Static_assert(offsetof(struct viv_x86, xl.arg) == XL_O_ARG, "layout.h");
_Static_assert(offsetof(struct viv_x86, xl.zmm) == XL_O_ZMM, "layout.h");
_Static_assert(offsetof(struct viv_x86, xl.mxcsr) == XL_O_MXCSR, "layout.h");
_Static_assert(offsetof(struct viv_x86, xl.thunk) == XL_O_THUNK, "layout.h");
_Static_assert(offsetof(struct viv_x86, arith) == XL_O_ARITH, "layout.h");
_Static_assert(sizeof(struct viv_x86) <= XL_L1, "layout.h");
_Static_assert(offsetof(struct viv_x86_fpu, k) == offsetof(struct viv_x86_fpu, zmm) + 2048, "thunks.S");

/* ---- life ---- */

static bool host_has_bmi2(void)
{
    unsigned a, b, c, d;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_BMI2);
}

static bool host_has_avx(void)
{
    return __builtin_cpu_supports("avx");
}

int viv_xlate_probe(struct viv_err *why)
{
    void *p;

    if (!host_has_bmi2())
        return viv_fail(why, ENOTSUP, "the translator needs a host CPU with BMI2 (2013 and later)");
    p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return viv_fail_os(why, errno, "the host refuses executable memory");
    munmap(p, 4096);
    return 0;
}

static void set_thunks(struct viv_x86 *c)
{
    c->xl.thunk[XL_T_EXIT] = viv_xl_t_exit;
    c->xl.thunk[XL_T_EXIT_RIP] = viv_xl_t_exit_rip;
    c->xl.thunk[XL_T_LINK] = viv_xl_t_link;
    c->xl.thunk[XL_T_JUMP_MISS] = viv_xl_t_jump_miss;
    c->xl.thunk[XL_T_MISS] = viv_xl_t_miss;
    c->xl.thunk[XL_T_STORED] = viv_xl_t_stored;
    c->xl.thunk[XL_T_STORED_RIP] = viv_xl_t_stored_rip;
    c->xl.thunk[XL_T_EXEC] = viv_xl_t_exec;
    c->xl.thunk[XL_T_EXEC_END] = viv_xl_t_exec_end;
    c->xl.thunk[XL_T_VEC] = viv_xl_t_vec;
    c->xl.thunk[XL_T_FAULT] = viv_xl_t_fault;
}

/* ---- notices of changed code ---- */

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static GPtrArray *all; /* struct viv_xlate * */

/* mem/ram.h: a page that held code has a new version. Any thread. Whoever changed it goes on only afterwards, so a vCPU
 * that learns of the change by whatever the guest does will find its poll word set. */
static void code_changed(size_t page)
{
    struct viv_x86 *mine = viv_vcpu_self ? viv_vcpu_self->x86 : NULL;

    pthread_mutex_lock(&all_lock);
    for (guint n = 0; all && n < all->len; n++) {
        struct viv_xlate *x = all->pdata[n];

        if (x->c == mine) {
            viv_xl_page_changed(x, page);
            continue;
        }
        pthread_mutex_lock(&x->notice_lock);
        if (x->notices < XL_NOTICES)
            x->notice[x->notices] = page;
        if (x->notices <= XL_NOTICES)
            __atomic_store_n(&x->notices, x->notices + 1, __ATOMIC_RELAXED);
        pthread_mutex_unlock(&x->notice_lock);
        viv_xlate_kick(x->c);
    }
    pthread_mutex_unlock(&all_lock);
}

static void enlist(struct viv_xlate *x, bool in)
{
    pthread_mutex_lock(&all_lock);
    if (!all)
        all = g_ptr_array_new();
    if (in)
        g_ptr_array_add(all, x);
    else
        g_ptr_array_remove(all, x);
    pthread_mutex_unlock(&all_lock);
    viv_ram_set_code_listener(code_changed);
}

static void run(struct viv_x86 *c);

int viv_xlate_attach(struct viv_x86 *c, const struct viv_xlate_opts *opts, struct viv_err *err)
{
    struct viv_xlate *x = g_try_new0(struct viv_xlate, 1);
    struct viv_interp *in = c->interp;
    int r;

    if (!x || !(x->cold = g_try_new(struct cold, XL_COLD))) {
        g_free(x);
        return viv_fail(err, ENOMEM, "translator: no memory");
    }
    viv_xl_classes_init();
    x->c = c;
    x->opts = *opts;
    x->random = 1;
    pthread_mutex_init(&x->notice_lock, NULL);
    r = viv_xl_cache_init(x, err);
    if (r < 0) {
        g_free(x->cold);
        g_free(x);
        return r;
    }
    c->xlate = x;
    c->xl_page_mask = VIV_PAGE_MASK;
    c->xl.jump_mask = ((1ull << XL_JC_BITS) - 1) << 5;
    c->xl.vec_off = 1;
    c->xl.wide = host_has_avx();
    c->xl.zmm = c->fpu.zmm[0];
    c->xl.mxcsr = &c->fpu.mxcsr;
    set_thunks(c);
    viv_l1_init(c);
    viv_xl_host_thread(x);
    in->engine = run;
    enlist(x, true);
    return 0;
}

void viv_xlate_detach(struct viv_x86 *c)
{
    struct viv_xlate *x = c->xlate;

    if (!x)
        return;
    enlist(x, false);
    viv_xl_host_thread(NULL);
    ((struct viv_interp *)c->interp)->engine = NULL;
    c->xlate = NULL;
    viv_xl_cache_fini(x);
    pthread_mutex_destroy(&x->notice_lock);
    g_free(x->cold);
    g_free(x);
}

/* The order is the other way round in settle(): what is set here is either seen there or still there afterwards. */
void viv_xlate_kick(struct viv_x86 *c)
{
    __atomic_store_n(&c->xl.poll, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&c->xl.jump_key, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&c->xl_space, 0, __ATOMIC_SEQ_CST);
}

/* ---- running ---- */

static bool flat(const struct viv_x86 *c)
{
    for (unsigned s = VIV_ES; s <= VIV_DS; s++) {
        if (s == VIV_CS ? c->seg[s].base != 0 || c->seg[s].limit != 0xffffffff : c->fast_base[s] != 0)
            return false;
    }
    return c->seg[VIV_SS].attr & VIV_SEG_DB;
}

static unsigned vector_mode(const struct viv_x86 *c)
{
    unsigned m = 0;

    if ((c->cr0 & (VIV_CR0_EM | VIV_CR0_TS)) || (c->fpu.mxcsr & 0x1f80) != 0x1f80)
        return 0;
    if (c->cr4 & VIV_CR4_OSFXSR)
        m |= XL_SSE;
    if ((c->cr4 & VIV_CR4_OSXSAVE) && (c->xcr0 & 6) == 6 && c->xl.wide)
        m |= XL_AVX;
    return m;
}

/* What blocks made now depend on. */
static unsigned mode_of(const struct viv_x86 *c)
{
    unsigned m = vector_mode(c);

    if (c->mode == VIV_MODE_LONG)
        m |= XL_LONG;
    else if ((c->mode != VIV_MODE_PROT32 && c->mode != VIV_MODE_COMPAT32) || !flat(c))
        return XL_NONE;
    if (c->cpl == 3) {
        if ((c->cr0 & VIV_CR0_AM) && (c->eflags & VIV_FL_AC))
            return XL_NONE; /* every access is to be checked */
        m |= XL_USER;
    }
    return m;
}

static uint64_t mix(uint64_t v) /* splitmix64 */
{
    v += 0x9e3779b97f4a7c15ull;
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9ull;
    v = (v ^ v >> 27) * 0x94d049bb133111ebull;
    return v ^ v >> 31;
}

/* cpu/x86/code_space.h: what a linear address of code leads to, both kinds of pages. */
static uint64_t space_of(const struct viv_x86 *c)
{
    return c->code_space + (c->code_space_global << 1 | c->code_space_global >> 63);
}

/* Names what jump cache and cross-page links are good for now. A kick that comes meanwhile is not lost: it has set `poll`
 * before it took the names away. */
static void name_space(struct viv_xlate *x, unsigned mode)
{
    struct viv_x86 *c = x->c;

    x->key_space = space_of(c);
    x->key_mode = mode;
    x->key = mix(x->key_space ^ (uint64_t)mode << 48) | 1;
    __atomic_store_n(&c->xl.jump_key, x->key, __ATOMIC_SEQ_CST);
    __atomic_store_n(&c->xl_space, x->key, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&c->xl.poll, __ATOMIC_SEQ_CST))
        viv_xlate_kick(c);
}

static inline void renamed(struct viv_xlate *x, unsigned mode)
{
    if (x->key_space != space_of(x->c) || x->key_mode != mode)
        name_space(x, mode);
}

/* Before the requests are looked at: from here on a new one makes translated code come out again. */
static void settle(struct viv_xlate *x, unsigned mode)
{
    if (__atomic_load_n(&x->c->xl.poll, __ATOMIC_RELAXED)) {
        __atomic_exchange_n(&x->c->xl.poll, 0, __ATOMIC_SEQ_CST);
        name_space(x, mode);
        viv_xl_take_notices(x);
    }
}

/* A branch to an address that is not canonical: #GP of the branch, which has moved RSP already. */
static void check_target(struct viv_x86 *c)
{
    unsigned shift = c->cr4 & VIV_CR4_LA57 ? 7 : 16;

    if (c->mode != VIV_MODE_LONG || (uint64_t)((int64_t)(c->rip << shift) >> shift) == c->rip)
        return;
    c->gpr[VIV_RSP] -= (uint64_t)(int64_t)(int16_t)(c->xl_last >> 16);
    c->rip = c->next_rip = c->xl_page + (c->xl_last & 0xffff);
    viv_x86_raise_error(c, VIV_GP, 0);
}

/* The block at c->rip; NULL: the interpreter's. Raises what fetching raises. */
static struct xl_block *block_at(struct viv_xlate *x, unsigned mode)
{
    struct viv_x86 *c = x->c;
    const uint8_t *hva = viv_mmu_host(c, c->rip, 1, VIV_ACC_EXEC);
    struct xl_block *b;

    x->stats.dispatches++;
    if (!hva)
        return NULL;
    b = viv_xl_find(x, hva, mode);
    if (!b && x->opts.interp_cold && !((x->random = x->random * 1664525u + 1013904223u) >> 31))
        return NULL;
    return b ? b : viv_xl_translate(x, hva, c->rip, mode);
}

static void remember_jump(struct viv_xlate *x, uint64_t rip, const struct xl_block *b)
{
    struct viv_x86 *c = x->c;
    uint64_t h = (rip >> 11 | rip << 53) + rip;
    uint64_t *e = (uint64_t *)((uint8_t *)c + XL_JC + ((h & ((1u << XL_JC_BITS) - 1)) << 5));

    if (x->opts.no_chain)
        return;
    e[0] = -(rip + x->key);
    e[1] = (uintptr_t)b->code + (uintptr_t)x->e.delta;
    e[2] = rip & VIV_PAGE_MASK;
}

static bool must_look(const struct viv_x86 *c)
{
    uint32_t r = atomic_load_explicit(&c->vcpu->requests, memory_order_seq_cst);

    return c->attention || c->halted || c->shutdown || (r & ~(uint32_t)VIV_REQ_INTR) ||
           ((r & VIV_REQ_INTR) && (c->eflags & VIV_FL_IF));
}

static void interpret(struct viv_xlate *x)
{
    struct viv_interp *in = x->c->interp;

    x->stats.interp_insns++;
    in->blocks->most = 1;
    viv_interp_one(x->c);
}

/* Runs until there is something to look at. Faults leave by longjmp. */
static void run(struct viv_x86 *c)
{
    struct viv_xlate *x = c->xlate;
    struct xl_site *link = NULL;
    uint64_t flushes = 0;
    bool jump = false;

    for (;;) {
        unsigned mode = mode_of(c);
        struct xl_block *b;

        if (mode == XL_NONE) {
            if (must_look(c)) /* IRET to here may have set RF */
                return;
            ((struct viv_interp *)c->interp)->blocks->most = VIV_BLOCK_INSNS;
            viv_interp_run_blocks(c);
            return;
        }
        settle(x, mode);
        if (must_look(c))
            return;
        b = block_at(x, mode);
        if (!b) {
            link = NULL;
            jump = false;
            interpret(x);
            continue;
        }
        renamed(x, mode); /* the fetch may have changed it */
        if (link && flushes == x->stats.flushes)
            viv_xl_link(x, link, b);
        if (jump)
            remember_jump(x, c->rip, b);
        c->xl_page = c->rip & VIV_PAGE_MASK;
        viv_xl_enter(c, b->code + x->e.delta);
        if (c->mode != VIV_MODE_LONG)
            c->rip = (uint32_t)c->rip;
        link = NULL;
        jump = false;
        flushes = x->stats.flushes;
        switch (c->xl.why) {
        case XL_WHY_LINK:
            link = (struct xl_site *)(x->arena + c->xl.arg);
            break;
        case XL_WHY_JUMP:
            x->stats.jump_misses++;
            check_target(c);
            jump = true;
            break;
        case XL_WHY_INTERP:
            if (must_look(c))
                return;
            interpret(x);
            break;
        default:
            break;
        }
        c->next_rip = c->rip;
    }
}

/* ---- figures ---- */

void viv_xlate_get_stats(const struct viv_x86 *c, struct viv_xlate_stats *out)
{
    *out = c->xlate ? c->xlate->stats : (struct viv_xlate_stats){0};
}

unsigned viv_xlate_top_pages(const struct viv_x86 *c, struct viv_xlate_page *out, unsigned n)
{
    unsigned have = 0;

    for (unsigned h = 0; c->xlate && h < 1u << XL_PAGE_BITS; h++) {
        for (struct xl_page *p = c->xlate->pages[h]; p; p = p->next) {
            struct viv_xlate_page v = {.hva = viv_arena_base + (p->page << VIV_PAGE_SHIFT),
                                       .invalidations = p->invalidations};
            unsigned at;

            for (struct xl_block *b = p->blocks; b; b = b->page_next)
                v.blocks++;
            for (at = have; at > 0 && out[at - 1].blocks < v.blocks; at--)
                if (at < n)
                    out[at] = out[at - 1];
            if (at < n)
                out[at] = v;
            if (have < n)
                have++;
        }
    }
    return have;
}
