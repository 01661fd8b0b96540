/* The daemon's QMP: its end and its objects; exports, nodes, bitmaps and jobs are in mon/. */
#include "cmd/storaged.h"

#include "cmd/objects.h"
#include "host/loop.h"
#include "mon/schema.h"

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)
#define RAW(name)     static int name(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)

COMMAND(quit)
{
    viv_loop_quit();
    return 0;
}

/* No guest, no devices with disks. */
COMMAND(query_block)
{
    *result = json_array();
    return 0;
}

/* --- objects --- */

RAW(object_add)
{
    return viv_object_add(raw, err);
}

static const struct viv_opt_def id_args[] = {
    {.name = "id", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

COMMAND(object_del)
{
    return viv_object_del(viv_opts_str(o, "id"), err);
}

/* --- types that tables elsewhere know --- */

static void types(void)
{
    viv_schema_use_union("ObjectOptions", "qom-type: cases, id: str", "qom-type", cmd_object_opts);
}

static const struct viv_mon_cmd commands[] = {
    {.qmp = "quit", .help = "end the daemon", .fn = quit},
    {.qmp = "object-add", .help = "make an object", .raw = object_add, .takes = "ObjectOptions"},
    {.qmp = "object-del", .help = "delete an object", .args = id_args, .fn = object_del},
    {.qmp = "query-block", .help = "list the devices with disks: none here", .fn = query_block, .returns = "[BlockInfo]"},
    {0},
};

void storaged_use_commands(void)
{
    viv_mon_use(commands);
    viv_mon_use_types(types);
    viv_mon_use_exports();
}
