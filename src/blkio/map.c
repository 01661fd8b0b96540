/* alloc, map, length: what is where. */
#include "blkio/blkio.h"

#include "block/graph.h"

#include <glib.h>
#include <inttypes.h>

static int status(const struct viv_blkio *f, uint64_t offset, uint64_t len, struct viv_extent *e)
{
    int ret;

    viv_graph_enter();
    ret = viv_node_status_layer(viv_blk_node(f->blk), offset, len, e);
    viv_graph_leave();
    return ret;
}

/* Is [offset, ...) in this layer, and how far does that hold? */
static int allocated(const struct viv_blkio *f, uint64_t offset, uint64_t end, bool *in, uint64_t *len)
{
    *len = 0;
    while (offset + *len < end) {
        struct viv_extent e;
        int ret = status(f, offset + *len, end - offset - *len, &e);
        bool here = e.kind != VIV_MAP_BACKING;

        if (ret)
            return ret;
        if (*len && here != *in)
            return 0;
        *in = here;
        *len += e.len;
    }
    return 0;
}

static int cmd_alloc(struct viv_blkio *f, int argc, char **argv)
{
    uint64_t start, count = 512, size = viv_blk_size(f->blk), sum = 0, len;
    char text[64];

    if (viv_blkio_parse(f, argv[1], &start) || (argc > 2 && viv_blkio_parse(f, argv[2], &count)))
        return 1;
    count = start > size ? 0 : MIN(count, size - start);
    for (uint64_t at = start; at < start + count; at += len) {
        bool in;
        int ret = allocated(f, at, start + count, &in, &len);

        if (ret)
            return fprintf(f->out, "is_allocated failed: %s\n", g_strerror(-ret)), 1;
        sum += in ? len : 0;
    }
    viv_blkio_size_text(start, text, sizeof(text));
    fprintf(f->out, "%" PRIu64 "/%" PRIu64 " bytes allocated at offset %s\n", sum, count, text);
    return 0;
}

static int cmd_map(struct viv_blkio *f, int argc, char **argv)
{
    uint64_t size = viv_blk_size(f->blk), len;

    for (uint64_t at = 0; at < size; at += len) {
        char much[64], where[64];
        bool in;
        int ret = allocated(f, at, size, &in, &len);

        if (ret)
            return fprintf(f->out, "map failed: %s\n", g_strerror(-ret)), 1;
        viv_blkio_size_text(len, much, sizeof(much));
        viv_blkio_size_text(at, where, sizeof(where));
        fprintf(f->out, "%s (0x%" PRIx64 ") bytes %s allocated at offset %s (0x%" PRIx64 ")\n", much, len, in ? "   " : "not", where,
               at);
    }
    return 0;
}

static int cmd_length(struct viv_blkio *f, int argc, char **argv)
{
    char text[64];

    viv_blkio_size_text(viv_blk_size(f->blk), text, sizeof(text));
    fprintf(f->out, "%s\n", text);
    return 0;
}

const struct viv_blkio_command viv_blkio_map_commands[] = {
    {"alloc", NULL, cmd_alloc, 1, 2, false, "offset [count]", "checks if offset is allocated in the file", NULL},
    {"length", "l", cmd_length, 0, 0, false, NULL, "gets the length of the current file", NULL},
    {"map", NULL, cmd_map, 0, 0, false, "", "prints the allocated areas of a file", NULL},
    {0},
};
