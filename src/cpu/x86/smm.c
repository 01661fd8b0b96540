/* Entering and leaving SMM with the AMD64 save area (APM vol. 2, table 10-1) at SMBASE + FE00H, whatever the model:
 * firmware tells the layouts apart by the revision at FEFCH. I/O restart is not offered (revision bit 16 clear).
 *
 * In SMM all accesses of the CPU go to another space (c->mem_smm), where the board shows SMRAM: the save area is the first. The way
 * in and the way out empty the TLBs (viv_x86_update_mode), and with them go the names of where code lies, so that no cached block
 * is found any more but by its host page; page tables, too, are read through the space of the moment. */
#include "cpu/x86/smm.h"

#include "base/bytes.h"
#include "base/log.h"
#include "cpu/vcpu.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/debug.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/mmu_int.h"
#include "cpu/x86/msr.h"
#include "cpu/x86/seg.h"
#include "cpu/x86/walk.h"
#include "mem/space.h"

#include <string.h>

#define AREA     0xfe00
#define SIZE     0x200
#define REVISION 0x00020064u /* 64-bit layout, SMBASE relocation */

enum { /* offsets in the area */
    O_SEG = 0x000, /* ES CS SS DS FS GS GDTR LDTR IDTR TR, 16 bytes each */
    O_HALT = 0x0c9,
    O_NMI_MASK = 0x0ca, /* BKDG of family 10h, SMMFECA */
    O_EFER = 0x0d0, O_REVISION = 0x0fc, O_SMBASE = 0x100, O_CR4 = 0x148,
    O_CR3 = 0x150, O_CR0 = 0x158, O_DR7 = 0x160, O_DR6 = 0x168, O_RFLAGS = 0x170, O_RIP = 0x178,
    O_R15 = 0x180, /* down to RAX at 1F8H */
};

static uint64_t area_gpa(const struct viv_x86 *c)
{
    return (uint32_t)(c->msr.smbase + AREA);
}

static void put_seg(uint8_t *area, unsigned n, const struct viv_seg *s)
{
    uint8_t *p = area + O_SEG + n * 16;
    uint32_t attr = s->attr & VIV_SEG_UNUSABLE ? 0 : s->attr;

    viv_st_le16(p, s->sel);
    viv_st_le16(p + 2, (uint16_t)((attr & 0xff) | (attr >> 4 & 0xf00)));
    viv_st_le32(p + 4, s->limit);
    viv_st_le64(p + 8, s->base);
}

static void get_seg(const uint8_t *area, unsigned n, struct viv_seg *s)
{
    const uint8_t *p = area + O_SEG + n * 16;
    uint32_t attr = viv_ld_le16(p + 2);

    s->sel = viv_ld_le16(p);
    s->attr = (attr & 0xff) | (attr & 0xf00) << 4;
    if (!(attr & VIV_SEG_P))
        s->attr |= VIV_SEG_UNUSABLE;
    s->limit = viv_ld_le32(p + 4);
    s->base = viv_ld_le64(p + 8);
}

static void put_dtr(uint8_t *area, unsigned n, const struct viv_dtr *t)
{
    viv_st_le32(area + n * 16 + 4, t->limit);
    viv_st_le64(area + n * 16 + 8, t->base);
}

static void get_dtr(const uint8_t *area, unsigned n, struct viv_dtr *t)
{
    t->limit = (uint16_t)viv_ld_le32(area + n * 16 + 4);
    t->base = viv_ld_le64(area + n * 16 + 8);
}

static void save(const struct viv_x86 *c, uint8_t *a)
{
    for (unsigned n = 0; n < 6; n++)
        put_seg(a, n, &c->seg[n]);
    put_dtr(a, 6, &c->gdtr);
    put_seg(a, 7, &c->seg[VIV_LDTR]);
    put_dtr(a, 8, &c->idtr);
    put_seg(a, 9, &c->seg[VIV_TR]);
    a[O_HALT] = c->halted;
    a[O_NMI_MASK] = c->nmi_blocked;
    viv_st_le64(a + O_EFER, c->msr.efer);
    viv_st_le32(a + O_REVISION, REVISION);
    viv_st_le32(a + O_SMBASE, (uint32_t)c->msr.smbase);
    viv_st_le64(a + O_CR4, c->cr4);
    viv_st_le64(a + O_CR3, c->cr3);
    viv_st_le64(a + O_CR0, c->cr0);
    viv_st_le64(a + O_DR7, c->dr[7]);
    viv_st_le64(a + O_DR6, c->dr[6]);
    viv_st_le64(a + O_RFLAGS, viv_x86_get_eflags(c));
    viv_st_le64(a + O_RIP, c->rip);
    for (unsigned n = 0; n < 16; n++)
        viv_st_le64(a + O_R15 + (15 - n) * 8, c->gpr[n]);
}

void viv_smm_enter(struct viv_x86 *c)
{
    uint8_t a[SIZE] = {0};
    uint64_t gpa = area_gpa(c);

    viv_log(VIV_LOG_INT, "cpu%u: SMI at %#llx", c->vcpu ? c->vcpu->index : 0,
            (unsigned long long)c->rip);
    save(c, a);
    c->in_smm = true;
    c->mem = c->mem_smm;
    for (unsigned n = 0; n < SIZE; n += 8)
        viv_space_write(c->mem, gpa + n, viv_ld_le64(a + n), 8);
    c->nmi_blocked = true;
    c->halted = false;
    c->sti_shadow = c->mov_ss_shadow = false;
    c->cr0 &= ~(uint64_t)(VIV_CR0_PE | VIV_CR0_EM | VIV_CR0_TS | VIV_CR0_PG);
    c->cr4 = 0;
    c->msr.efer = 0;
    c->dr[7] = VIV_DR7_FIXED;
    c->eflags = 2;
    c->arith = 0;
    for (unsigned n = 0; n < 6; n++)
        c->seg[n] = (struct viv_seg){.limit = 0xffffffff, .attr = 0x8093};
    c->seg[VIV_CS].base = c->msr.smbase;
    c->seg[VIV_CS].sel = (uint16_t)(c->msr.smbase >> 4);
    c->idtr = (struct viv_dtr){.limit = 0};
    c->rip = c->next_rip = 0x8000;
    viv_x86_update_mode(c);
}

/* What RSM refuses (APM 10.3.5): it would leave a state that no instruction can reach. */
static bool sound(const struct viv_x86 *c, const uint8_t *a)
{
    uint64_t cr0 = viv_ld_le64(a + O_CR0), cr4 = viv_ld_le64(a + O_CR4);
    uint64_t efer = viv_ld_le64(a + O_EFER);

    if (cr0 >> 32 || ((cr0 & VIV_CR0_PG) && !(cr0 & VIV_CR0_PE)) ||
        ((cr0 & VIV_CR0_NW) && !(cr0 & VIV_CR0_CD)))
        return false;
    if ((cr4 & ~viv_cr4_known(c)) || (efer & ~viv_efer_known(c)))
        return false;
    if (!(efer & VIV_EFER_LMA))
        return true;
    return (efer & VIV_EFER_LME) && (cr0 & VIV_CR0_PG) && (cr4 & VIV_CR4_PAE) &&
           !(viv_ld_le64(a + O_CR3) >> c->cpuid->phys_bits) && !(viv_ld_le64(a + O_RFLAGS) & VIV_FL_VM);
}

void viv_smm_leave(struct viv_x86 *c)
{
    uint8_t a[SIZE];
    uint64_t gpa = area_gpa(c);

    for (unsigned n = 0; n < SIZE; n += 8)
        viv_st_le64(a + n, viv_space_read(c->mem, gpa + n, 8));
    if (!sound(c, a)) {
        c->shutdown = true;
        return;
    }
    for (unsigned n = 0; n < 6; n++)
        get_seg(a, n, &c->seg[n]);
    get_dtr(a, 6, &c->gdtr);
    get_seg(a, 7, &c->seg[VIV_LDTR]);
    get_dtr(a, 8, &c->idtr);
    get_seg(a, 9, &c->seg[VIV_TR]);
    c->cr0 = viv_ld_le64(a + O_CR0) | VIV_CR0_ET;
    c->cr3 = viv_ld_le64(a + O_CR3);
    c->cr4 = viv_ld_le64(a + O_CR4);
    c->msr.efer = viv_ld_le64(a + O_EFER);
    c->dr[7] = (uint32_t)viv_ld_le64(a + O_DR7) | VIV_DR7_FIXED;
    c->dr[6] = ((uint32_t)viv_ld_le64(a + O_DR6) & 0xe00f) | VIV_DR6_FIXED;
    viv_x86_load_flags(c, (uint32_t)viv_ld_le64(a + O_RFLAGS));
    for (unsigned n = 0; n < 16; n++)
        c->gpr[n] = viv_ld_le64(a + O_R15 + (15 - n) * 8);
    c->rip = c->next_rip = viv_ld_le64(a + O_RIP);
    c->msr.smbase = viv_ld_le32(a + O_SMBASE);
    c->halted = a[O_HALT] & 1;
    c->in_smm = false;
    c->nmi_blocked = a[O_NMI_MASK] & 1;
    viv_x86_update_mode(c);
    if (viv_mmu_pae_legacy(c) && !viv_mmu_load_pdptes(c, c->cr3))
        c->shutdown = true;
    if (c->init_held && c->vcpu)
        viv_vcpu_request(c->vcpu, VIV_REQ_INIT);
    c->init_held = false;
}
