/* virtio-gpu and virtio-vga: commands as a driver gives them, what viewers see, hostile lists and rectangles, saved state. */
#include "dev/virtio/virtio_gpu.h"

#include "base/bytes.h"
#include "base/units.h"
#include "bus/pci.h"
#include "bus/virtio_driver.h"
#include "bus/virtio_pci.h"
#include "dev/test_rig.h"
#include "host/lock.h"
#include "mem/dma.h"

#include <string.h>

extern const struct viv_dev_class viv_dev_i440fx, viv_dev_virtio_gpu_pci, viv_dev_virtio_vga;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_i440fx, &viv_dev_virtio_gpu_pci, &viv_dev_virtio_vga, NULL};

#define RAM    (8u << 20)
#define PIXELS 0x400000ull /* guest memory that backs pictures */

#define OK      VIRTIO_GPU_RESP_OK_NODATA
#define BAD     VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER
#define NO_RES  VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID
#define NO_HEAD VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID
#define UNSPEC  VIRTIO_GPU_RESP_ERR_UNSPEC
#define NO_MEM  VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY
#define XRGB    VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM

static struct td d;
static struct viv_pci_dev *pci;

/* ---- a viewer ---- */

static struct {
    struct viv_viewer *viewer;
    const struct viv_surface *surface;
    unsigned shown, changes, x, y, width, height;
    const struct viv_cursor *cursor;
    int cursor_x, cursor_y;
    bool visible;
} seen;

static void on_shown(void *opaque, const struct viv_surface *s)
{
    seen.surface = s;
    seen.shown++;
}

static void on_changed(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height)
{
    seen.x = x, seen.y = y, seen.width = width, seen.height = height;
    seen.changes++;
}

static void on_cursor(void *opaque, const struct viv_cursor *cursor)
{
    seen.cursor = cursor;
}

static void on_moved(void *opaque, int x, int y, bool visible)
{
    seen.cursor_x = x, seen.cursor_y = y, seen.visible = visible;
}

static void on_gone(void *opaque)
{
    seen.viewer = NULL;
}

static struct viv_console *head(unsigned n)
{
    const struct viv_virtio *v = d.v;

    return ((struct virtio_gpu *)v)->head[n].console;
}

static void look(unsigned n)
{
    static const struct viv_viewer_ops ops = {
        .shown = on_shown, .changed = on_changed, .cursor = on_cursor, .cursor_moved = on_moved, .gone = on_gone};

    memset(&seen, 0, sizeof(seen));
    seen.viewer = viv_viewer_new(head(n), &ops, NULL);
    viv_viewer_set_period(seen.viewer, 1000000);
}

static void see(unsigned n)
{
    seen.shown = seen.changes = 0;
    viv_console_refresh(head(n));
}

static uint32_t pixel(unsigned x, unsigned y)
{
    return viv_ld_le32(seen.surface->pixels + y * seen.surface->stride + 4 * x) & 0xffffff;
}

/* ---- a driver ---- */

static void start(void)
{
    td_start(&d, d.v, 1ull << VIRTIO_GPU_F_EDID, 0x10000);
    td_queue_start(&d, GPU_CONTROL, 64);
    td_queue_start(&d, GPU_CURSORS, 16);
    td_go(&d);
}

static void setup_as(const char *cls, const char *opts)
{
    struct viv_dev *dev;

    rig_init();
    rig_add_ram(RAM);
    rig_add("i440FX", "addr=0");
    dev = rig_add(cls, opts);
    pci = (struct viv_pci_dev *)dev;
    viv_dev_lock();
    d = (struct td){.v = viv_virtio_of(dev), .mem = rig.board.mem};
    viv_dev_set_running_all(true);
    viv_pci_config_write(rig.board.pci, pci->devfn, 4, 4, 2); /* bus master */
    start();
}

static void setup(const char *opts)
{
    setup_as("virtio-gpu-pci", opts);
}

static void teardown(void)
{
    viv_viewer_free(seen.viewer);
    seen.viewer = NULL;
    viv_dev_unlock();
    rig_fini();
}

/* Sends a command; the answer's first `size` bytes go to `answer`. Returns its type. */
static uint32_t command(const void *cmd, uint32_t len, void *answer, uint32_t size)
{
    uint8_t room[2048] = {0};
    uint64_t at;
    struct td_seg seg[3];
    uint16_t id;
    uint32_t used;

    d.next = 0x20000;
    at = td_put(&d, room, sizeof(room));
    seg[0] = (struct td_seg){td_put(&d, cmd, len), MIN(len, 24), false};
    seg[1] = (struct td_seg){seg[0].gpa + seg[0].len, len - seg[0].len, false}; /* framing is the driver's */
    seg[len > 24 ? 2 : 1] = (struct td_seg){at, sizeof(room), true};
    td_add(&d, GPU_CONTROL, seg, len > 24 ? 3 : 2, false);
    td_kick(&d, GPU_CONTROL);
    g_assert_true(td_used(&d, GPU_CONTROL, &id, &used));
    g_assert_cmpuint(used, >=, size);
    td_read(&d, at, room, sizeof(room));
    memcpy(answer, room, size);
    return viv_ld_le32(room);
}

static uint32_t simple(const void *cmd, uint32_t len)
{
    struct virtio_gpu_ctrl_hdr a;

    return command(cmd, len, &a, sizeof(a));
}

#define HDR(cmd) {.type = htole32(VIRTIO_GPU_CMD_##cmd)}
#define RECT(x_, y_, w_, h_) {.x = htole32(x_), .y = htole32(y_), .width = htole32(w_), .height = htole32(h_)}

static uint32_t create(uint32_t id, uint32_t format, uint32_t w, uint32_t h)
{
    struct virtio_gpu_resource_create_2d c = {.hdr = HDR(RESOURCE_CREATE_2D), .resource_id = id, .format = format, .width = w, .height = h};

    return simple(&c, sizeof(c));
}

static uint32_t unref(uint32_t id)
{
    struct virtio_gpu_resource_unref c = {.hdr = HDR(RESOURCE_UNREF), .resource_id = id};

    return simple(&c, sizeof(c));
}

static uint32_t detach(uint32_t id)
{
    struct virtio_gpu_resource_detach_backing c = {.hdr = HDR(RESOURCE_DETACH_BACKING), .resource_id = id};

    return simple(&c, sizeof(c));
}

static uint32_t attach(uint32_t id, const struct virtio_gpu_mem_entry *m, uint32_t n, uint32_t said)
{
    struct virtio_gpu_resource_attach_backing c = {.hdr = HDR(RESOURCE_ATTACH_BACKING), .resource_id = id, .nr_entries = said};
    g_autoptr(GByteArray) b = g_byte_array_new();

    g_byte_array_append(b, (const uint8_t *)&c, sizeof(c));
    g_byte_array_append(b, (const uint8_t *)m, n * sizeof(*m));
    return simple(b->data, b->len);
}

static uint32_t back(uint32_t id, uint64_t gpa, uint32_t len)
{
    struct virtio_gpu_mem_entry m = {.addr = gpa, .length = len};

    return attach(id, &m, 1, 1);
}

static uint32_t scanout(uint32_t n, uint32_t id, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
    struct virtio_gpu_set_scanout c = {.hdr = HDR(SET_SCANOUT), .r = RECT(x, y, w, h), .scanout_id = n, .resource_id = id};

    return simple(&c, sizeof(c));
}

static uint32_t transfer(uint32_t id, uint64_t off, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
    struct virtio_gpu_transfer_to_host_2d c = {
        .hdr = HDR(TRANSFER_TO_HOST_2D), .r = RECT(x, y, w, h), .offset = off, .resource_id = id};

    return simple(&c, sizeof(c));
}

static uint32_t flush(uint32_t id, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
    struct virtio_gpu_resource_flush c = {.hdr = HDR(RESOURCE_FLUSH), .r = RECT(x, y, w, h), .resource_id = id};

    return simple(&c, sizeof(c));
}

static void cursor(uint32_t type, uint32_t n, uint32_t id, int32_t x, int32_t y, uint32_t hot)
{
    struct virtio_gpu_update_cursor c = {.hdr = {.type = type}, .pos = {.scanout_id = n, .x = (uint32_t)x, .y = (uint32_t)y},
                                         .resource_id = id, .hot_x = hot, .hot_y = hot + 1};
    struct td_seg seg;
    uint16_t eid;
    uint32_t used;

    d.next = 0x20000;
    seg = (struct td_seg){td_put(&d, &c, sizeof(c)), sizeof(c), false};
    td_add(&d, GPU_CURSORS, &seg, 1, false);
    td_kick(&d, GPU_CURSORS);
    g_assert_true(td_used(&d, GPU_CURSORS, &eid, &used));
}

static uint32_t colour(unsigned x, unsigned y)
{
    return (x * 7 + y * 1001 + 0x10203) & 0xffffff;
}

/* A picture of w by h in guest memory, its first word at `gpa`. */
static void draw(uint64_t gpa, unsigned w, unsigned h)
{
    for (unsigned y = 0; y < h; y++) {
        for (unsigned x = 0; x < w; x++) {
            uint8_t raw[4];

            viv_st_le32(raw, 0xaa000000 | colour(x, y));
            td_write(&d, gpa + 4 * (y * w + x), raw, 4);
        }
    }
}

static uint32_t events(void)
{
    uint8_t raw[4];

    viv_virtio_config_read(d.v, 0, raw, 4);
    return viv_ld_le32(raw);
}

/* ---- tests ---- */

static void test_picture(void)
{
    setup(NULL);
    look(0);
    g_assert_null(seen.surface);
    g_assert_cmphex(create(5, XRGB, 64, 48), ==, OK);
    g_assert_cmphex(transfer(5, 0, 0, 0, 64, 48), ==, UNSPEC); /* nothing behind it */
    g_assert_cmphex(back(5, PIXELS, 64 * 48 * 4), ==, OK);
    g_assert_cmphex(back(5, PIXELS, 64 * 48 * 4), ==, UNSPEC);
    draw(PIXELS, 64, 48);
    g_assert_cmphex(transfer(5, 0, 0, 0, 64, 48), ==, OK);
    g_assert_cmphex(scanout(0, 5, 8, 4, 32, 16), ==, OK); /* a part of it */
    see(0);
    g_assert_cmpuint(seen.shown, ==, 1);
    g_assert_cmpuint(seen.surface->width, ==, 32);
    g_assert_cmpuint(seen.surface->height, ==, 16);
    for (unsigned y = 0; y < 16; y++) {
        for (unsigned x = 0; x < 32; x++)
            g_assert_cmphex(pixel(x, y), ==, colour(x + 8, y + 4));
    }
    /* A rectangle of a changed picture: only it arrives; viewers hear of what is on the screen. */
    td_write(&d, PIXELS + 4 * (10 * 64 + 20), "\1\2\3\4", 4);
    td_write(&d, PIXELS + 4 * (10 * 64 + 25), "\1\2\3\4", 4);
    g_assert_cmphex(transfer(5, 4 * (10 * 64 + 20), 20, 10, 5, 2), ==, OK);
    g_assert_cmphex(flush(5, 20, 10, 40, 30), ==, OK);
    g_assert_cmphex(flush(5, 0, 0, 64, 3), ==, OK); /* above the screen */
    see(0);
    g_assert_cmpuint(seen.changes, ==, 1);
    g_assert_cmpuint(seen.x, ==, 12);
    g_assert_cmpuint(seen.y, ==, 6);
    g_assert_cmpuint(seen.width, ==, 20);
    g_assert_cmpuint(seen.height, ==, 10);
    g_assert_cmphex(pixel(12, 6), ==, 0x030201);
    g_assert_cmphex(pixel(17, 6), ==, colour(25, 10));
    see(0); /* idle: nothing */
    g_assert_cmpuint(seen.changes + seen.shown, ==, 0);
    g_assert_cmphex(flush(5, 8, 4, 1, 1), ==, OK);
    g_assert_cmphex(flush(5, 39, 19, 1, 1), ==, OK);
    see(0);
    g_assert_cmpuint(seen.changes, ==, 1);
    g_assert_cmpuint(seen.width * 100 + seen.height, ==, 3216); /* the box around both */
    g_assert_cmphex(detach(5), ==, OK);
    g_assert_cmphex(detach(5), ==, UNSPEC);
    g_assert_cmphex(unref(5), ==, OK);
    g_assert_cmphex(unref(5), ==, NO_RES);
    see(0);
    g_assert_null(seen.surface);
    teardown();
}

/* Pieces of odd lengths; none may be of none. */
static void test_pieces(void)
{
    struct virtio_gpu_mem_entry m[5] = {{.addr = PIXELS + 0x3000, .length = 100}, {.addr = PIXELS, .length = 1},
                                        {.addr = PIXELS + 1, .length = 1899}, {.addr = PIXELS + 0x2000, .length = 4096},
                                        {.addr = PIXELS, .length = 0}};
    uint8_t whole[64 * 24 * 4];
    unsigned at = 0;

    setup(NULL);
    for (unsigned i = 0; i < sizeof(whole); i++)
        whole[i] = (uint8_t)(i * 13 + i / 200);
    for (unsigned i = 0; i < 5; i++) {
        td_write(&d, m[i].addr, whole + at, MIN(m[i].length, sizeof(whole) - at));
        at += m[i].length;
    }
    look(0);
    g_assert_cmphex(create(1, XRGB, 64, 20), ==, OK);
    g_assert_cmphex(attach(1, m, 5, 5), ==, BAD);
    g_assert_cmphex(attach(1, m, 4, 4), ==, OK);
    g_assert_cmphex(scanout(0, 1, 0, 0, 64, 20), ==, OK);
    g_assert_cmphex(transfer(1, 0, 0, 0, 64, 20), ==, OK);
    see(0);
    g_assert_cmpmem(seen.surface->pixels, 64 * 20 * 4, whole, 64 * 20 * 4);
    g_assert_cmphex(transfer(1, 6096 - 64 * 20 * 4, 0, 0, 64, 20), ==, OK); /* up to the last byte */
    g_assert_cmpmem(seen.surface->pixels, 64 * 20 * 4, whole + 6096 - 64 * 20 * 4, 64 * 20 * 4);
    g_assert_cmphex(transfer(1, 6097 - 64 * 20 * 4, 0, 0, 64, 20), ==, BAD);
    g_assert_cmphex(transfer(1, UINT64_MAX - 3, 0, 0, 1, 1), ==, BAD);
    teardown();
}

static void test_formats(void)
{
    static const struct {
        uint32_t format, rgb;
    } cases[] = {{1, 0x332211}, {2, 0x332211}, {3, 0x223344}, {4, 0x223344}, {67, 0x112233}, {134, 0x112233}, {121, 0x443322}, {68, 0x443322}};

    setup(NULL);
    look(0);
    td_write(&d, PIXELS, "\x11\x22\x33\x44", 4);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_assert_cmphex(create(i + 1, cases[i].format, 1, 1), ==, OK);
        g_assert_cmphex(back(i + 1, PIXELS, 4), ==, OK);
        g_assert_cmphex(transfer(i + 1, 0, 0, 0, 1, 1), ==, OK);
        g_assert_cmphex(scanout(0, i + 1, 0, 0, 1, 1), ==, OK);
        see(0);
        g_assert_cmphex(pixel(0, 0), ==, cases[i].rgb);
    }
    g_assert_cmphex(create(99, 5, 1, 1), ==, BAD);
    teardown();
}

static void test_hostile(void)
{
    struct virtio_gpu_mem_entry wraps = {.addr = UINT64_MAX - 10, .length = 100}, hole = {.addr = RAM - 4, .length = 8};
    struct virtio_gpu_ctrl_hdr odd = {.type = 0x10b};
    struct virtio_gpu_resource_flush brief = {.hdr = HDR(RESOURCE_FLUSH)};
    static struct virtio_gpu_mem_entry many[32768];

    for (unsigned i = 0; i < G_N_ELEMENTS(many); i++)
        many[i].length = 1;
    setup("max_hostmem=1M");
    g_assert_cmphex(create(0, XRGB, 8, 8), ==, NO_RES);
    g_assert_cmphex(create(1, XRGB, 8, 8), ==, OK);
    g_assert_cmphex(create(1, XRGB, 8, 8), ==, NO_RES);
    g_assert_cmphex(create(2, XRGB, 0, 8), ==, BAD);
    g_assert_cmphex(create(2, XRGB, 65536, 65536), ==, BAD);
    g_assert_cmphex(create(2, XRGB, 16384, 16384), ==, NO_MEM);
    g_assert_cmphex(create(2, XRGB, 512, 512), ==, NO_MEM); /* exactly 1 MiB, and there is one */
    g_assert_cmphex(attach(1, many, 1, 2), ==, BAD);       /* fewer than said */
    g_assert_cmphex(attach(1, many, 1, UINT32_MAX), ==, BAD);
    g_assert_cmphex(attach(1, many, 0, 0), ==, BAD);
    g_assert_cmphex(attach(1, &wraps, 1, 1), ==, BAD);
    g_assert_cmphex(attach(7, many, 1, 1), ==, NO_RES);
    g_assert_cmphex(attach(1, &hole, 1, 1), ==, OK);
    g_assert_cmphex(transfer(1, 0, 0, 0, 2, 1), ==, UNSPEC);
    g_assert_cmphex(transfer(1, 0, 7, 7, 2, 1), ==, BAD);
    g_assert_cmphex(transfer(1, 0, UINT32_MAX, 0, 2, 1), ==, BAD);
    g_assert_cmphex(transfer(1, 0, 1, 0, UINT32_MAX, 1), ==, BAD);
    g_assert_cmphex(transfer(1, 0, 0, 0, 0, 0), ==, OK);
    g_assert_cmphex(flush(1, 0, 0, 9, 1), ==, BAD);
    g_assert_cmphex(flush(2, 0, 0, 1, 1), ==, NO_RES);
    g_assert_cmphex(scanout(1, 1, 0, 0, 8, 8), ==, NO_HEAD);
    g_assert_cmphex(scanout(UINT32_MAX, 0, 0, 0, 8, 8), ==, NO_HEAD);
    g_assert_cmphex(scanout(0, 3, 0, 0, 8, 8), ==, NO_RES);
    g_assert_cmphex(scanout(0, 1, 0, 0, 0, 8), ==, BAD);
    g_assert_cmphex(scanout(0, 1, 4, 0, 8, 8), ==, BAD);
    g_assert_cmphex(simple(&odd, sizeof(odd)), ==, UNSPEC);
    g_assert_cmphex(simple(&brief, sizeof(brief) - 1), ==, BAD);
    g_assert_cmphex(simple(&brief, 1), ==, UNSPEC);
    detach(1);
    g_assert_cmphex(attach(1, many, 32768, 32768), ==, OK); /* they count */
    g_assert_cmphex(create(2, XRGB, 256, 256), ==, NO_MEM);
    g_assert_cmphex(unref(1), ==, OK);
    g_assert_cmphex(create(2, XRGB, 256, 256), ==, OK);
    for (unsigned i = 0; i < 2000; i++)
        create(100 + i, XRGB, 1, 1);
    g_assert_cmpuint(g_hash_table_size(((struct virtio_gpu *)d.v)->resources), <, 800);
    g_assert_false(d.v->broken);
    start(); /* a new driver finds nothing */
    g_assert_cmpuint(((struct virtio_gpu *)d.v)->hostmem, ==, 0);
    g_assert_cmphex(flush(2, 0, 0, 1, 1), ==, NO_RES);
    teardown();
}

static void test_fence(void)
{
    struct virtio_gpu_resource_flush c = {.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_FLUSH, .flags = VIRTIO_GPU_FLAG_FENCE,
                                                  .fence_id = 0x123456789abull, .ctx_id = 7}};
    struct virtio_gpu_ctrl_hdr a;

    setup(NULL);
    g_assert_cmphex(command(&c, sizeof(c), &a, sizeof(a)), ==, NO_RES);
    g_assert_cmphex(a.flags, ==, VIRTIO_GPU_FLAG_FENCE);
    g_assert_cmphex(a.fence_id, ==, 0x123456789abull);
    g_assert_cmphex(a.ctx_id, ==, 7);
    teardown();
}

static struct virtio_gpu_resp_display_info display_info(void)
{
    struct virtio_gpu_ctrl_hdr c = HDR(GET_DISPLAY_INFO);
    struct virtio_gpu_resp_display_info a;

    g_assert_cmphex(command(&c, sizeof(c), &a, sizeof(a)), ==, VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
    return a;
}

static void edid_size(uint32_t n, unsigned *width, unsigned *height)
{
    struct virtio_gpu_cmd_get_edid c = {.hdr = HDR(GET_EDID), .scanout = n};
    struct virtio_gpu_resp_edid a;
    const uint8_t *t = a.edid + 54;
    uint8_t sum = 0;

    g_assert_cmphex(command(&c, sizeof(c), &a, sizeof(a)), ==, VIRTIO_GPU_RESP_OK_EDID);
    g_assert_cmpuint(a.size, ==, 128);
    for (unsigned i = 0; i < 128; i++)
        sum += a.edid[i];
    g_assert_cmpuint(sum, ==, 0);
    *width = t[2] | (t[4] & 0xf0u) << 4;
    *height = t[5] | (t[7] & 0xf0u) << 4;
}

static void test_heads(void)
{
    struct virtio_gpu_cmd_get_edid c = {.hdr = HDR(GET_EDID), .scanout = 3};
    struct virtio_gpu_ctrl_hdr a;
    struct virtio_gpu_resp_display_info i;
    unsigned w, h, gen;
    uint8_t raw[4];

    setup("max_outputs=3,xres=1024,yres=768");
    viv_virtio_config_read(d.v, 8, raw, 4);
    g_assert_cmpuint(viv_ld_le32(raw), ==, 3);
    i = display_info();
    g_assert_true(i.pmodes[0].enabled && !i.pmodes[1].enabled && !i.pmodes[2].enabled);
    g_assert_cmpuint(i.pmodes[0].r.width * 10000 + i.pmodes[0].r.height, ==, 10240768);
    g_assert_cmpuint(events(), ==, 0);
    gen = d.v->config_generation;
    g_assert_true(viv_console_room(head(0), 1900, 1000));
    g_assert_cmpuint(events(), ==, GPU_EVENT_DISPLAY);
    g_assert_cmpuint(d.v->config_generation, !=, gen);
    viv_st_le32(raw, 1);
    viv_virtio_config_write(d.v, 4, raw, 4);
    g_assert_cmpuint(events(), ==, 0);
    viv_console_room(head(0), 1900, 1000); /* nothing new */
    viv_console_room(head(0), 0, 0);       /* the first has a monitor always */
    g_assert_cmpuint(events(), ==, 0);
    look(2);
    g_assert_cmpuint(events(), ==, 1);
    viv_console_room(head(2), 800, 600);
    i = display_info();
    g_assert_true(i.pmodes[0].enabled && !i.pmodes[1].enabled && i.pmodes[2].enabled);
    g_assert_cmpuint(i.pmodes[2].r.x, ==, 1900);
    edid_size(0, &w, &h);
    g_assert_cmpuint(w * 10000 + h, ==, 19001000);
    edid_size(2, &w, &h);
    g_assert_cmpuint(w * 10000 + h, ==, 8000600);
    viv_console_room(head(0), 16000, 5000);
    edid_size(0, &w, &h);
    g_assert_cmpuint(w * 10000 + h, ==, 40954095);
    viv_console_room(head(2), 0, 0);
    g_assert_false(display_info().pmodes[2].enabled);
    g_assert_cmphex(command(&c, sizeof(c), &a, sizeof(a)), ==, NO_HEAD);
    /* One picture for two heads. */
    g_assert_cmphex(create(1, XRGB, 64, 32), ==, OK);
    g_assert_cmphex(scanout(0, 1, 0, 0, 32, 32), ==, OK);
    g_assert_cmphex(scanout(2, 1, 32, 0, 32, 32), ==, OK);
    see(2);
    g_assert_cmpuint(seen.surface->width, ==, 32);
    g_assert_cmphex(flush(1, 31, 0, 2, 2), ==, OK);
    see(2);
    g_assert_cmpuint(seen.x * 1000 + seen.width, ==, 1);
    teardown();
}

static void test_no_edid(void)
{
    struct virtio_gpu_cmd_get_edid c = {.hdr = HDR(GET_EDID)};

    setup("edid=off");
    g_assert_false(d.v->status & VIV_VIRTIO_S_FEATURES_OK); /* not offered */
    td_start(&d, d.v, 0, 0x10000);
    td_queue_start(&d, GPU_CONTROL, 64);
    td_go(&d);
    g_assert_cmphex(simple(&c, sizeof(c)), ==, UNSPEC);
    teardown();
}

static void test_cursor(void)
{
    setup("max_outputs=2");
    look(1);
    g_assert_cmphex(create(9, VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, 64, 64), ==, OK);
    g_assert_cmphex(create(8, XRGB, 64, 64), ==, OK);
    g_assert_cmphex(create(7, XRGB, 32, 64), ==, OK);
    g_assert_cmphex(back(9, PIXELS, 64 * 64 * 4), ==, OK);
    draw(PIXELS, 64, 64);
    g_assert_cmphex(transfer(9, 0, 0, 0, 64, 64), ==, OK);
    cursor(VIRTIO_GPU_CMD_UPDATE_CURSOR, 1, 9, 100, -7, 3);
    see(1);
    g_assert_nonnull(seen.cursor);
    g_assert_cmpuint(seen.cursor->width * 100 + seen.cursor->height, ==, 6464);
    g_assert_cmpuint(seen.cursor->hot_x * 100 + seen.cursor->hot_y, ==, 304);
    g_assert_cmphex(seen.cursor->pixels[65], ==, 0xaa000000 | colour(1, 1));
    g_assert_true(seen.visible && seen.cursor_x == 100 && seen.cursor_y == -7);
    cursor(VIRTIO_GPU_CMD_MOVE_CURSOR, 1, 0, 5, 6, 0);
    see(1);
    g_assert_true(seen.cursor && seen.visible && seen.cursor_x == 5 && seen.cursor_y == 6);
    cursor(VIRTIO_GPU_CMD_UPDATE_CURSOR, 1, 7, 5, 6, 0); /* not 64 by 64 */
    see(1);
    g_assert_cmphex(seen.cursor->pixels[65], ==, 0xaa000000 | colour(1, 1));
    cursor(VIRTIO_GPU_CMD_UPDATE_CURSOR, 1, 8, 5, 6, 9999);
    see(1);
    g_assert_cmphex(seen.cursor->pixels[65], ==, 0xff000000); /* without alpha: opaque */
    g_assert_cmpuint(seen.cursor->hot_x, ==, 63);
    cursor(VIRTIO_GPU_CMD_UPDATE_CURSOR, 1, 0, 5, 6, 0);
    see(1);
    g_assert_true(!seen.cursor && !seen.visible);
    cursor(VIRTIO_GPU_CMD_UPDATE_CURSOR, 2, 9, 5, 6, 0);
    cursor(0x999, 0, 9, 5, 6, 0);
    teardown();
}

/* Surfaces that viewers hold outlive the picture. */
static void test_held(void)
{
    struct viv_surface *mine;

    setup(NULL);
    look(0);
    create(1, XRGB, 16, 16);
    scanout(0, 1, 2, 2, 4, 4);
    see(0);
    mine = viv_surface_get(seen.surface);
    unref(1);
    see(0);
    g_assert_null(seen.surface);
    memset(mine->pixels, 1, 4);
    g_assert_cmpuint(mine->width, ==, 4);
    viv_surface_put(&mine);
    teardown();
}

/* ---- virtio-vga ---- */

static void config(unsigned reg, uint32_t value)
{
    viv_pci_config_write(rig.board.pci, pci->devfn, reg, value, 4);
}

static uint32_t read32(uint64_t at)
{
    return (uint32_t)viv_space_read_locked(rig.board.mem, at, 4);
}

static void write16(uint64_t at, uint16_t v)
{
    viv_space_write_locked(rig.board.mem, at, v, 2);
}

#define LFB 0xe0000000u
#define BAR 0xe8000000u

static void test_vga(void)
{
    setup_as("virtio-vga", "addr=2");
    config(0x10, LFB);
    config(0x18, BAR);
    config(4, 7);
    g_assert_cmphex(pci->config[0x0b] << 8 | pci->config[0x0a], ==, 0x0300);
    look(0);
    see(0);
    g_assert_cmpuint(seen.surface->width, ==, 640); /* a VGA without a mode is dark */
    g_assert_cmphex(read32(BAR), ==, 0xffffff00); /* EDID */
    g_assert_cmphex(read32(BAR + 0x500) & 0xffff, ==, 0xb0c5);
    write16(BAR + 0x502, 320);
    write16(BAR + 0x504, 200);
    write16(BAR + 0x506, 32);
    write16(BAR + 0x508, 0x41);
    viv_space_write_locked(rig.board.mem, BAR + 0x400, 0x20, 1); /* port 3C0h: the picture is on */
    viv_space_write_locked(rig.board.mem, LFB + 4, 0x112233, 4);
    see(0);
    g_assert_cmpuint(seen.surface->width, ==, 320);
    g_assert_cmphex(pixel(1, 0), ==, 0x112233);
    /* A driver takes over, and goes. */
    create(1, XRGB, 100, 50);
    see(0);
    g_assert_cmpuint(seen.surface->width, ==, 320);
    scanout(0, 1, 0, 0, 100, 50);
    see(0);
    g_assert_cmpuint(seen.surface->width, ==, 100);
    viv_space_write_locked(rig.board.mem, LFB + 8, 0x445566, 4);
    see(0);
    g_assert_cmpuint(seen.shown + seen.changes, ==, 0);
    scanout(0, 0, 0, 0, 0, 0);
    see(0);
    g_assert_null(seen.surface);
    viv_virtio_set_status(d.v, 0);
    see(0);
    g_assert_cmpuint(seen.surface->width, ==, 320);
    g_assert_cmphex(pixel(2, 0), ==, 0x445566);
    teardown();
}

/* Capabilities lead to virtio's registers behind the VGA's. */
static void test_vga_registers(void)
{
    uint32_t common = 0, device = 0;

    setup_as("virtio-vga", "addr=2,max_outputs=2");
    config(0x18, BAR);
    config(4, 7);
    for (unsigned at = pci->config[0x34]; at; at = pci->config[at + 1]) {
        const uint8_t *c = pci->config + at;

        if (c[0] != 9 || c[3] == 5)
            continue;
        g_assert_cmpuint(c[4], ==, 2);
        g_assert_cmpuint(viv_ld_le32(c + 8) + viv_ld_le32(c + 12), <=, pci->bar[2].size);
        if (c[3] == 1)
            common = viv_ld_le32(c + 8);
        if (c[3] == 4)
            device = viv_ld_le32(c + 8);
    }
    g_assert_cmphex(common, >=, 0x1000);
    g_assert_cmphex(read32(BAR + common + 0x14) & 0xff, ==, d.v->status);
    g_assert_cmphex(read32(BAR + device + 8), ==, 2);
    teardown();
}

static void test_refused(void)
{
    rig_init();
    rig_add("i440FX", "addr=0");
    rig_refused("virtio-gpu-pci", "max_outputs=17", "16");
    rig_refused("virtio-gpu-pci", "disable-legacy=off", "no legacy registers");
    rig_refused("virtio-gpu-pci", "disable-modern=on", "no other registers");
    rig_refused("virtio-gpu-pci", "blob=on", "copied");
    rig_fini();
}

/* ---- saved state ---- */

static void test_state(void)
{
    uint8_t *data, *again;
    size_t len, len2;

    setup("max_outputs=2");
    draw(PIXELS, 64, 48);
    create(5, VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, 64, 64);
    create(6, XRGB, 64, 48);
    back(6, PIXELS, 64 * 48 * 4);
    transfer(6, 0, 0, 0, 64, 48);
    scanout(1, 6, 8, 8, 16, 16);
    cursor(VIRTIO_GPU_CMD_UPDATE_CURSOR, 1, 5, 30, 40, 2);
    viv_console_room(head(1), 555, 444);
    viv_dev_set_running_all(false);
    viv_dev_unlock();
    data = rig_save(&len);
    viv_dev_lock();
    viv_dev_reset_all();
    g_assert_null(gpu_find((struct virtio_gpu *)d.v, 6));
    viv_dev_unlock();
    rig_load(data, len);
    viv_dev_lock();
    viv_dev_set_running_all(true);
    look(1);
    see(1);
    g_assert_cmpuint(seen.surface->width, ==, 16);
    g_assert_cmphex(pixel(3, 4), ==, colour(11, 12));
    g_assert_true(seen.cursor && seen.visible && seen.cursor_x == 30 && seen.cursor_y == 40 && seen.cursor->hot_y == 3);
    g_assert_cmpuint(display_info().pmodes[1].r.width, ==, 555);
    td_write(&d, PIXELS + 4 * (8 * 64 + 8), "\1\2\3\4", 4); /* its backing is there, too */
    g_assert_cmphex(transfer(6, 0, 0, 0, 64, 48), ==, OK);
    g_assert_cmphex(pixel(0, 0), ==, 0x030201);
    viv_dev_set_running_all(false);
    viv_dev_unlock();
    g_free(data);
    data = rig_save(&len);
    rig_load(data, len);
    again = rig_save(&len2);
    g_assert_cmpmem(data, len, again, len2);
    g_free(data);
    g_free(again);
    viv_dev_lock();
    teardown();
}

/* A state whose head shows what is not there, or that wants more memory than there may be. */
static void test_bad_state(void)
{
    struct virtio_gpu *g;
    struct viv_err err = VIV_ERR_INIT;
    struct viv_state_writer *w;
    struct viv_state_reader *r;
    uint8_t *data;
    size_t len;

    for (unsigned i = 0; i < 4; i++) {
        setup("max_hostmem=1M");
        g = (struct virtio_gpu *)d.v;
        create(1, XRGB, 300, 300);
        scanout(0, 1, 0, 0, 300, 300);
        if (i == 0)
            g->head[0].resource = 2;
        else if (i == 1)
            g->head[0].rect.x = 1;
        else if (i == 2)
            g->head[0].hot_x = 64;
        w = viv_state_writer_new();
        viv_state_save(w, "x", &gpu_state, g);
        data = viv_state_writer_finish(w, &len);
        viv_state_writer_free(w);
        r = viv_state_reader_new(data, len);
        g->max_hostmem = i == 3 ? 300000 : VIV_MIB;
        g_assert_cmpint(viv_state_load(r, "x", &gpu_state, g, &err), <, 0);
        g_assert_cmpstr(err.text, !=, "");
        see(0); /* and it does not fall over it */
        viv_state_reader_free(r);
        g_free(data);
        teardown();
    }
}

/* More pictures than anybody would load again, and than 32 bits count: that is said, instead of a state. */
static void test_too_much_state(void)
{
    struct viv_state_writer *w = viv_state_writer_new();
    size_t len = 0;

    setup("max_hostmem=8G");
    for (unsigned i = 1; i <= 5; i++)
        g_assert_cmphex(create(i, XRGB, VIV_SURFACE_MOST, VIV_SURFACE_MOST), ==, VIRTIO_GPU_RESP_OK_NODATA);
    viv_state_save(w, "x", &gpu_state, d.v);
    g_assert_null(viv_state_writer_finish(w, &len));
    g_assert_cmpuint(len, >, 5 * VIV_GIB);
    viv_state_writer_free(w);
    teardown();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-gpu/picture", test_picture);
    g_test_add_func("/virtio-gpu/pieces", test_pieces);
    g_test_add_func("/virtio-gpu/formats", test_formats);
    g_test_add_func("/virtio-gpu/hostile", test_hostile);
    g_test_add_func("/virtio-gpu/fence", test_fence);
    g_test_add_func("/virtio-gpu/heads", test_heads);
    g_test_add_func("/virtio-gpu/no-edid", test_no_edid);
    g_test_add_func("/virtio-gpu/cursor", test_cursor);
    g_test_add_func("/virtio-gpu/held", test_held);
    g_test_add_func("/virtio-gpu/vga", test_vga);
    g_test_add_func("/virtio-gpu/vga-registers", test_vga_registers);
    g_test_add_func("/virtio-gpu/refused", test_refused);
    g_test_add_func("/virtio-gpu/state", test_state);
    g_test_add_func("/virtio-gpu/bad-state", test_bad_state);
    g_test_add_func("/virtio-gpu/too-much-state", test_too_much_state);
    return g_test_run();
}
