/* Inside mon/: commands, and what the two kinds of monitor share. */
#ifndef VIV_MON_MON_INT_H
#define VIV_MON_MON_INT_H

#include "mon/command.h"
#include "mon/mon.h"

/* All commands, in the order of the tables. */
struct viv_mon_iter {
    unsigned table, row;
};
void viv_mon_iter_init(struct viv_mon_iter *it);
const struct viv_mon_cmd *viv_mon_next(struct viv_mon_iter *it); /* NULL: no more */

/* Output that waits for a slow reader; shared by both kinds. */
struct viv_mon_out {
    struct viv_chr *chr;
    GString *buf;
};

void viv_mon_out_init(struct viv_mon_out *o, struct viv_chr *c);
void viv_mon_out_put(struct viv_mon_out *o, const char *text, size_t len);
bool viv_mon_out_full(const struct viv_mon_out *o);
void viv_mon_out_fini(struct viv_mon_out *o);

/* One HMP line: appends the answer to out. -ENOKEY: a secret is missing as its last word; a person may be asked for it. */
int viv_hmp_run(const char *line, GString *out);
/* Completions of the command names that begin with text; free with g_ptr_array_unref. */
GPtrArray *viv_hmp_complete(const char *text);

void viv_hmp_free_all(void);

/* commands_screen.c */
extern const struct viv_mon_cmd viv_mon_screen[];

/* commands_debug.c */
extern const struct viv_mon_cmd viv_mon_debug[];

/* info.c: registers, page tables and what the translator keeps are ours only while no vCPU runs: stops them for the moment. What it
 * returns is for viv_mon_thaw(). */
bool viv_mon_freeze(void);
void viv_mon_thaw(bool was_running);

/* examine.c */
extern const struct viv_mon_cmd viv_mon_examine[];

/* commands_snapshot.c */
extern const struct viv_mon_cmd viv_mon_snapshots[];
/* commands_node.c, commands_bitmap.c, commands_job.c */
extern const struct viv_mon_cmd viv_mon_nodes[], viv_mon_bitmaps[], viv_mon_jobs[];
/* A node by its name, or that of the drive with this id; borrowed. NULL: neither. */
struct viv_node;
struct viv_node *viv_mon_find_node(const char *name);

/* commands_block.c */
extern const struct viv_mon_cmd viv_mon_media[];

/* fds.c */
extern const struct viv_mon_cmd viv_mon_fds[];
/* qmp.c: whose command is being run; NULL: no program's. */
struct viv_chr *viv_mon_current(void);

/* commands_vnc.c */
extern const struct viv_mon_cmd viv_mon_vnc[];
/* "change vnc password SECRET": the words behind vnc. */
int viv_mon_change_vnc(const char *what, const char *password, struct viv_err *err);

/* commands_net.c */
extern const struct viv_mon_cmd viv_mon_network[];

/* info.c: rows that only show. */
int viv_mon_info_mtree(struct viv_opts *o, json_t **result, struct viv_err *err);
int viv_mon_info_registers(struct viv_opts *o, json_t **result, struct viv_err *err);
int viv_mon_info_qtree(struct viv_opts *o, json_t **result, struct viv_err *err);
int viv_mon_info_jit(struct viv_opts *o, json_t **result, struct viv_err *err);
int viv_mon_info_usb(struct viv_opts *o, json_t **result, struct viv_err *err);

#endif
