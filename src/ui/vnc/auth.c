/* VNC authentication (RFC 6143 section 7.2.2), and patience with those who guess.
 *
 * After a wrong password the next response from that host is judged later: 0.25 s, and twice that after each more, up to 8 s. A right
 * one clears it. The table is bounded: the host that has been quiet longest makes room. Responses are judged in the order in which
 * they came, so that who guesses delays others behind the same address but never keeps them out. VNC thread. */
#include "ui/vnc/vnc_int.h"

#include "host/clock.h"

#include <arpa/inet.h>
#include <nettle/des.h>
#include <string.h>

#define HOSTS    64
#define FIRST_NS 250000000
#define MOST     5 /* doublings */
#define WAIT_MOST (VNC_CLIENTS_MAX / 2) /* that wait, of one host: places are left to others */

/* Each byte of the key has its bits in reverse order: so it was done first, and so it must stay. */
void vnc_des_response(const char *password, const uint8_t challenge[16], uint8_t out[16])
{
    uint8_t key[DES_KEY_SIZE] = {0};
    struct des_ctx des;
    size_t len = strlen(password);

    for (size_t i = 0; i < sizeof(key) && i < len; i++) {
        for (unsigned b = 0; b < 8; b++)
            key[i] |= (uint8_t)((((uint8_t)password[i] >> b) & 1) << (7 - b));
    }
    des_set_key(&des, key); /* a weak key is what the user has chosen */
    des_encrypt(&des, 16, out, challenge);
}

static struct host {
    char name[64];
    unsigned failures;
    int64_t not_before;
} hosts[HOSTS];

/* Who has one IPv6 address has all 2^64 of its network. */
static void key_of(const char *host, char out[64])
{
    struct in6_addr a;

    g_strlcpy(out, host, 64);
    if (inet_pton(AF_INET6, host, &a) != 1 || IN6_IS_ADDR_V4MAPPED(&a))
        return;
    memset(a.s6_addr + 8, 0, 8);
    inet_ntop(AF_INET6, &a, out, 64);
}

static struct host *find(const char *host)
{
    char name[64];

    key_of(host, name);
    for (unsigned i = 0; i < HOSTS; i++) {
        if (hosts[i].failures && !strcmp(hosts[i].name, name))
            return &hosts[i];
    }
    return NULL;
}

int64_t vnc_auth_not_before(const char *host)
{
    struct host *h = find(host);

    return h ? h->not_before : 0;
}

void vnc_auth_result(const char *host, bool ok)
{
    struct host *h = find(host);

    if (ok) {
        if (h)
            h->failures = 0;
        return;
    }
    if (!h) {
        h = &hosts[0];
        for (unsigned i = 1; i < HOSTS && h->failures; i++) {
            if (!hosts[i].failures || hosts[i].not_before < h->not_before)
                h = &hosts[i];
        }
        *h = (struct host){0};
        key_of(host, h->name);
    }
    h->not_before = viv_clock_ns(VIV_CLOCK_HOST) + ((int64_t)FIRST_NS << MIN(h->failures, MOST));
    h->failures++;
}

/* ---- responses that wait, of all servers ---- */

static GList *waiting; /* struct vnc_client, in the order in which they came */

static struct vnc_client *first_of(const char *host, unsigned *count)
{
    struct vnc_client *first = NULL;
    char key[64], other[64];

    *count = 0;
    key_of(host, key);
    for (GList *l = waiting; l; l = l->next) {
        struct vnc_client *c = l->data;

        key_of(c->host, other);
        if (strcmp(key, other) != 0)
            continue;
        first = first ? first : c;
        ++*count;
    }
    return first;
}

bool vnc_auth_wait(struct vnc_client *c)
{
    unsigned count;

    first_of(c->host, &count);
    if (count >= WAIT_MOST)
        return false;
    waiting = g_list_append(waiting, c);
    c->deadline = count ? INT64_MAX : vnc_auth_not_before(c->host);
    return true;
}

void vnc_auth_leave(struct vnc_client *c)
{
    struct vnc_client *next;
    unsigned count;

    if (!g_list_find(waiting, c))
        return;
    waiting = g_list_remove(waiting, c);
    next = first_of(c->host, &count);
    if (next)
        next->deadline = vnc_auth_not_before(c->host);
}
