/* The slow halves of operand access: not in the TLB, segment with limits, MMIO, LOCK. */
#include "cpu/x86/interp/operand.h"

#include <pthread.h>

const u64 viv_size_mask[9] = {
    [1] = 0xff, [2] = 0xffff, [4] = 0xffffffff, [8] = ~(u64)0,
};

/* Taken by LOCKed accesses that the host cannot do as one: across pages, or to MMIO. They
 * exclude each other, not the host's own LOCKed instructions: split locks across a page are not
 * used by software that works. */
static pthread_mutex_t split_lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local bool split_held;

static u64 ld_sized(struct viv_x86 *c, u64 lin, unsigned size)
{
    switch (size) {
    case 1: return viv_ld8(c, lin);
    case 2: return viv_ld16(c, lin);
    case 4: return viv_ld32(c, lin);
    default: return viv_ld64(c, lin);
    }
}

static void st_sized(struct viv_x86 *c, u64 lin, unsigned size, u64 v)
{
    switch (size) {
    case 1: viv_st8(c, lin, (u8)v); break;
    case 2: viv_st16(c, lin, (u16)v); break;
    case 4: viv_st32(c, lin, (u32)v); break;
    default: viv_st64(c, lin, v); break;
    }
}

u64 viv_operand_read(struct viv_x86 *c, unsigned seg, u64 ea, unsigned size)
{
    return ld_sized(c, viv_x86_linear(c, seg, ea, size, VIV_ACC_READ), size);
}

void viv_operand_write(struct viv_x86 *c, unsigned seg, u64 ea, unsigned size, u64 v)
{
    st_sized(c, viv_x86_linear(c, seg, ea, size, VIV_ACC_WRITE), size, v);
}

u64 viv_operand_rmw(struct viv_x86 *c, unsigned seg, u64 ea, unsigned size)
{
    u64 lin = viv_x86_linear(c, seg, ea, size, VIV_ACC_RMW);

    viv_probe(c, lin, size, VIV_ACC_RMW);
    return ld_sized(c, lin, size);
}

void *viv_lock_at(struct viv_x86 *c, const struct viv_insn *i, u64 ea, unsigned size, u64 *lin)
{
    void *p;

    *lin = viv_x86_linear(c, i->seg, ea, size, VIV_ACC_RMW);
    p = viv_mmu_host(c, *lin, size, VIV_ACC_RMW);
    if (p)
        return p;
    viv_probe(c, *lin, size, VIV_ACC_RMW);
    pthread_mutex_lock(&split_lock);
    split_held = true;
    return NULL;
}

void viv_lock_end(struct viv_x86 *c, void *p, unsigned size)
{
    if (p) {
        if (viv_page_flags(viv_arena_page(p)))
            viv_mmu_stored(c, p, size);
        return;
    }
    split_held = false;
    pthread_mutex_unlock(&split_lock);
}

bool viv_lock_abandon(void)
{
    if (!split_held)
        return false;
    split_held = false;
    pthread_mutex_unlock(&split_lock);
    return true;
}
