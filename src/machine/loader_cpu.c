/* Registers at the entry of each boot protocol. */
#include "machine/loader_int.h"

#include "cpu/x86/state.h"

#include <glib.h>

static void flat_segments(struct viv_x86 *c, enum viv_boot_kind kind)
{
    uint16_t sel = viv_boot_code(kind);
    bool long_mode = kind == VIV_BOOT_LINUX64;
    uint32_t code = 0xb | VIV_SEG_S | VIV_SEG_P | VIV_SEG_G | (long_mode ? VIV_SEG_L : VIV_SEG_DB);
    uint32_t data = 0x3 | VIV_SEG_S | VIV_SEG_P | VIV_SEG_G | VIV_SEG_DB;
    static const int data_segs[] = {VIV_ES, VIV_SS, VIV_DS, VIV_FS, VIV_GS};

    c->seg[VIV_CS] = (struct viv_seg){.sel = sel, .limit = 0xffffffff, .attr = code};
    for (size_t i = 0; i < G_N_ELEMENTS(data_segs); i++)
        c->seg[data_segs[i]] = (struct viv_seg){.sel = sel + 8, .limit = 0xffffffff, .attr = data};
    c->gdtr = (struct viv_dtr){.base = VIV_BOOT_GDT, .limit = 31};
    c->idtr = (struct viv_dtr){.base = 0, .limit = 0};
}

void viv_boot_set_cpu(struct viv_x86 *c, const struct viv_boot_entry *e)
{
    bool long_mode = e->kind == VIV_BOOT_LINUX64;

    if (e->kind == VIV_BOOT_NONE)
        return;
    flat_segments(c, e->kind);
    c->cr0 = VIV_CR0_PE | VIV_CR0_ET;
    c->rip = c->next_rip = e->rip;
    c->gpr[VIV_RSP] = VIV_BOOT_STACK;
    viv_x86_set_eflags(c, 2);
    if (long_mode) {
        c->cr3 = VIV_BOOT_PAGES;
        c->cr4 = VIV_CR4_PAE;
        c->cr0 |= VIV_CR0_PG;
        c->msr.efer |= VIV_EFER_LME | VIV_EFER_LMA;
        c->seg[VIV_TR].attr = 0xb | VIV_SEG_P; /* a 64-bit busy TSS */
    }
    if (e->kind == VIV_BOOT_LINUX64 || e->kind == VIV_BOOT_LINUX32) {
        c->gpr[VIV_RSI] = e->info;
    } else {
        c->gpr[VIV_RBX] = e->info;
        c->gpr[VIV_RAX] = e->kind == VIV_BOOT_MULTIBOOT ? 0x2badb002 : 0;
    }
    viv_x86_update_mode(c);
}
