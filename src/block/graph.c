#include "block/graph.h"

static pthread_rwlock_t graph = PTHREAD_RWLOCK_INITIALIZER; /* prefers readers: they nest */
static __thread bool changing;                              /* this thread has it for itself */

void viv_graph_begin(void)
{
    viv_blk_hold_all();
    pthread_rwlock_wrlock(&graph);
    changing = true;
}

void viv_graph_end(void)
{
    changing = false;
    pthread_rwlock_unlock(&graph);
    viv_blk_release_all();
}

void viv_graph_enter(void)
{
    if (!changing)
        pthread_rwlock_rdlock(&graph);
}

void viv_graph_leave(void)
{
    if (!changing)
        pthread_rwlock_unlock(&graph);
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
    struct viv_node *old = n->backing;

    if (backing)
        viv_node_get(backing);
    n->backing = backing;
    return old;
}
