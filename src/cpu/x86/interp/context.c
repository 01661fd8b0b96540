/* What the interpreter derives from mode and segments, so that most addresses need no check
 * (state.h fast_base). */
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/interp/stubs.h"

#include "cpu/x86/interp/block.h"

#include <errno.h>
#include <glib.h>

/* Added to any effective address below 4 GiB this gives no linear address that the TLB can hold. */
#define NEVER_HITS (1ull << 60)

/* Readable and writable, upwards from any base to 4 GiB: nothing left to check (SDM 3A 5.3). */
static bool flat_data(const struct viv_seg *s)
{
    unsigned type = VIV_AR_TYPE(s->attr);

    if (s->attr & VIV_SEG_UNUSABLE)
        return false;
    return (s->attr & VIV_SEG_P) && (s->attr & VIV_SEG_S) && (type & 0xe) == 2 &&
           s->limit == 0xffffffff;
}

void viv_interp_context(struct viv_x86 *c)
{
    struct viv_interp *in = c->interp;
    bool long_mode = c->mode == VIV_MODE_LONG;

    for (unsigned s = 0; s < 6; s++) {
        if (long_mode)
            c->fast_base[s] = s >= VIV_FS ? c->seg[s].base : 0;
        else
            c->fast_base[s] = flat_data(&c->seg[s]) ? c->seg[s].base : NEVER_HITS;
    }
    if (long_mode)
        c->sp_mask = ~(uint64_t)0;
    else
        c->sp_mask = c->seg[VIV_SS].attr & VIV_SEG_DB ? 0xffffffff : 0xffff;
    in->cs_base = long_mode ? 0 : c->seg[VIV_CS].base;
    in->cs_limit = long_mode ? ~(uint64_t)0 : c->seg[VIV_CS].limit;
    viv_interp_keys(c);
    c->canon_shift = !long_mode ? 0 : c->cr4 & VIV_CR4_LA57 ? 7 : 16;
}

int viv_interp_init(struct viv_x86 *c)
{
    struct viv_interp *in = g_try_new0(struct viv_interp, 1);

    if (!in)
        return -ENOMEM;
    viv_stubs_init();
    in->blocks = viv_block_cache_new();
    if (!in->blocks) {
        g_free(in);
        return -ENOMEM;
    }
    c->interp = in;
    return 0;
}

void viv_interp_fini(struct viv_x86 *c)
{
    struct viv_interp *in = c->interp;

    if (!in)
        return;
    viv_block_cache_free(in->blocks);
    g_free(in);
    c->interp = NULL;
}
