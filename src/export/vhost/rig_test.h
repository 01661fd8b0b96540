/* A front end in this process, for the unit and the fuzzer: memory by memfd, one ring in it, a small disk. */
#include "block/fmt/raw/raw.h"
#include "block/mem_test.h"
#include "export/vhost/session.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define RIG_MEM   (1u << 20)
#define RIG_GUEST 0x100000ull  /* guest address of the memory */
#define RIG_USER  0x7000000ull /* the front end's */
#define RIG_DISK  (1u << 20)
#define RIG_NUM   16u
enum { RIG_DESC = 0, RIG_AVAIL = 0x1000, RIG_USED = 0x2000, RIG_DATA = 0x4000 };

struct rig {
    struct mem mem;
    struct viv_vhost_disk disk;
    uint8_t *ram;
    int memfd;
};

static void rig_init(struct rig *g, bool writable)
{
    struct viv_node_opts o = {.unmap = true, .read_only = !writable};
    struct viv_node *n = NULL;

    *g = (struct rig){.memfd = memfd_create("rig", MFD_CLOEXEC)};
    g_assert_cmpint(ftruncate(g->memfd, RIG_MEM), ==, 0);
    g->ram = mmap(NULL, RIG_MEM, PROT_READ | PROT_WRITE, MAP_SHARED, g->memfd, 0);
    g_assert_true(g->ram != MAP_FAILED);
    mem_init(&g->mem);
    mem_grow(&g->mem, RIG_DISK);
    g_assert_cmpint(viv_node_open_format(&viv_blk_raw, mem_node(&g->mem), &o, &n, NULL), ==, 0);
    g_assert_cmpint(viv_blk_new(n, VIV_PERM_READ | (writable ? VIV_PERM_WRITE : 0), VIV_PERM_READ, "test", false,
                                &g->disk.blk, NULL), ==, 0);
    g->disk.block_size = 512;
    g->disk.queues = 2;
    g->disk.writable = writable;
    memcpy(g->disk.id, "rig", 3);
}

static G_GNUC_UNUSED void rig_fini(struct rig *g)
{
    g_assert_cmpint(viv_blk_close(g->disk.blk, NULL), ==, 0);
    mem_fini(&g->mem);
    munmap(g->ram, RIG_MEM);
    close(g->memfd);
}

static struct vhost_msg rig_memory(struct rig *g)
{
    struct vhost_msg m = {.h = {VHOST_SET_MEM_TABLE, VHOST_VERSION, 8 + sizeof(struct vhost_region)}, .fd_count = 1};

    m.p.mem.count = 1;
    m.p.mem.region[0] = (struct vhost_region){RIG_GUEST, RIG_MEM, RIG_USER, 0};
    m.fds[0] = g->memfd;
    return m;
}

static struct vhost_vring_addr rig_addr(void)
{
    return (struct vhost_vring_addr){
        .desc = RIG_USER + RIG_DESC, .avail = RIG_USER + RIG_AVAIL, .used = RIG_USER + RIG_USED};
}
