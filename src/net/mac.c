#include "net/net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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

int viv_net_mac(const char *text, uint32_t identity, uint8_t mac[6], struct viv_err *err)
{
    static uint32_t given; /* NICs made so far: the same command line gives the same addresses */
    uint32_t low;

    if (text)
        return parse(text, mac, err);
    low = (identity ? identity : FIRST_DEFAULT) + given++;
    mac[0] = 0x52;
    mac[1] = 0x54;
    mac[2] = 0x00;
    mac[3] = low >> 16;
    mac[4] = low >> 8;
    mac[5] = low;
    return 0;
}
