/* Events: to all QMP monitors; those whose rate is limited once a second at most, the last of several then. */
#include "mon/mon_int.h"

#include "base/log.h"
#include "host/clock.h"

#include <string.h>

#define PERIOD 1000000000 /* ns */

/* What came too soon. One for each event, or each of its ids where there are several things that tell it. */
struct slow {
    char *name;
    char *data;     /* waits; NULL: nothing does */
    bool waits;
    struct viv_timer *timer; /* armed: for this long nothing is told */
};

static GHashTable *slows;

static void slow_free(gpointer p)
{
    struct slow *s = p;

    viv_timer_free(s->timer);
    g_free(s->name);
    g_free(s->data);
    g_free(s);
}

static void rest(struct slow *s)
{
    viv_timer_set(s->timer, viv_clock_ns(VIV_CLOCK_HOST) + PERIOD);
}

static void rested(void *opaque)
{
    struct slow *s = opaque;
    g_autofree char *data = g_steal_pointer(&s->data);

    if (!s->waits)
        return;
    s->waits = false;
    rest(s);
    viv_qmp_tell(s->name, data);
}

static char *key_of(const char *event, const char *json_data)
{
    json_t *data = json_data ? json_loads(json_data, 0, NULL) : NULL;
    const char *id = json_string_value(json_object_get(data, "id"));
    char *key = g_strdup_printf("%s %s", event, id ? id : "");

    json_decref(data);
    return key;
}

static void tell_slowly(const char *event, const char *json_data)
{
    char *key = key_of(event, json_data);
    struct slow *s;

    if (!slows)
        slows = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, slow_free);
    s = g_hash_table_lookup(slows, key);
    if (s) {
        g_free(key);
    } else {
        s = g_new0(struct slow, 1);
        s->name = g_strdup(event);
        s->timer = viv_timer_new(VIV_CLOCK_HOST, rested, s);
        g_hash_table_insert(slows, key, s);
    }
    if (viv_timer_expiry_ns(s->timer) != INT64_MAX) {
        g_free(s->data);
        s->data = g_strdup(json_data);
        s->waits = true;
        return;
    }
    rest(s);
    viv_qmp_tell(event, json_data);
}

void viv_mon_event(const char *event, const char *json_data)
{
    const struct viv_mon_event_def *e;
    struct viv_mon_iter it;

    viv_mon_iter_init(&it);
    do {
        e = viv_mon_next_event(&it);
    } while (e && strcmp(e->name, event) != 0);
    if (!e)
        viv_warn("monitor: the event %s is in no table", event);
    if (e && e->slow)
        tell_slowly(event, json_data);
    else
        viv_qmp_tell(event, json_data);
}

void viv_mon_event_free_all(void)
{
    g_clear_pointer(&slows, g_hash_table_destroy);
}
