/* The registers of each vCPU, as notes of a core file: NT_PRSTATUS as Linux writes it for threads (struct elf_prstatus), which gdb
 * reads, and behind all of these one note "QEMU" each, which crash reads for the system registers: its `struct QEMUCPUState`. */
#include "machine/memdump_int.h"

#include "base/bytes.h"
#include "cpu/vcpu.h"
#include "cpu/x86/state.h"

#include <elf.h>

enum { PRSTATUS_64 = 336, PRSTATUS_32 = 144, QEMU_STATE = 440 };

static void put_note(GByteArray *out, const char *name, uint32_t type, const uint8_t *desc, uint32_t len)
{
    uint32_t name_len = (uint32_t)strlen(name) + 1;
    uint8_t head[12], padded[8] = {0};

    viv_st_le32(head, name_len);
    viv_st_le32(head + 4, len);
    viv_st_le32(head + 8, type);
    memcpy(padded, name, name_len); /* "CORE", "QEMU" */
    g_byte_array_append(out, head, sizeof(head));
    g_byte_array_append(out, padded, sizeof(padded));
    g_byte_array_append(out, desc, len); /* a multiple of 4 */
}

static void put_prstatus_64(GByteArray *out, const struct viv_x86 *c, uint32_t thread)
{
    const uint64_t *g = c->gpr;
    const struct viv_seg *s = c->seg;
    /* struct user_regs_struct; there is no system call, so no number of one: RAX again, as in QEMU's dumps. */
    const uint64_t regs[] = {g[15], g[14], g[13], g[12], g[VIV_RBP], g[VIV_RBX], g[11], g[10], g[9], g[8], g[VIV_RAX], g[VIV_RCX], g[VIV_RDX],
                             g[VIV_RSI], g[VIV_RDI], g[VIV_RAX], c->rip, s[VIV_CS].sel, viv_x86_get_eflags(c), g[VIV_RSP], s[VIV_SS].sel,
                             s[VIV_FS].base, s[VIV_GS].base, s[VIV_DS].sel, s[VIV_ES].sel, s[VIV_FS].sel, s[VIV_GS].sel};
    uint8_t desc[PRSTATUS_64] = {0};

    viv_st_le32(desc + 32, thread);
    for (size_t i = 0; i < G_N_ELEMENTS(regs); i++)
        viv_st_le64(desc + 112 + 8 * i, regs[i]);
    put_note(out, "CORE", NT_PRSTATUS, desc, sizeof(desc));
}

static void put_prstatus_32(GByteArray *out, const struct viv_x86 *c, uint32_t thread)
{
    const uint64_t *g = c->gpr;
    const struct viv_seg *s = c->seg;
    const uint64_t regs[] = {g[VIV_RBX], g[VIV_RCX], g[VIV_RDX], g[VIV_RSI], g[VIV_RDI], g[VIV_RBP], g[VIV_RAX], s[VIV_DS].sel, s[VIV_ES].sel,
                             s[VIV_FS].sel, s[VIV_GS].sel, g[VIV_RAX], c->rip, s[VIV_CS].sel, viv_x86_get_eflags(c), g[VIV_RSP], s[VIV_SS].sel};
    uint8_t desc[PRSTATUS_32] = {0};

    viv_st_le32(desc + 24, thread);
    for (size_t i = 0; i < G_N_ELEMENTS(regs); i++)
        viv_st_le32(desc + 72 + 4 * i, (uint32_t)regs[i]);
    put_note(out, "CORE", NT_PRSTATUS, desc, sizeof(desc));
}

static uint8_t *put64(uint8_t *at, uint64_t v)
{
    viv_st_le64(at, v);
    return at + 8;
}

/* Selector, limit, second word of the descriptor (without base and limit), padding, base. */
static uint8_t *put_seg(uint8_t *at, uint32_t sel, uint32_t limit, uint32_t attr, uint64_t base)
{
    viv_st_le32(at, sel);
    viv_st_le32(at + 4, limit);
    viv_st_le32(at + 8, (attr & 0xf0ff) << 8);
    viv_st_le32(at + 12, 0);
    return put64(at + 16, base);
}

static void put_qemu_state(GByteArray *out, const struct viv_x86 *c)
{
    static const uint8_t gprs[] = {VIV_RAX, VIV_RBX, VIV_RCX, VIV_RDX, VIV_RSI, VIV_RDI, VIV_RSP, VIV_RBP, 8, 9, 10, 11, 12, 13, 14, 15};
    static const uint8_t segs[] = {VIV_CS, VIV_DS, VIV_ES, VIV_FS, VIV_GS, VIV_SS, VIV_LDTR, VIV_TR};
    uint8_t desc[QEMU_STATE], *at = desc + 8;

    viv_st_le32(desc, 1); /* version */
    viv_st_le32(desc + 4, sizeof(desc));
    for (size_t i = 0; i < G_N_ELEMENTS(gprs); i++)
        at = put64(at, c->gpr[gprs[i]]);
    at = put64(at, c->rip);
    at = put64(at, viv_x86_get_eflags(c));
    for (size_t i = 0; i < G_N_ELEMENTS(segs); i++) {
        const struct viv_seg *s = &c->seg[segs[i]];

        at = put_seg(at, s->sel, s->limit, s->attr, s->base);
    }
    at = put_seg(at, 0, c->gdtr.limit, 0, c->gdtr.base);
    at = put_seg(at, 0, c->idtr.limit, 0, c->idtr.base);
    at = put64(at, c->cr0);
    at = put64(at, 0); /* CR1 */
    at = put64(at, c->cr2);
    at = put64(at, c->cr3);
    at = put64(at, c->cr4);
    at = put64(at, c->msr.kernel_gs_base);
    g_assert(at == desc + sizeof(desc));
    put_note(out, "QEMU", 0, desc, sizeof(desc));
}

void memdump_make_notes(struct memdump *d)
{
    d->notes = g_byte_array_new();
    d->cpus = viv_vcpu_count;
    for (unsigned i = 0; i < viv_vcpu_count; i++) {
        if (d->is_64bit)
            put_prstatus_64(d->notes, viv_vcpus[i]->x86, i + 1);
        else
            put_prstatus_32(d->notes, viv_vcpus[i]->x86, i + 1);
    }
    for (unsigned i = 0; i < viv_vcpu_count; i++)
        put_qemu_state(d->notes, viv_vcpus[i]->x86);
}
