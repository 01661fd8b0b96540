/* Actions: what a command does to the block graph, in steps that can be undone; one alone, or several as a transaction (transaction.c). */
#ifndef VIV_MON_TRANSACTION_H
#define VIV_MON_TRANSACTION_H

#include "mon/command.h"

struct viv_job_group;
struct viv_node;

struct viv_mon_action;

struct viv_mon_action_type {
    const char *name;  /* the command's too */
    size_t size;       /* of `state` */
    bool grouped;      /* starts a job, which can belong to a group */
    /* Loop thread, device lock held. Looks, takes, makes: all that has no effect on what is there. Takes what it knows from `raw`; who is `end`ed
     * also when this failed. */
    int (*begin)(struct viv_mon_action *a, struct viv_raw_opts *raw, struct viv_err *err);
    /* In a quiet graph, without the device lock; and undone there when a later one has failed. */
    int (*change)(struct viv_mon_action *a, struct viv_err *err);
    void (*undo)(struct viv_mon_action *a);
    /* Loop thread again. All are done, or none is. A failure that comes only now is of the whole command (a thread that does not start). */
    int (*end)(struct viv_mon_action *a, bool done, struct viv_err *err);
};

struct viv_mon_action {
    const struct viv_mon_action_type *type;
    void *state;                 /* zeroed */
    struct viv_job_group *group; /* for jobs; NULL: alone */
    bool changed;
};

/* A command that is one action. */
int viv_mon_act(const struct viv_mon_action_type *type, struct viv_raw_opts *raw, struct viv_err *err);
/* An undo() that could not: the log says so. */
void viv_mon_undo_failed(const char *action, const struct viv_err *why);
extern const char *const viv_mon_new_image_modes[]; /* "existing", "absolute-paths" */
/* -EBUSY while the graph is being changed by another command, which serves the loop. */
int viv_mon_check_quiet(struct viv_err *err);
/* A drive by its id, or a node by its name: "Cannot find device='d' nor node-name='n'". Either may be NULL. */
int viv_mon_take_node(const char *device, const char *name, struct viv_node **out, struct viv_err *err);
/* `raw` as typed options of `what`: "transaction blockdev-backup". */
int viv_mon_take_opts(const char *what, const struct viv_opt_def *def, struct viv_raw_opts *raw, struct viv_opts **out, struct viv_err *err);

extern const struct viv_mon_action_type viv_mon_action_snapshot, viv_mon_action_snapshot_sync, viv_mon_action_snapshot_internal;
extern const struct viv_mon_action_type viv_mon_action_backup, viv_mon_action_drive_backup;
extern const struct viv_mon_action_type viv_mon_action_bitmap_add, viv_mon_action_bitmap_remove, viv_mon_action_bitmap_clear,
    viv_mon_action_bitmap_enable, viv_mon_action_bitmap_disable, viv_mon_action_bitmap_merge;

#endif
