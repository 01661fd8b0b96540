/* What images tell unasked (block/alarm.h), as events; and the point behind which a write is told of. */
#include "mon/mon_int.h"

#include "block/alarm.h"
#include "block/blk.h"
#include "block/graph.h"
#include "block/registry.h"
#include "host/loop.h"

#include <errno.h>

struct told {
    const struct viv_node *node;
    char *node_name;
    json_t *data;
    const char *event;
};

/* The drive whose image it is. */
static const char *device_of(const struct viv_node *n)
{
    struct viv_drive *d = viv_drive_next(NULL);

    while (d && !(d->blk && viv_blk_node(d->blk) == n))
        d = viv_drive_next(d);
    return d ? d->id : NULL;
}

static void tell(void *opaque)
{
    struct told *t = opaque;
    const char *device = device_of(t->node);
    char *text;

    if (!t->node_name[0] && device) { /* nobody has named it, so nobody could know which it is */
        g_free(t->node_name);
        t->node_name = g_strdup(viv_mon_name_blk(viv_drive_find(device)->blk));
    }
    if (json_object_get(t->data, "device")) /* a drive on a named node has the node's name, and is no device to QMP */
        json_object_set_new(t->data, "device", json_string(device && g_strcmp0(device, t->node_name) ? device : ""));
    json_object_set_new(t->data, "node-name", json_string(t->node_name));
    text = json_dumps(t->data, 0);
    viv_mon_event(t->event, text);
    free(text);
    json_decref(t->data);
    g_free(t->node_name);
    g_free(t);
}

/* Any thread. */
static void on_alarm(const struct viv_alarm *a)
{
    struct told *t = g_new0(struct told, 1);

    t->node = a->node;
    t->node_name = g_strdup(a->node_name);
    t->event = a->corrupt ? "BLOCK_IMAGE_CORRUPTED" : "BLOCK_WRITE_THRESHOLD";
    if (a->corrupt)
        t->data = json_pack("{s:s, s:s, s:I, s:b}", "device", "", "msg", a->corrupt, "offset", (json_int_t)MIN(a->offset, (uint64_t)INT64_MAX),
                            "fatal", a->fatal);
    else
        t->data = json_pack("{s:I, s:I}", "amount-exceeded", (json_int_t)a->exceeded, "write-threshold", (json_int_t)a->threshold);
    viv_loop_call(tell, t);
}

static const struct viv_opt_def threshold_args[] = {
    {.name = "node-name", .type = VIV_OPT_STR, .required = true, .help = "of an image or, as a rule, of the file that it is in"},
    {.name = "write-threshold", .type = VIV_OPT_INT, .required = true, .min = 0, .max = INT64_MAX, .help = "bytes; 0: none any more"},
    VIV_OPT_END,
};

static int set_threshold(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    const char *name = viv_opts_str(o, "node-name");
    uint64_t threshold = (uint64_t)viv_opts_int(o, "write-threshold");
    struct viv_node *n;

    viv_graph_enter();
    n = viv_node_find(name);
    if (n)
        viv_alarm_set_threshold(n, threshold);
    viv_graph_leave();
    return n ? 0 : viv_fail(err, ENOENT, "Device '%s' not found", name);
}

static const struct viv_mon_cmd commands[] = {
    {.qmp = "block-set-write-threshold", .help = "tell when a node is written behind this offset, once", .args = threshold_args, .fn = set_threshold},
    {0},
};

static const struct viv_mon_event_def events[] = {
    {"BLOCK_IMAGE_CORRUPTED", "device: str, node-name?: str, msg: str, offset?: int, size?: int, fatal: bool",
     "an image was found corrupt; fatal: it takes no more writes"},
    {"BLOCK_WRITE_THRESHOLD", "node-name: str, amount-exceeded: int, write-threshold: int", "a node was written behind what block-set-write-threshold said"},
    {0},
};

void viv_mon_use_alarms(void)
{
    viv_mon_use(commands);
    viv_mon_use_events(events);
    viv_alarm_listen(on_alarm);
}
