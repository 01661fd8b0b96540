/* Dirty bitmaps as commands and transactions change them. Device lock held, or in a quiet graph while no other command is under way. */
#ifndef VIV_MON_BITMAPS_H
#define VIV_MON_BITMAPS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct viv_node;

enum viv_mon_bitmap_verb { VIV_BITMAP_ADD, VIV_BITMAP_REMOVE, VIV_BITMAP_CLEAR, VIV_BITMAP_ENABLE, VIV_BITMAP_DISABLE, VIV_BITMAP_MERGE };

struct viv_mon_bitmap_args {
    struct viv_node *n;
    char *name;
    bool has_granularity, persistent, disabled; /* ADD */
    uint32_t granularity;
    unsigned sources; /* MERGE: into `name` */
    struct {
        struct viv_node *n;
        char *name;
    } *source;
};
int viv_mon_bitmap_do(enum viv_mon_bitmap_verb verb, const struct viv_mon_bitmap_args *a, struct viv_err *err);

/* All that there is to know of a bitmap, or that there is none. */
struct viv_mon_bitmap_saved;
int viv_mon_bitmap_save(struct viv_node *n, const char *name, struct viv_mon_bitmap_saved **out, struct viv_err *err);
int viv_mon_bitmap_restore(struct viv_node *n, const char *name, const struct viv_mon_bitmap_saved *s, struct viv_err *err);
void viv_mon_bitmap_saved_free(struct viv_mon_bitmap_saved *s); /* NULL allowed */

#endif
