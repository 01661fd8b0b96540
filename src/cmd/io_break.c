/* break, resume, wait_break, remove_break on the events of a blkdebug node; info. */
#include "cmd/img.h"
#include "cmd/io.h"

#include "block/blk.h"
#include "block/event.h"
#include "block/image.h"

#include <glib.h>

static int cmd_break(struct io_file *f, int argc, char **argv)
{
    int ret = viv_node_break(viv_blk_node(f->blk), argv[1], argv[2]);

    if (ret)
        printf("Could not set breakpoint: %s\n", g_strerror(-ret));
    return ret != 0;
}

static int cmd_remove_break(struct io_file *f, int argc, char **argv)
{
    int ret = viv_node_break_remove(viv_blk_node(f->blk), argv[1]);

    if (ret)
        printf("Could not remove breakpoint %s: %s\n", argv[1], g_strerror(-ret));
    return ret != 0;
}

static int cmd_resume(struct io_file *f, int argc, char **argv)
{
    int ret = viv_node_break_resume(viv_blk_node(f->blk), argv[1]);

    if (ret)
        printf("Could not resume request: %s\n", g_strerror(-ret));
    return ret != 0;
}

/* For a breakpoint that nobody can reach any more we would wait for ever. */
static int cmd_wait_break(struct io_file *f, int argc, char **argv)
{
    int ret = viv_node_break_wait(viv_blk_node(f->blk), argv[1]);

    if (ret)
        printf("Could not wait for breakpoint %s: %s\n", argv[1], g_strerror(-ret));
    return ret != 0;
}

static int cmd_info(struct io_file *f, int argc, char **argv)
{
    struct viv_node *n = viv_blk_node(f->blk);
    struct viv_img_info i = {0};
    uint64_t state = 0;
    char text[64];

    printf("format name: %s\n", n->drv->name);
    if (n->drv->info)
        n->drv->info(n, &i);
    if (i.cluster_size) {
        io_size_text(i.cluster_size, text, sizeof(text));
        printf("cluster size: %s\n", text);
    }
    if (n->drv->snapshots && n->drv->snapshots->state_area && !n->drv->snapshots->state_area(n, 0, &state)) {
        io_size_text(state, text, sizeof(text));
        printf("vm state offset: %s\n", text);
    }
    img_facts_human(&i);
    viv_img_info_free(&i);
    return 0;
}

const struct io_command io_break_commands[] = {
    {"break", NULL, cmd_break, 2, 2, false, "event tag", "sets a breakpoint on event and tags the stopped request as tag", NULL},
    {"info", "i", cmd_info, 0, 0, false, NULL, "prints information about the current file", NULL},
    {"remove_break", NULL, cmd_remove_break, 1, 1, false, "tag", "remove a breakpoint by tag", NULL},
    {"resume", NULL, cmd_resume, 1, 1, false, "tag", "resumes the request tagged as tag", NULL},
    {"wait_break", NULL, cmd_wait_break, 1, 1, false, "tag", "waits for the suspension of a request", NULL},
    {0},
};
