#include "bus/vmevent.h"

#include "host/loop.h"

#include <glib.h>
#include <jansson.h>

#define WAITING_MAX 1000

struct event {
    const char *name;
    char *data;
};

static viv_vm_event_handler handler;
static GMutex lock; /* nothing is taken under it but the loop's */
static GQueue waiting = G_QUEUE_INIT;

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
        free(e->data);
        g_free(e);
    }
}

/* A guest can cause events faster than the loop tells them: then the last of a kind stands for those before it. */
static struct event *make_room(const char *name)
{
    for (GList *at = waiting.tail; at; at = at->prev) {
        struct event *e = at->data;

        if (g_strcmp0(e->name, name))
            continue;
        g_queue_delete_link(&waiting, at);
        free(e->data);
        return e;
    }
    return g_new(struct event, 1);
}

void viv_vm_event_json(const char *event, json_t *data)
{
    struct event *e;

    if (handler) {
        g_mutex_lock(&lock);
        if (g_queue_is_empty(&waiting))
            viv_loop_call(pass_on, NULL);
        e = waiting.length < WAITING_MAX ? g_new(struct event, 1) : make_room(event);
        *e = (struct event){event, data ? json_dumps(data, 0) : NULL};
        g_queue_push_tail(&waiting, e);
        g_mutex_unlock(&lock);
    }
    json_decref(data);
}

void viv_vm_event_set_handler(viv_vm_event_handler fn)
{
    handler = fn;
}
