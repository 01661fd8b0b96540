/* ramfb: a screen that lies in the guest's RAM. Firmware writes where, and what it is like, to the fw_cfg file etc/ramfb: address
 * (64 bits), DRM fourcc of the format, flags (none), width, height, bytes a line (32 bits each), all big-endian.
 *
 * The pixels are compared with what was shown, a line at a time: RAM has no dirty log for a range. An idle screen of 1280x800 costs half a
 * millisecond five times a second while somebody looks, and nothing while nobody does.
 * Left out: formats other than XR24 and AR24 (a screen in another one is dark). */
#include "base/bytes.h"
#include "base/log.h"
#include "base/units.h"
#include "dev/misc/fw_cfg.h"
#include "host/datadir.h"
#include "mem/dma.h"
#include "ui/console.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define ROM     "vgabios-ramfb.bin"
#define ROM_MAX (128 * VIV_KIB)
#define XR24    0x34325258 /* x8r8g8b8, little-endian */
#define AR24    0x34325241

enum { ADDR = 0, FOURCC = 8, FLAGS = 12, WIDTH = 16, HEIGHT = 20, STRIDE = 24, CONFIG_SIZE = 28 };

struct ramfb {
    struct viv_dev dev;
    uint8_t config[CONFIG_SIZE]; /* as the guest wrote it */
    struct viv_console *console;
    bool moved;            /* config is not what is shown */
    const uint8_t *pixels; /* NULL: none */
    uint32_t stride;
};

/* Where the pixels are, if all of them are in RAM in one piece on the host, which they are unless the guest plays tricks. */
static const uint8_t *find_pixels(struct ramfb *f, uint32_t width, uint32_t height)
{
    uint64_t gpa = viv_ld_be64(f->config + ADDR), need = (uint64_t)f->stride * (height - 1) + width * 4ull, len = need;
    const uint8_t *p = viv_dma_map(f->dev.board->mem, gpa, &len, false);

    if (p)
        viv_dma_unmap((void *)p, len, 0); /* RAM stays where it is for ever */
    return p && len == need ? p : NULL;
}

static struct viv_surface *take_config(struct ramfb *f)
{
    const uint8_t *c = f->config;
    uint32_t fourcc = viv_ld_be32(c + FOURCC), width = viv_ld_be32(c + WIDTH), height = viv_ld_be32(c + HEIGHT);

    f->pixels = NULL;
    f->stride = viv_ld_be32(c + STRIDE);
    if (!width || !height) /* not set yet */
        return NULL;
    if (!f->stride)
        f->stride = width * 4;
    if ((fourcc != XR24 && fourcc != AR24) || width > VIV_SURFACE_MOST || height > VIV_SURFACE_MOST || f->stride < width * 4) {
        viv_guest_error("ramfb", "a screen of %ux%u, %u bytes a line, format 0x%x", width, height, f->stride, fourcc);
        return NULL;
    }
    f->pixels = find_pixels(f, width, height);
    if (!f->pixels) {
        viv_guest_error("ramfb", "a screen at 0x%llx, which is not RAM", (unsigned long long)viv_ld_be64(c + ADDR));
        return NULL;
    }
    return viv_surface_new(width, height);
}

static void compare(struct ramfb *f, const struct viv_surface *s)
{
    uint32_t first = 0, count = 0;
    size_t line = (size_t)s->width * 4;

    for (uint32_t y = 0; y < s->height; y++) {
        const uint8_t *from = f->pixels + (size_t)y * f->stride;
        uint8_t *to = s->pixels + y * s->stride;

        if (memcmp(to, from, line)) {
            memcpy(to, from, line);
            first = count++ ? first : y;
        } else if (count) {
            viv_console_changed(f->console, 0, first, s->width, count);
            count = 0;
        }
    }
    if (count)
        viv_console_changed(f->console, 0, first, s->width, count);
}

static void refresh(void *opaque)
{
    struct ramfb *f = opaque;
    const struct viv_surface *s;

    if (f->moved)
        viv_console_show(f->console, take_config(f));
    f->moved = false;
    s = viv_console_surface(f->console);
    if (s && f->pixels)
        compare(f, s);
}

/* The guest writes all of it at once; one that does not has a dark screen in between. */
static void written(void *opaque)
{
    struct ramfb *f = opaque;

    f->moved = true;
    viv_console_awake(f->console);
}

/* For SeaBIOS, which runs what is in vgaroms/. */
static int add_rom(struct viv_dev *fw_cfg, struct viv_err *err)
{
    g_autofree uint8_t *data = NULL;
    struct viv_err why = VIV_ERR_INIT;
    size_t len;

    if (viv_datadir_read(ROM, ROM_MAX, &data, &len, &why) < 0) {
        viv_warn("ramfb: %s; a BIOS does not see it, UEFI firmware does", why.text);
        return 0;
    }
    return viv_fw_cfg_add_file(fw_cfg, "vgaroms/" ROM, data, len, NULL, err);
}

static int realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_console_ops ops = {.refresh = refresh};
    struct ramfb *f = (struct ramfb *)d;
    struct viv_dev *fw_cfg = viv_fw_cfg_find();
    int r;

    if (!fw_cfg)
        return viv_fail(err, ENODEV, "%s: this machine has no fw_cfg device, by which firmware finds it; -M pc and q35 have one",
                        d->cls->name);
    if (viv_fw_cfg_has_file(fw_cfg, "etc/ramfb"))
        return viv_fail(err, EEXIST, "%s: there is one already", d->cls->name);
    r = d->board->runs_firmware ? add_rom(fw_cfg, err) : 0;
    if (r < 0)
        return r;
    f->console = viv_console_new(d->id ? d->id : d->cls->name, 0, &ops, f);
    r = viv_fw_cfg_add_writable(fw_cfg, "etc/ramfb", f->config, CONFIG_SIZE, written, f, err);
    if (r < 0)
        viv_console_free(f->console);
    return r;
}

static void unrealize(struct viv_dev *d)
{
    viv_console_free(((struct ramfb *)d)->console);
}

static void reset(struct viv_dev *d)
{
    struct ramfb *f = (struct ramfb *)d;

    memset(f->config, 0, sizeof(f->config));
    f->moved = true;
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    ((struct ramfb *)obj)->moved = true; /* sizes are checked when it is looked at, as when they are the guest's */
    return 0;
}

static const struct viv_state_table state = {
    .name = "ramfb",
    .ctype = "ramfb",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(ramfb, dev),
            VIV_F_BYTES(ramfb, config),
            VIV_F_CONFIG(ramfb, console),
            VIV_F_DERIVED(ramfb, moved, "the next refresh looks at the configuration"),
            VIV_F_DERIVED(ramfb, pixels, "from the configuration"),
            VIV_F_DERIVED(ramfb, stride, "from the configuration"),
            VIV_F_END,
        },
    .post_load = post_load,
};

const struct viv_dev_class viv_dev_ramfb = {
    .name = "ramfb",
    .desc = "a screen in the guest's RAM, for firmware",
    .bus = VIV_BUS_NONE,
    .size = sizeof(struct ramfb),
    .state = &state,
    .realize = realize,
    .reset = reset,
    .unrealize = unrealize,
};
