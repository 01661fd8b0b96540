/* What a client says once it is in (RFC 6143 section 7.5, and the community's extensions). VNC thread.
 *
 * Every message is bounded; one that makes no sense ends the connection. */
#include "ui/vnc/vnc_int.h"

#include "base/bytes.h"
#include "host/clock.h"
#include "ui/keys.h"

#include <string.h>

#define POINTER_MIDDLE 0x7fff /* relative motion: no motion (pseudo-encoding -257) */

static size_t bad(struct vnc_client *c, size_t len, const char *why)
{
    vnc_client_end(c, why);
    return len;
}

/* ---- events ---- */

void vnc_charge(struct vnc_client *c, int64_t ns)
{
    c->paid_ns = MAX(c->paid_ns, viv_clock_ns(VIV_CLOCK_HOST) - VNC_BURST_NS) + ns;
}

static void send_event(struct vnc_client *c, struct vnc_event *e)
{
    vnc_charge(c, VNC_EVENT_NS);
    vnc_input_send(c, e);
}

static void on_key(struct vnc_client *c, bool down, uint32_t keysym, int code)
{
    struct vnc_event e = {.kind = VNC_EV_KEY, .down = down, .keysym = keysym, .code = code};

    send_event(c, &e);
}

/* XT scan codes, E0 as bit 7; two keys that have odd ones. */
static int raw_code(uint32_t xt)
{
    int code;

    if (xt == 0xc6)
        return viv_key_by_name("pause");
    if (xt == 0x54)
        return viv_key_by_name("sysrq");
    code = xt && xt <= 0xff ? viv_key_from_set1((xt & 0x7f) | (xt & 0x80 ? VIV_SET1_E0 : 0)) : -1;
    return code;
}

static void on_pointer(struct vnc_client *c, unsigned buttons, int x, int y)
{
    /* Of the guest's screen: a client that cannot resize shows its upper left part, or has black beside it. */
    struct vnc_event e = {
        .kind = VNC_EV_POINTER, .buttons = buttons, .x = x, .y = y, .width = c->server->width, .height = c->server->height};

    e.relative = (c->can & VNC_CAN_POINTER_TYPE) && c->told_state && !c->told_absolute;
    if (e.relative) {
        e.dx = x - POINTER_MIDDLE;
        e.dy = y - POINTER_MIDDLE;
    } else {
        e.dx = c->placed ? x - c->last_x : 0;
        e.dy = c->placed ? y - c->last_y : 0;
        c->last_x = x;
        c->last_y = y;
    }
    c->placed = !e.relative;
    send_event(c, &e);
}

/* ---- requests ---- */

static void on_request(struct vnc_client *c, bool incremental, const uint8_t *p)
{
    unsigned x = viv_ld_be16(p), y = viv_ld_be16(p + 2), w = viv_ld_be16(p + 4), h = viv_ld_be16(p + 6);

    if (!incremental) {
        vnc_view_dirty(c, x, y, w, h);
        c->due_ext_size |= (c->can & VNC_CAN_EXT_RESIZE) != 0;
    }
    /* Several that were not served are served together. */
    c->ask_x0 = c->asked ? MIN(c->ask_x0, x) : x;
    c->ask_y0 = c->asked ? MIN(c->ask_y0, y) : y;
    c->ask_x1 = c->asked ? MAX(c->ask_x1, x + w) : x + w;
    c->ask_y1 = c->asked ? MAX(c->ask_y1, y + h) : y + h;
    c->asked = true;
}

static size_t on_format(struct vnc_client *c, const uint8_t *p, size_t len)
{
    if (len < 20)
        return 0;
    if (!vnc_format_parse(&c->format, p + 4))
        return bad(c, len, "pixel format");
    c->map_due = !c->format.true_colour;
    c->cursor_version = 0; /* it was in the old format */
    return 20;
}

static size_t on_encodings(struct vnc_client *c, const uint8_t *p, size_t len)
{
    size_t count, need;

    if (len < 4)
        return 0;
    count = viv_ld_be16(p + 2);
    need = 4 + 4 * count;
    if (len < need)
        return 0;
    vnc_set_encodings(c, p + 4, (unsigned)count);
    return need;
}

static size_t on_cut_text(struct vnc_client *c, const uint8_t *p, size_t len)
{
    uint32_t n;
    bool extended;

    if (len < 8)
        return 0;
    n = viv_ld_be32(p + 4);
    extended = (c->can & VNC_CAN_CLIP) && (int32_t)n < 0;
    if (extended)
        n = -n;
    if (n > VNC_CLIP_MAX) { /* too large for us; what follows it is not */
        c->skip = n;
        return 8;
    }
    if (len - 8 < n)
        return 0;
    if (extended)
        vnc_clip_extended(c, p + 8, n);
    else
        vnc_clip_plain(c, p + 8, n);
    return 8 + (size_t)n;
}

/* The guest is asked; what it makes of it comes as a change of the screen. One screen is all we have. */
static size_t on_desktop_size(struct vnc_client *c, const uint8_t *p, size_t len)
{
    struct vnc_event e = {.kind = VNC_EV_ROOM};
    size_t need;

    if (len < 8)
        return 0;
    need = 8 + 16 * (size_t)p[6];
    if (len < need)
        return 0;
    e.width = viv_ld_be16(p + 2);
    e.height = viv_ld_be16(p + 4);
    if (p[6] != 1 || !e.width || !e.height || e.width > VIV_SURFACE_MOST || e.height > VIV_SURFACE_MOST) {
        c->due_ext_size = true;
        c->size_reason = 1;
        c->size_status = 3; /* invalid screen layout */
    } else {
        send_event(c, &e);
    }
    return need;
}

static size_t on_qemu(struct vnc_client *c, const uint8_t *p, size_t len)
{
    if (len < 2)
        return 0;
    if (p[1] != RFB_QEMU_EXT_KEY || !(c->can & VNC_CAN_EXT_KEY))
        return bad(c, len, "an extension that was not offered");
    if (len < 12)
        return 0;
    on_key(c, viv_ld_be16(p + 2) != 0, viv_ld_be32(p + 4), raw_code(viv_ld_be32(p + 8)));
    return 12;
}

size_t vnc_message(struct vnc_client *c, const uint8_t *p, size_t len)
{
    switch (p[0]) {
    case RFB_SET_PIXEL_FORMAT:
        return on_format(c, p, len);
    case RFB_SET_ENCODINGS:
        return on_encodings(c, p, len);
    case RFB_UPDATE_REQUEST:
        if (len < 10)
            return 0;
        on_request(c, p[1] != 0, p + 2);
        return 10;
    case RFB_KEY_EVENT:
        if (len < 8)
            return 0;
        on_key(c, p[1] != 0, viv_ld_be32(p + 4), -1);
        return 8;
    case RFB_POINTER_EVENT:
        if (len < 6)
            return 0;
        on_pointer(c, p[1], viv_ld_be16(p + 2), viv_ld_be16(p + 4));
        return 6;
    case RFB_CLIENT_CUT_TEXT:
        return on_cut_text(c, p, len);
    case RFB_SET_DESKTOP_SIZE:
        return on_desktop_size(c, p, len);
    case RFB_QEMU:
        return on_qemu(c, p, len);
    default:
        return bad(c, len, "unknown message");
    }
}
