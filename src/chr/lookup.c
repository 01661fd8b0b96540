/* Addresses of a name, asked for by a thread of its own: a resolver may take many seconds, and the machine runs meanwhile. */
#include "chr/lookup.h"

#include "host/loop.h"
#include "host/thread.h"

#include <glib.h>
#include <pthread.h>

struct viv_lookup {
    char *host, *port;
    struct addrinfo hints, *found;
    int error; /* getaddrinfo()'s */
    pthread_t thread;
    viv_lookup_fn done; /* device lock; NULL: nobody wants it any more */
    void *opaque;
};

static void finish(void *opaque)
{
    struct viv_lookup *l = opaque;

    pthread_join(l->thread, NULL);
    if (l->done)
        l->done(l->opaque, l->error, l->found);
    else if (l->found)
        freeaddrinfo(l->found);
    g_free(l->host);
    g_free(l->port);
    g_free(l);
}

static void *look_up(void *opaque)
{
    struct viv_lookup *l = opaque;

    l->error = getaddrinfo(l->host, l->port, &l->hints, &l->found);
    viv_loop_call(finish, l);
    return NULL;
}

struct viv_lookup *viv_lookup_start(const char *host, const char *port, const struct addrinfo *hints, viv_lookup_fn done, void *opaque)
{
    struct viv_lookup *l = g_new0(struct viv_lookup, 1);

    l->host = g_strdup(host);
    l->port = g_strdup(port);
    l->hints = *hints;
    l->done = done;
    l->opaque = opaque;
    if (viv_thread_start(&l->thread, "viv-lookup", look_up, l, NULL) == 0)
        return l;
    g_free(l->host);
    g_free(l->port);
    g_free(l);
    return NULL;
}

void viv_lookup_forget(struct viv_lookup *l)
{
    if (l)
        l->done = NULL;
}
