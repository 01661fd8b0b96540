#include "block/graph.h"

#include "host/lock.h"
#include "host/loop.h"
#include "host/thread.h"

#include <errno.h>
#include <glib.h>

/* Who wants to change it comes before those who come to read, or a few busy ones would never let it in: the turn is theirs while they wait, and
 * readers want a turn to come in. Readers nest, so each thread counts, and takes the lock once; and a reader waits for no other thread that may
 * come to read. Whoever holds the device lock (the monitor) takes no turn: it would wait, and all the machine with it, for the slowest read of
 * a job, just because another job waits too. */
static pthread_rwlock_t graph = PTHREAD_RWLOCK_INITIALIZER; /* readers come in beside readers, whoever waits */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static __thread unsigned reading;
static __thread unsigned changing; /* this thread has it for itself: how often it said so */

void viv_graph_begin(void)
{
    if (changing++)
        return;
    viv_blk_hold_all();
    pthread_mutex_lock(&turn);
    pthread_rwlock_wrlock(&graph);
    pthread_mutex_unlock(&turn);
}

void viv_graph_end(void)
{
    if (--changing)
        return;
    pthread_rwlock_unlock(&graph);
    viv_blk_release_all();
}

void viv_graph_enter(void)
{
    bool waits = !viv_dev_locked();

    if (changing || reading++)
        return;
    if (waits)
        pthread_mutex_lock(&turn);
    pthread_rwlock_rdlock(&graph);
    if (waits)
        pthread_mutex_unlock(&turn);
}

void viv_graph_leave(void)
{
    if (!changing && !--reading)
        pthread_rwlock_unlock(&graph);
}

/* --- a change that somebody in the loop waits for --- */

struct change {
    int (*fn)(void *opaque, struct viv_err *err);
    void *opaque;
    struct viv_err *err;
    int ret;
    bool done; /* device lock */
};

static void nothing(void *unused)
{
}

static void *change_main(void *opaque)
{
    struct change *c = opaque;
    int ret;

    viv_graph_begin();
    ret = c->fn(c->opaque, c->err);
    viv_graph_end();
    viv_dev_lock();
    c->ret = ret;
    c->done = true;
    viv_loop_call(nothing, NULL); /* who waits looks again */
    viv_dev_unlock();
    return NULL;
}

static bool is_done(void *opaque)
{
    return ((struct change *)opaque)->done;
}

static unsigned under_way; /* loop thread */

int viv_graph_check_quiet(struct viv_err *err)
{
    return under_way ? viv_fail(err, EBUSY, "another command is changing block nodes; try again when it has ended") : 0;
}

int viv_graph_run(int (*fn)(void *opaque, struct viv_err *err), void *opaque, struct viv_err *err)
{
    struct change c = {.fn = fn, .opaque = opaque, .err = err};
    pthread_t thread;
    int ret = viv_thread_start(&thread, "viv-graph", change_main, &c, err);

    if (ret)
        return ret;
    under_way++;
    while (!c.done)
        viv_loop_wait_for(is_done, &c, 1000000000);
    under_way--;
    pthread_join(thread, NULL); /* it has let go of the lock, the last it does */
    return c.ret;
}

void viv_node_add_hook(struct viv_node *n, struct viv_node_hook *h)
{
    h->next = n->hooks;
    n->hooks = h;
}

void viv_node_remove_hook(struct viv_node *n, struct viv_node_hook *h)
{
    for (struct viv_node_hook **p = &n->hooks; *p; p = &(*p)->next)
        if (*p == h) {
            *p = h->next;
            return;
        }
}

struct viv_node *viv_node_swap_backing(struct viv_node *n, struct viv_node *backing)
{
    if (backing)
        viv_node_get(backing);
    return viv_node_set_backing(n, backing);
}

int viv_node_write_backing(struct viv_node *n, const char *name, const char *format, struct viv_err *err)
{
    bool was_read_only = n->read_only;
    int ret = was_read_only ? viv_node_set_read_only(n, false, err) : 0;

    if (ret)
        return ret;
    if (!n->drv->change_backing)
        ret = viv_fail(err, ENOTSUP, "'%s': %s images cannot change their backing file", n->filename, n->drv->name);
    if (!ret)
        ret = n->drv->change_backing(n, name, format, err);
    if (was_read_only)
        viv_node_set_read_only(n, true, NULL);
    return ret;
}
