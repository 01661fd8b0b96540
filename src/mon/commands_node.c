/* Block nodes: made, deleted, and what query-named-block-nodes tells of one: QMP's BlockDeviceInfo, with an ImageInfo inside. */
#include "mon/mon_int.h"
#include "mon/schema.h"

#include "block/alarm.h"
#include "block/bitmap.h"
#include "block/blk.h"
#include "block/build.h"
#include "block/graph.h"
#include "block/image.h"
#include "block/options.h"
#include "block/proto/file/file.h"
#include "block/registry.h"
#include "host/lock.h"

#include <errno.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

static void put(json_t *o, const char *key, const char *text)
{
    if (text) {
        g_autofree char *clean = g_utf8_make_valid(text, -1); /* names in images are any bytes */

        json_object_set_new(o, key, json_string(clean));
    }
}

static json_t *number(uint64_t v)
{
    return json_integer((json_int_t)MIN(v, (uint64_t)INT64_MAX));
}

/* --- what only one format has to tell --- */

static json_t *facts(const struct viv_img_info *i, unsigned *at, bool list);

static json_t *fact_value(const struct viv_img_info *i, const struct viv_img_fact *f, unsigned *at)
{
    g_autofree char *clean = f->type == VIV_FACT_STR ? g_utf8_make_valid(f->str, -1) : NULL;

    switch (f->type) {
    case VIV_FACT_STR:
        return json_string(clean);
    case VIV_FACT_UINT:
        return number(f->value);
    case VIV_FACT_BOOL:
        return json_boolean(f->value);
    default:
        return facts(i, at, f->type == VIV_FACT_LIST);
    }
}

/* From *at to the end of what was opened. */
static json_t *facts(const struct viv_img_info *i, unsigned *at, bool list)
{
    json_t *out = list ? json_array() : json_object();

    while (*at < i->facts) {
        const struct viv_img_fact *f = &i->fact[(*at)++];

        if (f->type == VIV_FACT_END)
            break;
        if (list)
            json_array_append_new(out, fact_value(i, f, at));
        else
            json_object_set_new(out, f->key, fact_value(i, f, at));
    }
    return out;
}

/* --- ImageInfo --- */

static void put_size_on_disk(json_t *o, const struct viv_node *n)
{
    const struct viv_node *file = n->drv->protocol ? n : n->file;
    uint64_t sum;

    if (!file || file->drv != &viv_blk_file)
        return;
    sum = viv_file_allocated(file);
    for (unsigned i = 0; i < n->children; i++)
        sum += viv_file_allocated(n->child[i]);
    json_object_set_new(o, "actual-size", number(sum));
}

static void put_backing_file(json_t *o, struct viv_node *n, const struct viv_img_info *i)
{
    g_autofree char *full = i->backing_file ? viv_blk_backing_path(n->filename, i->backing_file) : NULL;

    put(o, "backing-filename", i->backing_file);
    put(o, "full-backing-filename", full);
    put(o, "backing-filename-format", i->backing_fmt);
}

static json_t *image_json(struct viv_node *n, bool flat)
{
    struct viv_img_info i = {0};
    json_t *o = json_object();
    unsigned at = 0;

    if (n->drv->info)
        n->drv->info(n, &i);
    put(o, "filename", n->filename);
    put(o, "format", n->drv->name);
    json_object_set_new(o, "virtual-size", number(viv_node_size(n)));
    json_object_set_new(o, "dirty-flag", json_boolean(i.dirty));
    put_size_on_disk(o, n);
    if (i.cluster_size)
        json_object_set_new(o, "cluster-size", number(i.cluster_size));
    if (i.encrypted)
        json_object_set_new(o, "encrypted", json_true());
    put_backing_file(o, n, &i);
    if (i.facts)
        json_object_set_new(o, "format-specific", json_pack("{s:s, s:o}", "type", n->drv->name, "data", facts(&i, &at, false)));
    if (n->backing && !flat)
        json_object_set_new(o, "backing-image", image_json(n->backing, false));
    viv_img_info_free(&i);
    return o;
}

/* --- bitmaps --- */

static json_t *bitmap_json(const char *name, uint32_t granularity, uint64_t count, bool recording, bool stored, bool busy)
{
    g_autofree char *clean = g_utf8_make_valid(name, -1);

    return json_pack("{s:s, s:I, s:I, s:b, s:b, s:b}", "name", clean, "granularity", (json_int_t)granularity, "count",
                     (json_int_t)count, "recording", recording, "persistent", stored, "busy", busy);
}

static void put_bitmaps(json_t *o, struct viv_node *n)
{
    struct viv_bitmap_info *list = NULL;
    json_t *all = json_array();
    unsigned count = 0;

    for (struct viv_bitmap *b = n->bitmaps; b; b = b->next)
        if (b->name)
            json_array_append_new(all, bitmap_json(b->name, b->granularity, viv_bitmap_count(b), b->enabled, b->stored,
                                                   b->users != 0));
    /* Those that sleep in the image. */
    if (n->drv->bitmaps)
        n->drv->bitmaps->list(n, &list, &count, NULL);
    for (unsigned i = 0; i < count; i++) {
        json_t *b;

        if (viv_bitmap_find(n, list[i].name))
            continue;
        b = bitmap_json(list[i].name, list[i].granularity, 0, list[i].automatic, true, false);
        if (list[i].in_use)
            json_object_set_new(b, "inconsistent", json_true());
        json_array_append_new(all, b);
    }
    viv_bitmap_info_free(list, count);
    if (json_array_size(all))
        json_object_set(o, "dirty-bitmaps", all);
    json_decref(all);
}

/* --- a node --- */

static const char *detect_name(int detect)
{
    return detect == VIV_DETECT_UNMAP ? "unmap" : detect == VIV_DETECT_ON ? "on" : "off";
}

static json_t *node_json(struct viv_node *n, bool flat)
{
    static const char *const limits[] = {"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"};
    unsigned depth = 0;
    json_t *o = json_object();

    for (const struct viv_node *b = n->backing; b && !flat; b = b->backing)
        depth++; /* flat: 0, as the peer says */
    put(o, "node-name", n->name);
    put(o, "drv", n->drv->name);
    put(o, "file", n->filename);
    put(o, "backing_file", n->backing ? n->backing->filename : NULL);
    json_object_set_new(o, "backing_file_depth", number(depth));
    json_object_set_new(o, "ro", json_boolean(n->read_only));
    json_object_set_new(o, "encrypted", json_boolean(n->crypt != NULL));
    json_object_set_new(o, "detect_zeroes", json_string(detect_name(n->detect_zeroes)));
    json_object_set_new(o, "cache", json_pack("{s:b, s:b, s:b}", "writeback", 1, "direct", n->direct, "no-flush", n->no_flush));
    for (unsigned i = 0; i < G_N_ELEMENTS(limits); i++)
        json_object_set_new(o, limits[i], json_integer(0));
    json_object_set_new(o, "write_threshold", number(viv_alarm_threshold(n)));
    json_object_set_new(o, "image", image_json(n, flat));
    put_bitmaps(o, n);
    return o;
}

/* Users cannot choose a name that begins so. */
const char *viv_mon_name_node(struct viv_node *n)
{
    static unsigned count;

    if (!n->name) {
        g_autofree char *name = g_strdup_printf("#block%u", ++count);

        viv_node_register(n, name, NULL);
    }
    return n->name;
}

/* And all below it, in the order in which they were opened. */
static void name_tree(struct viv_node *n)
{
    if (!n)
        return;
    name_tree(n->file);
    for (unsigned i = 0; i < n->children; i++)
        name_tree(n->child[i]);
    viv_mon_name_node(n);
    name_tree(n->backing);
}

void viv_mon_name_all(void)
{
    struct viv_node **nodes;
    unsigned count;

    for (struct viv_drive *d = viv_drive_next(NULL); d; d = viv_drive_next(d))
        name_tree(d->blk ? viv_blk_node(d->blk) : NULL);
    nodes = viv_nodes_named(&count);
    for (unsigned i = 0; i < count; i++)
        name_tree(nodes[i]);
    g_free(nodes);
}

const char *viv_mon_name_blk(struct viv_blk *blk)
{
    const char *name;

    viv_graph_enter();
    name = viv_mon_name_node(viv_blk_node(blk));
    viv_graph_leave();
    return name;
}

char **viv_mon_node_names(void)
{
    return viv_node_names();
}

json_t *viv_mon_blk_json(struct viv_blk *blk)
{
    json_t *o, *cache;

    viv_graph_enter();
    viv_mon_name_all();
    o = node_json(viv_blk_node(blk), false);
    cache = json_object_get(o, "cache");
    for (const struct viv_node *n = viv_blk_node(blk); n; n = n->file)
        if (n->no_flush)
            json_object_set_new(cache, "no-flush", json_true());
    viv_graph_leave();
    json_object_set_new(cache, "writeback", json_boolean(!viv_blk_writethrough(blk)));
    return o;
}

/* --- commands --- */

static int blockdev_add(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)
{
    int rc;

    viv_dev_unlock(); /* what is far away is no reason for the guest to stand still */
    rc = viv_blockdev_add(raw, err);
    viv_dev_lock();
    return rc;
}

static const struct viv_opt_def node_args[] = {
    {.name = "node-name", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

COMMAND(blockdev_del)
{
    const char *name = viv_opts_str(o, "node-name");
    int rc;

    if (!viv_node_find(name))
        return viv_fail(err, ENOENT, "Failed to find node with node-name='%s'", name);
    viv_dev_unlock(); /* it is flushed */
    rc = viv_blockdev_del(name, err);
    viv_dev_lock();
    return rc;
}

static const struct viv_opt_def nodes_args[] = {
    {.name = "flat", .type = VIV_OPT_BOOL},
    VIV_OPT_END,
};

json_t *viv_mon_nodes_json(bool flat)
{
    json_t *all = json_array();
    struct viv_node **nodes;
    unsigned count;

    viv_graph_enter(); /* jobs close and open drivers, and free bitmaps, without the device lock */
    viv_mon_name_all();
    nodes = viv_nodes_named(&count);
    while (count-- > 0) /* the newest first, as QEMU */
        json_array_append_new(all, node_json(nodes[count], flat));
    g_free(nodes);
    viv_graph_leave();
    return all;
}

COMMAND(query_nodes)
{
    *result = viv_mon_nodes_json(viv_opts_bool(o, "flat"));
    return 0;
}

struct viv_node *viv_mon_find_node(const char *name)
{
    struct viv_node *n = viv_node_find(name);
    struct viv_drive *d = n ? NULL : viv_drive_find(name);

    return d && d->blk ? viv_blk_node(d->blk) : n;
}

/* --- BlockdevOptions --- */

#define DRIVERS_MAX 64

/* What is in every node's options stands in types.def's base already. */
static const struct viv_opt_def *driver_opts(unsigned i, const char **name)
{
    static struct viv_opt_def *tables[DRIVERS_MAX];

    g_assert(i < DRIVERS_MAX);
    if (!viv_blk_drivers[i])
        return NULL;
    if (!tables[i])
        tables[i] = viv_node_schema(viv_blk_drivers[i]);
    *name = viv_blk_drivers[i]->name;
    return tables[i];
}

static void retype_children(const struct viv_blk_driver *d)
{
    static const struct viv_child_def just_file[] = {{.name = "file"}, {0}};
    g_autofree char *name = g_strdup_printf("BlockdevOptions %s", d->name);
    const struct viv_child_def *child = d->open_children ? d->open_children : d->protocol ? NULL : just_file;

    for (; child && child->name; child++)
        viv_schema_retype(name, child->name, "BlockdevRef", child->optional);
    if (d->backing)
        viv_schema_retype(name, "backing", "BlockdevRefOrNull", true);
    if (!strcmp(d->name, "ssh"))
        viv_schema_retype(name, "server", "InetSocketAddress", true);
}

void viv_mon_block_types(void)
{
    viv_schema_use_union("BlockdevOptions",
                         "driver: cases, node-name?: str, read-only?: bool, auto-read-only?: bool, force-share?: bool, "
                         "discard?: BlockdevDiscardOptions, detect-zeroes?: BlockdevDetectZeroesOptions, cache?: BlockdevCacheOptions",
                         "driver", driver_opts);
    for (unsigned i = 0; viv_blk_drivers[i]; i++)
        retype_children(viv_blk_drivers[i]);
}

const struct viv_mon_cmd viv_mon_nodes[] = {
    {.qmp = "blockdev-add", .help = "open a block node", .raw = blockdev_add, .takes = "BlockdevOptions"},
    {.qmp = "blockdev-del", .help = "close a block node", .args = node_args, .fn = blockdev_del},
    {.qmp = "query-named-block-nodes", .help = "describe all named block nodes", .args = nodes_args, .fn = query_nodes, .returns = "[BlockDeviceInfo]"},
    {0},
};
