/* alloc, map, length: what is where. */
#include "cmd/io.h"

#include "block/blk.h"

#include <glib.h>
#include <inttypes.h>

/* Is [offset, ...) in this layer, and how far does that hold? */
static int allocated(struct viv_node *n, uint64_t offset, uint64_t end, bool *in, uint64_t *len)
{
    *len = 0;
    while (offset + *len < end) {
        struct viv_extent e;
        int ret = viv_node_status_layer(n, offset + *len, end - offset - *len, &e);
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

static int cmd_alloc(struct io_file *f, int argc, char **argv)
{
    struct viv_node *n = viv_blk_node(f->blk);
    uint64_t start, count = 512, size = viv_node_size(n), sum = 0, len;
    char text[64];

    if (io_parse(argv[1], &start) || (argc > 2 && io_parse(argv[2], &count)))
        return 1;
    count = start > size ? 0 : MIN(count, size - start);
    for (uint64_t at = start; at < start + count; at += len) {
        bool in;
        int ret = allocated(n, at, start + count, &in, &len);

        if (ret)
            return printf("is_allocated failed: %s\n", g_strerror(-ret)), 1;
        sum += in ? len : 0;
    }
    io_size_text(start, text, sizeof(text));
    printf("%" PRIu64 "/%" PRIu64 " bytes allocated at offset %s\n", sum, count, text);
    return 0;
}

static int cmd_map(struct io_file *f, int argc, char **argv)
{
    struct viv_node *n = viv_blk_node(f->blk);
    uint64_t size = viv_node_size(n), len;

    for (uint64_t at = 0; at < size; at += len) {
        char much[64], where[64];
        bool in;
        int ret = allocated(n, at, size, &in, &len);

        if (ret)
            return printf("map failed: %s\n", g_strerror(-ret)), 1;
        io_size_text(len, much, sizeof(much));
        io_size_text(at, where, sizeof(where));
        printf("%s (0x%" PRIx64 ") bytes %s allocated at offset %s (0x%" PRIx64 ")\n", much, len, in ? "   " : "not", where,
               at);
    }
    return 0;
}

static int cmd_length(struct io_file *f, int argc, char **argv)
{
    char text[64];

    io_size_text(viv_blk_size(f->blk), text, sizeof(text));
    printf("%s\n", text);
    return 0;
}

const struct io_command io_map_commands[] = {
    {"alloc", NULL, cmd_alloc, 1, 2, false, "offset [count]", "checks if offset is allocated in the file", NULL},
    {"length", "l", cmd_length, 0, 0, false, NULL, "gets the length of the current file", NULL},
    {"map", NULL, cmd_map, 0, 0, false, "", "prints the allocated areas of a file", NULL},
    {0},
};
