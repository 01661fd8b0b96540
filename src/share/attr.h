/* Who owns a shared file, what its mode is, as the guest is told: the security models.
 *
 *   passthrough  the host's own; what is made belongs to who made it in the guest (wants root)
 *   none         the same, but it is no error when the owner cannot be set
 *   mapped-xattr in extended attributes of the file: user.virtfs.uid, .gid, .mode (32 bits), .rdev (64 bits), little-endian
 *   mapped-file  in lines "virtfs.uid=N" of the file .virtfs_metadata/NAME beside it; the shared folder's own in
 *                .virtfs_metadata_root. Both names are hidden from the guest
 * In the mapped ones links, devices, FIFOs and sockets are plain files on the host, a link's target is its content. The formats
 * are QEMU's: a folder can be shared by either. What has no such attributes is shown as the host has it.
 *
 * Descriptors are O_PATH ones (share/tree.h). All return 0 or -errno. Any thread; may block. */
#ifndef VIV_SHARE_ATTR_H
#define VIV_SHARE_ATTR_H

#include "share/tree.h"

#include <pthread.h>

enum viv_share_model { VIV_SHARE_PASSTHROUGH, VIV_SHARE_NONE, VIV_SHARE_MAPPED_XATTR, VIV_SHARE_MAPPED_FILE };

struct viv_share_attrs {
    enum viv_share_model model;
    mode_t fmode, dmode;   /* on the host, of what is made in the mapped models */
    pthread_mutex_t lock;  /* mapped-file: a name and its attributes change, and are looked up, together */
};

/* Parts of the attributes that are to change. */
enum { VIV_SHARE_UID = 1, VIV_SHARE_GID = 2, VIV_SHARE_MODE = 4, VIV_SHARE_RDEV = 8 };

static inline bool viv_share_mapped(const struct viv_share_attrs *a)
{
    return a->model >= VIV_SHARE_MAPPED_XATTR;
}

/* A name that the guest must not see. */
bool viv_share_hidden(const struct viv_share_attrs *a, const char *name);

/* `fd`: the file. `dir`, `name`: where it is; `name` "" for the shared folder itself, which `dir` is then, and NULL for a file that
 * has no name any more: in mapped-file its attributes have gone with it. */
struct viv_share_file {
    int fd, dir;
    const char *name;
};

/* mapped-file: lock held, since before the name was looked up. */
int viv_share_stat(struct viv_share_attrs *a, const struct viv_share_file *f, struct stat *st);
/* Sets the `parts` of st_uid, st_gid, st_mode, st_rdev. With `fresh`: of what was just made and has no attributes. */
int viv_share_set(struct viv_share_attrs *a, const struct viv_share_file *f, const struct stat *st, unsigned parts, bool fresh);
/* chmod(2) of what a descriptor stands for. */
int viv_share_chmod(int fd, mode_t mode);

/* mapped-file, lock held (nothing in the other models): attributes follow a name. */
void viv_share_forget(struct viv_share_attrs *a, int dir, const char *name);
int viv_share_attr_link(struct viv_share_attrs *a, const struct viv_share_file *f, int to, const char *new_name);
int viv_share_attr_move(struct viv_share_attrs *a, int from, const char *name, int to, const char *new_name);
/* Takes the folder of attributes, when it is empty, out of a folder that is about to go. */
int viv_share_attr_rmdir(struct viv_share_attrs *a, int dir, const char *name);

#endif
