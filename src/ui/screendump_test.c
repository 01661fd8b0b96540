#include "ui/screendump.h"

#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <png.h>
#include <string.h>

static struct viv_console *console;

static void refresh(void *opaque)
{
    struct viv_surface *s;

    if (viv_console_surface(console))
        return;
    s = viv_surface_new(3, 2);
    for (unsigned i = 0; i < 6; i++)
        ((uint32_t *)s->pixels)[i] = 0xff000000u | 0x10u * (i + 1) << 16 | 0x20u * (i + 1) << 8 | 0x28u * (i + 1);
    viv_console_show(console, s);
}

static void nothing(void *opaque)
{
}

static void check(const uint8_t *rgb)
{
    for (unsigned i = 0; i < 6; i++)
        g_assert_true(rgb[3 * i] == 0x10 * (i + 1) && rgb[3 * i + 1] == 0x20 * (i + 1) &&
                      rgb[3 * i + 2] == 0x28 * (i + 1));
}

static void test_formats(void)
{
    static const struct viv_console_ops ops = {.refresh = refresh};
    struct viv_err err = VIV_ERR_INIT;
    g_autofree char *dir = g_dir_make_tmp("viv-dump-XXXXXX", NULL), *file = g_build_filename(dir, "p", NULL), *data;
    png_image image = {.version = PNG_IMAGE_VERSION};
    uint8_t rgb[18];
    gsize len;

    console = viv_console_new("c", 0, &ops, NULL);
    g_assert_cmpint(viv_screendump(console, file, VIV_PICTURE_PPM, &err), ==, 0);
    g_assert_true(g_file_get_contents(file, &data, &len, NULL));
    g_assert_cmpuint(len, ==, 11 + 18);
    g_assert_true(g_str_has_prefix(data, "P6\n3 2\n255\n"));
    check((uint8_t *)data + 11);
    g_assert_cmpint(viv_screendump(console, file, VIV_PICTURE_PNG, &err), ==, 0);
    g_assert_true(png_image_begin_read_from_file(&image, file));
    image.format = PNG_FORMAT_RGB;
    g_assert_true(image.width == 3 && image.height == 2);
    g_assert_true(png_image_finish_read(&image, NULL, rgb, 0, NULL));
    check(rgb);
    g_assert_cmpint(viv_screendump(console, dir, VIV_PICTURE_PPM, &err), <, 0);
    viv_err_clear(&err);
    g_assert_cmpint(viv_screendump(console, "/dev/full", VIV_PICTURE_PPM, &err), ==, -ENOSPC);
    viv_err_clear(&err);
    g_assert_cmpint(viv_screendump(console, "/dev/full", VIV_PICTURE_PNG, &err), <, 0);
    viv_console_free(console);
    g_unlink(file);
    g_rmdir(dir);
}

static void test_no_picture(void)
{
    static const struct viv_console_ops ops = {.refresh = nothing};
    struct viv_err err = VIV_ERR_INIT;

    console = viv_console_new("c", 0, &ops, NULL);
    g_assert_cmpint(viv_screendump(console, "/nowhere/x", VIV_PICTURE_PPM, &err), ==, -ENODATA);
    viv_console_free(console);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    viv_dev_lock();
    g_test_add_func("/screendump/formats", test_formats);
    g_test_add_func("/screendump/none", test_no_picture);
    return g_test_run();
}
