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

static int parse(const char *text, uint8_t mac[6], struct viv_err *err)
{
    unsigned b[6];
    char end;

    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end) != 6 &&
        sscanf(text, "%2x-%2x-%2x-%2x-%2x-%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end) != 6)
        return viv_fail(err, EINVAL, "mac=%s is no address like 52:54:00:12:34:56", text);
    if (b[0] & 1)
        return viv_fail(err, EINVAL, "mac=%s is a multicast address; make the first byte even", text);
    for (int i = 0; i < 6; i++)
        mac[i] = b[i];
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
static int take_typed(const char *text, uint8_t mac[6], struct viv_err *err)
{
    int rc = parse(text, mac, err);
    struct claimed *c = rc ? NULL : held(mac);

    if (c)
        c->cards++;
    else if (!rc)
        claim(mac);
    return rc;
}

int viv_net_mac(const char *text, uint32_t identity, uint8_t mac[6], struct viv_err *err)
{
    static uint32_t given; /* NICs made so far: the same command line gives the same addresses */
    uint32_t low;

    if (text)
        return take_typed(text, mac, err);
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
