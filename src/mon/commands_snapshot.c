/* savevm, loadvm, delvm, info snapshots. */
#include "block/drive_snapshots.h"
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
    return viv_vm_snapshot_save(viv_opts_str(o, "tag"), err);
}

COMMAND(loadvm)
{
    return viv_vm_snapshot_load(viv_opts_str(o, "tag"), err);
}

COMMAND(delvm)
{
    return viv_drives_delete_snapshot(viv_opts_str(o, "tag"), err);
}

COMMAND(info_snapshots)
{
    GString *out = g_string_new(NULL);
    int rc = viv_drives_list_snapshots(out, err);

    *result = rc ? NULL : json_string(out->str);
    g_string_free(out, TRUE);
    return rc;
}

const struct viv_mon_cmd viv_mon_snapshots[] = {
    {"savevm", NULL, "[tag]", save_args, "saves machine and disks as a snapshot in the disks' images", savevm},
    {"loadvm", NULL, "tag", name_args, "goes back to a snapshot of machine and disks", loadvm},
    {"delvm", NULL, "tag", name_args, "deletes a snapshot", delvm},
    {"info snapshots", NULL, NULL, NULL, "show the snapshots of machine and disks", info_snapshots},
    {0},
};
