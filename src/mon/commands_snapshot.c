/* savevm, loadvm, delvm, info snapshots; snapshot-save and its kin. */
#include "block/drive_snapshots.h"
#include "block/snapshot_set.h"
#include "machine/vm_snapshot.h"
#include "mon/mon_int.h"

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

static const struct viv_opt_def save_args[] = {
    {.name = "tag", .type = VIV_OPT_STR},
    VIV_OPT_END,
};

static const struct viv_opt_def name_args[] = {
    {.name = "tag", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

COMMAND(savevm)
{
    return viv_vm_snapshot_save(viv_opts_str(o, "tag"), NULL, err);
}

COMMAND(loadvm)
{
    return viv_vm_snapshot_load(viv_opts_str(o, "tag"), NULL, err);
}

COMMAND(delvm)
{
    return viv_vm_snapshot_delete(viv_opts_str(o, "tag"), NULL, err);
}

COMMAND(info_snapshots)
{
    GString *out = g_string_new(NULL);
    int rc = viv_drives_list_snapshots(out, err);

    *result = rc ? NULL : json_string(out->str);
    g_string_free(out, TRUE);
    return rc;
}

/* --- jobs --- */

static const struct viv_opt_def job_args[] = {
    {.name = "job-id", .type = VIV_OPT_STR, .required = true},
    {.name = "tag", .type = VIV_OPT_STR, .required = true},
    {.name = "vmstate", .type = VIV_OPT_STR, .required = true, .help = "the node that has the machine's state"},
    {.name = "devices", .type = VIV_OPT_LIST, .help = "the nodes of the disks"}, /* none at all is the job's error */
    VIV_OPT_END,
};

static const struct viv_opt_def delete_args[] = {
    {.name = "job-id", .type = VIV_OPT_STR, .required = true},
    {.name = "tag", .type = VIV_OPT_STR, .required = true},
    {.name = "devices", .type = VIV_OPT_LIST},
    VIV_OPT_END,
};

static int start(struct viv_opts *o, enum viv_vm_snapshot_verb verb, struct viv_err *err)
{
    size_t count = viv_opts_list_len(o, "devices");
    g_autofree const char **names = g_new0(const char *, count + 1);
    const struct viv_snapshot_wish w = {verb == VIV_VM_SNAPSHOT_DELETE ? NULL : viv_opts_str(o, "vmstate"), names};

    for (size_t i = 0; i < count; i++)
        names[i] = viv_opts_list_item(o, "devices", i);
    return viv_vm_snapshot_start(viv_opts_str(o, "job-id"), verb, viv_opts_str(o, "tag"), &w, err);
}

COMMAND(snapshot_save) { return start(o, VIV_VM_SNAPSHOT_SAVE, err); }
COMMAND(snapshot_load) { return start(o, VIV_VM_SNAPSHOT_LOAD, err); }
COMMAND(snapshot_delete) { return start(o, VIV_VM_SNAPSHOT_DELETE, err); }

const struct viv_mon_cmd viv_mon_snapshots[] = {
    {"savevm", NULL, "[tag]", save_args, "saves machine and disks as a snapshot in the disks' images", savevm},
    {"loadvm", NULL, "tag", name_args, "goes back to a snapshot of machine and disks", loadvm},
    {"delvm", NULL, "tag", name_args, "deletes a snapshot", delvm},
    {"info snapshots", NULL, NULL, NULL, "show the snapshots of machine and disks", info_snapshots},
    {.qmp = "snapshot-save", .help = "start a job that saves the machine and the disks named as a snapshot", .args = job_args, .fn = snapshot_save,
     .takes = "SnapshotArguments"},
    {.qmp = "snapshot-load", .help = "start a job that goes back to a snapshot of the machine and the disks named", .args = job_args,
     .fn = snapshot_load, .takes = "SnapshotArguments"},
    {.qmp = "snapshot-delete", .help = "start a job that deletes a snapshot of the disks named", .args = delete_args, .fn = snapshot_delete,
     .takes = "SnapshotDeleteArguments"},
    {0},
};
