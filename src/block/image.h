/* What the image tools ask of drivers: create, check, info. Blocking; one thread. */
#ifndef VIV_BLOCK_IMAGE_H
#define VIV_BLOCK_IMAGE_H

#include "base/byname.h"
#include "block/node.h"

#include <stdio.h>

/* A new image. What only one format knows is in `opts`, parsed against its driver's create_opts. All borrowed. */
struct viv_create {
    uint64_t size; /* bytes; a multiple of 512 unless the driver says any_size */
    enum viv_prealloc prealloc;
    const char *backing_file; /* as it goes into the header; NULL: none */
    const char *backing_fmt;
    struct viv_opts *opts;
    /* One more, empty file of the image, for drivers whose images are several: `path` as viv_node_open_child() takes it.
     * *out is borrowed; its caller flushes it, closes it, and gives it its name before the image gets its own. NULL: images
     * of one file alone can be made here. */
    int (*new_file)(void *opaque, const char *path, struct viv_node **out, struct viv_err *err);
    void *opaque;
};
/* An image in a file of this host, with the format's default options: a new one, or in place of what is there (that of an image in use is
 * refused by its locks). *fresh: it was not there before, and viv_image_new_undo() may take it away. */
int viv_image_new(const char *path, const struct viv_blk_driver *drv, const struct viv_create *spec, bool *fresh, struct viv_err *err);
void viv_image_new_undo(const char *path);
/* "off", "metadata", "falloc", "full"; -EINVAL for another word. */
int viv_prealloc_parse(const char *text, enum viv_prealloc *out);
bool viv_create_knows(const struct viv_blk_driver *drv, const char *option);

/* What `measure` finds; bytes of the new file. */
struct viv_measure {
    uint64_t required; /* for what the source holds, or for an empty image; metadata for all of the disk included */
    uint64_t full;
    bool has_bitmaps; /* the format could take along the source's; `bitmaps` bytes */
    uint64_t bitmaps;
};
/* In how many units of the disk there is anything but zeroes. 0 or negative errno. */
int viv_img_count_data(struct viv_node *n, uint64_t unit, uint64_t *out);

enum viv_fix { VIV_FIX_LEAKS = 1 << 0, VIV_FIX_ERRORS = 1 << 1 };

struct viv_check {
    unsigned fix; /* in: what to mend */
    /* Called with each finding ("ERROR cluster 6 refcount=0 reference=1"); may be NULL. */
    void (*report)(void *opaque, const char *text);
    void *opaque;
    /* out */
    uint64_t corruptions, leaks, check_errors;
    uint64_t corruptions_fixed, leaks_fixed;
    uint64_t image_end, total, allocated, fragmented, compressed; /* clusters; image_end in bytes */
};

/* One finding for the report, if anybody wants it; the second counts it as a corruption too. */
void viv_check_say(const struct viv_check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void viv_check_error(struct viv_check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What only this format has to tell, in the order of being told: "lazy-refcounts" as JSON's key, with spaces elsewhere.
 * A DICT or LIST holds what follows up to its END; a LIST's items have no key. */
struct viv_img_fact {
    const char *key; /* static */
    enum { VIV_FACT_STR, VIV_FACT_UINT, VIV_FACT_BOOL, VIV_FACT_DICT, VIV_FACT_LIST, VIV_FACT_END } type;
    char *str;
    uint64_t value;
};

struct viv_img_info {
    uint64_t cluster_size; /* 0: none */
    char *backing_file, *backing_fmt; /* as in the header */
    bool dirty, encrypted;
    bool no_basics; /* no cluster size, dirty flag, backing file or facts: the format tells none */
    struct viv_img_fact *fact;
    unsigned facts, fact_room;
};
void viv_img_fact_str(struct viv_img_info *i, const char *key, const char *value); /* copied */
void viv_img_fact_uint(struct viv_img_info *i, const char *key, uint64_t value);
void viv_img_fact_bool(struct viv_img_info *i, const char *key, bool value);
void viv_img_fact_open(struct viv_img_info *i, const char *key, bool list);
void viv_img_fact_close(struct viv_img_info *i);
/* image_text.c: all of them, one a line; nothing if there are none. */
void viv_img_facts_human(FILE *out, const struct viv_img_info *i);
/* --- internal snapshots --- */

struct viv_snapshot {
    char *id, *name;         /* id: a decimal number in text */
    uint64_t vm_state_size;  /* bytes; 0: the disk alone */
    uint64_t disk_size;      /* bytes */
    uint32_t date_sec, date_nsec;
    uint64_t vm_clock_nsec;
    uint64_t icount;         /* UINT64_MAX: not known */
};
void viv_snapshot_free(struct viv_snapshot *s, unsigned count); /* an array from list() */

/* As viv-img and the monitor show it, with the newline; `id`: what stands in the first column. g_free. */
char *viv_snapshot_line(const struct viv_snapshot *s, const char *id);
char *viv_snapshot_heading(void);
/* "1.5 GiB" */
void viv_size_text(uint64_t bytes, char *out, size_t size);

/* Called with the whole node drained. `which`: by id, else by name. All durable when they return. */
struct viv_snapshot_ops {
    int (*list)(struct viv_node *n, struct viv_snapshot **out, unsigned *count, struct viv_err *err);
    /* s->id NULL: one more than the largest number there is. The VM state goes from the node into the snapshot. */
    int (*create)(struct viv_node *n, const struct viv_snapshot *s, struct viv_err *err);
    /* The disk's size and VM state become the snapshot's too. */
    int (*apply)(struct viv_node *n, const char *which, struct viv_err *err);
    int (*remove)(struct viv_node *n, const char *which, struct viv_err *err);
    /* Where in the offset space of map() and alloc() the VM state lies: behind the disk. The map has room for `len` bytes
     * of it afterwards; read-only: -ENODATA when it has not. */
    int (*state_area)(struct viv_node *n, uint64_t len, uint64_t *base);
    /* The first `len` bytes of the node's own VM state go; snapshots keep theirs. */
    int (*state_drop)(struct viv_node *n, uint64_t len);
    /* From the VM state of a snapshot that is not applied. Nobody else uses the node meanwhile. */
    int (*state_read)(struct viv_node *n, const char *which, uint64_t pos, void *buf, size_t len, struct viv_err *err);
} VIV_BY_NAME;
/* VM state (io.c). savevm: write it from 0 on, then create() a snapshot with its vm_state_size. loadvm: apply() the
 * snapshot, or open with `snapshot`, then read. 0 or negative errno; -ENOTSUP: the format has no place for it. */
int viv_node_state_write(struct viv_node *n, uint64_t pos, const void *buf, size_t len);
int viv_node_state_read(struct viv_node *n, uint64_t pos, void *buf, size_t len);

/* --- dirty bitmaps that the image stores --- */

struct viv_bitmap_info {
    char *name;
    uint32_t granularity;               /* bytes */
    bool in_use, automatic, has_extra;  /* flags in the image */
    /* store() of a new one: extra data for it (borrowed; extra_len 0: none). list() leaves them out. */
    const uint8_t *extra;
    uint32_t extra_len;
    bool extra_ok; /* who does not know it may use the bitmap */
};
struct viv_bitmap_ops {
    int (*list)(struct viv_node *n, struct viv_bitmap_info **out, unsigned *count, struct viv_err *err);
    /* The bits as bytes, bit k of byte j stands for granule 8 j + k; g_free. */
    int (*load)(struct viv_node *n, const char *name, uint8_t **bits, size_t *bytes, struct viv_err *err);
    /* Makes or replaces it, durably. bits NULL: all clear. */
    int (*store)(struct viv_node *n, const struct viv_bitmap_info *info, const uint8_t *bits, struct viv_err *err);
    int (*remove)(struct viv_node *n, const char *name, struct viv_err *err);
    /* Its extra data: *len 0: none; else *out, g_free. */
    int (*extra)(struct viv_node *n, const char *name, uint8_t **out, uint32_t *len, bool *ok, struct viv_err *err);
} VIV_BY_NAME;
void viv_bitmap_info_free(struct viv_bitmap_info *b, unsigned count);

void viv_img_info_free(struct viv_img_info *i); /* what it holds */

#endif
