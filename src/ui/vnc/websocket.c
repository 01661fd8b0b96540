/* RFB inside WebSocket (RFC 6455), for clients in browsers: binary frames, no extensions. VNC thread. */
#include "ui/vnc/vnc_int.h"

#include "base/bytes.h"
#include "crypto/hash.h"

#include <string.h>

#define HEAD_MAX   8192
#define CONTROL_MAX 125

enum { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

/* ---- the opening handshake (section 4.2) ---- */

/* The value of a header of the request, without spaces around it. Several of a name count as one list. */
static char *header(char **lines, const char *name)
{
    GString *value = NULL;
    size_t len = strlen(name);

    for (char **l = lines + 1; *l; l++) {
        if (g_ascii_strncasecmp(*l, name, len) != 0 || (*l)[len] != ':')
            continue;
        if (value)
            g_string_append(value, ", ");
        else
            value = g_string_new(NULL);
        g_string_append(value, *l + len + 1);
    }
    return value ? g_strstrip(g_string_free(value, FALSE)) : NULL;
}

static bool has_token(const char *list, const char *token)
{
    g_auto(GStrv) words = g_strsplit(list ? list : "", ",", -1);

    for (char **w = words; *w; w++) {
        if (!g_ascii_strcasecmp(g_strstrip(*w), token))
            return true;
    }
    return false;
}

static char *accept_key(const char *key)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    struct viv_hash_piece pieces[] = {{key, strlen(key)}, {guid, sizeof(guid) - 1}};
    uint8_t digest[VIV_HASH_MAX];

    viv_hash_digest(viv_hash_find("sha1"), pieces, 2, digest);
    return g_base64_encode(digest, 20);
}

static void refuse(struct vnc_client *c, const char *status)
{
    g_autofree char *text = g_strdup_printf("HTTP/1.1 %s\r\nConnection: close\r\nSec-WebSocket-Version: 13\r\n"
                                            "Content-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s\r\n", status, strlen(status) + 2,
                                            status);

    vnc_put(c, text, strlen(text));
    vnc_client_end(c, status);
}

/* "http://HOST:PORT" and "HOST:PORT": the same host? */
static bool same_host(const char *origin, const char *host)
{
    const char *at = strstr(origin, "://");
    size_t len;

    if (!at || !host)
        return false;
    at += 3;
    len = *host == '[' ? strcspn(host, "]") : strcspn(host, ":");
    return len && !g_ascii_strncasecmp(at, host, len) && strchr(":]", at[len]);
}

static void answer(struct vnc_client *c, char **lines)
{
    g_autofree char *upgrade = header(lines, "Upgrade"), *connection = header(lines, "Connection");
    g_autofree char *key = header(lines, "Sec-WebSocket-Key"), *version = header(lines, "Sec-WebSocket-Version");
    g_autofree char *protocols = header(lines, "Sec-WebSocket-Protocol"), *accept = NULL, *text = NULL;
    g_autofree char *origin = header(lines, "Origin"), *host = header(lines, "Host");

    if (!has_token(upgrade, "websocket") || !has_token(connection, "upgrade")) {
        refuse(c, "426 Upgrade Required: this is a VNC server, for WebSocket clients");
        return;
    }
    if (!key || !version || strcmp(version, "13") || !g_str_has_suffix(lines[0], "HTTP/1.1")) {
        refuse(c, "400 Bad Request");
        return;
    }
    if (protocols && !has_token(protocols, "binary")) {
        refuse(c, "400 Bad Request: the subprotocol is 'binary' or none");
        return;
    }
    /* Without a password any page that a browser on this host shows could come in. */
    if (origin && !c->server->needs_password && !same_host(origin, host)) {
        refuse(c, "403 Forbidden: pages of other hosts need password=on");
        return;
    }
    accept = accept_key(key);
    text = g_strdup_printf("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           "Sec-WebSocket-Accept: %s\r\n%s\r\n", accept, protocols ? "Sec-WebSocket-Protocol: binary\r\n" : "");
    g_byte_array_append(c->wire, (const guint8 *)text, (guint)strlen(text));
    c->websocket = true;
    vnc_handshake_begin(c);
}

size_t vnc_ws_handshake(struct vnc_client *c, const uint8_t *p, size_t len)
{
    const uint8_t *end = memmem(p, MIN(len, HEAD_MAX), "\r\n\r\n", 4);
    g_auto(GStrv) lines = NULL;
    g_autofree char *head = NULL;

    if (len >= 4 && memcmp(p, "GET ", 4) != 0) {
        refuse(c, "400 Bad Request");
        return len;
    }
    if (vnc_wants_tls(c) && !c->tls) {
        refuse(c, "403 Forbidden: this server wants TLS, wss:");
        return len;
    }
    if (!end) {
        if (len >= HEAD_MAX)
            refuse(c, "431 Request Header Fields Too Large");
        return len >= HEAD_MAX ? len : 0;
    }
    head = g_strndup((const char *)p, (size_t)(end - p));
    lines = g_strsplit(head, "\r\n", -1);
    answer(c, lines);
    /* What is behind it is wrapped already. */
    if (c->websocket)
        g_byte_array_append(c->raw, end + 4, (guint)(len - (size_t)(end + 4 - p)));
    return len;
}

/* ---- frames (section 5.2) ---- */

static void put_frame(GByteArray *to, unsigned opcode, const uint8_t *data, size_t len)
{
    uint8_t head[10] = {(uint8_t)(0x80 | opcode)};
    unsigned n = 2;

    if (len <= 125) {
        head[1] = (uint8_t)len;
    } else if (len <= 0xffff) {
        head[1] = 126;
        viv_st_be16(head + 2, (uint16_t)len);
        n = 4;
    } else {
        head[1] = 127;
        viv_st_be64(head + 2, len);
        n = 10;
    }
    g_byte_array_append(to, head, n);
    g_byte_array_append(to, data, (guint)len);
}

void vnc_ws_wrap(struct vnc_client *c)
{
    if (!c->out->len)
        return;
    put_frame(c->wire, WS_BINARY, c->out->data, c->out->len);
    g_byte_array_set_size(c->out, 0);
}

static void unmask(struct vnc_ws_frame *f, uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] ^= f->mask[f->at++ & 3];
}

/* A frame's head. How long it is; 0: more must come, or the client is at an end. */
static size_t read_head(struct vnc_client *c, const uint8_t *p, size_t len)
{
    struct vnc_ws_frame f = {0};
    size_t n = 2;
    bool control;

    if (len < 2)
        return 0;
    f.opcode = p[0] & 15;
    control = f.opcode & 8;
    f.left = p[1] & 127;
    /* 5.1: a client masks. 5.5: control frames are short and whole. Reserved bits are for extensions, and there are none. */
    if (!(p[1] & 0x80) || (p[0] & 0x70) || (control && (f.left > CONTROL_MAX || !(p[0] & 0x80))) || f.opcode == WS_TEXT ||
        (f.opcode > WS_BINARY && !control) || f.opcode > WS_PONG) {
        vnc_client_end(c, "bad WebSocket frame");
        return 0;
    }
    n += f.left == 126 ? 2 : f.left == 127 ? 8 : 0;
    if (len < n + 4)
        return 0;
    if (f.left >= 126)
        f.left = n == 4 ? viv_ld_be16(p + 2) : viv_ld_be64(p + 2);
    memcpy(f.mask, p + n, 4);
    c->frame = f;
    return n + 4;
}

static bool is_control(const struct vnc_client *c)
{
    return c->frame.opcode & 8;
}

static void on_control(struct vnc_client *c, uint8_t *data, size_t len)
{
    unmask(&c->frame, data, len);
    if (c->frame.opcode == WS_PING && vnc_client_unsent(c) < VNC_CLIP_MAX) {
        vnc_ws_wrap(c); /* frames of one message are not mixed with it: ours are whole messages */
        put_frame(c->wire, WS_PONG, data, len);
    } else if (c->frame.opcode == WS_CLOSE) {
        vnc_ws_wrap(c);
        put_frame(c->wire, WS_CLOSE, data, MIN(len, 2));
        vnc_client_end(c, "closed");
    }
    c->frame = (struct vnc_ws_frame){0};
}

void vnc_ws_unwrap(struct vnc_client *c)
{
    uint8_t *p = c->raw->data;
    size_t at = 0, len = c->raw->len;

    while (c->state != VNC_DEAD) {
        size_t n;

        if (!c->frame.left) {
            n = read_head(c, p + at, len - at);
            if (!n)
                break;
            at += n;
            if (!is_control(c))
                continue;
        }
        n = (size_t)MIN(c->frame.left, len - at);
        if (is_control(c)) {
            if (n < c->frame.left)
                break;
            on_control(c, p + at, n);
        } else {
            if (!n)
                break;
            unmask(&c->frame, p + at, n);
            g_byte_array_append(c->in, p + at, (guint)n);
            c->frame.left -= n;
        }
        at += n;
    }
    if (at)
        g_byte_array_remove_range(c->raw, 0, (guint)at);
}
