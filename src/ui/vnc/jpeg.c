/* JPEG for Tight, by libjpeg-turbo, which is loaded when a server is made with lossy=on. Any thread. */
#include "ui/vnc/vnc_int.h"

#include "host/library.h"

#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

#define JPEG_FUNCTIONS(_)                                                                                              \
    _(std_error) _(CreateCompress) _(mem_dest) _(set_defaults) _(set_quality) _(start_compress) _(write_scanlines)     \
    _(finish_compress) _(destroy_compress)

static struct {
#define MEMBER(name) typeof(jpeg_##name) *name;
    JPEG_FUNCTIONS(MEMBER)
#undef MEMBER
} jpeg;

bool vnc_jpeg_works(struct viv_err *err)
{
    static const struct viv_library_symbol symbols[] = {
#define SYMBOL(f) {"jpeg_" #f, offsetof(typeof(jpeg), f)},
        JPEG_FUNCTIONS(SYMBOL)
#undef SYMBOL
    };
    static struct viv_library library = {
        .need = "-vnc lossy=on needs",
        .title = "libjpeg-turbo",
        .package = "libjpeg62-turbo",
        .names = {"libjpeg.so.62"},
        .api = &jpeg,
        .symbols = symbols,
        .count = G_N_ELEMENTS(symbols),
        .lock = PTHREAD_MUTEX_INITIALIZER,
    };

    return viv_library_load(&library, err) == 0;
}

struct errors {
    struct jpeg_error_mgr mgr;
    jmp_buf out;
};

static void on_error(j_common_ptr info)
{
    longjmp(((struct errors *)info->err)->out, 1);
}

static void on_message(j_common_ptr info)
{
}

#define FULL_COLOUR 8 /* from there on colours are as fine as brightness */

/* The client's 0 to 9. */
static const uint8_t qualities[10] = {15, 29, 41, 49, 60, 70, 77, 84, 90, 95};

static bool compress(struct jpeg_compress_struct *j, const struct vnc_rect *r, int quality, unsigned char **file, unsigned long *len)
{
    jpeg.mem_dest(j, file, len);
    j->image_width = r->width;
    j->image_height = r->height;
    j->input_components = 4;
    j->in_color_space = JCS_EXT_BGRX;
    jpeg.set_defaults(j);
    jpeg.set_quality(j, qualities[CLAMP(quality, 0, 9)], TRUE);
    if (quality >= FULL_COLOUR)
        j->comp_info[0].h_samp_factor = j->comp_info[0].v_samp_factor = 1; /* 4:4:4 */
    jpeg.start_compress(j, TRUE);
    for (unsigned y = 0; y < r->height; y++) {
        JSAMPROW row = (JSAMPROW)(r->pixels + y * r->stride);

        jpeg.write_scanlines(j, &row, 1);
    }
    jpeg.finish_compress(j);
    return true;
}

bool vnc_jpeg(const struct vnc_rect *r, int quality, GByteArray *out)
{
    struct jpeg_compress_struct j = {0};
    unsigned char *volatile file = NULL;
    unsigned long len = 0;
    struct errors e;
    volatile bool ok = false;

    if (!vnc_jpeg_works(NULL))
        return false;
    j.err = jpeg.std_error(&e.mgr);
    e.mgr.error_exit = on_error;
    e.mgr.output_message = on_message;
    if (!setjmp(e.out)) {
        jpeg.CreateCompress(&j, JPEG_LIB_VERSION, sizeof(j));
        ok = compress(&j, r, quality, (unsigned char **)&file, &len);
    }
    jpeg.destroy_compress(&j);
    if (ok)
        g_byte_array_append(out, file, (guint)len);
    free(file);
    return ok;
}
