/* break, resume, wait_break, remove_break on the events of a blkdebug node; info. */
#include "blkio/blkio.h"

#include "block/blk.h"
#include "block/event.h"
#include "block/graph.h"
#include "block/image.h"

#include <glib.h>

/* It may get another place in the graph meanwhile, and is there until it is put. */
static struct viv_node *take_node(const struct viv_blkio *f)
{
    struct viv_node *n;

    viv_graph_enter();
    n = viv_blk_node(f->blk);
    viv_node_get(n);
    viv_graph_leave();
    return n;
}

static int cmd_break(struct viv_blkio *f, int argc, char **argv)
{
    struct viv_node *n = take_node(f);
    int ret = viv_node_break(n, argv[1], argv[2], f->patience_ms);

    viv_node_put(&n);

    if (ret)
        fprintf(f->out, "Could not set breakpoint: %s\n", g_strerror(-ret));
    return ret != 0;
}

static int cmd_remove_break(struct viv_blkio *f, int argc, char **argv)
{
    struct viv_node *n = take_node(f);
    int ret = viv_node_break_remove(n, argv[1]);

    viv_node_put(&n);

    if (ret)
        fprintf(f->out, "Could not remove breakpoint %s: %s\n", argv[1], g_strerror(-ret));
    return ret != 0;
}

static int cmd_resume(struct viv_blkio *f, int argc, char **argv)
{
    struct viv_node *n = take_node(f);
    int ret = viv_node_break_resume(n, argv[1]);

    viv_node_put(&n);

    if (ret)
        fprintf(f->out, "Could not resume request: %s\n", g_strerror(-ret));
    return ret != 0;
}

/* For a breakpoint that nobody can reach any more we would wait for ever. */
static int cmd_wait_break(struct viv_blkio *f, int argc, char **argv)
{
    struct viv_node *n = take_node(f);
    int ret = viv_node_break_wait(n, argv[1], f->patience_ms);

    viv_node_put(&n);

    if (ret)
        fprintf(f->out, "Could not wait for breakpoint %s: %s\n", argv[1], g_strerror(-ret));
    return ret != 0;
}

static int cmd_info(struct viv_blkio *f, int argc, char **argv)
{
    struct viv_node *n = take_node(f);
    struct viv_img_info i = {0};
    uint64_t state = 0;
    char text[64];

    fprintf(f->out, "format name: %s\n", n->drv->name);
    if (n->drv->info)
        n->drv->info(n, &i);
    if (i.cluster_size) {
        viv_blkio_size_text(i.cluster_size, text, sizeof(text));
        fprintf(f->out, "cluster size: %s\n", text);
    }
    if (n->drv->snapshots && n->drv->snapshots->state_area && !n->drv->snapshots->state_area(n, 0, &state)) {
        viv_blkio_size_text(state, text, sizeof(text));
        fprintf(f->out, "vm state offset: %s\n", text);
    }
    viv_img_facts_human(f->out, &i);
    viv_img_info_free(&i);
    viv_node_put(&n);
    return 0;
}

const struct viv_blkio_command viv_blkio_break_commands[] = {
    {"break", NULL, cmd_break, 2, 2, false, "event tag", "sets a breakpoint on event and tags the stopped request as tag", NULL},
    {"info", "i", cmd_info, 0, 0, false, NULL, "prints information about the current file", NULL},
    {"remove_break", NULL, cmd_remove_break, 1, 1, false, "tag", "remove a breakpoint by tag", NULL},
    {"resume", NULL, cmd_resume, 1, 1, false, "tag", "resumes the request tagged as tag", NULL},
    {"wait_break", NULL, cmd_wait_break, 1, 1, false, "tag", "waits for the suspension of a request", NULL},
    {0},
};
