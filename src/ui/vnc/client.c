/* A connection: bytes in and out. What they mean: handshake.c, message.c. VNC thread. */
#include "ui/vnc/vnc_int.h"

#include "base/bytes.h"
#include "bus/vmevent.h"
#include "crypto/tls.h"
#include "host/clock.h"

#include <errno.h>
#include <jansson.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_SIZE    65536
#define KEEP_BUFFER  (1u << 20)
#define BUFFER_MIN   64 /* of a new one: `data` is never NULL, which UBSan does not add 0 to */
#define PEEK_NS      100000000 /* how long a browser has to say GET before the server speaks */

struct vnc_client *vnc_client_new(struct vnc_server *s, int fd, bool websocket, bool skip_auth)
{
    static uint64_t numbers;
    struct vnc_client *c = g_new0(struct vnc_client, 1);
    int64_t now = viv_clock_ns(VIV_CLOCK_HOST);

    c->server = s;
    c->number = ++numbers;
    c->fd = fd;
    c->skip_auth = skip_auth;
    c->in = g_byte_array_sized_new(BUFFER_MIN);
    c->out = g_byte_array_sized_new(BUFFER_MIN);
    c->raw = g_byte_array_sized_new(BUFFER_MIN);
    c->wire = g_byte_array_sized_new(BUFFER_MIN);
    c->sealed = g_byte_array_sized_new(BUFFER_MIN);
    c->box = g_byte_array_sized_new(BUFFER_MIN);
    c->quality = -1;
    c->level = 2;
    c->encoding = RFB_ENC_RAW;
    c->paid_ns = now - VNC_BURST_NS;
    vnc_format_native(&c->format);
    c->state = websocket ? VNC_HTTP : VNC_PEEK;
    c->deadline = now + (websocket ? VNC_HANDSHAKE_NS : PEEK_NS);
    vnc_client_facts(c);
    if (websocket && vnc_wants_tls(c)) {
        c->under_http = true;
        vnc_tls_start(c, NULL, 0);
    }
    return c;
}

void vnc_client_free(struct vnc_client *c)
{
    vnc_auth_leave(c);
    if (c->fd >= 0)
        close(c->fd);
    g_byte_array_unref(c->in);
    g_byte_array_unref(c->out);
    g_byte_array_unref(c->raw);
    g_byte_array_unref(c->wire);
    viv_tls_free(c->tls);
    g_byte_array_unref(c->sealed);
    g_byte_array_unref(c->box);
    g_free(c->dname);
    vnc_zrle_free(c->zrle);
    vnc_tight_free(c->tight);
    g_free(c->dirty);
    g_free(c->host);
    g_free(c->service);
    g_free(c->family);
    g_free(c);
}

/* What is unsent still goes out, for as long as a handshake may take. */
void vnc_client_end(struct vnc_client *c, const char *why)
{
    if (c->state == VNC_DEAD)
        return;
    vnc_auth_leave(c);
    c->state = VNC_DEAD;
    c->deadline = viv_clock_ns(VIV_CLOCK_HOST) + VNC_HANDSHAKE_NS;
    g_debug("VNC client %s: %s", c->host, why);
}

/* ---- out ---- */

void vnc_put(struct vnc_client *c, const void *data, size_t len)
{
    g_byte_array_append(c->out, data, (guint)len);
}

void vnc_put_u8(struct vnc_client *c, unsigned v)
{
    uint8_t b = (uint8_t)v;

    vnc_put(c, &b, 1);
}

void vnc_put_u16(struct vnc_client *c, unsigned v)
{
    uint8_t b[2];

    viv_st_be16(b, (uint16_t)v);
    vnc_put(c, b, 2);
}

void vnc_put_u32(struct vnc_client *c, uint32_t v)
{
    uint8_t b[4];

    viv_st_be32(b, v);
    vnc_put(c, b, 4);
}

size_t vnc_client_unsent(const struct vnc_client *c)
{
    size_t n = c->websocket ? c->wire->len - c->sent + c->out->len : c->out->len - c->sent;

    if (!c->tls)
        return n;
    return (c->tls_ready ? n : 0) + c->box->len - c->box_sent + vnc_tls_owes_bye(c);
}

/* Nothing is left in it: starts again, without the memory of a large update. */
static void empty(GByteArray **b)
{
    if ((*b)->len > KEEP_BUFFER) {
        g_byte_array_unref(*b);
        *b = g_byte_array_sized_new(BUFFER_MIN);
    } else {
        g_byte_array_set_size(*b, 0);
    }
}

/* A client that is always a little behind: what it has read goes, half the buffer at a time. */
static void drop_sent(GByteArray **b, size_t *sent)
{
    if (*sent == (*b)->len) {
        *sent = 0;
        empty(b);
    } else if (*sent >= KEEP_BUFFER && *sent >= (*b)->len / 2) {
        g_byte_array_remove_range(*b, 0, (guint)*sent);
        *sent = 0;
    }
}

/* False: the socket takes no more now. */
static bool push(struct vnc_client *c, GByteArray **b, size_t *sent)
{
    bool goes = c->fd >= 0;

    while (goes && *sent < (*b)->len) {
        ssize_t n = send(c->fd, (*b)->data + *sent, (*b)->len - *sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        goes = n >= 0;
        if (goes)
            *sent += (size_t)n;
        else
            c->hung_up |= errno != EAGAIN && errno != EWOULDBLOCK; /* a deadline that has passed stays passed */
    }
    drop_sent(b, sent);
    return goes;
}

void vnc_client_flush(struct vnc_client *c)
{
    GByteArray **b = c->websocket ? &c->wire : &c->out;
    bool more;

    if (c->websocket)
        vnc_ws_wrap(c);
    if (!c->tls) {
        push(c, b, &c->sent);
        return;
    }
    do {
        more = vnc_tls_seal(c, *b);
        drop_sent(b, &c->sent);
    } while (push(c, &c->box, &c->box_sent) && more);
}

/* ---- in ---- */

static bool may_go_on(struct vnc_client *c)
{
    if (c->state != VNC_NORMAL)
        return c->state != VNC_DEAD;
    c->throttled = c->paid_ns > viv_clock_ns(VIV_CLOCK_HOST) || vnc_input_full(c);
    return !c->throttled;
}

static size_t one_step(struct vnc_client *c, const uint8_t *p, size_t len)
{
    size_t n;

    if (c->skip) {
        n = MIN(c->skip, len);
        c->skip -= n;
        return n;
    }
    return c->state == VNC_NORMAL ? vnc_message(c, p, len) : vnc_handshake(c, p, len);
}

bool vnc_client_parse(struct vnc_client *c)
{
    size_t at = 0, n;
    GByteArray *in;

    do {
        if (c->websocket)
            vnc_ws_unwrap(c);
        in = c->in;
        at = 0;
        while (at < in->len && may_go_on(c) && (n = one_step(c, in->data + at, in->len - at)) != 0)
            at += n;
        if (at)
            g_byte_array_remove_range(in, 0, (guint)at);
    } while (at && c->websocket && c->raw->len && may_go_on(c));
    return at != 0;
}

void vnc_client_plain(struct vnc_client *c, const uint8_t *data, size_t len)
{
    g_byte_array_append(c->websocket ? c->raw : c->in, data, (guint)len);
    vnc_client_parse(c);
}

void vnc_client_input(struct vnc_client *c, const uint8_t *data, size_t len)
{
    if (c->tls)
        g_byte_array_append(c->sealed, data, (guint)len);
    else
        vnc_client_plain(c, data, len);
    if (c->sealed->len) /* also when TLS has just begun */
        vnc_tls_open(c);
}

void vnc_client_read(struct vnc_client *c)
{
    static uint8_t buf[READ_SIZE]; /* of the one VNC thread */
    ssize_t n;

    if (c->state == VNC_DEAD || c->throttled)
        return;
    n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
    if (n > 0)
        vnc_client_input(c, buf, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        c->hung_up = true;
}

/* ---- for people and programs ---- */

static void name_address(int fd, bool peer, char **host, char **service, const char **family)
{
    struct sockaddr_storage a = {0};
    socklen_t len = sizeof(a);
    char h[NI_MAXHOST] = "", s[NI_MAXSERV] = "";

    *family = "unknown";
    if ((peer ? getpeername(fd, (struct sockaddr *)&a, &len) : getsockname(fd, (struct sockaddr *)&a, &len)) == 0) {
        if (a.ss_family == AF_UNIX) {
            *family = "unix";
            g_strlcpy(s, ((struct sockaddr_un *)&a)->sun_path, sizeof(s));
        } else if (getnameinfo((struct sockaddr *)&a, len, h, sizeof(h), s, sizeof(s), NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
            *family = a.ss_family == AF_INET6 ? "ipv6" : "ipv4";
        }
    }
    *host = g_strdup(h);
    *service = g_utf8_make_valid(s, -1); /* a path is any bytes */
}

void vnc_client_facts(struct vnc_client *c)
{
    const char *family = "unknown";

    if (c->fd >= 0)
        name_address(c->fd, true, &c->host, &c->service, &family);
    else
        c->host = g_strdup(""), c->service = g_strdup("");
    c->family = g_strdup(family);
}

struct json_t *vnc_address_json(int fd, bool peer, bool websocket)
{
    g_autofree char *host = NULL, *service = NULL;
    const char *family;

    name_address(fd, peer, &host, &service, &family);
    return json_pack("{s:s, s:s, s:s, s:b}", "host", host, "service", service, "family", family, "websocket", websocket);
}

struct json_t *vnc_client_json(const struct vnc_client *c)
{
    return json_pack("{s:s, s:s, s:s, s:b, s:s*}", "host", c->host, "service", c->service, "family", c->family, "websocket",
                     c->websocket, "x509_dname", c->dname);
}

void vnc_client_tell(const struct vnc_client *c, const char *event)
{
    json_t *server;

    if (c->fd < 0)
        return;
    server = vnc_address_json(c->fd, false, c->websocket);
    json_object_set_new(server, "auth", json_string(vnc_auth_name(c->server)));
    viv_vm_event_json(event, json_pack("{s:o, s:o}", "server", server, "client", vnc_client_json(c)));
}
