/* ramfb: configured through fw_cfg as firmware does, right and wrong screens, what has changed, saved state. */
#include "base/bytes.h"
#include "dev/misc/fw_cfg.h"
#include "dev/test_rig.h"
#include "host/lock.h"
#include "ui/console.h"

#include <glib.h>
#include <string.h>

extern const struct viv_dev_class viv_dev_fw_cfg, viv_dev_ramfb;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_fw_cfg, &viv_dev_ramfb, NULL};

#define RAM    (4u << 20)
#define PIXELS 0x100000u
#define XR24   0x34325258

static struct viv_console *console;
static unsigned changes, first, lines, shown;

static void on_shown(void *opaque, const struct viv_surface *s)
{
    shown++;
}

static void on_changed(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height)
{
    first = y;
    lines = height;
    changes++;
}

static void on_gone(void *opaque)
{
}

static const struct viv_surface *see(void)
{
    const struct viv_surface *s;

    changes = shown = 0;
    viv_dev_lock();
    viv_console_refresh(console);
    s = viv_console_surface(console);
    viv_dev_unlock();
    return s;
}

static void begin(void)
{
    static const struct viv_viewer_ops ops = {.shown = on_shown, .changed = on_changed, .gone = on_gone};

    rig_init();
    rig_add_ram(RAM);
    rig_add("fw_cfg", NULL);
    rig_add("ramfb", NULL);
    viv_dev_lock();
    console = viv_console_find("ramfb", 0);
    viv_viewer_new(console, &ops, NULL);
    viv_dev_unlock();
}

/* As firmware: finds the file, writes `len` bytes at `skip` by DMA. Returns the control word it is answered with. */
static uint32_t dma_write(uint32_t skip, const void *data, uint32_t len)
{
    uint32_t count, key = 0;

    out16(0x510, VIV_FW_CFG_FILE_DIR);
    for (unsigned i = count = 0; i < 4; i++)
        count = count << 8 | in8(0x511);
    for (; count; count--) {
        uint8_t entry[64];

        for (unsigned i = 0; i < 64; i++)
            entry[i] = in8(0x511);
        if (!strcmp((char *)entry + 8, "etc/ramfb"))
            key = viv_ld_be16(entry + 4);
    }
    g_assert_cmpuint(key, >=, VIV_FW_CFG_FILE_FIRST);
    for (unsigned i = 0; i < len; i++)
        viv_space_write(rig.board.mem, 0x2000 + i, ((const uint8_t *)data)[i], 1);
    set_mem32(0x1000, GUINT32_SWAP_LE_BE(key << 16 | 0x08 | 0x04)); /* select, skip */
    set_mem32(0x1004, GUINT32_SWAP_LE_BE(skip));
    set_mem64(0x1008, 0);
    out32(0x514, 0);
    out32(0x518, GUINT32_SWAP_LE_BE(0x1000));
    set_mem32(0x1000, GUINT32_SWAP_LE_BE(0x10)); /* write */
    set_mem32(0x1004, GUINT32_SWAP_LE_BE(len));
    set_mem64(0x1008, GUINT64_SWAP_LE_BE(0x2000ull));
    out32(0x518, GUINT32_SWAP_LE_BE(0x1000));
    return GUINT32_SWAP_LE_BE(mem32(0x1000));
}

static uint32_t configure(uint64_t at, uint32_t fourcc, uint32_t width, uint32_t height, uint32_t stride)
{
    uint8_t c[28] = {0};

    viv_st_be64(c, at);
    viv_st_be32(c + 8, fourcc);
    viv_st_be32(c + 16, width);
    viv_st_be32(c + 20, height);
    viv_st_be32(c + 24, stride);
    return dma_write(0, c, sizeof(c));
}

static void test_screen(void)
{
    const struct viv_surface *s;

    begin();
    g_assert_null(see());
    set_mem32(PIXELS + 5 * 512 + 4 * 7, 0x112233);
    g_assert_cmphex(configure(PIXELS, XR24, 100, 50, 512), ==, 0);
    s = see();
    g_assert_cmpuint(s->width * 1000 + s->height, ==, 100050);
    g_assert_cmphex(viv_ld_le32(s->pixels + 5 * s->stride + 4 * 7), ==, 0x112233);
    g_assert_true(see() == s && !changes && !shown); /* idle */
    set_mem32(PIXELS + 10 * 512, 1);
    set_mem32(PIXELS + 11 * 512 + 4 * 99, 2);
    set_mem32(PIXELS + 12 * 512 + 4 * 100, 3); /* beside the screen */
    set_mem32(PIXELS + 49 * 512, 4);
    see();
    g_assert_cmpuint(changes, ==, 2);
    g_assert_cmpuint(first * 100 + lines, ==, 4901);
    g_assert_cmphex(viv_ld_le32(s->pixels + 11 * s->stride + 4 * 99), ==, 2);
    g_assert_cmphex(configure(PIXELS, XR24, 64, 32, 0), ==, 0); /* lines without gaps */
    s = see();
    set_mem32(PIXELS + 3 * 256 + 4, 0x445566);
    see();
    g_assert_cmphex(viv_ld_le32(s->pixels + 3 * s->stride + 4), ==, 0x445566);
    viv_dev_lock();
    viv_dev_reset_all();
    viv_dev_unlock();
    g_assert_null(see());
    rig_fini();
}

static void test_hostile(void)
{
    uint8_t byte = 1;

    begin();
    g_assert_cmphex(dma_write(28, &byte, 1), ==, 1); /* past its end */
    g_assert_cmphex(dma_write(27, "ab", 2), ==, 1);
    g_assert_cmphex(dma_write(UINT32_MAX, &byte, 1), ==, 1);
    g_assert_cmphex(dma_write(28, NULL, 0), ==, 0); /* nothing, at its end */
    g_assert_null(see());
    configure(PIXELS, XR24, 16385, 1, 0);
    g_assert_null(see());
    configure(PIXELS, XR24, 1, UINT32_MAX, 4);
    g_assert_null(see());
    configure(PIXELS, XR24, 0x40000001, 1, 0);
    g_assert_null(see());
    configure(PIXELS, XR24, 16, 16, 63);
    g_assert_null(see());
    configure(PIXELS, 0x36314752, 16, 16, 0); /* RG16 */
    g_assert_null(see());
    configure(RAM - 16 * 64 + 4, XR24, 16, 16, 0); /* the last pixel is outside */
    g_assert_null(see());
    configure(RAM - 16 * 64, XR24, 16, 16, 0);
    g_assert_nonnull(see());
    configure(PIXELS, XR24, 16, 16, UINT32_MAX);
    g_assert_null(see());
    configure(UINT64_MAX - 15, XR24, 16, 16, 0);
    g_assert_null(see());
    configure(PIXELS, XR24, 16, 0, 0);
    g_assert_null(see());
    g_assert_cmphex(dma_write(20, "\0\0\0\20", 4), ==, 0); /* a part of it */
    g_assert_nonnull(see());
    rig_refused("ramfb", NULL, "already");
    rig_fini();
    rig_init();
    rig_refused("ramfb", NULL, "no fw_cfg");
    rig_fini();
}

static void test_state(void)
{
    const struct viv_surface *s;
    uint8_t *data;
    size_t len;

    begin();
    configure(PIXELS, XR24, 16, 16, 0);
    set_mem32(PIXELS, 0x123456);
    data = rig_save(&len);
    viv_dev_lock();
    viv_dev_reset_all();
    viv_dev_unlock();
    g_assert_null(see());
    rig_load(data, len);
    s = see();
    g_assert_nonnull(s);
    g_assert_cmphex(viv_ld_le32(s->pixels), ==, 0x123456);
    g_free(data);
    rig_fini();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ramfb/screen", test_screen);
    g_test_add_func("/ramfb/hostile", test_hostile);
    g_test_add_func("/ramfb/state", test_state);
    return g_test_run();
}
