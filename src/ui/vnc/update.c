/* Framebuffer updates: which tiles a client lacks, as rectangles in its encoding. VNC thread.
 *
 * A client has one update under way. It stops at SLICE_NS of encoding or SLICE_BYTES; the rest stays dirty for the next request, so
 * that a client that draws much takes its turn like the others. While UNSENT_MOST bytes wait for the network nothing is encoded for
 * it: frames are skipped, and what it gets is always the newest. */
#include "ui/vnc/vnc_int.h"

#include "base/bytes.h"
#include "host/clock.h"

#include <string.h>

#define SLICE_NS    20000000
#define SLICE_BYTES (4u << 20)
#define UNSENT_MOST (64u << 10)
#define RECTS_MOST  60000
#define RUN_ROWS    8 /* tiles below each other that become one rectangle */
#define LONG_BITS   (8 * sizeof(long))

/* ---- dirty tiles ---- */

static unsigned long *tile_word(const struct vnc_client *c, unsigned tx, unsigned ty, unsigned long *bit)
{
    unsigned n = ty * c->tiles_x + tx;

    *bit = 1ul << n % LONG_BITS;
    return &c->dirty[n / LONG_BITS];
}

static bool is_dirty(const struct vnc_client *c, unsigned tx, unsigned ty)
{
    unsigned long bit;

    return *tile_word(c, tx, ty, &bit) & bit;
}

void vnc_view_dirty(struct vnc_client *c, unsigned x, unsigned y, unsigned width, unsigned height)
{
    unsigned long bit;

    if (x >= c->width || y >= c->height || !width || !height)
        return;
    width = MIN(width, c->width - x);
    height = MIN(height, c->height - y);
    for (unsigned ty = y / VNC_TILE_H; ty <= (y + height - 1) / VNC_TILE_H; ty++) {
        for (unsigned tx = x / VNC_TILE_W; tx <= (x + width - 1) / VNC_TILE_W; tx++) {
            unsigned long *word = tile_word(c, tx, ty, &bit);

            *word |= bit;
        }
    }
}

void vnc_view_resize(struct vnc_client *c)
{
    struct vnc_server *s = c->server;
    bool first = !c->dirty;

    if (first || ((c->can & (VNC_CAN_RESIZE | VNC_CAN_EXT_RESIZE)) && (c->width != s->width || c->height != s->height))) {
        c->due_size = !first;
        c->width = s->width;
        c->height = s->height;
        c->tiles_x = (c->width + VNC_TILE_W - 1) / VNC_TILE_W;
        c->tiles_y = (c->height + VNC_TILE_H - 1) / VNC_TILE_H;
        c->dirty_words = (unsigned)((c->tiles_x * c->tiles_y + LONG_BITS - 1) / LONG_BITS);
        g_free(c->dirty);
        c->dirty = g_new0(unsigned long, c->dirty_words);
        c->placed = false;
    }
    vnc_view_dirty(c, 0, 0, c->width, c->height);
}

/* ---- what the client can do ---- */

static unsigned can_of(int32_t encoding)
{
    switch (encoding) {
    case RFB_ENC_DESKTOP_SIZE:
        return VNC_CAN_RESIZE;
    case RFB_ENC_EXT_DESKTOP_SIZE:
        return VNC_CAN_EXT_RESIZE;
    case RFB_ENC_CURSOR:
        return VNC_CAN_CURSOR;
    case RFB_ENC_ALPHA_CURSOR:
        return VNC_CAN_ALPHA_CURSOR;
    case RFB_ENC_POINTER_TYPE:
        return VNC_CAN_POINTER_TYPE;
    case RFB_ENC_EXT_KEY:
        return VNC_CAN_EXT_KEY;
    case RFB_ENC_LED_STATE:
        return VNC_CAN_LED;
    case RFB_ENC_DESKTOP_NAME:
        return VNC_CAN_NAME;
    case RFB_ENC_EXT_CLIPBOARD:
        return VNC_CAN_CLIP;
    default:
        return 0;
    }
}

void vnc_set_encodings(struct vnc_client *c, const uint8_t *list, unsigned count)
{
    unsigned had = c->can, gained;
    bool chosen = false;

    c->can = 0;
    c->encoding = RFB_ENC_RAW;
    c->quality = -1;
    for (unsigned i = 0; i < count; i++) {
        int32_t e = (int32_t)viv_ld_be32(list + 4 * i);

        c->can |= can_of(e);
        if (!chosen && (e == RFB_ENC_RAW || e == RFB_ENC_ZRLE || e == RFB_ENC_TIGHT)) {
            c->encoding = e;
            chosen = true;
        }
        if (e >= RFB_ENC_QUALITY_0 && e <= RFB_ENC_QUALITY_0 + 9)
            c->quality = c->server->lossy ? e - RFB_ENC_QUALITY_0 : -1;
        if (e >= RFB_ENC_LEVEL_0 && e <= RFB_ENC_LEVEL_0 + 9)
            c->level = e - RFB_ENC_LEVEL_0;
    }
    gained = c->can & ~had;
    c->due_ext_key |= (gained & VNC_CAN_EXT_KEY) != 0;
    c->due_name |= (gained & VNC_CAN_NAME) != 0;
    c->due_ext_size |= (gained & VNC_CAN_EXT_RESIZE) != 0;
    if (gained & (VNC_CAN_POINTER_TYPE | VNC_CAN_LED))
        c->told_state = false;
    if (gained & (VNC_CAN_CURSOR | VNC_CAN_ALPHA_CURSOR))
        c->cursor_version = 0;
    if (gained & VNC_CAN_CLIP)
        vnc_clip_hello(c);
    if (gained & (VNC_CAN_RESIZE | VNC_CAN_EXT_RESIZE))
        vnc_view_resize(c);
}

/* ---- rectangles ---- */

/* The pixels of it: the server's, or, where a client's screen is larger than that, a copy with black around. */
static void find_pixels(struct vnc_client *c, struct vnc_rect *r, uint32_t **copy)
{
    struct vnc_server *s = c->server;

    if (r->x + r->width <= s->width && r->y + r->height <= s->height) {
        r->pixels = s->pixels + (size_t)r->y * s->stride + r->x;
        r->stride = s->stride;
        return;
    }
    *copy = g_new0(uint32_t, (size_t)r->width * r->height);
    for (unsigned y = 0; y < r->height && r->y + y < s->height && r->x < s->width; y++)
        memcpy(*copy + (size_t)y * r->width, s->pixels + (size_t)(r->y + y) * s->stride + r->x,
               MIN(r->width, s->width - r->x) * sizeof(uint32_t));
    r->pixels = *copy;
    r->stride = r->width;
}

static unsigned encode(struct vnc_client *c, struct vnc_rect *r)
{
    g_autofree uint32_t *copy = NULL;

    find_pixels(c, r, &copy);
    switch (c->encoding) {
    case RFB_ENC_ZRLE:
        return vnc_encode_zrle(c, r);
    case RFB_ENC_TIGHT:
        return vnc_encode_tight(c, r);
    default:
        return vnc_encode_raw(c, r);
    }
}

void vnc_rect_head(struct vnc_client *c, unsigned x, unsigned y, unsigned width, unsigned height, int32_t encoding)
{
    vnc_put_u16(c, x);
    vnc_put_u16(c, y);
    vnc_put_u16(c, width);
    vnc_put_u16(c, height);
    vnc_put_u32(c, (uint32_t)encoding);
}

unsigned vnc_encode_raw(struct vnc_client *c, const struct vnc_rect *r)
{
    size_t line = (size_t)r->width * c->format.bytes, at;

    vnc_rect_head(c, r->x, r->y, r->width, r->height, RFB_ENC_RAW);
    at = c->out->len;
    g_byte_array_set_size(c->out, (guint)(at + line * r->height));
    for (unsigned y = 0; y < r->height; y++)
        vnc_pixels(&c->format, r->pixels + y * r->stride, r->width, c->out->data + at + y * line);
    return 1;
}

/* The tiles from (tx, ty) on that are dirty beside and below each other; they count as clean from now on. */
static void take_run(struct vnc_client *c, unsigned tx, unsigned ty, unsigned end_x, unsigned end_y, struct vnc_rect *r)
{
    unsigned nx = 1, ny = 1;
    unsigned long bit;

    while (tx + nx < end_x && is_dirty(c, tx + nx, ty))
        nx++;
    for (bool all = true; all && ty + ny < end_y && ny < RUN_ROWS; ny += all) {
        for (unsigned x = tx; x < tx + nx && all; x++)
            all = is_dirty(c, x, ty + ny);
    }
    for (unsigned y = ty; y < ty + ny; y++) {
        for (unsigned x = tx; x < tx + nx; x++) {
            unsigned long *word = tile_word(c, x, y, &bit);

            *word &= ~bit;
        }
    }
    r->x = tx * VNC_TILE_W;
    r->y = ty * VNC_TILE_H;
    r->width = MIN(nx * VNC_TILE_W, c->width - r->x);
    r->height = MIN(ny * VNC_TILE_H, c->height - r->y);
}

struct area {
    unsigned x0, y0, x1, y1; /* tiles */
};

static struct area asked_tiles(const struct vnc_client *c)
{
    struct area a = {c->ask_x0 / VNC_TILE_W, c->ask_y0 / VNC_TILE_H, 0, 0};

    a.x1 = (MIN(c->ask_x1, c->width) + VNC_TILE_W - 1) / VNC_TILE_W;
    a.y1 = (MIN(c->ask_y1, c->height) + VNC_TILE_H - 1) / VNC_TILE_H;
    return a;
}

static bool any_dirty(const struct vnc_client *c)
{
    struct area a = asked_tiles(c);

    for (unsigned i = 0; i < c->dirty_words; i++) {
        if (c->dirty[i])
            break;
        if (i == c->dirty_words - 1)
            return false;
    }
    for (unsigned ty = a.y0; ty < a.y1; ty++) {
        for (unsigned tx = a.x0; tx < a.x1; tx++) {
            if (is_dirty(c, tx, ty))
                return true;
        }
    }
    return false;
}

static unsigned put_tiles(struct vnc_client *c)
{
    int64_t end = viv_clock_ns(VIV_CLOCK_HOST) + SLICE_NS;
    struct area a = asked_tiles(c);
    guint start = c->out->len;
    unsigned count = 0;

    for (unsigned ty = a.y0; ty < a.y1; ty++) {
        for (unsigned tx = a.x0; tx < a.x1; tx++) {
            struct vnc_rect r;

            if (!is_dirty(c, tx, ty))
                continue;
            take_run(c, tx, ty, a.x1, a.y1, &r);
            count += encode(c, &r);
            if (count > RECTS_MOST || c->out->len - start > SLICE_BYTES || viv_clock_ns(VIV_CLOCK_HOST) > end)
                return count;
        }
    }
    return count;
}

static void put_map(struct vnc_client *c)
{
    vnc_put_u8(c, RFB_SET_COLOUR_MAP);
    vnc_put_u8(c, 0);
    vnc_put_u16(c, 0);
    vnc_put_u16(c, 256);
    for (unsigned n = 0; n < 256; n++) {
        uint16_t rgb[3];

        vnc_format_map(n, rgb);
        for (unsigned i = 0; i < 3; i++)
            vnc_put_u16(c, rgb[i]);
    }
    c->map_due = false;
}

void vnc_update(struct vnc_client *c)
{
    unsigned rects;
    bool resized = c->due_size;
    size_t at;

    if (!c->asked || !c->server->fresh || vnc_client_unsent(c) > UNSENT_MOST)
        return;
    if (!vnc_pseudo_due(c) && !any_dirty(c))
        return;
    if (c->map_due)
        put_map(c);
    at = c->out->len;
    vnc_put_u8(c, RFB_UPDATE);
    vnc_put_u8(c, 0);
    vnc_put_u16(c, 0);
    rects = vnc_pseudo_rects(c);
    /* Another size ends an update (RFC 6143 section 7.8.2). */
    if (!resized)
        rects += put_tiles(c);
    viv_st_be16(c->out->data + at + 2, (uint16_t)rects);
    c->asked = false;
}
