/* query-blockstats of nodes: what a node has of its own is the end of what was written, which tells how much of a thin volume is in use, and a
 * file the discards that reached it. */
#include "mon/mon_int.h"

#include "block/alarm.h"
#include "block/blk.h"
#include "block/graph.h"

static json_t *node_row(const struct viv_node *n, bool chain);

/* chain: backing files too, which have rows of their own where all nodes are asked for. */
static void put_below(json_t *row, const struct viv_node *n, bool chain)
{
    if (n->file)
        json_object_set_new(row, "parent", node_row(n->file, chain));
    if (n->backing && chain)
        json_object_set_new(row, "backing", node_row(n->backing, chain));
}

/* BlockStatsSpecific */
static void put_discards(json_t *row, const struct viv_node *n)
{
    struct viv_discards d;

    if (!n->drv->discards || !n->state)
        return;
    n->drv->discards(n, &d);
    json_object_set_new(row, "driver-specific", json_pack("{s:s, s:I, s:I, s:I}", "driver", n->drv->name, "discard-nb-ok", (json_int_t)d.ok,
                                                          "discard-nb-failed", (json_int_t)d.failed, "discard-bytes-ok", (json_int_t)d.bytes));
}

static json_t *node_row(const struct viv_node *n, bool chain)
{
    json_t *stats = viv_mon_stats_json(NULL), *row = json_pack("{s:o}", "stats", stats);
    json_int_t end = (json_int_t)MIN(viv_alarm_written_end(n), (uint64_t)INT64_MAX);

    json_object_set_new(stats, "wr_highest_offset", json_integer(end));
    json_object_set_new(row, "node-name", json_string(n->name));
    put_discards(row, n);
    put_below(row, n, chain);
    return row;
}

void viv_mon_put_stats_below(json_t *row, struct viv_blk *blk)
{
    viv_graph_enter();
    viv_mon_name_all();
    put_below(row, viv_blk_node(blk), true);
    viv_graph_leave();
}

json_t *viv_mon_node_stats(void)
{
    json_t *all = json_array();
    struct viv_node **nodes;
    unsigned count;

    viv_graph_enter();
    viv_mon_name_all();
    nodes = viv_nodes_named(&count);
    for (unsigned i = 0; i < count; i++)
        json_array_append_new(all, node_row(nodes[i], false));
    g_free(nodes);
    viv_graph_leave();
    return all;
}
