/* PPM (P6) by hand, PNG by libpng's simplified interface, which is loaded when first needed. */
#include "ui/screendump.h"

#include "host/library.h"
#include "host/lock.h"
#include "host/open.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <png.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct {
    int (*write)(png_imagep image, FILE *file, int convert_to_8bit, const void *buffer, png_int_32 stride,
                 const void *colormap);
    void (*free)(png_imagep image);
} png;

static int load_png(struct viv_err *err)
{
    static const struct viv_library_symbol symbols[] = {
        {"png_image_write_to_stdio", 0},
        {"png_image_free", sizeof(void *)},
    };
    static struct viv_library library = {
        .need = "PNG pictures need",
        .title = "libpng",
        .package = "libpng16-16",
        .names = {"libpng16.so.16"},
        .api = &png,
        .symbols = symbols,
        .count = G_N_ELEMENTS(symbols),
        .lock = PTHREAD_MUTEX_INITIALIZER,
    };

    return viv_library_load(&library, err);
}

/* A copy: the guest draws, or has another mode, while it is written. */
struct picture {
    unsigned width, height;
    uint8_t *rgb;
};

/* Red, green, blue. */
static uint8_t *copy_pixels(const struct viv_surface *s)
{
    uint8_t *rgb = g_try_malloc((size_t)s->width * s->height * 3), *to = rgb;

    for (unsigned y = 0; rgb && y < s->height; y++) {
        const uint8_t *from = s->pixels + y * s->stride;

        for (unsigned x = 0; x < s->width; x++, from += 4, to += 3) {
            to[0] = from[2];
            to[1] = from[1];
            to[2] = from[0];
        }
    }
    return rgb;
}

static int write_ppm(FILE *f, const struct picture *p)
{
    size_t size = (size_t)p->width * p->height * 3;

    errno = 0;
    if (fprintf(f, "P6\n%u %u\n255\n", p->width, p->height) < 0 || fwrite(p->rgb, 1, size, f) != size)
        return errno ? -errno : -EIO;
    return 0;
}

static int write_png(FILE *f, const struct picture *p)
{
    png_image image = {.version = PNG_IMAGE_VERSION, .width = p->width, .height = p->height, .format = PNG_FORMAT_RGB};
    int ok;

    errno = 0;
    ok = png.write(&image, f, 0, p->rgb, 0, NULL);
    png.free(&image);
    return ok ? 0 : errno ? -errno : -EIO;
}

static int write_file(const char *path, enum viv_picture format, const struct picture *p, struct viv_err *err)
{
    int fd = viv_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666, err), r;
    FILE *f;

    if (fd < 0)
        return fd;
    f = fdopen(fd, "wb");
    if (!f) {
        r = -errno;
        close(fd);
    } else {
        r = format == VIV_PICTURE_PNG ? write_png(f, p) : write_ppm(f, p);
        if (fclose(f) != 0 && r == 0)
            r = -errno;
    }
    return r < 0 ? viv_fail_os(err, -r, "%s: cannot write the picture", path) : 0;
}

int viv_screendump(struct viv_console *c, const char *path, enum viv_picture format, struct viv_err *err)
{
    int r = format == VIV_PICTURE_PNG ? load_png(err) : 0;
    const struct viv_surface *s;
    struct picture p;

    if (r < 0)
        return r;
    viv_console_refresh(c);
    s = viv_console_surface(c);
    if (!s)
        return viv_fail(err, ENODATA, "screen %u (%s) shows nothing now", viv_console_number(c), viv_console_name(c));
    p = (struct picture){s->width, s->height, copy_pixels(s)};
    if (!p.rgb)
        return viv_fail(err, ENOMEM, "no memory for a picture of %ux%u", s->width, s->height);
    viv_dev_unlock();
    r = write_file(path, format, &p, err);
    viv_dev_lock();
    g_free(p.rgb);
    return r;
}
