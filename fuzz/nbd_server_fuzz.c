/* The input is all that a client says, from its first byte on: negotiation and requests against a small disk. */
#include "fuzz/fuzz.h"

#include "block/fmt/raw/raw.h"
#include "block/mem_test.h"
#include "nbd/server_int.h"

#define DISK (256u << 10)

static struct viv_blk *blk;
static struct viv_nbd_server *server;

static void set_up(void)
{
    static uint8_t bits[DISK / 4096 / 8] = {0x0f, 0xf0, 0xff, 0, 1, 2};
    struct viv_nbd_export_spec spec = {.name = "d", .description = "x", .size = UINT64_MAX, .writable = true, .allocation_depth = true};
    struct viv_nbd_server_opts so = {0};
    struct viv_node_opts o = {.unmap = true};
    static struct mem mem;
    struct viv_nbd_export *e = NULL;
    struct viv_node *n = NULL;

    mem_init(&mem);
    mem_grow(&mem, DISK);
    viv_node_open_format(&viv_blk_raw, mem_node(&mem), &o, &n, NULL);
    viv_blk_new(n, VIV_PERM_READ | VIV_PERM_WRITE, VIV_PERM_READ, "fuzz", false, &blk, NULL);
    viv_nbd_export_new(blk, &spec, &e, NULL);
    e->bitmap = g_renew(struct viv_nbd_bitmap, e->bitmap, 1);
    e->bitmap[0] = (struct viv_nbd_bitmap){g_strdup("qemu:dirty-bitmap:b"), 4096, g_memdup2(bits, sizeof(bits)), sizeof(bits)};
    e->bitmaps = 1;
    server = viv_nbd_server_new(&so);
    viv_nbd_server_add(server, e, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct viv_nbd_client *c;

    if (!server)
        set_up();
    c = viv_nbd_client_new(server, viv_nbd_chan_new_memory(data, size), NULL);
    c->threads_max = 1;
    viv_nbd_client_run(c);
    viv_nbd_client_free(c);
    return 0;
}
