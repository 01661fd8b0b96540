/* The node graph, as drivers, the core and the image tools see it.
 *
 * A node is a driver instance. Two kinds:
 *   protocol  moves bytes itself (pread/pwrite): a host file, nothing at all (null-co), a test recorder;
 *   format    is a map on top of its `file` child: map() says where a guest range lies, alloc() and
 *             commit() change the map. The core (io.c) moves the data, follows `backing` where the map says
 *             nothing is here, and copies the rest of a cluster on the first write to it.
 *
 * Concurrency: the core takes a range lock per request, in units of the node's `granule`: shared while data moves
 * to or from a place that the map named, exclusive while the map of that range changes (first write,
 * discard, zeroes). So a cluster can never be freed or moved under a request in flight. Drivers lock
 * their own metadata inside map/alloc/commit; they are called from any I/O thread and may block. */
#ifndef VIV_BLOCK_NODE_H
#define VIV_BLOCK_NODE_H

#include "base/err.h"
#include "block/block.h"
#include "block/range.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct viv_node;
struct viv_img_info;
struct viv_check;
struct viv_create;
struct viv_measure;
struct viv_crypt;
struct viv_opts;
struct viv_opt_def;
struct viv_raw_opts;
struct viv_snapshot_ops;
struct viv_bitmap_ops;
struct viv_bitmap;

enum viv_map_kind {
    VIV_MAP_DATA,       /* lies in the file child at `host` */
    VIV_MAP_ZERO,       /* reads as zeroes, whatever the backing image holds */
    VIV_MAP_BACKING,    /* nothing here: the backing image, or zeroes without one */
    VIV_MAP_COMPRESSED, /* read through the driver's read_special() */
};

struct viv_extent {
    enum viv_map_kind kind;
    uint64_t len;   /* bytes from the offset asked for, at least 1, never more than asked for */
    uint64_t host;  /* DATA: offset in `where`; ZERO: preallocated there when `allocated` */
    bool allocated; /* takes room in this layer */
    bool in_place;  /* DATA: may be overwritten where it lies */
    bool hole;      /* ZERO: the format has DATA there, its file a hole (to a raw image the file's holes are its own);
                     * DATA: the file calls it a hole, and does not say what it reads as (NBD) */
    struct viv_node *where; /* the child that holds `host`; NULL: the file child */
};

/* Where a write goes that map() did not call in_place. With `fresh` false it can be overwritten where it
 * lies after all. With `fresh` true clusters were allocated and nothing points at them yet: the core fills
 * [host, host + len) and the guest ranges before and after it that share its clusters (from what the
 * guest sees there now), then calls commit() or cancel(). */
struct viv_alloc {
    uint64_t offset; /* guest, as asked */
    uint64_t len;    /* bytes of the request that this covers, at least 1 */
    uint64_t host;   /* where `offset` goes */
    uint64_t head;   /* fresh: bytes before `offset` to fill */
    uint64_t tail;   /* fresh: bytes after offset + len to fill (may pass the end of the disk) */
    bool fresh;
    struct viv_node *where; /* the child that holds `host`; NULL: the file child */
    bool compress; /* no host: only pack() and write_packed() can write here. The core reads the rest of the granule */
};

enum viv_prealloc {
    VIV_PREALLOC_OFF,
    VIV_PREALLOC_METADATA,
    VIV_PREALLOC_FALLOC,
    VIV_PREALLOC_FULL
};

/* How a handle's reads and writes reach the kernel. `native` is what users of libaio ask for: the ring, with O_DIRECT only. */
enum viv_aio { VIV_AIO_THREADS, VIV_AIO_URING, VIV_AIO_NATIVE };
/* -ENOENT: no such. */
int viv_aio_parse(const char *text, enum viv_aio *out);

/* How to open a node. Zeroed is a read-write, write-back, exclusively locked file of probed format. */
struct viv_node_opts {
    bool read_only;
    bool direct;      /* cache.direct: O_DIRECT */
    bool no_flush;    /* cache.no-flush: flush does nothing */
    bool force_share; /* -U: take no locks, whoever writes */
    bool no_backing;  /* do not open the backing chain: unallocated ranges read as zeroes */
    bool no_data;     /* header and metadata alone (info, sizes): an encrypted image opens without its key, and reading fails */
    bool for_check;   /* a dirty or corrupt image opens as it is: the caller is to repair it */
    bool unmap;       /* discard=unmap: discards reach the file; else they are dropped */
    bool copy_on_read;
    enum viv_aio aio;
    bool share_write; /* others may write and resize */
    bool loose;       /* nobody uses it yet: its locks come with those who do (sharing.c) */
    enum { VIV_LOCKING_AUTO, VIV_LOCKING_ON, VIV_LOCKING_OFF } locking;
    enum { VIV_DETECT_OFF, VIV_DETECT_ON, VIV_DETECT_UNMAP } detect_zeroes;
    const char *node_name;
    const struct viv_raw_opts *backing; /* of the backing image: another one than the header's, or what that is to have besides */
    struct viv_node *backing_node;      /* in place of the one in the header; borrowed */
    const char *key_secret;     /* id of the -object secret that opens an encrypted image */
    const char *encrypt_format; /* what the header must say: "luks" or "aes"; NULL: anything */
    struct viv_node *data_file; /* in place of the external data file that the header names; borrowed */
    const char *snapshot;       /* the disk as this internal snapshot (id or name) holds it; needs read_only */
    struct viv_node *const *made; /* a new image's other files, which have no names yet: viv_node_open_child() takes the */
    unsigned made_count;          /* one whose filename is asked for */
    struct viv_opts *own;       /* parsed against the driver's open_opts; NULL: none were given, so defaults */
    struct viv_raw_opts *own_lists; /* of its open_lists; NULL: none */
    struct viv_node *const *children; /* filters: of open_children but the first, which is `file`; borrowed */
    unsigned depth;             /* of the backing chain so far */
    unsigned nesting;           /* of nodes described inside each other */
    bool auto_read_only;        /* root: what may not be written is opened to be read */
    bool probed;                /* nobody said which format: the driver is a guess */
    unsigned *opened;           /* nodes that the root of this tree has opened so far; NULL: this is the root */
};

/* A node below another, by its name among the options. */
struct viv_child_def {
    const char *name;
    bool image;    /* without driver= its format is probed; else its driver is the one of its file name */
    bool optional;
};

/* What the locks of a file say: each says what the one before does, and more. */
enum viv_sharing {
    VIV_SHARING_IDLE,   /* somebody may come to read or write */
    VIV_SHARING_SHARED, /* we read and, if we may, write; others may, too */
    VIV_SHARING_ALONE,  /* nobody else writes */
};

struct viv_discards {
    uint64_t ok, failed, bytes; /* the bytes of those that went well */
};

struct viv_blk_driver {
    const char *name;
    bool protocol;
    /* Beside `protocol`: moves bytes through its `file` child, which may be an image or a file. */
    bool filter;
    /* How sure is it that these first bytes are its own: 0 not, 100 certainly. NULL: never probed. */
    int (*probe)(const uint8_t *head, size_t len);

    /* What opening takes beside what every node has (options.h) and beside the children: build.c. NULL: nothing. */
    const struct viv_opt_def *open_opts;
    const char *const *open_lists; /* of options with dictionaries as items ("inject-error.0.event"), checked by the driver */
    const struct viv_child_def *open_children; /* the first is `file`. NULL: formats have just that */
    /* Protocols but filters: a node as o->own says. */
    int (*open_source)(const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err);
    /* File names that are this driver's ("nbd:..."), and what they mean as options; without parse_name: filename=NAME. */
    bool (*is_name)(const char *name);
    int (*parse_name)(const char *name, struct viv_raw_opts *out, struct viv_err *err);

    /* The node has file (formats, filters) set and size not; sets node->size. err says what and why. */
    int (*open)(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err);
    /* After a last flush by the core. Frees node->state; returns the first error. */
    int (*close)(struct viv_node *n);

    /* Formats. Ranges lie inside node->size. */
    int (*map)(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out);
    int (*alloc)(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out);
    int (*commit)(struct viv_node *n, const struct viv_alloc *a);
    void (*cancel)(struct viv_node *n, const struct viv_alloc *a);
    /* One granule that map() called COMPRESSED, into buf (the granule's whole size). */
    int (*read_special)(struct viv_node *n, uint64_t granule_offset, uint8_t *buf);
    /* One granule (the disk's last may be short) that is to be stored compressed: over nothing, or in place of what is
     * there. The granule is locked exclusively; compress before taking the driver's own lock: other granules' threads
     * are here too. -E2BIG: it would not shrink, the core writes it as it is. NULL: the format has no compression. */
    int (*write_compressed)(struct viv_node *n, uint64_t granule_offset, const uint8_t *buf, size_t len);
    /* The same in two steps, in place of write_compressed, so that a tool can compress in parallel and write in order.
     * pack() has no effects and needs no locks; `out` has room for *out_len bytes, a granule (for viv_alloc.compress some
     * more). write_packed() stores what it made. */
    int (*pack)(struct viv_node *n, const uint8_t *buf, size_t len, uint8_t *out, size_t *out_len);
    int (*write_packed)(struct viv_node *n, uint64_t granule_offset, const uint8_t *packed, size_t len);

    /* Protocols. Reads past the end give zeroes; writes past it grow the file. All or an error. */
    int (*preadv)(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
                  size_t len);
    int (*pwritev)(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
                   size_t len);
    /* What lies there, for files with holes: ZERO or DATA. NULL: all is DATA. */
    int (*status)(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out);

    /* Real room for the range, which may lie past the end: reserved (FALLOC) or written (FULL). */
    int (*preallocate)(struct viv_node *n, uint64_t offset, uint64_t len, enum viv_prealloc how);

    /* Both kinds. write_zeroes and discard of formats get whole granules (subgranules of one), exclusively locked. A format may
     * answer -ENOTSUP to write_zeroes: the core then writes zeroes. */
    int (*write_zeroes)(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags);
    int (*discard)(struct viv_node *n, uint64_t offset, uint64_t len);
    /* Whole granules again hold nothing: the backing image shows (commit, once it has what was here). NULL: cannot. */
    int (*forget)(struct viv_node *n, uint64_t offset, uint64_t len);
    /* A format's own: what it caches, then the file. Other children are flushed before it is called. */
    int (*flush)(struct viv_node *n);
    int (*truncate)(struct viv_node *n, uint64_t size, enum viv_prealloc prealloc,
                    struct viv_err *err);

    /* What the header says of a backing file: name NULL: nothing. Borrowed. The operation is NULL for formats without
     * backing files. */
    void (*backing)(struct viv_node *n, const char **name, const char **format);
    /* n->backing was opened: is it the one that the header means? NULL: any is. */
    int (*check_backing)(struct viv_node *n, struct viv_err *err);
    /* n->backing is about to be written for the sake of n (commit), and stays its backing file. NULL: nothing to do. */
    int (*keep_backing)(struct viv_node *n, struct viv_err *err);
    /* Writes another name and format into the header (name NULL: none), durably; n->backing stays as it is. */
    int (*change_backing)(struct viv_node *n, const char *name, const char *format, struct viv_err *err);

    /* Something above has reached a point that has a name (event.h). NULL: does not listen. */
    void (*event)(struct viv_node *n, int event);

    /* Tools. */
    int (*create)(const struct viv_create *c, struct viv_node *file, struct viv_err *err);
    const struct viv_opt_def *create_opts; /* what -o takes; `size` at least */
    const char *const *create_shown;       /* those of them that "Formatting" tells when they have a value, in order */
    bool any_size;                         /* create: not only multiples of 512 */
    /* What a new image that holds `source` (NULL: nothing) takes. NULL: cannot tell. */
    int (*measure)(const struct viv_create *c, struct viv_node *source, struct viv_measure *out, struct viv_err *err);
    int (*check)(struct viv_node *n, struct viv_check *c, struct viv_err *err);
    void (*info)(struct viv_node *n, struct viv_img_info *info);
    /* To `s`, on failure as it was; unless `down` it stays where it says more already. NULL: no locks. */
    int (*settle)(struct viv_node *n, enum viv_sharing s, bool down, struct viv_err *err);
    void (*discards)(const struct viv_node *n, struct viv_discards *out); /* what there was of them; NULL: nobody counts */
    /* Changes options of an image that exists; `opts` parsed against amend_opts, only given ones count. */
    int (*amend)(struct viv_node *n, struct viv_opts *opts, bool force, struct viv_err *err);
    const struct viv_opt_def *amend_opts;
    const struct viv_snapshot_ops *snapshots; /* image.h; NULL: the format has no internal snapshots */
    const struct viv_bitmap_ops *bitmaps;     /* image.h; NULL: the format stores no dirty bitmaps */
};

/* Somebody (a job) who must know of writes to a node: before the first byte changes, or after the last one has and before the writer hears
 * of it. Called in the writer's thread, without locks; may block. The list changes only while no request is under way (graph.h). */
struct viv_node_hook {
    void (*before)(struct viv_node_hook *h, uint64_t offset, uint64_t len); /* NULL: does not care */
    void (*after)(struct viv_node_hook *h, uint64_t offset, uint64_t len);
    struct viv_node_hook *next;
};

struct viv_node_user {
    char *name; /* "virtio-blk 'disk0'" */
    unsigned perms, shared;
    struct viv_node *node;
    const struct viv_node *above; /* what it writes changes nothing that this node shows (commit); NULL */
    bool keeper;                  /* it copies what is about to change below, and does not mind the change */
    unsigned long party;          /* users of one party do not mind each other; 0: of none */
    struct viv_node_user *next, *next_of_all;
};

/* flush.c: the flushes of a protocol node, counted. */
struct viv_flush {
    pthread_mutex_t lock;
    pthread_cond_t over;
    uint64_t started, ended;
    int result; /* of the last one that ended */
    int error;  /* one failed and lost what it was for: nothing can be called durable any more */
};
void viv_flush_init(struct viv_flush *f);
void viv_flush_fini(struct viv_flush *f);

struct viv_node {
    const struct viv_blk_driver *drv;
    char *name;     /* node-name, or NULL */
    uint64_t named; /* the how manieth that got one */
    char *filename; /* of this layer, as given */
    struct viv_node *file;
    struct viv_node *backing; /* changed by viv_node_set_backing() */
    struct viv_node **overlay; /* images whose backing file this is; borrowed, */
    unsigned overlays;         /* in no order */
    struct viv_node **child; /* other files of this image (viv_node_open_child); flushed and closed with it */
    unsigned children;
    struct viv_crypt *crypt; /* the core encrypts what goes to a child as DATA; NULL: plain. Freed with the node */
    void *state;      /* the driver's */
    uint64_t size;    /* bytes; read with viv_node_size() */
    uint64_t granule; /* power of two: unit of range locks and of the map; 1 for protocols */
    uint64_t subgranule; /* power of two, below granule: what zeroes and discards come in at their ends; 0: granule */
    int refs;
    unsigned parents; /* images on top of it */
    bool read_only;
    bool no_flush;
    bool direct; /* cache.direct was asked for */
    bool unmap;
    bool copy_on_read; /* what is read from the backing file is written here, */
    struct viv_node *copy_bottom; /* but for what lies below this layer of the chain (borrowed); NULL: all of it */
    bool zero_init;  /* a new, never written range reads as zeroes */
    bool only_packed; /* all data is stored compressed, if asked for or not */
    struct viv_raw_opts *given; /* of the driver's own options, those that were given; NULL: none, or nobody knows */
    bool stays_read_only; /* read-only=on was said of it: it is for blockdev-reopen alone to change that */
    bool probed_raw; /* raw by guess: writes that would change the guess are refused */
    int detect_zeroes;
    enum viv_aio aio; /* files */
    struct viv_flush flush;
    struct viv_range_lock ranges;
    struct viv_node_user *users;
    unsigned long entered[2]; /* users.c: by which walk last */
    const struct viv_node *keeps; /* users.c: what a write to this node changes is copied here first: the backing file shows as it was; NULL */
    bool lost;                    /* atomic: it was not: what would be read from the backing file is an error */
    uint64_t write_threshold, written_end; /* atomic; alarm.h */
    struct viv_bitmap *bitmaps; /* bitmap.h */
    struct viv_node_hook *hooks;
    pthread_mutex_t bitmap_lock;
};

/* --- making nodes (factory.c, node.c). Blocking; any one thread at a time --- */

extern const struct viv_blk_driver *const viv_blk_drivers[]; /* NULL-terminated */
const struct viv_blk_driver *viv_blk_driver_find(const char *name);
/* "Formats: qcow2 raw" for messages, g_free. */
char *viv_blk_driver_names(bool protocol);

/* The driver whose file name this is: file for what has no scheme. NULL: none of ours. */
const struct viv_blk_driver *viv_blk_driver_of_name(const char *path);
/* The host file that `path` names: what is behind "file:". -ENOTSUP: it names something else (nbd://..., json:...). */
int viv_blk_local_path(const char *path, const char **local);
/* A protocol node for `path` ("file:" and the schemes of drivers allowed, others refused by name). */
int viv_node_open_file(const char *path, const struct viv_node_opts *o, struct viv_node **out,
                       struct viv_err *err);
/* A format node on `file` (taken, also on failure), with its backing chain. drv NULL: probed. */
int viv_node_open_format(const struct viv_blk_driver *drv, struct viv_node *file_take,
                         const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err);
/* The two above. format NULL: probed. "json:{...}" as path: viv_node_open_options(). */
int viv_node_open_image(const char *path, const char *format, const struct viv_node_opts *o,
                        struct viv_node **out, struct viv_err *err);
/* An image as options name it ("driver=qcow2,file.filename=a", or a JSON object; the keys of -blockdev), with what `o`
 * wants besides. Without driver= it has `format`, or is probed (NULL). `what` opens errors. build.c. */
int viv_node_open_options(const char *what, const char *text, const char *format, const struct viv_node_opts *o,
                          struct viv_node **out, struct viv_err *err);
/* One more file of the image `n`, for its driver's open(): raw bytes, with what `o` says of locks and caches; a relative
 * path counts from the image's folder. Refused when it is the image's own file or a child already. It is the node's:
 * *out is borrowed. */
int viv_node_open_child(struct viv_node *n, const char *path, const struct viv_node_opts *o, struct viv_node **out,
                        struct viv_err *err);
/* The same with a node that is there (taken): it is flushed and closed with the image. */
void viv_node_add_child(struct viv_node *n, struct viv_node *child_take);
/* Bare node, one reference, for drivers' and tests' own construction. */
struct viv_node *viv_node_new(const struct viv_blk_driver *drv, const char *filename);
void viv_node_get(struct viv_node *n);
/* Drops the reference and clears *n; the last one flushes and closes. Returns that close's result. */
int viv_node_put(struct viv_node **n);

/* Named nodes (-blockdev, node-name=): -EEXIST when taken. The registry holds no reference. */
int viv_node_register(struct viv_node *n, const char *name, struct viv_err *err);
/* Another backing image (taken; NULL: none). What was there is the caller's. */
struct viv_node *viv_node_set_backing(struct viv_node *n, struct viv_node *backing_take);
/* -EBUSY: `n` cannot get a writer, for somebody uses an image that shows it by way of a backing file. */
int viv_node_check_shown(struct viv_node *n, const char *user, struct viv_err *err);
/* Does more than one user hold it, or is it below another image, or its backing file? */
bool viv_node_is_shared(const struct viv_node *n);
/* All names there are, sorted; g_strfreev. */
char **viv_node_names(void);
/* Those that have names, in the order in which they got them; g_free. Within viv_graph_enter(). */
struct viv_node **viv_nodes_named(unsigned *count);
struct viv_node *viv_node_find(const char *name); /* borrowed; NULL */

/* Permissions (users.c): refused with the name of who holds what. Nobody gets the right to write what images in use show, or to use an image that
 * shows what somebody writes. */
int viv_node_attach(struct viv_node *n, const char *user, unsigned perms, unsigned shared,
                    struct viv_node_user **out, struct viv_err *err);
struct viv_node_use {
    unsigned perms, shared;
    const struct viv_node *above; /* as in viv_node_user */
    bool keeper;
    unsigned long party;
    bool will_be_writable;        /* the user sees to that before it writes */
    bool moved;                   /* it has the same rights on another node, which this one takes the place of (graph.h) */
};
int viv_node_attach_as(struct viv_node *n, const char *user, const struct viv_node_use *use, struct viv_node_user **out, struct viv_err *err);
void viv_node_detach(struct viv_node *n, struct viv_node_user **user);
/* What others may do from now on. Refused where somebody does it; on failure all is as it was. */
int viv_node_user_share(struct viv_node_user *u, unsigned shared, struct viv_err *err);

/* sharing.c: the locks of the file below, by way of windows (raw, filters), say at least this. */
int viv_node_settle(struct viv_node *n, enum viv_sharing s, struct viv_err *err);
/* Of a node's file, which is new to it: what its driver and users want. */
int viv_node_settle_file(struct viv_node *n, struct viv_err *err);
/* And no more than that others may write, if all who use it now share that. */
void viv_node_loosen(struct viv_node *n);

/* Does the backing file of `n` show what `source` does, filters aside? */
bool viv_node_is_overlay_of(const struct viv_node *n, const struct viv_node *source);
/* Before each write to `source`, whose overlay `n` is, `n` gets what that changes, from now on; or it does so no more. Who uses `n` all the same,
 * while somebody writes below it, finds errors instead of bytes of another time, and `warn` says so. */
void viv_node_keep(struct viv_node *n, const struct viv_node *source);
void viv_node_keep_end(struct viv_node *n, bool warn);
/* One time it could not. Any thread. */
void viv_node_lose(struct viv_node *n);

/* Which driver's are these bytes? Nobody's else's are raw. */
const struct viv_blk_driver *viv_blk_probe(const uint8_t *head, size_t len);
#define VIV_BLK_PROBE_LEN 2048

/* `name` as the header of image `image` means it: relative names count from the image's folder. g_free. */
char *viv_blk_backing_path(const char *image, const char *name);
/* The name of `n` as the header of the image at `image` may have it; g_free. */
char *viv_node_backing_name(const char *image, const struct viv_node *n);

/* --- data (io.c). Blocking; any thread --- */

uint64_t viv_node_size(const struct viv_node *n);
int viv_node_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
                    size_t len);
int viv_node_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
                     size_t len);
int viv_node_pread(struct viv_node *n, uint64_t offset, void *buf, size_t len);
int viv_node_pwrite(struct viv_node *n, uint64_t offset, const void *buf, size_t len);
/* For who writes in parallel and wants clusters in the order of the disk: placed() is called when all of it has a place and before
 * the data of the last part moves; at most once, and not where that order means nothing (protocols, compressed clusters). */
int viv_node_pwrite_placed(struct viv_node *n, uint64_t offset, const void *buf, size_t len, void (*placed)(void *opaque),
                           void *opaque);
/* From the start of both ranges as much as lies in one piece, by the host (copy_range.c): as shared blocks of the file system (`share`:
 * only so), or by a copy inside the kernel. *done: how much, more than 0. -ENOTSUP: not here, or not this piece; read and write it. */
int viv_node_copy_range(struct viv_node *from, uint64_t src, struct viv_node *to, uint64_t dst, uint64_t len, bool share,
                        uint64_t *done);
int viv_node_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags);
int viv_node_discard(struct viv_node *n, uint64_t offset, uint64_t len);
/* What the backing files show of the range, and this layer does not hold, is copied into it: from all of them, or from those down to
 * `bottom` (then zeroes that hide something below it too). */
int viv_node_copy_up(struct viv_node *n, struct viv_node *bottom, uint64_t offset, uint64_t len);
/* All of the disk: this layer holds nothing any more. -ENOTSUP where the format cannot. */
int viv_node_forget(struct viv_node *n);
/* One whole granule, compressed by the driver (convert -c); -ENOTSUP where the format cannot. */
int viv_node_write_compressed(struct viv_node *n, uint64_t offset, const void *buf, size_t len);
/* The two steps of it. `out` has room for a granule; -E2BIG: it does not shrink, write it as it is; -ENOTSUP: only in one. */
int viv_node_pack(struct viv_node *n, const void *buf, size_t len, void *out, size_t *out_len);
int viv_node_write_packed(struct viv_node *n, uint64_t offset, const void *packed, size_t len);
/* For drivers whose blocks stay where they are: zeroes, or a discard, into whatever of the range the map has a place for; the rest
 * reads as zeroes already. */
int viv_node_zero_in_place(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags);
int viv_node_discard_in_place(struct viv_node *n, uint64_t offset, uint64_t len);
int viv_node_flush(struct viv_node *n);
int viv_node_truncate(struct viv_node *n, uint64_t size, enum viv_prealloc prealloc,
                      struct viv_err *err);
/* What the guest sees there, through the whole chain: DATA (possibly compressed) or ZERO. out->len is how
 * far that holds. */
int viv_node_status(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out);
/* This layer only: BACKING when nothing is allocated here. */
int viv_node_status_layer(struct viv_node *n, uint64_t offset, uint64_t len,
                          struct viv_extent *out);

#endif
