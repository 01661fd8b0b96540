#include "bus/vmevent.h"

#include "host/loop.h"

#include <glib.h>
#include <jansson.h>

#define WAITING_MAX 1000

struct event {
    const char *name;
    char *what; /* which thing's event it is */
    char *data;
};

static viv_vm_event_handler handler;
static GMutex lock; /* nothing is taken under it but the loop's */
static GQueue waiting = G_QUEUE_INIT;

static void event_free(struct event *e)
{
    g_free(e->what);
    free(e->data);
    g_free(e);
}

static char *what_of(json_t *data)
{
    static const char *const keys[] = {"id", "device", "path", "qom-path", "node-name"};
    GString *s = g_string_new(NULL);

    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        const char *v = json_string_value(json_object_get(data, keys[i]));

        g_string_append_printf(s, "%s\n", v ? v : "");
    }
    return g_string_free(s, FALSE);
}

static void pass_on(void *unused)
{
    for (;;) {
        struct event *e;

        g_mutex_lock(&lock);
        e = g_queue_pop_head(&waiting);
        g_mutex_unlock(&lock);
        if (!e)
            return;
        if (handler)
            handler(e->name, e->data);
        event_free(e);
    }
}

/* A guest can cause events faster than the loop tells them: then the last of a kind and a thing stands for those before it. */
static void make_room(const struct event *newer)
{
    for (GList *at = waiting.tail; at; at = at->prev) {
        struct event *e = at->data;

        if (g_strcmp0(e->name, newer->name) || g_strcmp0(e->what, newer->what))
            continue;
        g_queue_delete_link(&waiting, at);
        event_free(e);
        return;
    }
}

void viv_vm_event_json(const char *event, json_t *data)
{
    struct event *e;

    if (handler) {
        g_mutex_lock(&lock);
        if (g_queue_is_empty(&waiting))
            viv_loop_call(pass_on, NULL);
        e = g_new(struct event, 1);
        *e = (struct event){event, what_of(data), data ? json_dumps(data, 0) : NULL};
        if (waiting.length >= WAITING_MAX)
            make_room(e);
        g_queue_push_tail(&waiting, e);
        g_mutex_unlock(&lock);
    }
    json_decref(data);
}

void viv_vm_event_set_handler(viv_vm_event_handler fn)
{
    handler = fn;
}
