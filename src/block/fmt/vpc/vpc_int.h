/* VHD, inside. A fixed disk is its bytes and a footer. A dynamic one: copy of the footer, dynamic header, block allocation
 * table (BAT) of sector numbers, blocks (a bitmap of sectors, then the data), footer. All numbers are big-endian. */
#ifndef VIV_BLOCK_FMT_VPC_VPC_INT_H
#define VIV_BLOCK_FMT_VPC_VPC_INT_H

#include "block/fmt/entries/entries.h"
#include "block/fmt/vpc/vpc.h"
#include "block/image.h"

#define VPC_FOOTER_LEN  512
#define VPC_DYN_LEN     1024
#define VPC_BLOCK       (2u << 20) /* of new images */
#define VPC_BLOCK_MAX   (64u << 20)
#define VPC_UNALLOCATED 0xffffffffu
#define VPC_SECTORS_MAX ((uint64_t)0xff000000)         /* 2040 GiB */
#define VPC_CHS_MAX     ((uint64_t)65535 * 16 * 255)   /* sectors: what a geometry can say */
#define VPC_TYPE_FIXED  2
#define VPC_TYPE_DYNAMIC 3
#define VPC_TYPE_DIFF   4

/* "Hard Disk Footer Format" */
enum {
    VPC_F_COOKIE = 0,
    VPC_F_FEATURES = 8,
    VPC_F_VERSION = 12,
    VPC_F_DATA = 16, /* offset of the dynamic header */
    VPC_F_TIME = 24, /* seconds since 2000 */
    VPC_F_CREATOR = 28,
    VPC_F_CREATOR_VERSION = 32,
    VPC_F_CREATOR_HOST = 36,
    VPC_F_ORIGINAL_SIZE = 40,
    VPC_F_SIZE = 48,
    VPC_F_CYLINDERS = 56,
    VPC_F_HEADS = 58,
    VPC_F_SECTORS = 59,
    VPC_F_TYPE = 60,
    VPC_F_SUM = 64,
    VPC_F_UUID = 68,
};

/* "Dynamic Disk Header Format" */
enum {
    VPC_D_COOKIE = 0,
    VPC_D_DATA = 8,
    VPC_D_BAT = 16,
    VPC_D_VERSION = 24,
    VPC_D_ENTRIES = 28,
    VPC_D_BLOCK = 32,
    VPC_D_SUM = 36,
};

struct vpc {
    struct viv_node *node, *file;
    bool fixed;
    uint32_t block, bitmap; /* bytes */
    uint64_t tables_end;    /* blocks lie behind it */

    pthread_mutex_t lock; /* all below; dynamic only */
    struct viv_entries bat;
    uint8_t footer[VPC_FOOTER_LEN];
    uint64_t next;        /* byte where the next block goes, and the footer */
    uint64_t virgin;      /* the file never held anything from here on */
    uint64_t footer_at;   /* where it is in the file; UINT64_MAX: nowhere */
    uint8_t *whole;       /* a bit per block: its bitmap is known to say "all written"; NULL: opened for reading */
};

/* The geometry that the specification's appendix computes for so many sectors. */
void vpc_geometry(uint64_t sectors, uint16_t *cylinders, uint8_t *heads, uint8_t *per_track);
uint32_t vpc_sum(const uint8_t *data, size_t len, size_t sum_at);
int vpc_read_headers(struct vpc *v, struct viv_err *err);

int vpc_create(const struct viv_create *c, struct viv_node *file, struct viv_err *err);
extern const struct viv_opt_def vpc_create_opts[];
extern const char *const vpc_create_shown[];

/* Finds where blocks end. -EINVAL with err: two overlap, or one lies outside of the file. */
int vpc_scan(struct vpc *v, struct viv_err *err);
int vpc_map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out);
int vpc_alloc(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out);
int vpc_commit(struct viv_node *n, const struct viv_alloc *a);
void vpc_cancel(struct viv_node *n, const struct viv_alloc *a);
int vpc_flush_locked(struct vpc *v);

#endif
