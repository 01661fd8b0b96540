/* The frames are what other emulators send: a request by reverse ARP (RFC 903) for one's own address, to everybody. Whoever sees it
 * learns which port the address is at; nobody has to answer. */
#include "net/announce.h"

#include "host/clock.h"
#include "net/net.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define FRAME     60 /* the shortest without FCS */
#define NS_PER_MS 1000000
#define MOST      64 /* at the same time; ids are somebody's */

struct viv_announce_params viv_announce_defaults = {.initial_ms = 50, .max_ms = 550, .step_ms = 100, .rounds = 5};

struct announcement {
    struct viv_announce_params p;
    int64_t done; /* rounds */
    char **nics;  /* NULL: all */
    struct viv_timer *timer;
};

static GHashTable *running; /* by id */

static void free_one(gpointer p)
{
    struct announcement *a = p;

    viv_timer_free(a->timer);
    g_strfreev(a->nics);
    g_free(a);
}

static void make_frame(const uint8_t mac[6], uint8_t frame[FRAME])
{
    static const uint8_t middle[] = {0x80, 0x35, 0, 1 /* Ethernet */, 8, 0 /* IPv4 */, 6, 4, 0, 3 /* request reverse */};

    memset(frame, 0, FRAME);
    memset(frame, 0xff, 6);
    memcpy(frame + 6, mac, 6);
    memcpy(frame + 12, middle, sizeof(middle));
    memcpy(frame + 22, mac, 6); /* of the sender; its IP address and the one that is asked for are 0 */
    memcpy(frame + 32, mac, 6);
}

static bool is_meant(const struct announcement *a, const struct viv_nic *nic)
{
    return !a->nics || g_strv_contains((const gchar *const *)a->nics, viv_nic_name(nic));
}

/* A back end that has no room now loses one: there are rounds. */
static void send_round(const struct announcement *a)
{
    for (struct viv_nic *n = viv_nic_next(NULL); n; n = viv_nic_next(n)) {
        struct viv_netdev *to = viv_nic_backend(n);
        struct viv_nic_info nic;
        uint8_t frame[FRAME];
        struct iovec iov = {frame, sizeof(frame)};

        viv_nic_info(n, &nic);
        if (!to || !is_meant(a, n))
            continue;
        make_frame(nic.mac, frame);
        viv_netdev_send(to, &iov, 1);
    }
}

static void on_time(void *opaque)
{
    struct announcement *a = opaque;
    int64_t wait = a->p.initial_ms;

    send_round(a);
    if (++a->done >= a->p.rounds)
        return;
    if (__builtin_mul_overflow(a->p.step_ms, a->done - 1, &wait) || __builtin_add_overflow(wait, a->p.initial_ms, &wait) || wait > a->p.max_ms)
        wait = a->p.max_ms;
    viv_timer_set(a->timer, viv_clock_ns(VIV_CLOCK_GUEST) + wait * NS_PER_MS);
}

int viv_announce(const struct viv_announce_params *p, const char *const *nics, size_t count, const char *id, struct viv_err *err)
{
    struct announcement *a;

    if (!running)
        running = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_one);
    id = id ? id : "";
    for (size_t i = 0; i < count; i++)
        if (!viv_nic_find(nics[i]))
            return viv_fail(err, ENOENT, "interfaces: there is no network card '%.60s'; info network lists them", nics[i]);
    if (!g_hash_table_contains(running, id) && g_hash_table_size(running) >= MOST)
        return viv_fail(err, ENOSPC, "there are %d announcements already; give one of their ids again", MOST);
    g_hash_table_remove(running, id);
    if (!p->rounds)
        return 0;
    a = g_new0(struct announcement, 1);
    a->p = *p;
    a->nics = count ? g_new0(char *, count + 1) : NULL;
    for (size_t i = 0; i < count; i++)
        a->nics[i] = g_strdup(nics[i]);
    a->timer = viv_timer_new(VIV_CLOCK_GUEST, on_time, a);
    g_hash_table_insert(running, g_strdup(id), a);
    viv_timer_set(a->timer, viv_clock_ns(VIV_CLOCK_GUEST));
    return 0;
}

void viv_announce_free_all(void)
{
    g_clear_pointer(&running, g_hash_table_unref);
}
