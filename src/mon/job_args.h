/* Arguments that commands which start block jobs have in common. */
#ifndef VIV_MON_JOB_ARGS_H
#define VIV_MON_JOB_ARGS_H

#include "block/job.h"
#include "opt/opt.h"

#define VIV_MON_JOB_ARGS                                                                                                \
    {.name = "job-id", .type = VIV_OPT_STR}, {.name = "device", .type = VIV_OPT_STR, .required = true},         \
    {.name = "speed", .type = VIV_OPT_INT}, {.name = "auto-finalize", .type = VIV_OPT_BOOL, .def = "on"},       \
    {.name = "auto-dismiss", .type = VIV_OPT_BOOL, .def = "on"},                                                \
    {.name = "filter-node-name", .type = VIV_OPT_REFUSED, .help = "jobs put no filter node into the graph; leave it out"}

extern const char *const viv_mon_syncs[], *const viv_mon_on_errors[];
/* Which of them it is. */
unsigned viv_mon_choice(struct viv_opts *o, const char *key, const char *const *values);
enum viv_job_on_error viv_mon_on_error(struct viv_opts *o, const char *key);
/* What VIV_MON_JOB_ARGS say; and for copies into another node (target, sync, on-source-error, on-target-error) these too. */
int viv_mon_read_job(struct viv_opts *o, struct viv_block_job_opts *b, struct viv_err *err);
int viv_mon_read_copy(struct viv_opts *o, struct viv_block_job_opts *b, struct viv_err *err);

extern const char *const viv_mon_copy_modes[], *const viv_mon_new_image_modes[];

/* An image that a copy goes into, named by `target`, `format` and `mode`. */
struct viv_mon_target {
    struct viv_node *node;
    char *path; /* that was made for it; NULL: none */
};
struct viv_node_opts;
/* `below`: what the header of a new one is to name; NULL: nothing. `how`: how it is opened, but for the disk's cache mode. */
int viv_mon_open_target(struct viv_opts *o, const struct viv_node *disk, const struct viv_node_opts *how, const struct viv_node *below,
                        struct viv_mon_target *out, struct viv_err *err);
/* Nobody but a job keeps it; a file that was made here goes unless one does. */
void viv_mon_target_done(struct viv_mon_target *t, bool used);

#endif
