/* Inside job*.c. */
#ifndef VIV_BLOCK_JOB_INT_H
#define VIV_BLOCK_JOB_INT_H

#include "block/job.h"

#include "block/bitmap.h"
#include "block/graph.h"

#include <glib.h>

/* Each in the job's thread, without the device lock, in this order; all may be NULL but run. */
struct viv_job_type {
    const char *name;
    bool block;
    bool changes_graph; /* when it ends: it has its chain for itself */
    int (*prepare)(struct viv_job *j, struct viv_err *err); /* fails: the command does, and there was no job; only free follows */
    int (*run)(struct viv_job *j, struct viv_err *err);
    int (*settle)(struct viv_job *j, struct viv_err *err);  /* it has succeeded: what changes at the end. Fails: so has the job */
    void (*clean)(struct viv_job *j, bool done);            /* undoes what prepare did */
    void (*free)(struct viv_job *j);                        /* device lock held; in the loop, once, before anybody hears that it has ended */
};

/* A range of a copy that must not be copied by two at once. */
struct viv_job_copy {
    struct viv_node *from, *to;
    struct viv_bitmap *todo;      /* of `from`; what is still to be copied */
    struct viv_range_lock ranges; /* in its granules */
    bool compress;
    bool unmap;                   /* zeroes may deallocate in the target */
};

struct viv_job {
    const struct viv_job_type *type;
    char *id;
    struct viv_job *next;
    pthread_t thread;
    /* Device lock. */
    enum viv_job_status status;
    bool concluded; /* and holds nothing of others */
    bool let_go;
    struct viv_job_prepared *prep; /* the starter's, who waits */
    struct viv_err err;
    int ret;

    struct viv_job_group *group; /* NULL: alone */

    /* `lock`. */
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool go; /* the starter has seen that it began */
    bool want_pause, cancel, force, complete, finalize;
    bool auto_finalize, auto_dismiss;
    bool ready, paused, sleeping;
    const char *io_status;
    uint64_t speed, offset, len;

    /* Jobs on nodes. References and rights. */
    struct viv_node *node, *target, *base, *top;
    struct viv_node_user *user[4];
    struct viv_node *used[4];
    enum viv_job_sync sync;
    enum viv_job_on_error on_source, on_target;
    char *backing_file;
    struct viv_job_copy copy;
    struct viv_node_hook hook;
    char *bitmap_name;         /* to be found by prepare; NULL: none, or found */
    struct viv_bitmap *bitmap; /* backup: the one it began with, kept from being removed; */
    struct viv_bitmap *since;  /* and what was written since */
    enum viv_job_bitmap_mode bitmap_mode;
    bool write_blocking;
    bool same_backing; /* mirror */
    bool hooked, writable_base, writable_node;
    bool keeps; /* backup: the target is an overlay of the source, to show it as it was */
    int hook_error; /* of a hook, which has nobody to tell */

    void *opaque; /* viv_job_start_simple() */
    int (*simple_run)(void *opaque, struct viv_err *err);
    void (*simple_end)(void *opaque);
};

/* job.c */
struct viv_job *viv_job_new(const struct viv_job_type *type, const struct viv_block_job_opts *o, struct viv_err *err); /* id checked */
void viv_job_free(struct viv_job *j); /* that was not started */
void viv_job_list(struct viv_job *j_take); /* as created */
int viv_job_start(struct viv_job *j_take, struct viv_err *err);
/* Nobody else may be about to change its chain, nor be at work on it if this job changes it itself. */
int viv_job_check_chain(struct viv_job *j, struct viv_err *err);
/* In the job's thread. Where a job may stop: pauses, and says whether it was cancelled. */
bool viv_job_stopped(struct viv_job *j);
/* The same, for `bytes` at the job's speed, or for `ns` at least. */
bool viv_job_wait(struct viv_job *j, uint64_t bytes, int64_t ns);
void viv_job_set_progress(struct viv_job *j, uint64_t offset, uint64_t len);
void viv_job_set_ready(struct viv_job *j);
/* After an error: 0: try again (it waited as was asked); else the error. */
int viv_job_error(struct viv_job *j, int ret, bool read);

/* job_group.c. All but join without locks or with the device lock alone. */
void viv_job_group_join(struct viv_job_group *g, struct viv_job *j); /* g NULL: nothing */
/* Waits for all others to have succeeded too: -ECANCELED: one did not. */
int viv_job_group_wait(struct viv_job *j);
/* Then, until somebody finalizes one of them, unless all want to be finalized at once. */
int viv_job_group_wait_decision(struct viv_job *j);
void viv_job_group_finalize(struct viv_job *j);
/* One has failed or was cancelled: true: it was not too late, and the others must be cancelled. */
bool viv_job_group_fail(struct viv_job *j);

/* job_copy.c */
int viv_job_use(struct viv_job *j, struct viv_node *n, unsigned perms, struct viv_err *err);
/* It writes the base, which prepare makes writable, and nothing changes from `above` on up: nobody else may show it. */
int viv_job_use_keeping(struct viv_job *j, struct viv_err *err); /* its target, while that keeps what is overwritten below */
int viv_job_use_base(struct viv_job *j, const struct viv_node *above, struct viv_err *err);
int viv_job_copy_init(struct viv_job *j, struct viv_node *from, struct viv_node *to, uint32_t granularity, bool follow, struct viv_err *err);
void viv_job_copy_fini(struct viv_job_copy *c);
/* Marks what is to be copied: all of it, or what the layers from `top` down to above `base` hold. */
int viv_job_copy_mark(struct viv_job *j, struct viv_node *top, struct viv_node *base, struct viv_err *err);
/* The whole granules of the range that are still to be copied. *read: it was the source that failed. */
int viv_job_copy_range(struct viv_job_copy *c, uint64_t offset, uint64_t len, bool *read);
/* [offset, offset + len) of `from`, which nobody else copies meanwhile, into `to`. Holes stay holes. */
int viv_job_copy_move(struct viv_job_copy *c, uint64_t offset, uint64_t len, bool *read);
/* Until nothing is left, or it is cancelled, or there is an error that ends the job. */
int viv_job_copy_all(struct viv_job *j, struct viv_err *err);
/* What the layers of `top` above `base` hold; BACKING: nothing. */
int viv_node_status_above(struct viv_node *top, struct viv_node *base, uint64_t offset, uint64_t len, struct viv_extent *out);
/* The layer right above `n` in the chain of `top`; NULL: it is not in there. */
struct viv_node *viv_node_above(struct viv_node *top, const struct viv_node *n);

/* job_mirror.c */
int viv_job_commit_active(const struct viv_block_job_opts *o, struct viv_err *err);

#endif
