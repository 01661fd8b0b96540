/* The table as a whole: each block that has a place has it for itself, inside the file and on nothing else. A bit for each MiB of the file
 * tells. When an image is opened for writing this also finds what is free. */
#include "block/fmt/vhdx/vhdx_int.h"

#include <errno.h>
#include <inttypes.h>

#define SPARE_MAX (1u << 20) /* free places that are remembered */

bool vhdx_place_ok(const struct vhdx *v, uint32_t block, uint64_t at)
{
    /* The last block need not be in the file as a whole: fixed images of other programs end with the disk. */
    uint64_t need = MIN(v->block, v->node->size - (uint64_t)block * v->block), end = MAX(viv_node_size(v->file), v->next);

    return at >= VIV_MIB && at <= end && need <= end - at && !vhdx_on_area(v, at, v->block);
}

struct used {
    uint8_t *bit;
    uint64_t units; /* MiB */
};

static bool is_used(const struct used *u, uint64_t i)
{
    return u->bit[i / 8] >> (i % 8) & 1;
}

/* False: some of it was in use. What lies behind the end counts as nothing. */
static bool mark(struct used *u, uint64_t at, uint64_t len)
{
    uint64_t first = at / VIV_MIB, end = MIN(first + len / VIV_MIB, u->units);
    bool free = true;

    for (uint64_t i = first; i < end; i++) {
        free = free && !is_used(u, i);
        u->bit[i / 8] |= 1u << (i % 8);
    }
    return free;
}

static int init_used(const struct vhdx *v, struct used *u, struct viv_err *err)
{
    uint64_t size = viv_node_size(v->file);

    if (size > VHDX_FILE_MAX)
        return viv_fail(err, EFBIG, "'%s': a file of %" PRIu64 " bytes is too large to be written or checked; at most 256 TiB work",
                        v->node->filename, size);
    u->units = (size + VHDX_BLOCK_MAX) / VIV_MIB + 1;
    u->bit = g_try_malloc0(u->units / 8 + 1);
    if (!u->bit)
        return viv_fail(err, ENOMEM, "no memory to look through '%s'", v->node->filename);
    mark(u, 0, VIV_MIB);
    for (guint i = 0; i < v->areas->len; i++) {
        const struct vhdx_area *a = &g_array_index(v->areas, struct vhdx_area, i);

        mark(u, a->at, a->len);
    }
    return 0;
}

/* NULL: nothing is wrong with the entry. */
static const char *claim(const struct vhdx *v, struct used *u, uint32_t block, uint64_t e)
{
    unsigned state = e & VHDX_STATE;
    uint64_t at = e & VHDX_PLACE;

    if (state <= VHDX_UNMAPPED)
        return NULL;
    if (state == VHDX_PARTIAL)
        return "is in part in a parent, which the image does not have";
    if (state != VHDX_PRESENT)
        return "has a state that does not exist";
    if (!vhdx_place_ok(v, block, at))
        return vhdx_on_area(v, at, v->block) || at < VIV_MIB ? "lies on the image's tables" : "lies beyond the end of the file";
    return mark(u, at, v->block) ? NULL : "lies on another one";
}

/* Free places below the last block: whole MiB, that is all the alignment there is. */
static void find_spare(struct vhdx *v, const struct used *u, uint64_t end)
{
    uint64_t want = v->block / VIV_MIB, run = 0;

    for (uint64_t i = 1; i < end && v->spare->len < SPARE_MAX; i++) {
        run = is_used(u, i) ? 0 : run + 1;
        if (run == want) {
            uint64_t at = (i + 1 - want) * VIV_MIB;

            g_array_append_val(v->spare, at);
            run = 0;
        }
    }
}

/* "Reserved" places: a program may have left the offset in the entry of a block that it unmapped, to come back to it. */
static int mark_reserved(struct vhdx *v, struct used *u)
{
    for (uint32_t i = 0; i < v->blocks; i++) {
        uint64_t e;
        int ret = viv_entries_get64(&v->bat, vhdx_entry(v, i), &e);

        if (ret)
            return ret;
        if ((e & VHDX_STATE) <= VHDX_UNMAPPED && e & VHDX_PLACE)
            mark(u, e & VHDX_PLACE, v->block);
    }
    return 0;
}

static int scan_entries(struct vhdx *v, struct used *u, struct viv_err *err)
{
    bool reserved = false, undefined = false;
    int ret = 0;

    for (uint32_t i = 0; i < v->blocks && !ret; i++) {
        const char *wrong;
        uint64_t e;

        ret = viv_entries_get64(&v->bat, vhdx_entry(v, i), &e);
        if (ret)
            break;
        wrong = claim(v, u, i, e);
        if (wrong)
            return vhdx_corrupt(v, err, "block %u %s; opening it read-only works", i, wrong);
        reserved |= (e & VHDX_STATE) <= VHDX_UNMAPPED && e & VHDX_PLACE;
        undefined |= (e & VHDX_STATE) <= VHDX_UNMAPPED && (e & VHDX_STATE) != VHDX_ZERO;
    }
    if (!ret && reserved)
        ret = mark_reserved(v, u);
    if (ret)
        return viv_fail_os(err, -ret, "Could not read the block allocation table of '%s'", v->node->filename);
    v->node->zero_init = !undefined;
    return 0;
}

int vhdx_scan(struct vhdx *v, struct viv_err *err)
{
    struct used u = {0};
    uint64_t end;
    int ret = init_used(v, &u, err);

    if (!ret)
        ret = scan_entries(v, &u, err);
    if (!ret) {
        for (end = u.units; !is_used(&u, end - 1); end--)
            ;
        find_spare(v, &u, end);
        v->next = end * VIV_MIB;
        v->virgin = MAX(viv_node_size(v->file), v->next);
        v->scanned = true;
    }
    g_free(u.bit);
    return ret;
}

/* --- check --- */

static int check_entries(struct vhdx *v, struct used *u, struct viv_check *c)
{
    for (uint32_t i = 0; i < v->blocks; i++) {
        const char *wrong;
        uint64_t e;
        int ret = viv_entries_get64(&v->bat, vhdx_entry(v, i), &e);

        if (ret)
            return ret;
        wrong = claim(v, u, i, e);
        if (wrong)
            viv_check_error(c, "ERROR: block %u %s (entry 0x%" PRIx64 ")", i, wrong, e);
    }
    return 0;
}

int vhdx_check(struct viv_node *n, struct viv_check *c, struct viv_err *err)
{
    struct vhdx *v = n->state;
    struct used u = {0};
    int ret = init_used(v, &u, err);

    if (ret)
        return ret;
    pthread_mutex_lock(&v->lock);
    ret = check_entries(v, &u, c);
    if (!ret && c->fix & VIV_FIX_ERRORS && v->replayed) { /* by opening the image; told once */
        v->replayed = false;
        c->corruptions++;
        c->corruptions_fixed++;
    }
    pthread_mutex_unlock(&v->lock);
    g_free(u.bit);
    return ret ? viv_fail_os(err, -ret, "Could not read the block allocation table of '%s'", n->filename) : 0;
}
