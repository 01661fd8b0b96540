/* What the image tools ask of drivers: create, check, info. Blocking; one thread. */
#ifndef VIV_BLOCK_IMAGE_H
#define VIV_BLOCK_IMAGE_H

#include "block/node.h"

struct viv_create {
    uint64_t size; /* bytes, a multiple of 512 */
    enum viv_prealloc prealloc;
    const char *backing_file; /* as it goes into the header; NULL: none */
    const char *backing_fmt;
    /* qcow2 */
    uint32_t cluster_size;  /* 0: 65536 */
    uint32_t refcount_bits; /* 0: 16 */
    int version;            /* 2 or 3; 0: 3 */
    bool lazy_refcounts;
};

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

struct viv_img_info {
    uint64_t cluster_size; /* 0: none */
    char *backing_file, *backing_fmt; /* as in the header; g_free */
    bool dirty, encrypted;
    /* qcow2 */
    bool qcow2;
    int version;
    const char *compression;
    bool lazy_refcounts, corrupt, extended_l2;
    unsigned refcount_bits;
};

#endif
