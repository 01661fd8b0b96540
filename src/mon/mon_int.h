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
const struct viv_mon_event_def *viv_mon_next_event(struct viv_mon_iter *it);
void viv_mon_define_types(void); /* what viv_mon_use_types() was given */

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
/* Lines that the one that was begun could become; free with g_ptr_array_unref. */
GPtrArray *viv_hmp_complete(const char *text);
/* The lines that came before on the monitor that is asking; nothing where the command did not come from one. */
void viv_hmp_history(GString *out);
/* The command that the line begins with, and where its words begin. NULL: none. */
const struct viv_mon_cmd *viv_hmp_find(const char *line, const char **words);

void viv_hmp_free_all(void);
/* qmp.c: to all monitors, at once; event.c: how often. */
void viv_qmp_tell(const char *event, const char *json_data);
void viv_mon_event_free_all(void);

/* commands_screen.c */
extern const struct viv_mon_cmd viv_mon_screen[];

/* commands_device.c */
extern const struct viv_mon_cmd viv_mon_devices[];
extern const struct viv_mon_event_def viv_mon_device_events[];

/* commands_debug.c */
extern const struct viv_mon_cmd viv_mon_debug[];

/* info.c: registers, page tables and what the translator keeps are ours only while no vCPU runs: stops them for the moment. What it
 * returns is for viv_mon_thaw(). */
bool viv_mon_freeze(void);
void viv_mon_thaw(bool was_running);

/* examine.c */
extern const struct viv_mon_cmd viv_mon_examine[];
/* addresses.c */
extern const struct viv_mon_cmd viv_mon_addresses[];

/* commands_snapshot.c */
extern const struct viv_mon_cmd viv_mon_snapshots[];
void viv_mon_use_balloon(void);
/* For the paths of commands_qom.c: false, it is no balloon or has no such property. */
struct viv_dev;
bool viv_mon_balloon_get(const struct viv_dev *d, const char *property, json_t **result);
int viv_mon_balloon_set(const struct viv_dev *d, const char *property, int64_t value, struct viv_err *err);
/* qom_device.c, for the same: ObjectPropertyInfo of all that has a value; NULL: there is no such property, or it has none. */
void viv_mon_list_device(const struct viv_dev *d, json_t *list);
json_t *viv_mon_get_device(const struct viv_dev *d, const char *property);
int viv_mon_set_device(const struct viv_dev *d, const char *property, const char *value, struct viv_err *err);
/* commands_node.c, actions_bitmap.c, commands_job.c */
extern const struct viv_mon_cmd viv_mon_nodes[], viv_mon_bitmaps[], viv_mon_jobs[];
/* commands_graph.c */
extern const struct viv_mon_cmd viv_mon_graph[];
/* commands_mirror.c; people_block.c: what QMP has in other words */
extern const struct viv_mon_cmd viv_mon_mirrors[], viv_mon_people_block[];
int viv_mon_commit_all(struct viv_err *err); /* "commit all" */
/* transaction.c, actions_snapshot.c, actions_backup.c */
extern const struct viv_mon_cmd viv_mon_transactions[], viv_mon_disk_snapshots[], viv_mon_backups[];
/* commands_create.c */
extern const struct viv_mon_cmd viv_mon_create[];
void viv_mon_create_types(void);
/* commands_node.c: BlockdevOptions. */
void viv_mon_block_types(void);
/* A node by its name, or that of the drive with this id; borrowed. NULL: neither. */
struct viv_node;
struct viv_node *viv_mon_find_node(const char *name);
char **viv_mon_node_names(void); /* g_strfreev */
/* The name of a disk's node; one that nobody named has one from now on ("#block1"), for commands that take names alone. */
const char *viv_mon_name_node(struct viv_node *n);
void viv_mon_name_all(void); /* of all drives, and below nodes that have names; within viv_graph_enter() */
struct viv_blk;
const char *viv_mon_name_blk(struct viv_blk *blk); /* likewise, of what a handle shows */
/* BlockDeviceInfo of what a handle shows. */
json_t *viv_mon_blk_json(struct viv_blk *blk);

/* alarms.c */
void viv_mon_use_alarms(void);
/* latency.c: into BlockDeviceStats (NULL: nothing is kept); block-latency-histogram-set. */
struct viv_latency;
void viv_mon_put_latency(json_t *stats, struct viv_latency *l);
int viv_mon_set_histograms(struct viv_raw_opts *raw, json_t **result, struct viv_err *err);
/* commands_block.c: BlockDeviceStats (NULL: nothing is accounted). node_stats.c: rows of query-blockstats for all named nodes; what is below
 * a handle's node, into the row of that. */
struct viv_blk_counters;
json_t *viv_mon_stats_json(const struct viv_blk_counters *c);
json_t *viv_mon_node_stats(void);
void viv_mon_put_stats_below(json_t *row, struct viv_blk *blk);

/* commands_limits.c. put: the limits of a handle, into its BlockDeviceInfo. show: of that, for people. */
extern const struct viv_mon_cmd viv_mon_limits[];
void viv_mon_put_limits(json_t *info, const struct viv_blk *blk, const char *drive);
void viv_mon_show_limits(const json_t *info, GString *out);

/* commands_block.c, commands_node.c, info_block.c */
int viv_mon_query_block(struct viv_opts *o, json_t **result, struct viv_err *err);
json_t *viv_mon_nodes_json(bool flat);
int viv_mon_info_block(struct viv_opts *o, json_t **result, struct viv_err *err);
extern const struct viv_mon_cmd viv_mon_media[];
struct viv_drive;
struct viv_drive *viv_mon_drive_of(const char *id, struct viv_err *err); /* that the device with this id or QOM path has */
bool viv_mon_drive_is_node(const struct viv_drive *d);                   /* a device's handle on the node that it was given: no drive of its own */
/* qemu_io.c */
extern const struct viv_mon_cmd viv_mon_io[];

/* fds.c */
extern const struct viv_mon_cmd viv_mon_fds[];
/* info.c: text that may be any bytes (a file's name), as JSON can have it: what is no UTF-8 becomes U+FFFD. */
json_t *viv_mon_text(const char *text);

/* qmp.c: a QMP command, which there is, in HMP's words: its answer is dropped. */
int viv_mon_run(const char *qmp, struct viv_raw_opts *raw_take, struct viv_err *err);
/* whose command is being run; NULL: no program's. */
struct viv_chr *viv_mon_current(void);

/* objects.c: properties of -object's. list: into an ObjectPropertyInfo list. get: NULL, it has none of that name or does not tell it. set: to
 * `value`, or (NULL) what some of its members are to be. */
struct viv_object;
struct viv_object_class;
void viv_mon_list_object(const struct viv_object *object, json_t *list);
json_t *viv_mon_object_properties(const struct viv_object_class *c);
json_t *viv_mon_get_object(const struct viv_object *object, const char *property);
int viv_mon_set_object(struct viv_object *object, const char *property, const char *value, const struct viv_raw_opts *members, struct viv_err *err);
/* commands_qom.c: ObjectPropertyInfo of an option. */
json_t *viv_mon_property(const struct viv_opt_def *d);

/* commands_about.c, commands_pci.c, commands_qom.c */
extern const struct viv_mon_cmd viv_mon_memdev[], viv_mon_about[], viv_mon_pci[], viv_mon_qom[];
/* examine.c: the CPU that "cpu N" chose. */
unsigned viv_mon_current_cpu(void);
struct viv_vcpu *viv_mon_cpu(struct viv_err *err); /* the same; NULL: the machine has none */
int viv_mon_choose_cpu(int64_t n, struct viv_err *err);
/* info_paging.c, info_state.c */
int viv_mon_info_mem(struct viv_opts *o, json_t **result, struct viv_err *err);
int viv_mon_info_tlb(struct viv_opts *o, json_t **result, struct viv_err *err);
int viv_mon_info_pic(struct viv_opts *o, json_t **result, struct viv_err *err);
int viv_mon_info_irq(struct viv_opts *o, json_t **result, struct viv_err *err);
int viv_mon_info_lapic(struct viv_opts *o, json_t **result, struct viv_err *err);
int viv_mon_info_device(struct viv_opts *o, json_t **result, struct viv_err *err);

/* commands_dump.c */
extern const struct viv_mon_cmd viv_mon_dump[];
extern const struct viv_mon_event_def viv_mon_dump_events[];

/* commands_migrate.c */
extern const struct viv_mon_cmd viv_mon_migrate[];
extern const struct viv_mon_event_def viv_mon_migrate_events[];

/* commands_vnc.c */
extern const struct viv_mon_cmd viv_mon_vnc[];
/* "change vnc password SECRET": the words behind vnc. */
int viv_mon_change_vnc(const char *what, const char *password, struct viv_err *err);

/* commands_net.c */
extern const struct viv_mon_cmd viv_mon_network[];

/* info.c: rows that only show. */
int viv_mon_info_mtree(struct viv_opts *o, json_t **result, struct viv_err *err);
int viv_mon_info_registers(struct viv_opts *o, json_t **result, struct viv_err *err);
/* info_qtree.c; commands_pci.c: two lines or more of a PCI device in it */
void viv_mon_show_pci_device(const struct viv_dev *d, unsigned indent, GString *out);
int viv_mon_info_qom_tree(struct viv_opts *o, json_t **result, struct viv_err *err);
int viv_mon_info_qtree(struct viv_opts *o, json_t **result, struct viv_err *err);
int viv_mon_info_jit(struct viv_opts *o, json_t **result, struct viv_err *err);
int viv_mon_info_usb(struct viv_opts *o, json_t **result, struct viv_err *err);

#endif
