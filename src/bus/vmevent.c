#include "bus/vmevent.h"

#include "host/loop.h"

#include <glib.h>
#include <jansson.h>

struct event {
    const char *name;
    char *data;
};

static viv_vm_event_handler handler;

static void pass_on(void *opaque)
{
    struct event *e = opaque;

    if (handler)
        handler(e->name, e->data);
    free(e->data);
    g_free(e);
}

void viv_vm_event_json(const char *event, json_t *data)
{
    struct event *e;

    if (handler) {
        e = g_new(struct event, 1);
        *e = (struct event){event, data ? json_dumps(data, 0) : NULL};
        viv_loop_call(pass_on, e);
    }
    json_decref(data);
}

void viv_vm_event_set_handler(viv_vm_event_handler fn)
{
    handler = fn;
}
