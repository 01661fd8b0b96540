/* Block exports: offering nodes to users outside, over NBD, as a vhost-user device, as a file. */
#include "mon/mon_int.h"
#include "mon/schema.h"

#include "block/node.h"
#include "block/options.h"
#include "export/export.h"

#include <errno.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)
#define RAW(name)     static int name(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)

RAW(export_add)
{
    return viv_export_add(raw, err);
}

static const char *const del_modes[] = {"safe", "hard", NULL};
static const struct viv_opt_def export_del_args[] = {
    {.name = "id", .type = VIV_OPT_STR, .required = true},
    {.name = "mode", .type = VIV_OPT_ENUM, .values = del_modes, .def = "safe"},
    VIV_OPT_END,
};

COMMAND(export_del)
{
    return viv_export_del(viv_opts_str(o, "id"), strcmp(viv_opts_str(o, "mode"), "hard") == 0, err);
}

COMMAND(query_exports)
{
    struct viv_export_info x;

    *result = json_array();
    for (unsigned i = 0; viv_export_at(i, &x); i++)
        json_array_append_new(*result, json_pack("{s:s, s:s, s:s, s:b}", "id", x.id, "type", x.type, "node-name",
                                                 x.node_name, "shutting-down", 0));
    return 0;
}

RAW(nbd_start)
{
    return viv_export_nbd_start(raw, err);
}

COMMAND(nbd_stop)
{
    return viv_export_nbd_stop(err);
}

/* Of old: an export whose id is its name. `device` is a node-name. */
static const struct viv_opt_def nbd_add_args[] = {
    {.name = "device", .type = VIV_OPT_STR, .required = true},
    {.name = "name", .type = VIV_OPT_STR},
    {.name = "description", .type = VIV_OPT_STR},
    {.name = "writable", .type = VIV_OPT_BOOL},
    {.name = "bitmap", .type = VIV_OPT_STR},
    VIV_OPT_END,
};

COMMAND(nbd_add)
{
    static const char *const same[] = {"name", "description", "bitmap"};
    const char *device = viv_opts_str(o, "device"), *name = viv_opts_str(o, "name");
    struct viv_raw_opts *raw = viv_raw_new("nbd-server-add");
    bool writable = viv_opts_bool(o, "writable");
    struct viv_node *n = viv_node_find(device);
    int ret;

    viv_raw_set(raw, "type", "nbd");
    viv_raw_set(raw, "id", name ? name : device);
    viv_raw_set(raw, "node-name", device);
    /* "writable: defaults to false, and is limited by what the node allows" */
    viv_raw_set(raw, "writable", writable && n && !n->read_only ? "on" : "off");
    for (unsigned i = 0; i < G_N_ELEMENTS(same); i++)
        if (viv_opts_str(o, same[i]))
            viv_raw_set(raw, same[i], viv_opts_str(o, same[i]));
    ret = viv_export_add(raw, err);
    viv_raw_free(raw);
    return ret;
}

static const struct viv_opt_def nbd_remove_args[] = {
    {.name = "name", .type = VIV_OPT_STR, .required = true},
    {.name = "mode", .type = VIV_OPT_ENUM, .values = del_modes, .def = "safe"},
    VIV_OPT_END,
};

COMMAND(nbd_remove)
{
    const char *name = viv_opts_str(o, "name");
    struct viv_export_info x;
    unsigned i = 0;

    while (viv_export_at(i, &x) && strcmp(x.id, name) != 0)
        i++;
    if (viv_export_at(i, &x) && strcmp(x.type, "nbd") != 0)
        return viv_fail(err, EINVAL, "Block export '%s' is not an NBD export", name);
    return viv_export_del(name, strcmp(viv_opts_str(o, "mode"), "hard") == 0, err);
}

/* --- events and tables --- */

static const struct viv_mon_event_def events[] = {
    {"BLOCK_EXPORT_DELETED", "id: str", "an export has ended"},
    {0},
};

static void on_deleted(const char *id)
{
    json_t *data = json_pack("{s:s}", "id", id);
    char *text = json_dumps(data, 0);

    viv_mon_event("BLOCK_EXPORT_DELETED", text);
    json_decref(data);
    free(text);
}

static void types(void)
{
    viv_schema_use_union("BlockExportOptions", "type: BlockExportType, id: str, node-name: str, writable?: bool, writethrough?: bool", "type",
                         viv_export_type_opts);
}

static const struct viv_mon_cmd commands[] = {
    {.qmp = "block-export-add", .help = "offer a node to users outside", .raw = export_add, .takes = "BlockExportOptions"},
    {.qmp = "block-export-del", .help = "end an export", .args = export_del_args, .fn = export_del},
    {.qmp = "query-block-exports", .help = "list the exports", .fn = query_exports, .returns = "[BlockExportInfo]"},
    {.qmp = "nbd-server-start", .help = "start the NBD server", .raw = nbd_start, .takes = "NbdServerOptions"},
    {.qmp = "nbd-server-stop", .help = "end the NBD server and its exports", .fn = nbd_stop},
    {.qmp = "nbd-server-add", .help = "export a node over NBD", .args = nbd_add_args, .fn = nbd_add},
    {.qmp = "nbd-server-remove", .help = "end an NBD export", .args = nbd_remove_args, .fn = nbd_remove},
    {0},
};

void viv_mon_use_exports(void)
{
    viv_mon_use(commands);
    viv_mon_use_events(events);
    viv_mon_use_types(types);
    viv_export_on_deleted(on_deleted);
}
