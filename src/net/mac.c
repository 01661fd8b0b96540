#include "net/net.h"

#include "host/broker.h"

#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_DEFAULT 0x123456 /* what people know from QEMU */

/* Six bytes of one or two digits, all with ':' or all with '-' between them. */
static bool read_bytes(const char *p, uint8_t mac[6])
{
    char between = strchr(p, '-') ? '-' : ':';

    for (int i = 0; i < 6; i++) {
        if (i && *p++ != between)
            return false;
        if (!g_ascii_isxdigit(*p))
            return false;
        mac[i] = (uint8_t)g_ascii_xdigit_value(*p++);
        if (g_ascii_isxdigit(*p))
            mac[i] = (uint8_t)(mac[i] << 4 | g_ascii_xdigit_value(*p++));
    }
    return !*p;
}

static int parse(const char *text, uint8_t mac[6], struct viv_err *err)
{
    if (!read_bytes(text, mac))
        return viv_fail(err, EINVAL, "mac=%.60s is no address like 52:54:00:12:34:56", text);
    if (mac[0] & 1)
        return viv_fail(err, EINVAL, "mac=%s is a multicast address; make the first byte even", text);
    return 0;
}

static bool keep;

void viv_net_mac_keep(void)
{
    keep = true;
}

/* What this machine holds. */
struct claimed {
    uint8_t mac[6];
    int fd;
    unsigned cards; /* with mac= several may have it */
};

static GList *all; /* device lock */

static struct claimed *held(const uint8_t mac[6])
{
    for (GList *l = all; l; l = l->next) {
        if (!memcmp(((struct claimed *)l->data)->mac, mac, 6))
            return l->data;
    }
    return NULL;
}

/* A socket of the abstract kind, which is gone with the process, says that an address of this network namespace is in use:
 * two machines with the same name, or with none, still get two addresses. It listens, so that a process which a guest took over cannot
 * connect it to somebody. False: it is another machine's. */
static bool claim(const uint8_t mac[6])
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, VIV_MAC_CLAIM "%02x%02x%02x%02x%02x%02x", mac[0], mac[1], mac[2],
                     mac[3], mac[4], mac[5]);
    int fd = viv_unix_listen((struct sockaddr *)&a, offsetof(struct sockaddr_un, sun_path) + 1 + n, 0, NULL);
    struct claimed *c;

    if (fd < 0)
        return fd != -EADDRINUSE;
    c = g_new(struct claimed, 1);
    *c = (struct claimed){.fd = fd, .cards = 1};
    memcpy(c->mac, mac, 6);
    all = g_list_prepend(all, c);
    return true;
}

void viv_net_mac_release(const uint8_t mac[6])
{
    struct claimed *c = held(mac);

    if (!c || --c->cards)
        return;
    close(c->fd);
    all = g_list_remove(all, c);
    g_free(c);
}

/* What was typed is what it is; nobody else is given it. */
static void take_typed(const uint8_t mac[6])
{
    struct claimed *c = held(mac);

    if (c)
        c->cards++;
    else
        claim(mac);
}

int viv_net_mac(const char *text, uint32_t identity, uint8_t mac[6], struct viv_err *err)
{
    static uint32_t given; /* NICs made so far: the same command line gives the same addresses */
    static const uint8_t none[6];
    uint32_t low;
    int rc = text ? parse(text, mac, err) : 0;

    if (rc)
        return rc;
    if (text && memcmp(mac, none, 6)) { /* all zero: as if nothing was said, for no driver would bring such a card up */
        take_typed(mac);
        return 0;
    }
    for (unsigned tries = 0; tries < 4096; tries++) {
        low = (identity ? identity : FIRST_DEFAULT) + given++;
        mac[0] = 0x52;
        mac[1] = 0x54;
        mac[2] = 0x00;
        mac[3] = low >> 16;
        mac[4] = low >> 8;
        mac[5] = low;
        if (held(mac))
            continue;
        if (claim(mac) || keep)
            return 0;
    }
    return viv_fail(err, EADDRINUSE, "4096 addresses from %02x:%02x:%02x:%02x:%02x:%02x down are in use on this host; give mac=",
                    mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}
