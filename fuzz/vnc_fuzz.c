/* The input is all that a client says, from its first byte on, in pieces: the first byte chooses plain or WebSocket (on its own port), a
 * password or none, and how large the pieces are (of 61 bytes: with TLS, without certificates). Updates are encoded as they are asked for; what is sent is dropped. */
#include "fuzz/fuzz.h"

#include "crypto/tlscreds.h"
#include "ui/vnc/vnc_int.h"

#include <string.h>

#define SIDE 150

static struct vnc_server *server;
static struct viv_tls_creds *creds; /* NULL: there is no GnuTLS */

static void make_creds(void)
{
    struct viv_opts *o = NULL;

    if (viv_opts_parse("-object", viv_tls_anon_opts, "id", "t,endpoint=server", &o, NULL) == 0 && viv_tls_anon_add(o, NULL) == 0)
        viv_tls_creds_get("t", true, &creds, NULL);
    viv_opts_free(o);
}

static void set_up(void)
{
    make_creds();
    server = vnc_server_new("fuzz", "Fuzz", ":0");
    server->connections_max = 4;
    server->lossy = vnc_jpeg_works(NULL);
    server->expires = INT64_MAX;
    server->unix_only = true;
    server->password = g_strdup("");
    server->mail.surface = viv_surface_new(SIDE, SIDE / 2);
    for (unsigned i = 0; i < SIDE * SIDE / 2; i++) /* one colour, two, some, many */
        ((uint32_t *)server->mail.surface->pixels)[i] = i % SIDE < 64 ? 0 : i % SIDE < 70 ? i & 1 : i % SIDE < 100 ? i % 7 : i * 0x10305;
    server->mail.new_surface = server->mail.fresh = true;
    server->mail.cursor = g_malloc0(sizeof(struct viv_cursor) + 4 * 12);
    server->mail.cursor->width = 4;
    server->mail.cursor->height = 3;
    server->mail.new_cursor = true;
    memset(server->mail.rows, 0xff, sizeof(server->mail.rows));
    server->mail.first = 0;
    server->mail.last = SIDE / 2 - 1;
}

/* Another client, which gets the clipboard. */
static struct vnc_client *add_client(bool websocket)
{
    struct vnc_client *c = vnc_client_new(server, -1, websocket, false);

    c->next = server->clients;
    server->clients = c;
    return c;
}

static void drop(struct vnc_client *c)
{
    c->sent = 0;
    g_byte_array_set_size(c->out, 0);
    g_byte_array_set_size(c->wire, 0);
    c->box_sent = 0;
    g_byte_array_set_size(c->box, 0);
}

/* The guest has taken all events, time has passed, the network is quick. */
static void serve(struct vnc_client *c)
{
    do {
        g_array_set_size(server->events, 0);
        c->in_flight = 0;
        c->paid_ns = 0;
        if (c->state == VNC_PEEK)
            break;
        if (c->state == VNC_JUDGE)
            vnc_judge(c);
        if (c->state == VNC_NORMAL)
            vnc_update(c);
        vnc_client_flush(c); /* there is no socket: wrapped and sealed is all that it gets */
        drop(c);
    } while (vnc_client_parse(c) && c->state != VNC_DEAD);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vnc_client *c, *other;
    size_t piece, at = 1;

    if (!server)
        set_up();
    if (!size)
        return 0;
    server->needs_password = data[0] & 2;
    server->creds = NULL;
    other = add_client(false);
    vnc_client_input(other, (const uint8_t *)"RFB 003.003\n\1", 13);
    server->creds = data[0] >> 2 == 61 ? creds : NULL;
    c = add_client(data[0] & 1);
    piece = data[0] >> 2 ? data[0] >> 2 : size;
    while (at < size && c->state != VNC_DEAD) {
        size_t n = MIN(piece, size - at);

        vnc_client_input(c, data + at, n);
        serve(c);
        at += n;
    }
    server->clients = NULL;
    g_clear_pointer(&server->clip, g_free);
    vnc_client_free(c);
    vnc_client_free(other);
    return 0;
}
