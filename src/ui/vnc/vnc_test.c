/* Pieces of the VNC server that need no socket; tests/ui/vnc.py has the rest. */
#include "ui/vnc/vnc_int.h"

#include "base/bytes.h"
#include "crypto/tls.h"
#include "host/clock.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void test_des(void)
{
    /* FIPS 46-3's key 133457799BBCDFF1h with the bits of each byte turned round, as VNC does. */
    static const char password[] = {'\xc8', '\x2c', '\xea', '\x9e', '\xd9', '\x3d', '\xfb', '\x8f', 0};
    static const uint8_t challenge[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    static const uint8_t want[8] = {0x85, 0xe8, 0x13, 0x54, 0x0f, 0x0a, 0xb4, 0x05};
    uint8_t out[16];

    vnc_des_response(password, challenge, out);
    g_assert_cmpmem(out, 8, want, 8);
    g_assert_cmpmem(out + 8, 8, want, 8);
}

static void test_patience(void)
{
    int64_t first;

    g_assert_cmpint(vnc_auth_not_before("host"), ==, 0);
    vnc_auth_result("host", false);
    first = vnc_auth_not_before("host") - viv_clock_ns(VIV_CLOCK_HOST);
    g_assert_true(first > 200000000 && first <= 250000000);
    for (unsigned i = 0; i < 40; i++)
        vnc_auth_result("host", false);
    g_assert_true(vnc_auth_not_before("host") - viv_clock_ns(VIV_CLOCK_HOST) > 7900000000);
    g_assert_true(vnc_auth_not_before("host") - viv_clock_ns(VIV_CLOCK_HOST) <= 8000000000);
    for (unsigned i = 0; i < 200; i++) { /* others do not push it out: it waits longest */
        g_autofree char *name = g_strdup_printf("other%u", i);

        vnc_auth_result(name, false);
    }
    g_assert_true(vnc_auth_not_before("host"));
    vnc_auth_result("host", true);
    g_assert_cmpint(vnc_auth_not_before("host"), ==, 0);
}

/* Who has one address of an IPv6 network has all of it. */
static void test_patience_ipv6(void)
{
    vnc_auth_result("2001:db8:1:2::1", false);
    g_assert_cmpint(vnc_auth_not_before("2001:db8:1:2:3::4"), !=, 0);
    g_assert_cmpint(vnc_auth_not_before("2001:db8:1:3::1"), ==, 0);
    vnc_auth_result("2001:db8:1:2:5::6", true);
    g_assert_cmpint(vnc_auth_not_before("2001:db8:1:2::1"), ==, 0);
    vnc_auth_result("::ffff:192.0.2.1", false); /* those are hosts of IPv4 */
    g_assert_cmpint(vnc_auth_not_before("::ffff:192.0.2.2"), ==, 0);
    vnc_auth_result("::ffff:192.0.2.1", true);
}

static struct vnc_server *make_server(unsigned width, unsigned height);

static struct vnc_client *respond(struct vnc_server *s, const char *host)
{
    struct vnc_client *c = vnc_client_new(s, -1, false, false);

    g_free(c->host);
    c->host = g_strdup(host);
    c->next = s->clients;
    s->clients = c;
    vnc_client_input(c, (const uint8_t *)"RFB 003.008\n\2", 13);
    vnc_client_input(c, (const uint8_t *)"0123456789abcdef", 16);
    return c;
}

/* One host's responses are judged in the order in which they came: who guesses on does not overtake. */
static void test_turns(void)
{
    struct vnc_server *s = make_server(20, 20);
    struct vnc_client *first, *second, *third, *last = NULL;

    s->needs_password = true;
    g_assert_cmpint(respond(s, "192.0.2.7")->state, ==, VNC_DEAD); /* judged, and wrong */
    first = respond(s, "192.0.2.7");
    second = respond(s, "192.0.2.7");
    third = respond(s, "192.0.2.7");
    g_assert_cmpint(first->state, ==, VNC_JUDGE);
    g_assert_cmpint(first->deadline, ==, vnc_auth_not_before("192.0.2.7"));
    g_assert_cmpint(second->deadline, ==, INT64_MAX);
    g_assert_cmpint(respond(s, "192.0.2.8")->state, ==, VNC_DEAD); /* another host's is no matter of theirs */
    vnc_judge(first);
    g_assert_cmpint(first->state, ==, VNC_DEAD);
    g_assert_cmpint(second->deadline, ==, vnc_auth_not_before("192.0.2.7"));
    g_assert_cmpint(third->deadline, ==, INT64_MAX);
    vnc_client_end(second, "gone");
    g_assert_cmpint(third->deadline, ==, vnc_auth_not_before("192.0.2.7"));
    for (unsigned i = 0; i < VNC_CLIENTS_MAX / 2; i++) {
        g_assert_true(!last || last->state == VNC_JUDGE);
        last = respond(s, "192.0.2.7");
    }
    g_assert_cmpint(last->state, ==, VNC_DEAD); /* too many */
    s->password = g_strdup("right");
    vnc_des_response("right", third->challenge, third->response);
    vnc_judge(third);
    g_assert_cmpint(third->state, ==, VNC_INIT);
    vnc_auth_result("192.0.2.8", true);
    vnc_server_free(s);
}

static void test_formats(void)
{
    static const uint8_t rgb565[16] = {16, 16, 1, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0};
    static const uint8_t bad[][16] = {{24, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0}, {16, 16, 0, 1, 0, 31, 0, 63, 0, 31, 12, 5, 0},
                                      {16, 16, 0, 1, 0, 30, 0, 63, 0, 31, 11, 5, 0}, {32, 24, 0, 0, 0, 255, 0, 255, 0, 255, 16, 8, 0},
                                      {32, 24, 0, 1, 255, 255, 255, 255, 0, 255, 32, 8, 0}, {32, 24, 0, 1, 0, 0, 0, 255, 0, 255, 16, 8, 0}};
    struct vnc_format f, old;
    uint32_t px = 0xff8001;
    uint8_t out[16];

    vnc_format_native(&f);
    g_assert_true(f.native && f.rgb && f.short_bytes == 3);
    g_assert_true(vnc_format_parse(&f, rgb565));
    g_assert_false(f.native);
    vnc_pixels(&f, &px, 1, out);
    g_assert_cmpuint(viv_ld_be16(out), ==, 0xfc00); /* 31, 32, 0 */
    vnc_format_write(&f, out);
    g_assert_cmpmem(out, 16, rgb565, 16);
    old = f;
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_false(vnc_format_parse(&f, bad[i]));
        g_assert_cmpmem(&f, sizeof(f), &old, sizeof(f));
    }
}

static void test_palette(void)
{
    uint32_t px[300 * 2];
    struct vnc_palette p;
    unsigned runs;

    for (unsigned i = 0; i < 600; i++)
        px[i] = i % 300 / 2 * 0x10101;
    g_assert_true(vnc_palette_fill(&p, px, 300, 300, 2, 256, &runs));
    g_assert_cmpuint(p.count, ==, 150);
    g_assert_cmpuint(runs, ==, 300);
    g_assert_cmpuint(vnc_palette_index(&p, 149 * 0x10101), ==, 149);
    g_assert_false(vnc_palette_fill(&p, px, 300, 300, 2, 149, &runs));
    g_assert_cmpuint(runs, ==, 300);
}

/* A server without threads or sockets, and a client that is in. */
static struct vnc_server *make_server(unsigned width, unsigned height)
{
    struct vnc_server *s = vnc_server_new("test", "Test", ":0");

    s->connections_max = 4;
    s->mail.surface = viv_surface_new(width, height);
    s->mail.new_surface = s->mail.fresh = true;
    s->expires = INT64_MAX;
    return s;
}

static struct vnc_client *make_client(struct vnc_server *s)
{
    struct vnc_client *c = vnc_client_new(s, -1, false, false);

    c->next = s->clients;
    s->clients = c;
    vnc_client_input(c, (const uint8_t *)"RFB 003.008\n\1\1", 14);
    g_assert_cmpint(c->state, ==, VNC_NORMAL);
    g_byte_array_set_size(c->out, 0);
    return c;
}

static void request(struct vnc_client *c, bool incremental, unsigned width, unsigned height)
{
    uint8_t m[10] = {RFB_UPDATE_REQUEST, incremental};

    viv_st_be16(m + 6, (uint16_t)width);
    viv_st_be16(m + 8, (uint16_t)height);
    g_byte_array_set_size(c->out, 0);
    vnc_client_input(c, m, sizeof(m));
    vnc_update(c);
}

static void draw(struct vnc_server *s, unsigned x, unsigned y, uint32_t colour)
{
    memcpy(s->surface->pixels + y * s->surface->stride + x * 4, &colour, 4);
    s->mail.first = s->mail.last = y;
    s->mail.rows[y / (8 * sizeof(long))] |= 1ul << y % (8 * sizeof(long));
    vnc_screen_collect(s);
}

static void test_tiles(void)
{
    struct vnc_server *s = make_server(200, 50);
    struct vnc_client *c = make_client(s);

    request(c, false, 200, 50);
    g_assert_cmpuint(c->out->len, ==, 4 + 12 + 200 * 50 * 4); /* all of it is one rectangle */
    request(c, true, 200, 50);
    g_assert_cmpuint(c->out->len, ==, 0);
    draw(s, 150, 20, 0x123456);
    vnc_update(c);
    g_assert_cmpuint(c->out->len, ==, 4 + 12 + 64 * 16 * 4);
    g_assert_cmpuint(viv_ld_be16(c->out->data + 4), ==, 128);
    g_assert_cmpuint(viv_ld_be16(c->out->data + 6), ==, 16);
    draw(s, 150, 20, 0xff123456); /* the upper byte is nothing to see */
    request(c, true, 200, 50);
    g_assert_cmpuint(c->out->len, ==, 0);
    draw(s, 199, 49, 1); /* the corner's tile is smaller */
    vnc_update(c);
    g_assert_cmpuint(c->out->len, ==, 4 + 12 + 8 * 2 * 4);
    draw(s, 0, 0, 7);
    g_byte_array_set_size(c->out, 0);
    request(c, true, 5, 5);
    g_assert_cmpuint(c->out->len, ==, 4 + 12 + 64 * 16 * 4);
    vnc_server_free(s);
}

static void show(struct vnc_server *s, struct viv_surface *surface)
{
    viv_surface_put(&s->mail.surface);
    s->mail.surface = surface;
    s->mail.new_surface = true;
    memset(s->mail.rows, 0xff, sizeof(s->mail.rows));
    s->mail.first = 0;
    s->mail.last = surface ? surface->height - 1 : 0;
    vnc_screen_collect(s);
}

/* Another surface of the same size: what differs is sent. */
static void test_flip(void)
{
    struct vnc_server *s = make_server(200, 50);
    struct vnc_client *c = make_client(s);
    struct viv_surface *next = viv_surface_new(200, 50);

    request(c, false, 200, 50);
    memset(next->pixels, 0xff, 4);
    show(s, next);
    request(c, true, 200, 50);
    g_assert_cmpuint(c->out->len, ==, 4 + 12 + 64 * 16 * 4);
    show(s, viv_surface_new(200, 50));
    request(c, true, 200, 50);
    g_assert_cmpuint(c->out->len, ==, 4 + 12 + 64 * 16 * 4);
    show(s, viv_surface_new(200, 50));
    request(c, true, 200, 50);
    g_assert_cmpuint(c->out->len, ==, 0);
    show(s, NULL); /* no picture: black */
    request(c, true, 200, 50);
    g_assert_cmpuint(c->out->len, ==, 4 + 12 + 200 * 50 * 4);
    vnc_server_free(s);
}

/* Who cannot resize keeps the size, with black where there is nothing, and points at what it shows. */
static void test_sizes(void)
{
    struct vnc_server *s = make_server(100, 40);
    struct vnc_client *c = make_client(s);
    struct viv_surface *small = viv_surface_new(10, 10);
    const struct vnc_event *e;

    memset(small->pixels, 0xff, 400);
    show(s, small);
    vnc_client_input(c, (const uint8_t *)"\5\0\0\7\0\3", 6);
    e = &g_array_index(s->events, struct vnc_event, 0);
    g_assert_cmpint(e->x, ==, 7);
    g_assert_cmpuint(e->width, ==, 10);
    g_assert_cmpuint(e->height, ==, 10);
    request(c, true, 100, 40);
    g_assert_cmpuint(c->out->len, ==, 4 + 12 + 100 * 40 * 4);
    g_assert_cmpuint(viv_ld_le32(c->out->data + 16), ==, 0xffffff);
    g_assert_cmpuint(viv_ld_le32(c->out->data + 16 + 10 * 4), ==, 0);
    g_assert_cmpuint(viv_ld_le32(c->out->data + 16 + (9 * 100 + 9) * 4), ==, 0xffffff);
    g_assert_cmpuint(viv_ld_le32(c->out->data + 16 + 10 * 100 * 4), ==, 0);
    vnc_client_input(c, (const uint8_t *)"\2\0\0\1\xff\xff\xff\x21", 8); /* DesktopSize, after all */
    request(c, true, 100, 40);
    g_assert_cmpuint(c->out->len, ==, 4 + 12);
    g_assert_cmpuint(viv_ld_be16(c->out->data + 8), ==, 10);
    vnc_server_free(s);
}

static void test_cursor(void)
{
    struct vnc_server *s = make_server(64, 16);
    struct vnc_client *c = make_client(s);
    struct viv_cursor *cur = g_malloc0(sizeof(*cur) + 9 * 2 * 4);

    vnc_client_input(c, (const uint8_t *)"\2\0\0\1\xff\xff\xff\x11", 8);
    request(c, false, 64, 16);
    g_assert_cmpuint(c->out->len, ==, 4 + 12 + 64 * 16 * 4); /* none has been defined: nothing is said */
    cur->width = 9;
    cur->height = 2;
    cur->hot_x = 3;
    cur->hot_y = 1;
    cur->pixels[8] = 0xff0000ff;
    cur->pixels[9] = 0x80804020;
    s->mail.cursor = cur;
    s->mail.new_cursor = true;
    vnc_screen_collect(s);
    request(c, true, 64, 16);
    g_assert_cmpuint(c->out->len, ==, 4 + 12 + 18 * 4 + 2 * 2);
    g_assert_cmpuint(viv_ld_be16(c->out->data + 4), ==, 3);
    g_assert_cmpuint(viv_ld_le32(c->out->data + 16 + 8 * 4), ==, 0x0000ff);
    g_assert_cmpmem(c->out->data + 16 + 72, 4, "\x00\x80\x80\x00", 4);
    s->mail.new_cursor = true; /* and it goes */
    vnc_screen_collect(s);
    request(c, true, 64, 16);
    g_assert_cmpuint(c->out->len, ==, 4 + 12);
    vnc_server_free(s);
}

/* Messages in pieces of one byte are the same messages. */
static void test_pieces(void)
{
    static const uint8_t say[] = {0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0, /* format */
                                  2, 0, 0, 2, 0, 0, 0, 16, 0, 0, 0, 0,                                  /* encodings */
                                  4, 1, 0, 0, 0, 0, 0, 'a', 5, 0, 0, 1, 0, 1,                           /* key, pointer */
                                  6, 0, 0, 0, 0, 0, 0, 2, 'h', 'i'};
    struct vnc_server *s = make_server(20, 20);
    struct vnc_client *c = make_client(s);

    for (unsigned i = 0; i < sizeof(say); i++) {
        vnc_client_input(c, say + i, 1);
        g_assert_cmpint(c->state, ==, VNC_NORMAL);
    }
    g_assert_cmpuint(c->in->len, ==, 0);
    g_assert_cmpint(c->encoding, ==, RFB_ENC_ZRLE);
    g_assert_cmpuint(s->events->len, ==, 2);
    g_assert_cmpstr(s->clip, ==, "hi");
    vnc_client_input(c, (const uint8_t *)"\x63", 1);
    g_assert_cmpint(c->state, ==, VNC_DEAD);
    vnc_server_free(s);
}

/* A flood of events is read no faster than it is served. */
static void test_flood(void)
{
    struct vnc_server *s = make_server(20, 20);
    struct vnc_client *c = make_client(s);
    uint8_t keys[8 * 300] = {0};

    for (unsigned i = 0; i < 300; i++)
        keys[8 * i] = RFB_KEY_EVENT;
    vnc_client_input(c, keys, sizeof(keys));
    g_assert_true(c->throttled);
    g_assert_cmpuint(s->events->len, ==, 64);
    g_assert_cmpuint(c->in->len, ==, 8 * (300 - 64));
    c->in_flight = 0;
    vnc_client_parse(c);
    g_assert_cmpuint(s->events->len, ==, 128);
    c->in_flight = 0;
    vnc_client_parse(c);
    c->in_flight = 0;
    vnc_client_parse(c);
    g_assert_cmpuint(s->events->len, <=, 260); /* 250 at once, then 1000 a second */
    g_assert_true(c->throttled && c->paid_ns > viv_clock_ns(VIV_CLOCK_HOST) - 20000000);
    vnc_server_free(s);
}

/* A client that is always a little behind does not make the buffer grow for ever. */
static void test_behind(void)
{
    struct vnc_server *s = make_server(20, 20);
    struct vnc_client *c = make_client(s);
    g_autofree uint8_t *chunk = g_malloc0(1 << 20);
    uint64_t put = 0, got = 0;
    int fd[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), ==, 0);
    c->fd = fd[0];
    g_byte_array_append(c->out, chunk, 1 << 20);
    for (put = 1 << 20; put < 64 << 20; put += 1 << 18) {
        ssize_t n = recv(fd[1], chunk, 1 << 18, MSG_DONTWAIT | MSG_TRUNC);

        got += n > 0 ? (uint64_t)n : 0;
        g_byte_array_append(c->out, chunk, 1 << 18);
        vnc_client_flush(c);
        g_assert_false(c->hung_up);
        while (vnc_client_unsent(c) > 1 << 20 && (n = recv(fd[1], chunk, 1 << 18, MSG_DONTWAIT)) > 0) {
            got += (uint64_t)n;
            vnc_client_flush(c);
        }
        g_assert_cmpuint(vnc_client_unsent(c), >, 0); /* behind all the time */
        g_assert_cmpuint(c->out->len, <=, 4 << 20);
    }
    g_assert_cmpuint(got, >, 56 << 20);
    close(fd[1]);
    vnc_server_free(s);
}

static const char *shake_hands(struct vnc_server *s, const char *origin)
{
    struct vnc_client *c = vnc_client_new(s, -1, true, false);
    g_autofree char *say = g_strdup_printf("GET / HTTP/1.1\r\nHost: vm.example:5900\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", origin);

    c->next = s->clients;
    s->clients = c;
    vnc_client_input(c, (const uint8_t *)say, strlen(say));
    g_assert_cmpint(c->websocket, ==, c->state != VNC_DEAD);
    g_byte_array_append(c->wire, (const uint8_t *)"", 1);
    g_byte_array_append(c->out, (const uint8_t *)"", 1);
    return (const char *)(c->websocket ? c->wire->data : c->out->data);
}

/* Without a password, pages of other hosts in somebody's browser do not come in. */
static void test_origin(void)
{
    struct vnc_server *s = make_server(20, 20);

    g_assert_true(g_str_has_prefix(shake_hands(s, ""), "HTTP/1.1 101"));
    g_assert_true(g_str_has_prefix(shake_hands(s, "Origin: http://vm.example:8000\r\n"), "HTTP/1.1 101"));
    g_assert_true(g_str_has_prefix(shake_hands(s, "Origin: http://evil.example\r\n"), "HTTP/1.1 403"));
    g_assert_true(g_str_has_prefix(shake_hands(s, "Origin: http://vm.example.evil.example\r\n"), "HTTP/1.1 403"));
    s->needs_password = true;
    g_assert_true(g_str_has_prefix(shake_hands(s, "Origin: http://evil.example\r\n"), "HTTP/1.1 101"));
    vnc_server_free(s);
}

/* ---- TLS, by a client in memory ---- */

struct peer {
    struct vnc_client *c; /* whom it talks to */
    size_t piece;         /* bytes at a time that the server gets */
};

static ssize_t peer_recv(void *opaque, void *buf, size_t len)
{
    struct vnc_client *c = ((struct peer *)opaque)->c;
    size_t n;

    vnc_client_flush(c);
    n = MIN(len, c->box->len);
    if (!n)
        return -EAGAIN;
    memcpy(buf, c->box->data, n);
    g_byte_array_remove_range(c->box, 0, (guint)n);
    return (ssize_t)n;
}

static ssize_t peer_send(void *opaque, const void *buf, size_t len)
{
    struct peer *p = opaque;

    for (size_t at = 0; at < len; at += p->piece)
        vnc_client_input(p->c, (const uint8_t *)buf + at, MIN(p->piece, len - at));
    return (ssize_t)len;
}

static struct viv_tls_creds *anonymous(const char *endpoint)
{
    g_autofree char *text = g_strdup_printf("id=%s,endpoint=%s", endpoint, endpoint);
    struct viv_tls_creds *creds = NULL;
    struct viv_err err = VIV_ERR_INIT;
    struct viv_opts *o;

    g_assert_cmpint(viv_opts_parse("-object", viv_tls_anon_opts, NULL, text, &o, &err), ==, 0);
    viv_tls_anon_add(o, &err); /* there may be one already */
    viv_opts_free(o);
    viv_err_clear(&err);
    g_assert_cmpint(viv_tls_creds_get(endpoint, !strcmp(endpoint, "server"), &creds, &err), ==, 0);
    return creds;
}

/* All that is said in the clear, up to the word for TLS. */
static struct vnc_client *ask_for_tls(struct vnc_server *s)
{
    static const uint8_t say[] = "RFB 003.008\n\x13\0\2\0\0\1\1";
    struct vnc_client *c = vnc_client_new(s, -1, false, false);

    c->next = s->clients;
    s->clients = c;
    for (unsigned i = 0; i < sizeof(say) - 1; i++) {
        g_assert_cmpint(c->state, <, VNC_TLS);
        vnc_client_input(c, say + i, 1);
    }
    g_assert_cmpint(c->state, ==, VNC_TLS);
    g_assert_cmpmem(c->box->data, c->box->len, "RFB 003.008\n\1\x13\0\2\0\1\0\0\1\1\1", 23);
    g_byte_array_set_size(c->box, 0);
    return c;
}

static void test_tls(void)
{
    static const struct viv_tls_io io = {peer_recv, peer_send};
    struct vnc_server *s = make_server(300, 300);
    struct viv_tls_creds *creds = anonymous("client");
    struct viv_err err = VIV_ERR_INIT;

    s->creds = anonymous("server");
    for (size_t piece = 1; piece < 100000; piece *= 40) {
        struct peer p = {ask_for_tls(s), piece};
        uint8_t got[300 * 300 * 4 + 100], ask[] = {RFB_UPDATE_REQUEST, 0, 0, 0, 0, 0, 300 >> 8, 300 & 255, 300 >> 8, 300 & 255};
        struct viv_tls *t;
        ssize_t n;
        size_t all = 0;

        g_assert_cmpint(viv_tls_new(creds, NULL, &io, &p, &t, &err), ==, 0);
        while ((n = viv_tls_handshake(t, &err)) == -EAGAIN)
            ;
        g_assert_cmpint(n, ==, 0);
        g_assert_cmpint(viv_tls_send(t, "\1", 1), ==, 1);
        g_assert_cmpint(p.c->state, ==, VNC_NORMAL);
        while ((n = viv_tls_recv(t, got + all, sizeof(got) - all)) > 0)
            all += (size_t)n;
        g_assert_cmpint(n, ==, -EAGAIN);
        g_assert_cmpuint(all, ==, 4 + 24 + 4); /* SecurityResult, ServerInit, the name */
        g_assert_cmpint(viv_tls_send(t, ask, sizeof(ask)), ==, sizeof(ask));
        vnc_update(p.c);
        vnc_client_flush(p.c);
        g_assert_cmpuint(p.c->box->len, <, 300000); /* it seals only so much ahead */
        for (all = 0; (n = viv_tls_recv(t, got + all, sizeof(got) - all)) > 0;)
            all += (size_t)n;
        g_assert_cmpuint(all, ==, 4 + 3 * 12 + 300 * 300 * 4); /* in three pieces */
        g_assert_cmpuint(vnc_client_unsent(p.c), ==, 0);
        vnc_client_end(p.c, "test");
        g_assert_cmpuint(vnc_client_unsent(p.c), >, 0); /* the goodbye */
        g_assert_cmpint(viv_tls_recv(t, got, 1), ==, 0);
        viv_tls_free(t);
    }
    viv_tls_creds_put(&creds);
    vnc_server_free(s);
}

/* What was said in the clear behind the word for TLS is not taken for RFB. */
static void test_tls_early(void)
{
    struct vnc_server *s = make_server(20, 20);
    struct vnc_client *c;

    s->creds = anonymous("server");
    c = vnc_client_new(s, -1, false, false);
    c->next = s->clients;
    s->clients = c;
    vnc_client_input(c, (const uint8_t *)"RFB 003.008\n\x13\0\2\0\0\1\1\1\4\1\0\0\0\0\0a", 28);
    g_assert_cmpint(c->state, ==, VNC_DEAD);
    g_assert_cmpuint(c->in->len, ==, 0);
    vnc_server_free(s);
    viv_tls_creds_free_all();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vnc/des", test_des);
    g_test_add_func("/vnc/patience", test_patience);
    g_test_add_func("/vnc/patience-ipv6", test_patience_ipv6);
    g_test_add_func("/vnc/turns", test_turns);
    g_test_add_func("/vnc/behind", test_behind);
    g_test_add_func("/vnc/origin", test_origin);
    g_test_add_func("/vnc/formats", test_formats);
    g_test_add_func("/vnc/palette", test_palette);
    g_test_add_func("/vnc/tiles", test_tiles);
    g_test_add_func("/vnc/flip", test_flip);
    g_test_add_func("/vnc/sizes", test_sizes);
    g_test_add_func("/vnc/cursor", test_cursor);
    g_test_add_func("/vnc/pieces", test_pieces);
    g_test_add_func("/vnc/flood", test_flood);
    g_test_add_func("/vnc/tls", test_tls);
    g_test_add_func("/vnc/tls-early", test_tls_early);
    return g_test_run();
}
