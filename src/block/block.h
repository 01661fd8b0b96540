/* The block layer as devices and tools see it.
 *
 * A *node* is one layer of storage (a file, a format on top of a file). A format driver is mostly a map from
 * guest range to where it lies, plus allocation and metadata update, written as plain blocking code with
 * its own lock and explicit write ordering. The core moves the data. A *blk* is one user's handle on a
 * node, with the permissions it asked for; a node can be drained, replaced and re-parented under it. */
#ifndef VIV_BLOCK_BLOCK_H
#define VIV_BLOCK_BLOCK_H

#include "base/err.h"
#include "opt/opt.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct viv_blk;  /* a user's handle */
struct viv_node; /* opaque here: see block/node.h */

/* Who may do what: asked at attach, refused with the holder's name. */
enum viv_blk_perm {
    VIV_PERM_READ = 1 << 0,   /* consistent read */
    VIV_PERM_WRITE = 1 << 1,
    VIV_PERM_RESIZE = 1 << 2,
};

enum viv_blk_op {
    VIV_BLK_READ,
    VIV_BLK_WRITE,
    VIV_BLK_FLUSH,
    VIV_BLK_DISCARD,
    VIV_BLK_WRITE_ZEROES,
};

enum {
    VIV_BLK_FUA = 1 << 0,   /* write: durable at completion */
    VIV_BLK_UNMAP = 1 << 1, /* write zeroes: may deallocate */
    VIV_BLK_NO_FALLBACK = 1 << 2, /* write zeroes: -ENOTSUP rather than writing them as data */
};

/* One request, owned by the caller until `done` ran. Ranges are checked against the size. */
struct viv_blk_req {
    enum viv_blk_op op;
    unsigned flags;
    uint64_t offset; /* bytes, any alignment */
    uint64_t len;    /* bytes; equals the iov's total for READ and WRITE */
    const struct iovec *iov;
    int iovcnt;
    /* Called once from any I/O thread (never from inside viv_blk_submit), without the device lock;
     * result 0 or negative errno. */
    void (*done)(struct viv_blk_req *req, int result);
    void *opaque;
    struct viv_blk_req *next; /* the core's, while submitted */
    int64_t start;            /* likewise: when it was */
};

/* Opens a chain from what viv_drive_parse() made of a text. */
int viv_blk_open(struct viv_opts *opts, const struct viv_raw_opts *image, unsigned perms, unsigned shared, const char *user,
                 struct viv_blk **out, struct viv_err *err);
/* Opens by file name; format NULL: probed (raw images that are probed refuse guest writes that would change
 * the probe's verdict, as QEMU does). */
int viv_blk_open_path(const char *path, const char *format, unsigned perms, unsigned shared,
                      const char *user, struct viv_blk **out, struct viv_err *err);
/* Flushes (unless opened read-only) and closes; the first error is returned, the handle is gone
 * anyway. Blocks. */
int viv_blk_close(struct viv_blk *b, struct viv_err *err);

uint64_t viv_blk_size(const struct viv_blk *b); /* bytes */
/* From here on the image may get another size, a multiple of `unit` bytes: resized(opaque) is called after that, with the device lock. NULL:
 * no more. A handle without it keeps block_resize from its image. Device lock held. */
void viv_blk_on_resize(struct viv_blk *b, uint32_t unit, void (*resized)(void *opaque), void *opaque);
bool viv_blk_writable(const struct viv_blk *b);
bool viv_blk_writethrough(const struct viv_blk *b); /* each write is durable at completion */
const char *viv_blk_format(const struct viv_blk *b);   /* "qcow2" */
const char *viv_blk_filename(const struct viv_blk *b); /* of the top layer */

/* May others write, too? Refused where somebody does, or holds a lock. Device lock held. */
int viv_blk_share(struct viv_blk *b, bool writes, struct viv_err *err);

/* Asynchronous; any thread. Never blocks. */
void viv_blk_submit(struct viv_blk *b, struct viv_blk_req *req);
/* What is in the page cache is moved at once, in this thread, with no call of done(): 0. -EAGAIN: submit it. Does not wait for data; may
 * read a table of the image. Not for requests that are submitted already. */
int viv_blk_try(struct viv_blk *b, const struct viv_blk_req *req);
/* In this thread, however long it takes: the result, with no call of done(). */
int viv_blk_run(struct viv_blk *b, const struct viv_blk_req *req);
/* No new request starts in the back end until resume; returns once none is in flight. Blocks; not with
 * the device lock held. */
void viv_blk_drain(struct viv_blk *b);
void viv_blk_resume(struct viv_blk *b);
unsigned viv_blk_in_flight(const struct viv_blk *b);
struct viv_blk_counters;
const struct viv_blk_counters *viv_blk_counters(const struct viv_blk *b); /* stats.h */
/* Its own are dropped. Before the first request. */
void viv_blk_use_counters(struct viv_blk *b, struct viv_blk_counters *c);
/* A request of no bytes that its user did without us; start: stats.h's clock. */
void viv_blk_count(struct viv_blk *b, enum viv_blk_op op, int64_t start, int result);
/* Requests that wait for an I/O limit start now: somebody waits for them. They count for the limit all the same. Any thread. */
void viv_blk_lift_limits(struct viv_blk *b);

/* Blocking forms for tools and firmware loading. */
int viv_blk_pread(struct viv_blk *b, uint64_t offset, void *buf, size_t len);
int viv_blk_pwrite(struct viv_blk *b, uint64_t offset, const void *buf, size_t len, unsigned flags);
int viv_blk_pwrite_zeroes(struct viv_blk *b, uint64_t offset, uint64_t len, unsigned flags);
int viv_blk_pdiscard(struct viv_blk *b, uint64_t offset, uint64_t len, unsigned flags);
int viv_blk_flush(struct viv_blk *b);
int viv_blk_truncate(struct viv_blk *b, uint64_t size, struct viv_err *err);

#endif
