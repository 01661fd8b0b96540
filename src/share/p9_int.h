/* What the files of the 9P server share. */
#ifndef VIV_SHARE_P9_INT_H
#define VIV_SHARE_P9_INT_H

#include "share/p9.h"
#include "share/p9_wire.h"

#include <glib.h>
#include <pthread.h>

enum {
    FIDS_MAX = 65536,
    NODES_MAX = 2 * FIDS_MAX,    /* names, with the folders above them */
    LOCKS_MAX = 4096,            /* files with locks, times owners */
    XATTR_MAX = 65536,           /* bytes of one (XATTR_SIZE_MAX) */
    XATTR_TOTAL_MAX = 16 << 20,  /* of all that fids hold at a time */
    NO_FID = 0xffffffff,
};

enum fid_kind { FID_PATH, FID_FILE, FID_DIR, FID_XATTR_READ, FID_XATTR_WRITE };

struct fid {
    uint32_t number;
    unsigned refs; /* under fids_lock */
    uint32_t uid;  /* who the client says it is: owns what it makes */
    pthread_mutex_t lock;
    /* Under lock. A kind other than FID_PATH is final, and so is what belongs to it. */
    enum fid_kind kind;
    struct viv_share_node *node;
    int io;        /* FID_FILE, FID_DIR */
    bool writable; /* FID_FILE */
    char *xattr;   /* name */
    uint8_t *data; /* FID_XATTR_*: value */
    size_t size, filled;
    int flags;
    bool gone; /* it was clunked: no lock is taken for it any more */
};

struct viv_p9 {
    const struct viv_fsdev *dev;
    struct viv_share_attrs attrs;
    struct viv_share_tree *tree;
    uint32_t msize; /* 0: no Tversion yet */
    unsigned open_max;

    pthread_rwlock_t session; /* written by Tversion */
    pthread_mutex_t fids_lock;
    GHashTable *fids;     /* number -> fid */
    unsigned attached;    /* fids, as the tree's users */
    size_t xattr_total;
    unsigned open_files;

    pthread_mutex_t tickets_lock;
    pthread_cond_t ticket_done;
    struct viv_p9_ticket *oldest, *newest;
    uint64_t next_number;

    pthread_mutex_t qids_lock;
    GHashTable *devices; /* (device, high bits of inode) -> number */
    dev_t root_dev;
    bool warned;

    pthread_mutex_t locks_lock;
    GHashTable *locks; /* struct lock_owner */
};

/* One request under way. */
struct req {
    struct viv_p9 *p;
    uint8_t type;
    uint16_t tag;
    uint64_t number;
    struct p9_in in;
    struct p9_out out;
    const struct iovec *msg; /* Twrite: data at msg_off */
    int msg_n;
    size_t msg_len;
    const struct iovec *reply; /* Tread, Treaddir: data go there, behind the head */
    int reply_n;
    size_t room; /* of the whole answer */
    size_t data; /* bytes of it already in place */
};

/* p9_fid.c. A reference, or NULL. */
struct fid *p9_fid_get(struct viv_p9 *p, uint32_t number);
void p9_fid_put(struct viv_p9 *p, struct fid *f); /* NULL allowed */
/* A new fid for `node` (a reference, taken over also on failure). */
int p9_fid_add(struct viv_p9 *p, uint32_t number, uint32_t uid, struct viv_share_node *node, struct fid **out);
/* Takes it out of the table (the last reference closes it). */
void p9_fid_remove(struct viv_p9 *p, struct fid *f);
void p9_fid_remove_all(struct viv_p9 *p);
struct viv_share_node *p9_fid_node(struct viv_p9 *p, struct fid *f); /* a reference */
/* Of its open file; -EBADF if it is none. */
int p9_fid_io(struct fid *f, enum fid_kind kind);
/* Room for one more open file. */
int p9_open_begin(struct viv_p9 *p);
void p9_open_end(struct viv_p9 *p);
/* Memory for an extended attribute. */
uint8_t *p9_xattr_alloc(struct viv_p9 *p, size_t size);
void p9_xattr_release(struct viv_p9 *p, uint8_t *data, size_t size);

/* A node's descriptor with that of the folder it is in, for share/attr.h, whose lock is held in mapped-file: a rename waits until the end,
 * or until p9_where_unlock(), after which only file.fd is of use. */
struct where {
    struct viv_share_node *node, *dir;
    bool locked;
    char name[VIV_SHARE_NAME_MAX + 1];
    struct viv_share_file file;
};
int p9_where(struct viv_p9 *p, struct viv_share_node *node, struct where *w);
void p9_where_unlock(struct viv_p9 *p, struct where *w);
void p9_where_end(struct viv_p9 *p, struct where *w);
int p9_node_stat(struct viv_p9 *p, struct viv_share_node *node, struct stat *st);

/* p9_qid.c */
struct p9_qid {
    uint8_t type;
    uint32_t version;
    uint64_t path;
};
int p9_qid(struct viv_p9 *p, const struct stat *st, struct p9_qid *q);
int p9_qid_path(struct viv_p9 *p, dev_t dev, ino_t ino, uint64_t *path);
void p9_put_qid(struct p9_out *o, const struct p9_qid *q);
uint8_t p9_qid_type(mode_t mode);

/* p9_walk.c: may it be the name of an entry? */
int p9_name_ok(const char *name);

/* p9_names.c: unlinks dir/name, if that is still `node`. */
int p9_unlink_node(struct viv_p9 *p, struct viv_share_node *dir, const char *name, struct viv_share_node *node);

/* p9_lock.c */
void p9_locks_drop(struct viv_p9 *p, const struct fid *f); /* NULL: all */

/* Handlers: 0, or -errno, which is the answer then. */
int p9_version(struct req *r);
int p9_attach(struct req *r);
int p9_walk(struct req *r);
int p9_clunk(struct req *r);
int p9_remove(struct req *r);
int p9_flush(struct req *r);
int p9_statfs(struct req *r);
int p9_getattr(struct req *r);
int p9_setattr(struct req *r);
int p9_readlink(struct req *r);
int p9_lopen(struct req *r);
int p9_lcreate(struct req *r);
int p9_read(struct req *r);
int p9_write(struct req *r);
int p9_fsync(struct req *r);
int p9_readdir(struct req *r);
int p9_symlink(struct req *r);
int p9_mknod(struct req *r);
int p9_mkdir(struct req *r);
int p9_link(struct req *r);
int p9_rename(struct req *r);
int p9_renameat(struct req *r);
int p9_unlinkat(struct req *r);
int p9_xattrwalk(struct req *r);
int p9_xattrcreate(struct req *r);
int p9_xattr_commit(struct viv_p9 *p, struct fid *f); /* at its clunk */
int p9_lock(struct req *r);
int p9_getlock(struct req *r);

#endif
