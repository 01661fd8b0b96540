/* The guest's picture and its pointer as textures. Rows that have changed are read from the surface, which may be guest memory. */
#include "ui/window/sdl_int.h"

#include <stdlib.h>

static bool make_texture(struct sdl *s, unsigned width, unsigned height)
{
    if (s->texture)
        SDL_DestroyTexture(s->texture);
    s->width = s->height = 0;
    s->texture = SDL_CreateTexture(s->renderer, SDL_PIXELFORMAT_RGB888, SDL_TEXTUREACCESS_STREAMING, (int)width, (int)height);
    if (!s->texture) {
        s->host->warn("-display sdl: a picture of %ux%u cannot be shown: %s", width, height, SDL_GetError());
        return false;
    }
    s->width = width;
    s->height = height;
    return true;
}

static bool row_changed(const struct viv_look_news *n, unsigned y)
{
    return n->rows[y / VIV_LOOK_WORD_BITS] >> y % VIV_LOOK_WORD_BITS & 1;
}

static void upload(struct sdl *s, unsigned from, unsigned to)
{
    const struct viv_surface *p = s->news.look.surface;
    SDL_Rect r = {0, (int)from, (int)p->width, (int)(to - from)};

    SDL_UpdateTexture(s->texture, &r, p->pixels + from * p->stride, (int)p->stride);
    s->draw = true;
}

void sdl_take_picture(struct sdl *s)
{
    struct viv_look_news *n = &s->news.look;
    const struct viv_surface *p = n->surface;

    if (n->new_surface)
        s->draw = true;
    if (!p || n->first > n->last || (n->new_surface && (p->width != s->width || p->height != s->height) && !make_texture(s, p->width, p->height)))
        return;
    if (!s->texture || p->width != s->width || p->height != s->height)
        return;
    for (unsigned y = n->first; y <= n->last && y < p->height;) {
        unsigned end = y;

        while (end <= n->last && end < p->height && row_changed(n, end))
            end++;
        if (end > y)
            upload(s, y, end);
        y = end + 1;
    }
}

/* The renderer has lost what it had. */
void sdl_lose_textures(struct sdl *s)
{
    const struct viv_surface *p = s->news.look.surface;

    if (s->texture)
        SDL_DestroyTexture(s->texture);
    s->texture = NULL;
    s->width = s->height = 0;
    if (p && make_texture(s, p->width, p->height))
        upload(s, 0, p->height);
    sdl_take_cursor(s);
}

/* SDL wants colours that are not multiplied with how much they cover. */
static SDL_Surface *cursor_surface(const struct viv_cursor *c)
{
    SDL_Surface *out = SDL_CreateRGBSurfaceWithFormat(0, (int)c->width, (int)c->height, 32, SDL_PIXELFORMAT_ARGB8888);

    for (unsigned i = 0; out && i < c->width * c->height; i++) {
        uint32_t px = c->pixels[i], alpha = px >> 24, to = alpha << 24;

        for (unsigned shift = 0; alpha && shift < 24; shift += 8)
            to |= SDL_min((px >> shift & 255) * 255 / alpha, 255) << shift;
        ((uint32_t *)((uint8_t *)out->pixels + i / c->width * (unsigned)out->pitch))[i % c->width] = to;
    }
    return out;
}

void sdl_take_cursor(struct sdl *s)
{
    const struct viv_cursor *c = s->news.look.cursor;
    SDL_Surface *pixels = c && c->width && c->height ? cursor_surface(c) : NULL;

    if (s->shape)
        SDL_FreeCursor(s->shape);
    if (s->sprite)
        SDL_DestroyTexture(s->sprite);
    s->shape = NULL;
    s->sprite = NULL;
    if (pixels) {
        s->shape = SDL_CreateColorCursor(pixels, (int)SDL_min(c->hot_x, c->width - 1), (int)SDL_min(c->hot_y, c->height - 1));
        s->sprite = SDL_CreateTextureFromSurface(s->renderer, pixels);
        SDL_FreeSurface(pixels);
    }
    sdl_show_cursor(s);
    s->draw = true;
}

/* The picture in the middle of the window, as large as fits with its proportions. */
static void place(struct sdl *s)
{
    int w, h;

    SDL_GetRendererOutputSize(s->renderer, &w, &h);
    s->at = (SDL_Rect){0, 0, w, h};
    if (!s->width || !w || !h)
        return;
    if ((int64_t)w * s->height > (int64_t)h * s->width)
        s->at.w = (int)((int64_t)h * s->width / s->height);
    else
        s->at.h = (int)((int64_t)w * s->height / s->width);
    s->at.x = (w - s->at.w) / 2;
    s->at.y = (h - s->at.h) / 2;
}

static void draw_pointer(struct sdl *s)
{
    const struct viv_look_news *n = &s->news.look;
    const struct viv_cursor *c = n->cursor;
    SDL_Rect r;

    if (!s->sprite || !c || !n->cursor_visible || s->news.absolute)
        return;
    r = (SDL_Rect){s->at.x + n->cursor_x * s->at.w / (int)s->width, s->at.y + n->cursor_y * s->at.h / (int)s->height,
                   (int)c->width * s->at.w / (int)s->width, (int)c->height * s->at.h / (int)s->height};
    SDL_RenderCopy(s->renderer, s->sprite, NULL, &r);
}

void sdl_draw(struct sdl *s)
{
    s->draw = false;
    place(s);
    SDL_SetRenderDrawColor(s->renderer, 0, 0, 0, 255);
    SDL_RenderClear(s->renderer);
    if (s->texture && s->news.look.surface) {
        SDL_RenderCopy(s->renderer, s->texture, NULL, &s->at);
        draw_pointer(s);
    }
    SDL_RenderPresent(s->renderer);
}
