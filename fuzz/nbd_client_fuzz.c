/* The input is all that a server says: handshake, replies to some requests, and (first byte odd) to being listed. First byte 2: it is a
 * server's address as users and images write it. */
#include "fuzz/fuzz.h"

#include "block/proto/nbd/nbd_int.h"

#include <glib.h>

#define ROOM 65536u

static void list(const uint8_t *data, size_t size)
{
    struct viv_nbd_target t = {.host = "h", .port = "1", .export_name = ""};
    struct viv_nbd_chan *c = viv_nbd_chan_new_memory(data, size);
    struct viv_nbd_info info;
    char **names = NULL;
    bool structured;

    if (!viv_nbd_greet(c, &t, &structured, NULL) && !viv_nbd_list(c, &names, NULL))
        g_strfreev(names);
    names = NULL;
    if (!viv_nbd_ask(c, "x", &info, NULL))
        viv_nbd_info_fini(&info);
    if (!viv_nbd_list_contexts(c, "x", &names, NULL))
        g_strfreev(names);
    viv_nbd_chan_free(c);
}

static void use(struct viv_node *n)
{
    g_autofree uint8_t *buf = g_malloc(ROOM);
    uint64_t size = viv_node_size(n);
    struct viv_extent e;

    viv_node_pread(n, 0, buf, MIN(size, ROOM));
    viv_node_pread(n, 1000, buf, 5000);
    for (uint64_t at = 0, i = 0; at < size && i < 20 && !viv_node_status(n, at, size - at, &e); at += e.len, i++)
        g_assert(e.len >= 1 && e.len <= size - at);
    viv_node_pwrite(n, 512, buf, 700);
    viv_node_write_zeroes(n, 0, MIN(size, 4096), VIV_BLK_UNMAP);
    viv_node_discard(n, 100, 10000);
    viv_node_flush(n);
}

static void parse(const uint8_t *data, size_t size)
{
    g_autofree char *name = g_strndup((const char *)data, size);
    struct viv_err err = VIV_ERR_INIT;
    struct viv_nbd_target t = {0};

    if (!viv_nbd_is_name(name))
        return;
    if (!viv_nbd_target_parse(name, NULL, &t, &err))
        viv_nbd_target_fini(&t);
    else
        g_assert(err.code && *err.text);
    viv_err_clear(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct viv_nbd_target t = {.host = g_strdup("h"), .port = g_strdup("1"), .export_name = g_strdup("x")};
    struct viv_nbd_pool *p = NULL;
    struct viv_node *n;

    if (!size || (data[0] & 1) || data[0] == 2) {
        viv_nbd_target_fini(&t);
        if (size && data[0] == 2)
            parse(data + 1, size - 1);
        else if (size)
            list(data + 1, size - 1);
        return 0;
    }
    if (viv_nbd_pool_open_chan(viv_nbd_chan_new_memory(data + 1, size - 1), &t, &p, NULL))
        return 0;
    n = viv_nbd_node_new(p, "fuzz");
    use(n);
    viv_node_put(&n);
    return 0;
}
