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
#include <sys/random.h>

_Static_assert(XL_SP + offsetof(struct viv_x86, xl_page) == XL_O_PAGE, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl_gspace) == XL_O_GSPACE, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.last) == XL_O_LAST, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl_page_mask) == XL_O_MASK, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl_space) == XL_O_SPACE, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, gpr) == XL_O_GPR, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, rip) == XL_O_RIP, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.host_sp) == XL_O_HOSTSP, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.jump_key) == XL_O_JKEY, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.jump_mask) == XL_O_JMASK, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.calm) == XL_O_CALM, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.vec_in) == XL_O_VECIN, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.wide) == XL_O_WIDE, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.why) == XL_O_WHY, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.ret) == XL_O_RET, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.save_r10) == XL_O_R10, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.arg) == XL_O_ARG, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.zmm) == XL_O_ZMM, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.mxcsr) == XL_O_MXCSR, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.fpu) == XL_O_FPU, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.seg) == XL_O_SEG, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.x87_page) == XL_O_FPAGE, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.x87_fdp) == XL_O_FDP, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.x87_last) == XL_O_FLAST, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.x87_in) == XL_O_X87IN, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.x87_seg) == XL_O_FSEG, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.x87_cw) == XL_O_FCW, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.x87_masks) == XL_O_FMASKS, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, xl.thunk) == XL_O_THUNK, "layout.h");
_Static_assert(XL_SP + offsetof(struct viv_x86, arith) == XL_O_ARITH, "layout.h");
_Static_assert(sizeof(struct viv_x86) <= XL_L1, "layout.h");
_Static_assert(offsetof(struct viv_x86_fpu, fcw) == 0 && offsetof(struct viv_x86_fpu, fsw) == 2, "FXSAVE");
_Static_assert(offsetof(struct viv_x86_fpu, ftw) == XL_FPU_FTW, "FXSAVE");
_Static_assert(offsetof(struct viv_x86_fpu, fop) == XL_FPU_FOP, "FXSAVE");
_Static_assert(offsetof(struct viv_x86_fpu, fip) == XL_FPU_FIP, "FXSAVE");
_Static_assert(offsetof(struct viv_x86_fpu, fdp) == XL_FPU_FDP, "FXSAVE");
_Static_assert(offsetof(struct viv_x86_fpu, st) == 32, "FXSAVE");
_Static_assert(offsetof(struct viv_x86_fpu, fcs) == XL_FPU_FCS, "layout.h");
_Static_assert(offsetof(struct viv_x86_fpu, fds) == XL_FPU_FDS, "layout.h");
_Static_assert(offsetof(struct viv_x86_fpu, xstate) == XL_FPU_STATE, "XSAVE");
_Static_assert(offsetof(struct viv_x86, fpu) % 64 == 0, "XSAVE");
_Static_assert(sizeof(struct viv_seg) == XL_SEG_BYTES && offsetof(struct viv_seg, sel) == XL_SEG_SEL, "layout.h");
_Static_assert(_Alignof(struct viv_x86) % 64 == 0, "SHRX by RSP");
_Static_assert(VIV_CS == XL_SEG_CS, "layout.h");
_Static_assert(offsetof(struct viv_x86_fpu, k) == offsetof(struct viv_x86_fpu, zmm) + 2048, "thunks.S");

/* ---- life ---- */

static bool host_has_bmi2(void)
{
    unsigned a, b, c, d;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_BMI2);
}

static bool host_has_xsave(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_OSXSAVE);
}

/* struct viv_xl_state.wide. VEX clears what is above 256 bits: with AVX-512 the guest sees that. */
static uint8_t width_for(const struct viv_x86 *c)
{
    if (!__builtin_cpu_supports("avx"))
        return 0;
    return (c->xcr0 & 0xe0) == 0xe0 && __builtin_cpu_supports("avx512bw") ? 2 : 1;
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
    c->xl.thunk[XL_T_CROSS] = viv_xl_t_cross;
    c->xl.thunk[XL_T_GROUP] = viv_xl_t_group;
    c->xl.thunk[XL_T_JUMP] = c->xlate->jump + c->xlate->e.delta;
    c->xl.thunk[XL_T_LINK] = viv_xl_t_link;
    c->xl.thunk[XL_T_JUMP_MISS] = viv_xl_t_jump_miss;
    c->xl.thunk[XL_T_JUMP_AT] = viv_xl_t_jump_at;
    c->xl.thunk[XL_T_MISS] = viv_xl_t_miss;
    c->xl.thunk[XL_T_STORED] = viv_xl_t_stored;
    c->xl.thunk[XL_T_STORED_RIP] = viv_xl_t_stored_rip;
    c->xl.thunk[XL_T_EXEC] = viv_xl_t_exec;
    c->xl.thunk[XL_T_EXEC_END] = viv_xl_t_exec_end;
    c->xl.thunk[XL_T_VEC] = viv_xl_t_vec;
    c->xl.thunk[XL_T_FAULT] = viv_xl_t_fault;
    c->xl.thunk[XL_T_X87] = viv_xl_t_x87;
}

/* ---- notices of changed code ---- */

/* A name under which nothing is in any jump cache. Secret, as names are: an empty entry answers to minus the name. */
static uint64_t no_name;

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static GPtrArray *all; /* struct viv_xlate * */

/* mem/ram.h: a page that held code has a new version. Any thread. Whoever changed it goes on only afterwards, so a vCPU
 * that learns of the change by whatever the guest does will find `calm` cleared. */
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

/* The jump cache compares sums of an address, which the guest chooses, and a name: who knew two names could jump from CPL 3
 * into what was translated for CPL 0. */
static int make_secrets(struct viv_xlate *x)
{
    uint64_t zero = 0, v[2];

    if (getrandom(v, sizeof(v), 0) != sizeof(v))
        return -EIO;
    x->secret = v[0];
    __atomic_compare_exchange_n(&no_name, &zero, v[1], false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return 0;
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
    r = make_secrets(x);
    r = r < 0 ? viv_fail_os(err, -r, "translator: no random numbers") : viv_xl_cache_init(x, err);
    if (r < 0) {
        g_free(x->cold);
        g_free(x);
        return r;
    }
    c->xlate = x;
    c->xl_page_mask = VIV_PAGE_MASK;
    c->xl.jump_mask = ((1ull << XL_JC_BITS) - 1) << 4;
    c->xl.vec_in = 0;
    c->xl.zmm = c->fpu.zmm[0];
    c->xl.mxcsr = &c->fpu.mxcsr;
    x->x87 = host_has_xsave();
    c->xl.x87_in = 0;
    c->xl.calm = 1;
    c->xl.x87_masks = 0x3f;
    c->xl.fpu = &c->fpu;
    c->xl.seg = c->seg;
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

/* `calm` first and `jump_key` last: whenever settle() comes in between, it finds the one or later the other. The order is the
 * other way round in settle(): what is set here is either seen there or still there afterwards. */
void viv_xlate_kick(struct viv_x86 *c)
{
    __atomic_store_n(&c->xl.calm, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&c->xl_space, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&c->xl_gspace, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&c->xl.jump_key, __atomic_load_n(&no_name, __ATOMIC_RELAXED), __ATOMIC_SEQ_CST);
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
    if ((m & XL_AVX) && (c->xcr0 & 0xe0) == 0xe0 && c->xl.wide == 2)
        m |= XL_AVX512;
    return m;
}

/* With every exception masked and none pending none can become pending: FLDCW and the like leave translated code. */
static unsigned x87_mode(const struct viv_x86 *c)
{
    if ((c->cr0 & (VIV_CR0_EM | VIV_CR0_TS)) || (c->fpu.fcw & 0x3f) != 0x3f || (c->fpu.fsw & 0x80))
        return 0;
    return c->xlate->x87 ? XL_X87 : 0;
}

/* What blocks made now depend on. */
static unsigned mode_of(const struct viv_x86 *c)
{
    unsigned m = vector_mode(c) | x87_mode(c);

    if (c->mode == VIV_MODE_LONG)
        m |= XL_LONG | XL_FS | XL_GS;
    else if ((c->mode != VIV_MODE_PROT32 && c->mode != VIV_MODE_COMPAT32) || !flat(c))
        return XL_NONE;
    else
        m |= (c->fast_base[VIV_FS] >> 32 ? 0 : XL_FS) | (c->fast_base[VIV_GS] >> 32 ? 0 : XL_GS);
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

/* Names what jump cache and cross-page links are good for now. A kick that comes meanwhile is not lost: it has cleared `calm`
 * before it took the names away. */
static void name_space(struct viv_xlate *x, unsigned mode)
{
    struct viv_x86 *c = x->c;

    x->key_space = space_of(c);
    x->key_mode = mode;
    x->key = mix(mix(x->key_space ^ x->secret) ^ (uint64_t)mode << 48);
    x->space = mix(c->code_space ^ x->secret);
    x->gspace = mix(c->code_space_global ^ x->secret);
    __atomic_store_n(&c->xl.jump_key, x->key, __ATOMIC_RELAXED);
    __atomic_store_n(&c->xl_space, x->space, __ATOMIC_RELAXED);
    __atomic_store_n(&c->xl_gspace, x->gspace, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&c->xl.calm, __ATOMIC_SEQ_CST))
        viv_xlate_kick(c);
}

static inline void renamed(struct viv_xlate *x, unsigned mode)
{
    if (x->key_space != space_of(x->c) || x->key_mode != mode)
        name_space(x, mode);
}

/* Before the requests are looked at: from here on a new one makes translated code come out again. A kick may have cleared
 * `calm`, have been seen, and take the names away only now. */
static void settle(struct viv_xlate *x, unsigned mode)
{
    if (!__atomic_load_n(&x->c->xl.calm, __ATOMIC_RELAXED) ||
        __atomic_load_n(&x->c->xl.jump_key, __ATOMIC_RELAXED) != x->key) {
        __atomic_exchange_n(&x->c->xl.calm, 1, __ATOMIC_SEQ_CST);
        name_space(x, mode);
        viv_xl_take_notices(x);
    }
}

static inline bool canonical_rip(const struct viv_x86 *c)
{
    unsigned shift = c->cr4 & VIV_CR4_LA57 ? 7 : 16;

    return c->mode != VIV_MODE_LONG || (uint64_t)((int64_t)(c->rip << shift) >> shift) == c->rip;
}

/* A branch to an address that is not canonical: #GP of the branch, which has moved RSP already. Without a branch it is the
 * fetch's, and RIP is where it stands. */
static void check_target(struct viv_x86 *c)
{
    int32_t last;

    if (canonical_rip(c))
        return;
    if (c->xl.last >= 0)
        last = (int32_t)c->xl.last;
    else
        last = ((struct xl_site *)(c->xlate->arena + ~c->xl.last))->last;
    if (last >= 0 && last != XL_LAST_NONE) {
        c->gpr[VIV_RSP] -= (uint64_t)(int64_t)XL_LAST_SP(last);
        c->rip = c->xl_page + XL_LAST_OFF(last);
    }
    c->next_rip = c->rip;
    viv_x86_raise_error(c, VIV_GP, 0);
}

/* The block at c->rip; NULL: the interpreter's. Raises what fetching raises. */
static struct xl_block *block_at(struct viv_xlate *x, unsigned mode)
{
    struct viv_x86 *c = x->c;
    const uint8_t *hva;
    struct xl_block *b;

    x->stats.dispatches++;
    if (!canonical_rip(c))
        return NULL;
    hva = viv_mmu_host(c, c->rip, 1, VIV_ACC_EXEC);
    if (!hva)
        return NULL;
    b = viv_xl_find(x, hva, mode);
    if (!b && x->opts.interp_cold && !((x->random = x->random * 1664525u + 1013904223u) >> 31))
        return NULL;
    return b ? b : viv_xl_translate(x, hva, c->rip, mode);
}

/* Not after a jump: only what leads to another block, which has been changed. */
static void remember_jump(struct viv_xlate *x, uint64_t rip, const struct xl_block *b, bool jump)
{
    struct viv_x86 *c = x->c;
    uint64_t sum = rip + x->key;
    uint64_t *e = (uint64_t *)((uint8_t *)c + XL_JC) + 2 * XL_JC_INDEX(sum);

    if (x->opts.no_chain || (!jump && e[0] != -sum))
        return;
    if (!e[0]) /* with its target 0 too: what a flush leaves */
        viv_xl_cache_wrote(x, e);
    e[0] = -sum;
    e[1] = (uintptr_t)b->entry + (uintptr_t)x->e.delta;
}

static bool must_look(const struct viv_x86 *c)
{
    uint32_t r = atomic_load_explicit(&c->vcpu->requests, memory_order_seq_cst);

    return c->attention || c->halted || c->shutdown || (r & ~(uint32_t)VIV_REQ_INTR) ||
           ((r & VIV_REQ_INTR) && (c->eflags & VIV_FL_IF));
}

bool viv_xl_go_on(struct viv_x86 *c)
{
    struct viv_xlate *x = c->xlate;
    unsigned mode;

    if (must_look(c) || !__atomic_load_n(&c->xl.calm, __ATOMIC_RELAXED))
        return false;
    c->xl.wide = width_for(c);
    mode = mode_of(c);
    if (mode == XL_NONE)
        return false;
    renamed(x, mode);
    return true;
}

static void interpret(struct viv_xlate *x)
{
    struct viv_interp *in = x->c->interp;

    x->stats.interp_insns++;
    in->blocks->most = 1;
    viv_interp_one(x->c);
}

/* What the block that has come back wants. */
struct wish {
    struct xl_site *link; /* to be led on directly */
    bool jump;            /* to be found in the jump cache */
    struct xl_block *enter; /* to be entered again */
    bool interpret;
};

/* A block whose instruction goes on in another page, under another space than last time. */
static void crossed(struct viv_xlate *x, struct xl_block *b, unsigned mode, struct wish *w)
{
    struct viv_x86 *c = x->c;
    uint64_t next = c->xl_page + VIV_PAGE_SIZE;
    const uint8_t *hva2;

    c->rip = c->next_rip = c->xl_page + ((uintptr_t)b->hva & (VIV_PAGE_SIZE - 1));
    if (!(mode & XL_LONG))
        next = (uint32_t)next;
    hva2 = viv_mmu_host(c, next, 1, VIV_ACC_EXEC);
    renamed(x, mode);
    if (hva2 == b->hva2) {
        viv_xl_set_space(x, b->space, viv_mmu_exec_global(c, next));
        w->enter = b;
    } else {
        viv_xl_forget(x, b);
    }
}

static void came_back(struct viv_xlate *x, unsigned mode, struct wish *w)
{
    struct viv_x86 *c = x->c;

    switch (c->xl.why) {
    case XL_WHY_LINK:
        w->link = (struct xl_site *)(x->arena + c->xl.arg);
        c->rip = c->xl_page + (uint64_t)(int64_t)w->link->off;
        break;
    case XL_WHY_JUMP:
        x->stats.jump_misses++;
        check_target(c);
        w->jump = true;
        if (c->xl.last < 0)
            w->link = (struct xl_site *)(x->arena + ~c->xl.last);
        break;
    case XL_WHY_CROSS:
        crossed(x, (struct xl_block *)(x->arena + c->xl.arg), mode, w);
        break;
    case XL_WHY_INTERP:
        w->interpret = true;
        break;
    default:
        break;
    }
    if (c->mode != VIV_MODE_LONG)
        c->rip = (uint32_t)c->rip;
    c->next_rip = c->rip;
}

/* The next block, with what the last one wished for done. NULL: the interpreter's instruction. */
static struct xl_block *next_block(struct viv_xlate *x, unsigned mode, const struct wish *w)
{
    struct viv_x86 *c = x->c;
    uint64_t flushes = x->stats.flushes;
    bool plain = w->link && w->link->plain;
    struct xl_block *b = block_at(x, mode | (plain ? XL_PLAIN : 0));

    bool same = x->key_space == space_of(c);

    renamed(x, mode);
    if (!b)
        return NULL;
    if (viv_xl_splits(x, c->rip))
        return b;
    /* The fetch may have changed it: then the page need not be the one that the jump to be patched lies in. */
    if (w->link && same && flushes == x->stats.flushes)
        viv_xl_link(x, w->link, b, viv_mmu_exec_global(c, c->rip));
    if (!plain)
        remember_jump(x, c->rip, b, w->jump);
    return b;
}

/* Runs until there is something to look at. Faults leave by longjmp. */
static void run(struct viv_x86 *c)
{
    struct viv_xlate *x = c->xlate;
    struct wish w = {NULL};

    viv_xl_take_breaks(x);
    for (;;) {
        uint64_t flushes = x->stats.flushes;
        struct xl_block *b;
        unsigned mode;

        c->xl.wide = width_for(c); /* vector registers are in memory now */
        mode = mode_of(c);

        if (must_look(c))
            return;
        if (mode == XL_NONE && c->breaks.on) {
            if (viv_xl_at_break(x))
                return;
            w = (struct wish){NULL};
            interpret(x);
            continue;
        }
        if (mode == XL_NONE) {
            ((struct viv_interp *)c->interp)->blocks->most = VIV_BLOCK_INSNS;
            viv_interp_run_blocks(c);
            return;
        }
        settle(x, mode);
        if (must_look(c) || (x->splits && viv_xl_at_break(x)))
            return;
        if (flushes != x->stats.flushes) /* notices did it */
            w = (struct wish){NULL, .interpret = w.interpret};
        b = w.interpret ? NULL : w.enter && !w.enter->stale ? w.enter : next_block(x, mode, &w);
        w = (struct wish){NULL};
        if (!b) {
            interpret(x);
            continue;
        }
        c->xl_page = c->rip & VIV_PAGE_MASK;
        viv_xl_enter(c, b->code + x->e.delta);
        came_back(x, mode, &w);
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

            for (struct xl_ref *r = p->blocks; r; r = r->next)
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
