/* Pseudo rectangles: what a server tells besides pixels (RFC 6143 section 7.8, and the community's extensions). VNC thread. */
#include "ui/vnc/vnc_int.h"

#include <string.h>

static bool state_due(const struct vnc_client *c)
{
    return (c->can & (VNC_CAN_POINTER_TYPE | VNC_CAN_LED)) && (!c->told_state || c->state_version != c->server->state_version);
}

static bool cursor_due(const struct vnc_client *c)
{
    const struct vnc_server *s = c->server;

    /* Adapters without a cursor of their own have the guest draw one: nothing is said about that. */
    return (c->can & (VNC_CAN_CURSOR | VNC_CAN_ALPHA_CURSOR)) && c->cursor_version != s->cursor_version &&
           (s->cursor || c->has_cursor);
}

bool vnc_pseudo_due(const struct vnc_client *c)
{
    return c->due_size || c->due_ext_size || c->due_ext_key || c->due_name || state_due(c) || cursor_due(c);
}

/* ---- sizes ---- */

/* One screen, as large as the picture. x: who asked, y: with what result. */
static void put_ext_size(struct vnc_client *c)
{
    vnc_rect_head(c, c->size_reason, c->size_status, c->width, c->height, RFB_ENC_EXT_DESKTOP_SIZE);
    vnc_put_u8(c, 1);
    vnc_put(c, "\0\0", 3);
    vnc_put_u32(c, 0);
    vnc_put_u16(c, 0);
    vnc_put_u16(c, 0);
    vnc_put_u16(c, c->width);
    vnc_put_u16(c, c->height);
    vnc_put_u32(c, 0);
    c->due_ext_size = c->due_size = false;
    c->size_reason = c->size_status = 0;
}

static unsigned put_size(struct vnc_client *c)
{
    unsigned n = 0;

    if (c->due_size && !(c->can & VNC_CAN_EXT_RESIZE)) {
        vnc_rect_head(c, 0, 0, c->width, c->height, RFB_ENC_DESKTOP_SIZE);
        n = 1;
    } else if ((c->due_size || c->due_ext_size) && (c->can & VNC_CAN_EXT_RESIZE)) {
        put_ext_size(c);
        n = 1;
    }
    c->due_size = c->due_ext_size = false;
    return n;
}

/* ---- cursors ---- */

/* RFC 6143 section 7.8.1: pixels, then a mask of a bit each, in lines of whole bytes. */
static void put_cursor(struct vnc_client *c, const struct viv_cursor *cur)
{
    unsigned w = cur ? cur->width : 0, h = cur ? cur->height : 0, mask_line = (w + 7) / 8;
    size_t at;

    vnc_rect_head(c, cur ? cur->hot_x : 0, cur ? cur->hot_y : 0, w, h, RFB_ENC_CURSOR);
    if (!cur)
        return;
    at = c->out->len;
    g_byte_array_set_size(c->out, (guint)(at + (size_t)w * h * c->format.bytes + (size_t)mask_line * h));
    for (unsigned i = 0; i < w * h; i++) {
        uint32_t px = cur->pixels[i] & 0xffffff;

        vnc_pixels(&c->format, &px, 1, c->out->data + at + (size_t)i * c->format.bytes);
    }
    at += (size_t)w * h * c->format.bytes;
    memset(c->out->data + at, 0, (size_t)mask_line * h);
    for (unsigned i = 0; i < w * h; i++) {
        if (cur->pixels[i] >> 31)
            c->out->data[at + i / w * mask_line + i % w / 8] |= (uint8_t)(0x80 >> i % w % 8);
    }
}

/* Red, green, blue, alpha, premultiplied, in an encoding of its own: raw. */
static void put_alpha_cursor(struct vnc_client *c, const struct viv_cursor *cur)
{
    unsigned w = cur ? cur->width : 0, h = cur ? cur->height : 0;

    vnc_rect_head(c, cur ? cur->hot_x : 0, cur ? cur->hot_y : 0, w, h, RFB_ENC_ALPHA_CURSOR);
    vnc_put_u32(c, RFB_ENC_RAW);
    for (unsigned i = 0; i < w * h; i++) {
        uint32_t px = cur->pixels[i];
        uint8_t rgba[4] = {(uint8_t)(px >> 16), (uint8_t)(px >> 8), (uint8_t)px, (uint8_t)(px >> 24)};

        vnc_put(c, rgba, 4);
    }
}

static unsigned put_cursors(struct vnc_client *c)
{
    struct vnc_server *s = c->server;
    bool due = cursor_due(c);

    c->cursor_version = s->cursor_version;
    if (!due)
        return 0;
    c->has_cursor = true;
    if (c->can & VNC_CAN_ALPHA_CURSOR)
        put_alpha_cursor(c, s->cursor);
    else
        put_cursor(c, s->cursor);
    return 1;
}

/* ---- the pointer's kind, LEDs ---- */

static unsigned put_state(struct vnc_client *c)
{
    struct vnc_server *s = c->server;
    unsigned n = 0;

    if (!state_due(c))
        return 0;
    if ((c->can & VNC_CAN_POINTER_TYPE) && (!c->told_state || c->told_absolute != s->seen_absolute)) {
        vnc_rect_head(c, s->seen_absolute, 0, c->width, c->height, RFB_ENC_POINTER_TYPE);
        n++;
    }
    if (c->can & VNC_CAN_LED) {
        vnc_rect_head(c, 0, 0, c->width, c->height, RFB_ENC_LED_STATE);
        vnc_put_u8(c, s->seen_leds); /* scroll, num, caps: the same bits */
        n++;
    }
    c->told_state = true;
    c->told_absolute = s->seen_absolute;
    c->state_version = s->state_version;
    return n;
}

unsigned vnc_pseudo_rects(struct vnc_client *c)
{
    bool resized = c->due_size;
    unsigned n = 0;

    if (c->due_ext_key) {
        vnc_rect_head(c, 0, 0, c->width, c->height, RFB_ENC_EXT_KEY);
        c->due_ext_key = false;
        n++;
    }
    if (c->due_name) {
        vnc_rect_head(c, 0, 0, 0, 0, RFB_ENC_DESKTOP_NAME);
        vnc_put_u32(c, (uint32_t)strlen(c->server->name));
        vnc_put(c, c->server->name, strlen(c->server->name));
        c->due_name = false;
        n++;
    }
    if (!resized)
        n += put_state(c) + put_cursors(c);
    return n + put_size(c);
}
