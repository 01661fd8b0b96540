/* Debug registers: breakpoints and single-step (SDM 3B chapter 18). vCPU thread. */
#ifndef VIV_CPU_X86_DEBUG_H
#define VIV_CPU_X86_DEBUG_H

#include "cpu/x86/state.h"

#define VIV_DR6_FIXED 0xffff0ff0u /* bits that read as 1 (RTM, BLD not implemented) */
#define VIV_DR6_BD    (1u << 13)
#define VIV_DR6_BS    (1u << 14)
#define VIV_DR6_BT    (1u << 15)
#define VIV_DR7_FIXED 0x400u
#define VIV_DR7_GD    (1u << 13)

enum { VIV_DR_EXEC = 0, VIV_DR_WRITE = 1, VIV_DR_IO = 2, VIV_DR_RW = 3 };

/* Does an enabled data breakpoint lie in [lin, lin + len)? */
bool viv_debug_watches_slow(const struct viv_x86 *c, uint64_t lin, uint64_t len);
/* Records breakpoints that this data access hits. */
void viv_debug_data_slow(struct viv_x86 *c, uint64_t lin, unsigned len, bool write);
void viv_debug_io_slow(struct viv_x86 *c, uint16_t port, unsigned len);
/* DR6 bits of instruction breakpoints at this linear address. */
uint32_t viv_debug_exec(const struct viv_x86 *c, uint64_t lin);
/* DR0-DR7 or c->breaks changed: attention, watched pages. */
void viv_debug_changed(struct viv_x86 *c);
/* The part of it that concerns c->breaks and attention. The translator ends blocks at breakpoints and leaves them for what is watched
 * (xlate/breaks.c): only its steps are one instruction at a time. */
void viv_debug_attention(struct viv_x86 *c);

/* Linear address of the next instruction. */
static inline uint64_t viv_debug_next(const struct viv_x86 *c)
{
    return c->mode == VIV_MODE_LONG ? c->rip : (uint32_t)(c->seg[VIV_CS].base + c->rip);
}

static inline bool viv_debug_any(const struct viv_x86 *c)
{
    return __builtin_expect((c->dr[7] & 0xff) || c->breaks.on & VIV_BREAK_ON_DATA, 0);
}

static inline bool viv_debug_watches(const struct viv_x86 *c, uint64_t lin, uint64_t len)
{
    return viv_debug_any(c) && viv_debug_watches_slow(c, lin, len);
}

static inline void viv_debug_data(struct viv_x86 *c, uint64_t lin, unsigned len, bool write)
{
    if (viv_debug_any(c))
        viv_debug_data_slow(c, lin, len, write);
}

#endif
