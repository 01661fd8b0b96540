/* A hostile virtual machine: messages to the session, then a ring and requests in shared memory. Addresses and sizes are drawn near
 * what makes sense, or nothing would get past the first check. */
#include "fuzz.h"

#include "base/bytes.h"
#include "export/vhost/rig_test.h"

struct input {
    const uint8_t *at;
    size_t left;
};

static uint8_t byte(struct input *in)
{
    if (!in->left)
        return 0;
    in->left--;
    return *in->at++;
}

static uint16_t word(struct input *in)
{
    uint16_t low = byte(in);

    return low | byte(in) << 8;
}

/* Of the memory, or anything. */
static uint64_t address(struct input *in, uint64_t base)
{
    uint16_t v = word(in);

    switch (v >> 13) {
    case 0:
        return (uint64_t)v << 48 | v;
    case 1:
        return base + RIG_MEM - (v & 0xff);
    case 2:
        return base + (v & 0x1fff) * 8;
    }
    return base + RIG_DATA + (v & 0x3ff) * 16;
}

static void one_message(struct input *in, struct rig *g, struct viv_vhost_session *s, int event)
{
    static const uint8_t requests[] = {1, 2, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 24, 25, 31, 32, 77};
    struct vhost_msg m = {.h = {requests[byte(in) % sizeof(requests)], VHOST_VERSION | (byte(in) & 8), 0}};
    uint8_t how = byte(in);
    struct viv_err err = VIV_ERR_INIT;

    m.h.size = how & 1 ? byte(in) : sizeof(m.p.addr);
    for (unsigned i = 0; i < 24; i++)
        m.p.bytes[i] = byte(in);
    if (how & 2)
        m.p.bytes[0] &= 1, m.p.bytes[1] = m.p.bytes[2] = m.p.bytes[3] = 0;
    if (m.h.request == VHOST_SET_VRING_ADDR && (how & 4))
        m.p.addr = (struct vhost_vring_addr){.index = byte(in) & 1, .desc = address(in, RIG_USER),
                                             .avail = address(in, RIG_USER), .used = address(in, RIG_USER)};
    if (m.h.request == VHOST_SET_MEM_TABLE && (how & 4)) {
        m = rig_memory(g);
        m.p.mem.region[0].size -= byte(in);
        m.p.mem.region[0].mmap_offset = byte(in) & 1;
    } else if (how & 8) {
        m.fds[0] = dup(how & 16 ? g->memfd : event);
        m.fd_count = 1;
    }
    viv_vhost_session_do(s, &m, &err);
    if (m.answer_fd >= 0)
        close(m.answer_fd);
    for (unsigned i = 0; i < m.fd_count; i++)
        if (m.fds[i] >= 0 && m.fds[i] != g->memfd)
            close(m.fds[i]);
}

static void one_session(struct input *in, struct rig *g)
{
    struct viv_vhost_session *s = viv_vhost_session_new(&g->disk);
    int event = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);

    for (unsigned n = byte(in) % 12; n; n--)
        one_message(in, g, s, event);
    viv_vhost_session_free(s);
    close(event);
}

static void put_table(struct input *in, uint8_t *table, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        viv_st_le64(table + 16 * i, address(in, RIG_GUEST));
        viv_st_le32(table + 16 * i + 8, byte(in) < 32 ? word(in) : 16u << (i % 3 ? byte(in) & 7 : 0));
        viv_st_le16(table + 16 * i + 12, (i % 3 < 2 ? 1 : 0) | (i % 3 ? 2 : 0) | (byte(in) < 32 ? byte(in) & 7 : 0));
        viv_st_le16(table + 16 * i + 14, byte(in) < 32 ? byte(in) & 31 : i + 1);
    }
}

static void one_ring(struct input *in, struct rig *g)
{
    struct viv_vhost_ring r = {.num = RIG_NUM, .addr = rig_addr(), .has_addr = true, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct vhost_msg m = rig_memory(g);
    struct viv_vhost_mem mem = {0};
    struct viv_vhost_queue *q;

    if (viv_vhost_mem_set(&mem, &m.p.mem, m.fds, 1, NULL) || viv_vhost_ring_start(&r, &mem, byte(in) & 1))
        return;
    q = viv_vhost_queue_new(&g->disk, &r, byte(in) & 1 ? viv_vhost_disk_features(&g->disk) : 0, -1);
    viv_vhost_queue_run(q);
    viv_vhost_queue_stop(&q);
    viv_vhost_mem_clear(&mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rig g;
    struct input in = {data, size};
    uint32_t seed;

    if (!g.ram)
        rig_init(&g, true);
    memset(g.ram, 0, 0x10000);
    put_table(&in, g.ram + RIG_DESC, RIG_NUM);
    put_table(&in, g.ram + 0x8000, 4);
    viv_st_le16(g.ram + RIG_AVAIL + 2, byte(&in) % (RIG_NUM + 2));
    for (unsigned i = 0; i < RIG_NUM; i++)
        g.ram[RIG_AVAIL + 4 + 2 * i] = byte(&in) % (RIG_NUM + 1);
    seed = word(&in);
    for (unsigned i = 0; i < 0x4000; i += 16) { /* wherever a header is looked for, there is one */
        seed = seed * 1103515245 + 12345;
        g.ram[RIG_DATA + i] = seed >> 16 & 15;
        g.ram[RIG_DATA + i + 8] = seed >> 20;
    }
    one_ring(&in, &g);
    one_session(&in, &g);
    return 0;
}
