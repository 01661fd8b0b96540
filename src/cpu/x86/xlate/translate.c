/* One block: a straight run of instructions within a page, conditional branches left by the side. */
#include "cpu/x86/xlate/gen.h"

#include "cpu/x86/xlate/disasm.h"
#include "cpu/x86/xlate/perfmap.h"
#include "cpu/x86/mmu.h"
#include "mem/ram.h"

#include <glib.h>

#define MOST_INSNS    48u
#define MOST_POSSIBLE XL_INSNS /* for tests */

struct cold *viv_xl_cold(struct gen *g, enum cold_kind kind, uint8_t *jmp)
{
    struct cold *c = &g->cold[g->colds++];

    *c = (struct cold){.kind = kind, .jmp = jmp, .flags = g->flags};
    return c;
}

static struct emem thunk(unsigned n)
{
    return xl_word(XL_O_THUNK + 8 * (int32_t)n);
}

void viv_xl_call(struct gen *g, unsigned t)
{
    e8(g->e, 0xe8);
    e32(g->e, 0);
    e_patch(g->e->p - 4, g->x->common[t]);
}

static void exit_to(struct gen *g, int32_t off)
{
    viv_xl_call(g, XL_T_EXIT);
    e32(g->e, (uint32_t)off);
}

/* A jump that can be patched: its stub tells the dispatcher which one it is. */
static void cold_link(struct gen *g, const struct cold *c)
{
    struct viv_xlate *x = g->x;
    struct xl_site *s = viv_xl_alloc(x, sizeof(*s));

    *s = (struct xl_site){.at = c->jmp, .stub = g->e->p, .off = c->off};
    viv_xl_call(g, XL_T_LINK);
    e32(g->e, (uint32_t)((uint8_t *)s - x->arena));
}

/* The look-up of a group: if C cannot help, to the same place in the block without groups. */
static void cold_plain(struct gen *g, const struct cold *c)
{
    struct viv_xlate *x = g->x;
    struct xl_site *s = viv_xl_alloc(x, sizeof(*s));
    uint8_t *at;

    if (c->base != H_10)
        e_mov(g->e, H_10, c->base);
    viv_xl_call(g, XL_T_GROUP);
    e32(g->e, c->info);
    at = e_jmp(g->e);
    e_patch(e_jmp(g->e), c->back);
    *s = (struct xl_site){.at = at, .stub = g->e->p, .off = c->off, .plain = true};
    e_patch(at, g->e->p);
    viv_xl_call(g, XL_T_LINK);
    e32(g->e, (uint32_t)((uint8_t *)s - x->arena));
}

/* Through the jump cache; if it is not there, the site can be linked. */
static void cold_cross(struct gen *g, const struct cold *c)
{
    struct emit *e = g->e;

    e_op_mem(e, true, 0xc7, 0, xl_word(XL_O_LAST));
    e32(e, ~(uint32_t)((uint8_t *)c->site - g->x->arena));
    e_load(e, H_10, xl_word(XL_O_PAGE));
    e_lea(e, g->lng, H_CX, EMEM(H_10, c->off));
    e_patch(e_jmp(e), g->x->jump);
}

/* [base + off] is not in the page of [base], or that is not in the TLB. If R10 is the base it comes back as it was. */
static void cold_near(struct gen *g, const struct cold *c)
{
    struct emit *e = g->e;

    e_lea(e, true, H_10, EMEM(c->base, c->off));
    e8(e, 0xe8);
    e32(e, 0);
    e_patch(e->p - 4, c->off ? g->x->again[g->mode & XL_USER ? 1 : 0][c->info & XL_I_WRITE ? 1 : 0] : g->x->common[XL_T_MISS]);
    e32(e, c->info);
    if (c->base == H_10 && c->off)
        e_lea(e, true, H_10, EMEM(H_10, -c->off));
    e_patch(e_jmp(e), c->back);
}

void viv_xl_emit_colds(struct gen *g)
{
    struct emit *e = g->e;

    for (unsigned n = 0; n < g->colds; n++) {
        const struct cold *c = &g->cold[n];

        e_patch(c->jmp, e->p);
        viv_xl_flags_restore(e, &c->flags);
        switch (c->kind) {
        case COLD_LINK:
            cold_link(g, c);
            break;
        case COLD_CROSS:
            cold_cross(g, c);
            break;
        case COLD_EXIT:
            exit_to(g, c->off);
            break;
        case COLD_PLAIN:
            cold_plain(g, c);
            break;
        case COLD_MISS:
            viv_xl_call(g, XL_T_MISS);
            e32(e, c->info);
            e_patch(e_jmp(e), c->back);
            break;
        case COLD_NEAR:
            cold_near(g, c);
            break;
        case COLD_STORED:
            viv_xl_call(g, XL_T_STORED);
            e32(e, (uint32_t)c->off);
            break;
        case COLD_STORED_RIP:
            e_op_mem(e, true, 0xc7, 0, xl_word(XL_O_LAST)); /* mov qword, imm32 */
            e32(e, (uint32_t)c->off);
            viv_xl_call(g, XL_T_STORED_RIP);
            break;
        case COLD_VEC:
            viv_xl_call(g, XL_T_VEC);
            e_patch(e_jmp(e), c->back);
            break;
        case COLD_FAULT:
            e_mov_imm32(e, H_CX, (uint32_t)c->off);
            e_jmp_mem(e, thunk(XL_T_FAULT));
            break;
        case COLD_X87:
            viv_xl_call(g, XL_T_X87);
            e_patch(e_jmp(e), c->back);
            break;
        }
    }
}

/* Loads what is not in the host's registers, by its flag. */
static void need(struct gen *g, enum cold_kind kind, int32_t flag)
{
    struct emit *e = g->e;

    g->cx = -1;
    e_op2_mem(e, false, 0xb6, H_CX, xl_word(flag)); /* movzx ecx, byte */
    viv_xl_cold(g, kind, e_if_zero(e))->back = e->p;
}

void viv_xl_need_vec(struct gen *g)
{
    if (!g->vec)
        need(g, COLD_VEC, XL_O_VECIN);
    g->vec = true;
}

void viv_xl_need_x87(struct gen *g)
{
    if (!g->x87)
        need(g, COLD_X87, XL_O_X87IN);
    g->x87 = true;
}

/* The instruction's handler. */
static void helper(struct gen *g, bool end)
{
    struct viv_insn *copy = viv_xl_alloc(g->x, sizeof(*copy));
    struct emit *e = g->e;

    *copy = *g->i;
    g->x87 = false;
    g->x87_seg = XL_NO_SEG;
    viv_xl_sp_exact(g);
    viv_xl_flags_exact(g);
    g->flags.redo_bytes = 0;
    e_mov_imm(e, H_11, (uintptr_t)copy);
    e_mov_imm32(e, H_CX, (uint32_t)g->off);
    if (end)
        e_jmp_mem(e, thunk(XL_T_EXEC_END));
    else
        viv_xl_call(g, XL_T_EXEC);
}

/* PCMPxSTRI leaves its index in ECX; the lengths of the explicit forms are in place. */
static bool pcmpstr(struct gen *g)
{
    if (!viv_xl_gen_generic(g, true))
        return false;
    if (strstr(g->i->row->name, "stri"))
        e_mov32(g->e, xl_host(VIV_RCX), H_CX);
    return true;
}

static bool native(struct gen *g, enum xl_class k)
{
    switch (k) {
    case XC_NOP: return true;
    case XC_GENERIC: return viv_xl_gen_generic(g, false);
    case XC_VECTOR: case XC_MMX: return viv_xl_gen_generic(g, true);
    case XC_X87: case XC_X87_CONTROL: return viv_xl_gen_x87(g);
    case XC_EVEX: return viv_xl_gen_evex(g);
    case XC_LEA: return viv_xl_gen_lea(g);
    case XC_SHIFT_CL: return viv_xl_gen_shift_cl(g);
    case XC_MOV_O: return viv_xl_gen_mov_o(g);
    case XC_CMPXCHG16B: return viv_xl_gen_cmpxchg16b(g);
    case XC_PCMPSTR: return pcmpstr(g);
    case XC_PUSH: return viv_xl_gen_push(g);
    case XC_POP: return viv_xl_gen_pop(g);
    case XC_LEAVE: return viv_xl_gen_leave(g);
    case XC_HELPER: case XC_HELPER_END: return false;
    default: return viv_xl_gen_branch(g, k);
    }
}

static bool ends(enum xl_class k)
{
    return k == XC_CALL_REL || k == XC_CALL_IND || k == XC_JMP_REL || k == XC_JMP_IND || k == XC_RET;
}

/* True: the block ends here. */
static bool one(struct gen *g)
{
    enum xl_class k = viv_xl_class(g->i);
    struct viv_xlate *x = g->x;
    uint8_t *p = g->e->p;
    unsigned colds = g->colds, faults = x->fault_count;
    bool vec = g->vec, page = g->x87_page, quiet = g->quiet;
    struct xl_flags flags = g->flags;
    int sp = g->sp;
    bool end = k == XC_HELPER_END || k == XC_X87_CONTROL || (g->i->row->attr & A_JUMP);

    if (k != XC_NOP && k != XC_LEA && k != XC_GENERIC && k != XC_VECTOR && k != XC_PUSH && k != XC_POP)
        g->cx = -1;
    if (native(g, k)) {
        viv_xl_group_end(g, true);
        return ends(k);
    }
    g->e->p = p;
    g->colds = colds;
    g->vec = vec;
    g->x87_page = page;
    g->quiet = quiet;
    g->flags = flags;
    g->sp = sp;
    x->fault_count = faults;
    g->cx = -1;
    memset(g->group, 0, sizeof(g->group));
    viv_xl_group_settle(g, g->off); /* the handler may leave the block */
    helper(g, end);
    return end;
}

static unsigned most_insns(struct viv_xlate *x)
{
    unsigned most = x->opts.max_insns ? x->opts.max_insns : MOST_INSNS;

    if (x->opts.random_ends) {
        x->random = x->random * 1664525u + 1013904223u;
        most = 1 + (x->random >> 16) % most;
    }
    return most > MOST_POSSIBLE ? MOST_POSSIBLE : most;
}

/* Where a block leads that has become stale. */
static void stale_stub(struct gen *g, struct xl_block *b, int32_t off)
{
    b->stale_stub = g->e->p;
    exit_to(g, off);
}

static void log_block(struct viv_xlate *x, const struct xl_block *b, uint64_t rip, size_t n)
{
    if (x->opts.log_in)
        viv_xlate_log_in(x->opts.log_in, rip, b->copy, b->bytes, x->c->mode);
    if (x->opts.log_out)
        viv_xlate_log_out(x->opts.log_out, b->code, n, (uintptr_t)b->code + (uintptr_t)x->e.delta);
    if (x->opts.perfmap)
        viv_xlate_perfmap_add(b->code + x->e.delta, n, rip);
}

#define CODE_MOST 704u /* guest bytes of a block: 48 instructions rarely have more */

static void translate_one(struct gen *g, const struct viv_insn *insn, unsigned at, unsigned count, int32_t off, bool *end)
{
    g->i = &insn[at];
    g->off = off;
    g->next = off + g->i->len;
    viv_xl_sp_begin(g);
    viv_xl_flags_begin(g, at);
    if (g->pending && !viv_xl_harmless(g))
        viv_xl_group_settle(g, off);
    viv_xl_group_begin(g, insn, at, count);
    *end = one(g);
    viv_xl_flags_end(g);
}

/* How many instructions the block has, the first at `off`. */
static unsigned decode(struct gen *g, const uint8_t *code, unsigned have, bool whole, int32_t off, struct viv_insn *insn)
{
    struct viv_x86 *c = g->x->c;
    unsigned n = 0, most = most_insns(g->x), at = 0;

    while (n < most && at < have) {
        enum xl_class k;

        if ((!whole && have - at < 15) || (n && viv_xl_splits(g->x, (uint64_t)off + at)))
            break;
        if (viv_decode(code + at, have - at, c->mode, c->cpuid, &insn[n]) != VIV_DECODE_OK)
            break; /* goes on in the next page, or faults: a block of its own, or nobody's */
        at += insn[n].len;
        k = viv_xl_class(&insn[n++]);
        if (ends(k) || k == XC_HELPER_END)
            break;
    }
    return n;
}

/* Does one of them, the first at `off`, jump back to one of them? */
static bool loops(const struct viv_insn *insn, unsigned count, int32_t off)
{
    int32_t first = off;

    for (unsigned n = 0; n < count; n++) {
        enum xl_class k = viv_xl_class(&insn[n]);
        int64_t to;

        off += insn[n].len;
        to = off + (int64_t)insn[n].imm;
        if ((k == XC_JCC || k == XC_JMP_REL || k == XC_LOOP) && to >= first && to < off)
            return true;
    }
    return false;
}

/* Instructions up to one that ends the block. Returns their number; *off: behind the last. */
static unsigned body(struct gen *g, const uint8_t *code, unsigned have, bool whole, int32_t *off)
{
    struct viv_insn insn[MOST_POSSIBLE];
    unsigned count = decode(g, code, have, whole, *off, insn), n;
    const int32_t first = *off;
    bool end = false;

    g->loop = loops(insn, count, first);
    viv_xl_flags_plan(g, insn, count);
    for (n = 0; n < count && !end; n++) {
        g->bytes = code + (*off - first);
        translate_one(g, insn, n, count, *off, &end);
        *off = g->next;
    }
    g->off = XL_NO_BRANCH;
    g->quiet = false;
    g->use = XF_OTHER;
    viv_xl_sp_exact(g);
    viv_xl_flags_exact(g);
    if (!end && n) {
        viv_xl_group_settle(g, *off);
        viv_xl_gen_next(g, *off);
    }
    return n;
}

/* One instruction that lies in two pages. That the linear address behind the first still leads to the second is asked
 * each time. The second page may be absent: raised as the fetch's fault. */
static unsigned crossing(struct gen *g, struct xl_block *b, uint8_t *code, unsigned have, uint64_t rip, int32_t *off)
{
    struct viv_x86 *c = g->x->c;
    uint64_t next = (rip & VIV_PAGE_MASK) + VIV_PAGE_SIZE;
    struct viv_insn insn;
    bool end;

    if (!g->lng)
        next = (uint32_t)next;
    if (viv_decode(code, have, c->mode, c->cpuid, &insn) != VIV_DECODE_MORE)
        return 0;
    b->hva2 = viv_mmu_host(c, next, 1, VIV_ACC_EXEC);
    if (!b->hva2)
        return 0;
    if (b->version[0] != __atomic_load_n(b->version_at[0], __ATOMIC_ACQUIRE))
        return 0; /* that the second page was accessed has been written into the first: whoever changes it now does not tell */
    b->version[1] = viv_xl_mark_code(g->x, b->hva2);
    b->version_at[1] = &viv_arena_version[viv_arena_page(b->hva2)];
    memcpy(code + have, b->hva2, 15);
    if (viv_decode(code, have + 15, c->mode, c->cpuid, &insn) != VIV_DECODE_OK) {
        b->hva2 = NULL;
        return 0;
    }
    b->space = viv_xl_gen_space(g, 9);
    viv_xl_call(g, XL_T_CROSS);
    e32(g->e, (uint32_t)((uint8_t *)b - g->x->arena));
    g->bytes = code;
    translate_one(g, &insn, 0, 1, *off, &end);
    *off = g->next;
    g->off = XL_NO_BRANCH;
    if (!end)
        viv_xl_gen_next(g, *off);
    return 1;
}

static void finish(struct viv_xlate *x, struct xl_block *b, const uint8_t *code, uint64_t rip)
{
    size_t n = (size_t)(x->e.p - b->code);
    uint8_t *copy = viv_xl_alloc(x, b->bytes);

    memcpy(copy, code, b->bytes);
    b->copy = copy;
    viv_xl_insert(x, b);
    x->stats.translated++;
    x->stats.guest_bytes += b->bytes;
    x->stats.host_bytes += n;
    x->stats.code_used = (uint64_t)(x->e.p - x->rw);
    if (G_UNLIKELY(x->opts.log_in || x->opts.log_out || x->opts.perfmap))
        log_block(x, b, rip, n);
}

/* From the jump cache: c->rip is set, the page is not. */
static void entry(struct emit *e, int32_t off)
{
    e_load(e, H_CX, xl_word(XL_O_RIP));
    e_lea(e, true, H_CX, EMEM(H_CX, -off));
    e_store(e, xl_word(XL_O_PAGE), H_CX);
}

/* The bytes are read once: another CPU may be changing them. */
struct xl_block *viv_xl_translate(struct viv_xlate *x, const uint8_t *hva, uint64_t rip, unsigned mode)
{
    struct gen g = {.x = x, .e = &x->e, .mode = mode, .lng = mode & XL_LONG, .cold = x->cold,
                    .cx = -1, .x87_seg = XL_NO_SEG};
    int32_t first = (int32_t)((uintptr_t)hva & (VIV_PAGE_SIZE - 1)), off = first;
    unsigned room = VIV_PAGE_SIZE - (unsigned)first, have = room < CODE_MOST ? room : CODE_MOST;
    uint8_t code[CODE_MOST + 16];
    struct xl_block *b;
    size_t arena;

    viv_xl_cache_room(x);
    arena = x->arena_used;
    b = viv_xl_alloc(x, sizeof(*b));
    *b = (struct xl_block){.hva = hva, .mode = (uint16_t)mode, .entry = x->e.p};
    entry(&x->e, first);
    g.code = b->code = x->e.p;
    b->version[0] = viv_xl_mark_code(x, hva); /* before the bytes are read: mem/ram.h */
    b->version_at[0] = &viv_arena_version[viv_arena_page(hva)];
    memcpy(code, hva, have);
    g.l1 = XL_SP + XL_L1 + (mode & XL_USER ? XL_L1_SET : 0);
    b->insns = (uint16_t)body(&g, code, have, have == room, &off);
    if (b->insns == 0 && room < 15)
        b->insns = (uint16_t)crossing(&g, b, code, have, rip, &off);
    if (b->insns == 0) {
        x->e.p = b->entry;
        x->arena_used = arena;
        return NULL;
    }
    b->bytes = (uint16_t)(off - first);
    viv_xl_emit_colds(&g);
    stale_stub(&g, b, first);
    finish(x, b, code, rip);
    return b;
}

/* Indirect jump to the linear address in RCX: the jump cache says where its code is. Returns the jump of a hit, to be patched; what
 * follows is the miss. */
static uint8_t *ask_jump_cache(struct emit *e)
{
    e_store(e, xl_word(XL_O_RIP), H_CX);
    e_load(e, H_11, xl_word(XL_O_JKEY));
    e_lea(e, true, H_11, EMEMX(H_11, H_CX, 0, 0));
    e_rorx(e, true, H_10, H_11, 2);
    e_pdep(e, H_10, H_10, xl_word(XL_O_JMASK));
    e_load(e, H_CX, EMEMX(H_SP, H_10, 0, XL_SP + XL_JC));
    e_lea(e, true, H_CX, EMEMX(H_CX, H_11, 0, 0));
    return e_jrcxz(e);
}

static void found_jump(struct emit *e, uint8_t *hit)
{
    e_patch8(hit, e->p);
    e_jmp_mem(e, EMEMX(H_SP, H_10, 0, XL_SP + XL_JC + 8));
}

void viv_xl_emit_jump(struct gen *g, int32_t last)
{
    uint8_t *hit = ask_jump_cache(g->e);

    viv_xl_call(g, XL_T_JUMP_AT);
    e32(g->e, (uint32_t)last);
    found_jump(g->e, hit);
}

/* Calls to thunks: those are too far away for a direct call. */
static void common_calls(struct viv_xlate *x)
{
    for (unsigned t = 0; t < XL_T_COUNT; t++) {
        struct emem m = thunk(t);

        x->common[t] = x->e.p;
        m.disp += 8; /* the return address */
        e_jmp_mem(&x->e, m);
    }
}

/* R10 from the address of the last byte to that of the first again. Destroys RCX. */
static void back_to_first(struct emit *e, struct emem ret, bool write)
{
    e_load(e, H_CX, ret);
    e_op2_mem(e, false, 0xb6, H_CX, EMEM(H_CX, 2));
    e_not(e, H_CX);
    e_lea(e, true, H_10, EMEMX(H_10, H_CX, 0, 1 + (write ? 0x80 : 0)));
}

/* Called like the thunk of a miss: the look-up again, now by the slot of R10. */
static void look_again(struct viv_xlate *x, int32_t tag, bool write)
{
    struct emit *e = &x->e;
    struct emem ret = EMEM(H_SP, 0), mask = xl_word(XL_O_MASK), miss = thunk(XL_T_MISS);
    uint8_t *hit;

    mask.disp += 8; /* the return address */
    miss.disp += 8;
    e_rorx(e, true, H_11, H_10, 12);
    e_movzx16(e, H_11, H_11);
    e_load(e, H_CX, ret);
    e_op2_mem(e, false, 0xb6, H_CX, EMEM(H_CX, 2)); /* movzx ecx, byte: XL_I_SIZE and XL_I_WRITE */
    e_lea(e, true, H_10, EMEMX(H_10, H_CX, 0, write ? -0x80 : 0));
    e_load(e, H_CX, EMEMX(H_SP, H_11, 3, 8 + tag));
    e_lea(e, true, H_CX, EMEMX(H_CX, H_10, 0, -1));
    e_pext(e, H_CX, H_CX, mask);
    hit = e_jrcxz(e);
    back_to_first(e, ret, write);
    e_jmp_mem(e, miss);
    e_patch8(hit, e->p);
    back_to_first(e, ret, write);
    e_load(e, H_CX, ret);
    e_lea(e, true, H_SP, EMEM(H_SP, 8));
    e_lea(e, true, H_CX, EMEM(H_CX, 4));
    e_op_reg(e, false, 0xff, 4, H_CX); /* jmp rcx */
}

void viv_xl_common_code(struct viv_xlate *x)
{
    uint8_t *hit;

    x->jump = x->e.p;
    hit = ask_jump_cache(&x->e);
    e_jmp_mem(&x->e, thunk(XL_T_JUMP_MISS));
    found_jump(&x->e, hit);
    common_calls(x);
    for (int user = 0; user < 2; user++) {
        for (int write = 0; write < 2; write++) {
            x->again[user][write] = x->e.p;
            look_again(x, XL_SP + XL_L1 + user * XL_L1_SET + (write ? XL_L1_WRITE : XL_L1_READ), write);
        }
    }
    x->e.p += -(uintptr_t)x->e.p & 63;
}
