#include "net/net.h"

#include <errno.h>
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

/* A socket of the abstract kind, which is gone with the process, says that an address of this network namespace is in use:
 * two machines with the same name, or with none, still get two addresses. It listens, so that a process which a guest took over cannot
 * connect it to somebody. False: it is another machine's. */
static bool claim(const uint8_t mac[6])
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "viv-mac-%02x%02x%02x%02x%02x%02x", mac[0], mac[1], mac[2],
                     mac[3], mac[4], mac[5]);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return true;
    if (!bind(fd, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)) && !listen(fd, 0))
        return true; /* held to the end of the process */
    n = errno;
    close(fd);
    return n != EADDRINUSE;
}

int viv_net_mac(const char *text, uint32_t identity, uint8_t mac[6], struct viv_err *err)
{
    static uint32_t given; /* NICs made so far: the same command line gives the same addresses */
    uint32_t low;
    int rc;

    if (text) {
        rc = parse(text, mac, err);
        if (!rc)
            claim(mac); /* so that nobody is given what was typed */
        return rc;
    }
    for (unsigned tries = 0; tries < 4096; tries++) {
        low = (identity ? identity : FIRST_DEFAULT) + given++;
        mac[0] = 0x52;
        mac[1] = 0x54;
        mac[2] = 0x00;
        mac[3] = low >> 16;
        mac[4] = low >> 8;
        mac[5] = low;
        if (claim(mac) || keep)
            return 0;
    }
    return viv_fail(err, EADDRINUSE, "4096 addresses from %02x:%02x:%02x:%02x:%02x:%02x down are in use on this host; give mac=",
                    mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}
