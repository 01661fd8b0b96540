/* Block exports: offering nodes to users outside, over NBD, as a vhost-user device, as a file. */
#include "mon/mon_int.h"
#include "mon/schema.h"

#include "block/graph.h"
#include "block/registry.h"
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

/* Of old: an export whose id is its name. `device` is a drive or a node-name. */
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
    static const char *const same[] = {"description", "bitmap"};
    const char *device = viv_opts_str(o, "device"), *name = viv_opts_str(o, "name");
    struct viv_node *n = viv_mon_find_node(device);
    struct viv_raw_opts *raw = viv_raw_new("nbd-server-add");
    bool writable = viv_opts_bool(o, "writable");
    int ret;

    if (writable && n)
        viv_node_wake_writable(n, NULL);
    viv_raw_set(raw, "type", "nbd");
    viv_raw_set(raw, "id", name ? name : device);
    viv_raw_set(raw, "name", name ? name : device);
    viv_raw_set(raw, "node-name", n ? viv_mon_name_node(n) : device);
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

/* --- for people --- */

static const struct viv_opt_def start_args[] = {
    {.name = "all", .type = VIV_OPT_BOOL},
    {.name = "writable", .type = VIV_OPT_BOOL},
    {.name = "uri", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

/* "host:port" or "unix:path", as nbd-server-start takes it. */
static int set_address(struct viv_raw_opts *raw, const char *uri, struct viv_err *err)
{
    g_autofree char *host = NULL, *port = NULL;

    if (g_str_has_prefix(uri, "unix:")) {
        viv_raw_set(raw, "addr.type", "unix");
        viv_raw_set(raw, "addr.path", uri + 5);
        return 0;
    }
    if (!viv_split_host_port(uri, &host, &port))
        return viv_fail(err, EINVAL, "'%s': HOST:PORT or unix:PATH is expected", uri);
    viv_raw_set(raw, "addr.type", "inet");
    viv_raw_set(raw, "addr.host", host);
    viv_raw_set(raw, "addr.port", port);
    return 0;
}

static int export_drive(const struct viv_drive *d, bool writable, struct viv_err *err)
{
    struct viv_raw_opts *raw = viv_raw_new("nbd_server_start");

    viv_raw_set(raw, "device", d->id);
    viv_raw_set(raw, "writable", writable ? "on" : "off");
    return viv_mon_run("nbd-server-add", raw, err);
}

COMMAND(start_for_people)
{
    struct viv_raw_opts *raw = viv_raw_new("nbd_server_start");
    bool writable = viv_opts_bool(o, "writable"), all = viv_opts_bool(o, "all");
    int ret = set_address(raw, viv_opts_str(o, "uri"), err);

    if (!ret && writable && !all)
        ret = viv_fail(err, EINVAL, "-w only valid together with -a");
    if (!ret)
        ret = viv_export_nbd_start(raw, err);
    viv_raw_free(raw);
    if (ret)
        return ret;
    for (struct viv_drive *d = all ? viv_drive_next(NULL) : NULL; d && !ret; d = viv_drive_next(d))
        ret = d->blk ? export_drive(d, writable, err) : 0;
    if (ret)
        viv_export_nbd_stop(NULL);
    return ret;
}

static const struct viv_opt_def people_remove_args[] = {
    {.name = "force", .type = VIV_OPT_BOOL},
    {.name = "name", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

COMMAND(remove_for_people)
{
    struct viv_raw_opts *raw = viv_raw_new("nbd_server_remove");

    viv_raw_set(raw, "name", viv_opts_str(o, "name"));
    viv_raw_set(raw, "mode", viv_opts_bool(o, "force") ? "hard" : "safe");
    return viv_mon_run("nbd-server-remove", raw, err);
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
    {.hmp = "nbd_server_start", .hmp_args = "[-a] [-w] uri", .args = start_args, .fn = start_for_people,
     .help = "start the NBD server at host:port or unix:path; -a: export all disks, -w: writable"},
    {.hmp = "nbd_server_stop", .qmp = "nbd-server-stop", .help = "end the NBD server and its exports", .fn = nbd_stop},
    {.hmp = "nbd_server_add", .hmp_args = "[-w] device:drive [name]", .qmp = "nbd-server-add", .help = "export a node over NBD", .args = nbd_add_args, .fn = nbd_add},
    {.qmp = "nbd-server-remove", .help = "end an NBD export", .args = nbd_remove_args, .fn = nbd_remove},
    {.hmp = "nbd_server_remove", .hmp_args = "[-f] name", .args = people_remove_args, .fn = remove_for_people, .help = "end an NBD export; -f: cut its clients off"},
    {0},
};

void viv_mon_use_exports(void)
{
    viv_mon_use(commands);
    viv_mon_use_events(events);
    viv_mon_use_types(types);
    viv_export_on_deleted(on_deleted);
}
