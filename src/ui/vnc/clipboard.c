/* Clipboards: what one client of a server has copied the others get, as plain cut text (RFC 6143 section 7.5.6) or by the extended
 * clipboard messages (community RFB protocol): UTF-8, announced first and fetched by who wants it. VNC thread. */
#include "ui/vnc/vnc_int.h"

#include "base/bytes.h"

#include <string.h>
#include <zlib.h>

enum {
    CLIP_TEXT = 1 << 0,
    CLIP_CAPS = 1 << 24,
    CLIP_REQUEST = 1 << 25,
    CLIP_PEEK = 1 << 26,
    CLIP_NOTIFY = 1 << 27,
    CLIP_PROVIDE = 1 << 28,
};

#define UNSENT_MOST (2 * VNC_CLIP_MAX) /* who does not read gets no clipboard either */
#define BYTE_NS     50 /* what packing or unpacking one costs, about */

/* ---- to clients ---- */

static void put_extended(struct vnc_client *c, uint32_t flags, const uint8_t *data, size_t len)
{
    if (vnc_client_unsent(c) > UNSENT_MOST)
        return;
    vnc_put_u8(c, RFB_SERVER_CUT_TEXT);
    vnc_put(c, "\0\0", 3);
    vnc_put_u32(c, -(uint32_t)(4 + len));
    vnc_put_u32(c, flags);
    vnc_put(c, data, len);
}

void vnc_clip_hello(struct vnc_client *c)
{
    uint8_t most[4];

    if (c->clip_caps_sent)
        return;
    c->clip_caps_sent = true;
    viv_st_be32(most, VNC_CLIP_MAX); /* of text that comes without being asked for */
    put_extended(c, CLIP_CAPS | CLIP_REQUEST | CLIP_PEEK | CLIP_NOTIFY | CLIP_PROVIDE | CLIP_TEXT, most, sizeof(most));
}

/* Latin 1; what it does not have becomes a question mark. */
static void put_plain(struct vnc_client *c, const char *text)
{
    size_t len = 0;
    g_autofree uint8_t *latin = g_malloc(strlen(text) + 1);

    if (vnc_client_unsent(c) > UNSENT_MOST)
        return;
    for (const char *p = text; *p; p = g_utf8_next_char(p)) {
        gunichar ch = g_utf8_get_char(p);

        latin[len++] = (uint8_t)(ch < 256 ? ch : '?');
    }
    vnc_put_u8(c, RFB_SERVER_CUT_TEXT);
    vnc_put(c, "\0\0", 3);
    vnc_put_u32(c, (uint32_t)len);
    vnc_put(c, latin, len);
}

/* Lines end in CR LF, a NUL ends it; the length comes first, and all of it is deflated. */
static void provide(struct vnc_client *c)
{
    GString *plain = g_string_new_len("\0\0\0\0", 4);
    g_autofree uint8_t *packed = NULL;
    uLongf len;

    vnc_charge(c, VNC_EVENT_NS + (int64_t)strlen(c->server->clip) * BYTE_NS);
    if (vnc_client_unsent(c) > UNSENT_MOST) {
        g_string_free(plain, TRUE);
        return;
    }
    for (const char *p = c->server->clip; *p; p++) {
        if (*p == '\n')
            g_string_append_c(plain, '\r');
        g_string_append_c(plain, *p);
    }
    g_string_append_c(plain, 0);
    viv_st_be32((uint8_t *)plain->str, (uint32_t)plain->len - 4);
    len = compressBound(plain->len);
    packed = g_malloc(len);
    if (compress(packed, &len, (const Bytef *)plain->str, plain->len) == Z_OK)
        put_extended(c, CLIP_PROVIDE | CLIP_TEXT, packed, len);
    g_string_free(plain, TRUE);
}

static void set_clip(struct vnc_client *from, char *text) /* takes it */
{
    struct vnc_server *s = from->server;

    g_free(s->clip);
    s->clip = text;
    for (struct vnc_client *c = s->clients; c; c = c->next) {
        if (c == from || c->state != VNC_NORMAL)
            continue;
        if (!(c->can & VNC_CAN_CLIP))
            put_plain(c, text);
        else if (c->clip_actions & CLIP_NOTIFY)
            put_extended(c, CLIP_NOTIFY | CLIP_TEXT, NULL, 0);
    }
}

/* ---- from clients ---- */

void vnc_clip_plain(struct vnc_client *c, const uint8_t *text, size_t len)
{
    GString *utf8 = g_string_new(NULL);

    for (size_t i = 0; i < len; i++) {
        if (text[i] && text[i] != '\r')
            g_string_append_unichar(utf8, text[i]);
    }
    set_clip(c, g_string_free(utf8, FALSE));
}

/* The first format of it, which is text. */
static void on_provide(struct vnc_client *c, const uint8_t *p, size_t len)
{
    size_t room = VNC_CLIP_MAX + 8;
    g_autofree uint8_t *plain = g_malloc(room + 1);
    z_stream z = {.next_in = (Bytef *)p, .avail_in = (uInt)len, .next_out = plain, .avail_out = (uInt)room};
    uint32_t size, used = 0;
    char *text;
    int rc;

    if (inflateInit(&z) != Z_OK)
        return;
    rc = inflate(&z, Z_SYNC_FLUSH);
    room -= z.avail_out;
    inflateEnd(&z);
    vnc_charge(c, VNC_EVENT_NS + (int64_t)room * BYTE_NS);
    if ((rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) || room < 4)
        return;
    size = viv_ld_be32(plain);
    if (size > room - 4)
        return; /* it lies, or is larger than what we take */
    text = (char *)plain + 4;
    for (uint32_t i = 0; i < size && text[i]; i++) {
        if (text[i] != '\r')
            text[used++] = text[i];
    }
    set_clip(c, g_utf8_make_valid(text, used));
}

void vnc_clip_extended(struct vnc_client *c, const uint8_t *p, size_t len)
{
    uint32_t flags;

    if (len < 4) {
        vnc_client_end(c, "clipboard message without flags");
        return;
    }
    flags = viv_ld_be32(p);
    if (flags & CLIP_CAPS)
        c->clip_actions = flags;
    else if ((flags & CLIP_REQUEST) && (flags & CLIP_TEXT) && c->server->clip)
        provide(c);
    else if (flags & CLIP_PEEK)
        put_extended(c, CLIP_NOTIFY | (c->server->clip ? CLIP_TEXT : 0), NULL, 0);
    else if ((flags & CLIP_NOTIFY) && (flags & CLIP_TEXT))
        put_extended(c, CLIP_REQUEST | CLIP_TEXT, NULL, 0);
    else if ((flags & CLIP_PROVIDE) && (flags & CLIP_TEXT))
        on_provide(c, p + 4, len - 4);
}
