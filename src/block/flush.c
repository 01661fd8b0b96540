/* Flushes of nodes. Those of one protocol node run one at a time: when two fdatasync of one descriptor run at once and a page was lost, the
 * kernel tells one of them, and the other one, which must answer for the same page, ends well. Who waits may take the result of a flush that
 * began after it came, so however many come together, two flushes are enough. */
#include "block/event.h"
#include "block/node.h"
#include "block/proto/file/file.h"

void viv_flush_init(struct viv_flush *f)
{
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->over, NULL);
}

void viv_flush_fini(struct viv_flush *f)
{
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->over);
}

/* May a failed flush have lost what was written? The kernel drops pages that it could not write, so a later success means nothing. With
 * O_DIRECT there are none; and what fails in a filter was not the kernel's. */
static bool loses(const struct viv_node *n)
{
    return !(n->direct && (n->drv == &viv_blk_file || n->drv == &viv_blk_host_device));
}

/* The lock is held, and nobody else is at it. */
static void flush_once(struct viv_node *n, struct viv_flush *f)
{
    int ret;

    f->started++;
    pthread_mutex_unlock(&f->lock);
    ret = n->drv->flush(n);
    pthread_mutex_lock(&f->lock);
    f->ended = f->started;
    f->result = ret;
    if (ret && loses(n))
        __atomic_store_n(&f->error, ret, __ATOMIC_RELAXED);
    pthread_cond_broadcast(&f->over);
}

static int flush_protocol(struct viv_node *n)
{
    struct viv_flush *f = &n->flush;
    uint64_t mine;
    int ret;

    pthread_mutex_lock(&f->lock);
    mine = f->started + 1; /* the next one sees what was written before we came */
    while (!f->error && f->ended < mine) {
        if (f->started == f->ended)
            flush_once(n, f);
        else
            pthread_cond_wait(&f->over, &f->lock);
    }
    ret = f->error ? f->error : f->result;
    pthread_mutex_unlock(&f->lock);
    return ret;
}

int viv_node_flush(struct viv_node *n)
{
    int ret = __atomic_load_n(&n->flush.error, __ATOMIC_RELAXED);

    if (ret || n->read_only)
        return ret;
    if (n->drv->protocol && n->no_flush)
        return 0;
    viv_node_event(n, n->drv->protocol ? VIV_EVENT_FLUSH_TO_DISK : VIV_EVENT_FLUSH_TO_OS);
    for (unsigned i = 0; i < n->children && !ret; i++)
        ret = viv_node_flush(n->child[i]);
    if (ret)
        return ret;
    if (n->drv->protocol && !n->drv->filter && n->drv->flush)
        return flush_protocol(n);
    if (n->drv->flush)
        return n->drv->flush(n); /* a format's own includes the file's */
    return n->file ? viv_node_flush(n->file) : 0;
}
