/* Breakpoints of a debugger outside (cpu/breakpoint.h). Code holds no linear addresses, so what matters is the offset in the page: an
 * instruction at such an offset begins a block, no jump is linked to it and the jump cache does not know it. Each time one is
 * reached the dispatcher asks whether its linear address is that of a breakpoint; all other code runs as ever.
 * What is watched is in no TLB: the access comes out, and the interpreter does the instruction. */
#include "cpu/x86/xlate/xlate_int.h"

#include "cpu/x86/debug.h"
#include "mem/ram.h"

#include <string.h>

/* Does the block begin at one of them, or have one within? */
static bool meets(const struct xl_block *b, const uint64_t bits[64])
{
    unsigned first = (uintptr_t)b->hva & (VIV_PAGE_SIZE - 1), end = first + b->bytes;

    for (unsigned off = first; off < end && off < VIV_PAGE_SIZE; off++) {
        if (bits[off / 64] >> off % 64 & 1)
            return true;
    }
    return false;
}

static void forget_those_with(struct viv_xlate *x, const uint64_t bits[64])
{
    for (unsigned n = 0; n < 1u << XL_HASH_BITS; n++) {
        struct xl_block *b = x->hash[n], *next;

        for (; b; b = next) {
            next = b->hash_next;
            if (meets(b, bits))
                viv_xl_forget(x, b);
        }
    }
}

void viv_xl_take_breaks(struct viv_xlate *x)
{
    uint64_t now[64], more[64], any = 0, grown = 0;

    if (x->break_epoch == viv_break_epoch())
        return;
    x->break_epoch = viv_break_epoch();
    viv_break_offsets(now);
    for (unsigned n = 0; n < 64; n++) {
        more[n] = now[n] & ~x->split[n];
        any |= now[n];
        grown |= more[n];
    }
    memcpy(x->split, now, sizeof(x->split));
    x->splits = any;
    if (grown)
        forget_those_with(x, more);
}

bool viv_xl_at_break(const struct viv_xlate *x)
{
    uint64_t lin = viv_debug_next(x->c);

    return viv_xl_splits(x, lin) && viv_break_at(lin);
}
