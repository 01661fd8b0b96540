/* qcow2, versions 2 and 3. */
#ifndef VIV_BLOCK_FMT_QCOW2_QCOW2_H
#define VIV_BLOCK_FMT_QCOW2_QCOW2_H

#include "block/crypt/luks.h"
#include "block/node.h"

extern const struct viv_blk_driver viv_blk_qcow2;

/* Header field "crypt_method". */
enum { QCOW2_CRYPT_NONE = 0, QCOW2_CRYPT_AES = 1, QCOW2_CRYPT_LUKS = 2 };

/* A new image, for who has no option text. */
struct viv_qcow2_create {
    uint64_t size; /* bytes, a multiple of 512 */
    enum viv_prealloc prealloc;
    const char *backing_file, *backing_fmt;
    uint32_t cluster_size;  /* 0: 65536 */
    uint32_t refcount_bits; /* 0: 16 */
    int version;            /* 2 or 3; 0: 3 */
    bool lazy_refcounts;
    bool zstd; /* how compressed clusters are; else zlib */
    bool extended_l2;
    const char *data_file; /* the guest's clusters go there; NULL: into the image */
    bool data_file_raw;
    struct viv_node *data; /* data_file, open and as long as the disk; borrowed */
    unsigned crypt;            /* QCOW2_CRYPT_ */
    struct viv_luks_spec luks; /* QCOW2_CRYPT_LUKS: what its header is to be */
};
int viv_qcow2_create(const struct viv_qcow2_create *c, struct viv_node *file, struct viv_err *err);

#endif
