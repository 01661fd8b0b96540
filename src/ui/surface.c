#include "ui/console.h"

#include <glib.h>

static bool fits(unsigned width, unsigned height)
{
    return width && height && width <= VIV_SURFACE_MOST && height <= VIV_SURFACE_MOST;
}

struct viv_surface *viv_surface_new(unsigned width, unsigned height)
{
    struct viv_surface *s;
    uint8_t *pixels;

    if (!fits(width, height))
        return NULL;
    /* Sizes are the guest's: 1 GiB at most, and that may not be there. */
    pixels = g_try_malloc0((size_t)width * height * 4);
    if (!pixels)
        return NULL;
    s = viv_surface_over(pixels, width, height, (size_t)width * 4);
    s->own = true;
    return s;
}

struct viv_surface *viv_surface_over(void *pixels, unsigned width, unsigned height, size_t stride)
{
    struct viv_surface *s;

    if (!fits(width, height) || stride < (size_t)width * 4)
        return NULL;
    s = g_new0(struct viv_surface, 1);
    *s = (struct viv_surface){.width = width, .height = height, .stride = stride, .pixels = pixels, .refs = 1};
    return s;
}

struct viv_surface *viv_surface_part(const struct viv_surface *of, unsigned x, unsigned y, unsigned width, unsigned height)
{
    struct viv_surface *s;

    if (x > of->width || width > of->width - x || y > of->height || height > of->height - y)
        return NULL;
    s = viv_surface_over(of->pixels + y * of->stride + (size_t)x * 4, width, height, of->stride);
    if (s)
        s->of = viv_surface_get(of);
    return s;
}

struct viv_surface *viv_surface_get(const struct viv_surface *s)
{
    struct viv_surface *mine = (struct viv_surface *)s;

    if (mine)
        __atomic_add_fetch(&mine->refs, 1, __ATOMIC_RELAXED);
    return mine;
}

void viv_surface_put(struct viv_surface **ref)
{
    struct viv_surface *s = *ref;

    *ref = NULL;
    if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL))
        return;
    if (s->own)
        g_free(s->pixels);
    viv_surface_put(&s->of);
    g_free(s);
}
