/* Sequences, scenes and differences for people. */
#include "seq.h"

#include <inttypes.h>

#ifdef HAVE_CAPSTONE
#include <capstone/capstone.h>

static void disassemble(const struct seq *q, const uint8_t *p, unsigned len, uint64_t at, FILE *out)
{
    static csh handle[2];
    unsigned wide = q->mode == RUN_LONG;
    cs_insn *i;
    size_t n;

    if (!handle[wide] && cs_open(CS_ARCH_X86, wide ? CS_MODE_64 : CS_MODE_32, &handle[wide]) != CS_ERR_OK)
        return;
    n = cs_disasm(handle[wide], p, len, at, 1, &i);
    if (!n) {
        fprintf(out, "?");
        return;
    }
    fprintf(out, "%s %s", i->mnemonic, i->op_str);
    cs_free(i, n);
}
#else
static void disassemble(const struct seq *q, const uint8_t *p, unsigned len, uint64_t at, FILE *out)
{
}
#endif

static const char *const mode_name[] = {"64-bit", "32-bit protected", "compatibility"};
static const char *const gpr_name[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                         "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

void show_seq(const struct seq *q, FILE *out)
{
    fprintf(out, "case %#" PRIx64 ", %s code, %u instructions:\n", q->seed, mode_name[q->mode], q->items);
    for (unsigned n = 0; n < q->items; n++) {
        uint8_t b[16] = {0};
        unsigned have = q->at[n] < CODE_BYTES ? CODE_BYTES - q->at[n] : 0;

        if (q->item[n].chunk != (n ? q->item[n - 1].chunk : 99))
            fprintf(out, "   -- chunk at %x\n", CODE_A + q->chunk_at[q->item[n].chunk]);
        memcpy(b, q->code + (have ? q->at[n] : 0), have > 15 ? 15 : have);
        fprintf(out, "  %x:", CODE_A + q->at[n]);
        for (unsigned k = 0; k < q->item[n].len; k++)
            fprintf(out, " %02x", b[k]);
        fprintf(out, "%*s", (int)(3 * (11 - (q->item[n].len > 11 ? 11 : q->item[n].len)) + 1), "");
        disassemble(q, b, q->item[n].len, CODE_A + q->at[n], out);
        fprintf(out, "\n");
    }
}

void show_scene(const struct scene *s, unsigned n, FILE *out)
{
    fprintf(out, "  run %u: %s, CPL %u, start %" PRIx64 ", handlers %s%s%s%s%s%s\n", n + 1, mode_name[s->mode], s->cpl, s->start,
            s->skip ? "skip" : "halt", s->ist ? ", IST" : "", s->warm ? ", warm TLB" : "",
            s->keep_memory ? ", memory as left" : "", s->keep_code ? ", code as left" : "", s->nmi ? ", NMI" : "");
    if (s->breakpoint)
        fprintf(out, "  breakpoint on writes to %" PRIx64 "\n", s->breakpoint);
    if (s->dma_item >= 0)
        fprintf(out, "  instruction %d changed from outside to %02x %02x %02x %02x\n", s->dma_item, s->dma_byte[0],
                s->dma_byte[1], s->dma_byte[2], s->dma_byte[3]);
    for (unsigned k = 0; k < 16; k++)
        fprintf(out, "%s%-4s%016" PRIx64, k % 4 ? " " : k ? "\n  " : "  ", gpr_name[k], s->gpr[k]);
    fprintf(out, "\n  flags %" PRIx64 " cr0 %" PRIx64 " cr4 %" PRIx64 " fs %" PRIx64 " gs %" PRIx64
                 " mxcsr %x fcw %x fsw %x ftw %x\n",
            s->flags, s->cr0, s->cr4, s->fs_base, s->gs_base, s->fpu.mxcsr, s->fpu.fcw, s->fpu.fsw, s->fpu.ftw);
}

/* ---- differences ---- */

struct report {
    FILE *out;
    unsigned count;
};

static void differ(struct report *r, const char *what, unsigned n, uint64_t a, uint64_t b)
{
    if (a == b)
        return;
    r->count++;
    if (r->out)
        fprintf(r->out, "  %s%.0u%*s reference %016" PRIx64 "  ours %016" PRIx64 "\n", what, n,
                (int)(14 - strlen(what)), "", a, b);
}

static void differ_bytes(struct report *r, const char *what, unsigned n, const uint8_t *a, const uint8_t *b,
                         unsigned len)
{
    if (!memcmp(a, b, len))
        return;
    r->count++;
    if (!r->out)
        return;
    fprintf(r->out, "  %s%u\n    reference ", what, n);
    for (unsigned k = len; k-- > 0;)
        fprintf(r->out, "%02x", a[k]);
    fprintf(r->out, "\n    ours      ");
    for (unsigned k = len; k-- > 0;)
        fprintf(r->out, "%02x", b[k]);
    fprintf(r->out, "\n");
}

static void compare_segments(struct report *r, const struct viv_x86 *a, const struct viv_x86 *b)
{
    static const char *const name[] = {"es.", "cs.", "ss.", "ds.", "fs.", "gs.", "ldtr.", "tr."};

    for (unsigned n = 0; n < VIV_SEG_COUNT; n++) {
        char what[24];

        snprintf(what, sizeof(what), "%ssel", name[n]);
        differ(r, what, 0, a->seg[n].sel, b->seg[n].sel);
        snprintf(what, sizeof(what), "%sbase", name[n]);
        differ(r, what, 0, a->seg[n].base, b->seg[n].base);
        snprintf(what, sizeof(what), "%slimit", name[n]);
        differ(r, what, 0, a->seg[n].limit, b->seg[n].limit);
        snprintf(what, sizeof(what), "%sattr", name[n]);
        differ(r, what, 0, a->seg[n].attr, b->seg[n].attr);
    }
    differ(r, "gdtr", 0, a->gdtr.base ^ a->gdtr.limit, b->gdtr.base ^ b->gdtr.limit);
    differ(r, "idtr", 0, a->idtr.base ^ a->idtr.limit, b->idtr.base ^ b->idtr.limit);
}

static void compare_control(struct report *r, const struct viv_x86 *a, const struct viv_x86 *b)
{
    differ(r, "cr0", 0, a->cr0, b->cr0);
    differ(r, "cr2", 0, a->cr2, b->cr2);
    differ(r, "cr3", 0, a->cr3, b->cr3);
    differ(r, "cr4", 0, a->cr4, b->cr4);
    differ(r, "cr8", 0, a->cr8, b->cr8);
    differ(r, "xcr0", 0, a->xcr0, b->xcr0);
    differ(r, "dr6", 0, a->dr[6], b->dr[6]);
    differ(r, "dr7", 0, a->dr[7], b->dr[7]);
    differ(r, "cpl", 0, a->cpl, b->cpl);
    differ(r, "mode", 0, a->mode, b->mode);
    differ(r, "halted", 0, a->halted, b->halted);
    differ(r, "shutdown", 0, a->shutdown, b->shutdown);
    differ(r, "sti shadow", 0, a->sti_shadow, b->sti_shadow);
    differ(r, "ss shadow", 0, a->mov_ss_shadow, b->mov_ss_shadow);
    differ(r, "nmi blocked", 0, a->nmi_blocked, b->nmi_blocked);
    differ(r, "pending db", 0, a->pending_db, b->pending_db);
    if (memcmp(&a->msr, &b->msr, sizeof(a->msr)))
        differ(r, "an MSR", 0, 0, 1);
}

static void compare_fpu(struct report *r, const struct viv_x86_fpu *a, const struct viv_x86_fpu *b)
{
    differ(r, "fcw", 0, a->fcw, b->fcw);
    differ(r, "fsw", 0, a->fsw, b->fsw);
    differ(r, "ftw", 0, a->ftw, b->ftw);
    differ(r, "fop", 0, a->fop, b->fop);
    differ(r, "fcs", 0, a->fcs, b->fcs);
    differ(r, "fds", 0, a->fds, b->fds);
    differ(r, "fip", 0, a->fip, b->fip);
    differ(r, "fdp", 0, a->fdp, b->fdp);
    differ(r, "mxcsr", 0, a->mxcsr, b->mxcsr);
    differ(r, "pkru", 0, a->pkru, b->pkru);
    for (unsigned n = 0; n < 8; n++) {
        differ_bytes(r, "st", n, a->st[n], b->st[n], 10);
        differ(r, "k", n, a->k[n], b->k[n]);
    }
    for (unsigned n = 0; n < 32; n++)
        differ_bytes(r, "zmm", n, a->zmm[n], b->zmm[n], 64);
}

static void compare_memory(struct report *r, const uint8_t *a, const uint8_t *b)
{
    static const char *const name[HOT_PAGES] = {
        "zero", "top", "code", "code+1000", "code+2000", "code+3000", "data b", "data c", "swing", "data d",
        "data sys", "data a", "stack", "stack+1000", "sys stack", "table low", "table high"};
    unsigned shown = 0;

    if (!memcmp(a, b, HOT_PAGES * 0x1000))
        return;
    for (unsigned n = 0; n < HOT_PAGES * 0x1000; n += 8) {
        uint64_t x, y;
        char what[32];

        memcpy(&x, a + n, 8);
        memcpy(&y, b + n, 8);
        if (x == y)
            continue;
        snprintf(what, sizeof(what), "%s %03x", name[n >> 12], n & 0xfff);
        differ(r, what, 0, x, y);
        if (++shown == 8)
            break;
    }
}

unsigned show_differences(const struct machine *ma, const struct machine *mb, FILE *out)
{
    const struct viv_x86 *a = ma->c, *b = mb->c;
    struct report r = {.out = out};

    differ(&r, "rip", 0, a->rip, b->rip);
    for (unsigned n = 0; n < 16; n++)
        differ(&r, gpr_name[n], 0, a->gpr[n], b->gpr[n]);
    differ(&r, "eflags", 0, viv_x86_get_eflags(a), viv_x86_get_eflags(b));
    compare_segments(&r, a, b);
    compare_control(&r, a, b);
    compare_fpu(&r, &a->fpu, &b->fpu);
    compare_memory(&r, ma->ram + PHYS_HOT, mb->ram + PHYS_HOT);
    if (machine_sys_written(ma) && memcmp(ma->ram + PHYS_SYS, mb->ram + PHYS_SYS, SYS_PAGES * 0x1000))
        differ(&r, "system pages", 0, 0, 1);
    differ(&r, "mmio accesses", 0, ma->mmio_count, mb->mmio_count);
    differ(&r, "mmio hash", 0, ma->mmio_hash, mb->mmio_hash);
    return r.count;
}
