/* Where the mapped security models keep attributes (share/attr.h). */
#ifndef VIV_SHARE_ATTR_INT_H
#define VIV_SHARE_ATTR_INT_H

#include "share/attr.h"

#define META_DIR  ".virtfs_metadata"
#define META_ROOT ".virtfs_metadata_root"

struct viv_share_meta {
    unsigned parts; /* which of these are there */
    uint32_t uid, gid, mode;
    uint64_t rdev;
};

/* attr_xattr.c; attr_file.c. read: no attributes at all is no error. */
int viv_share_xattr_read(int fd, struct viv_share_meta *m);
int viv_share_xattr_write(int fd, const struct viv_share_meta *m);
int viv_share_meta_read(const struct viv_share_file *f, struct viv_share_meta *m);
int viv_share_meta_write(const struct viv_share_file *f, const struct viv_share_meta *m);

#endif
