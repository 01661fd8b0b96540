/* blkdebug: requests that fail or stop where a rule says so.
 *
 * The drivers above tell where they are (event.h). An event makes the inject-error rules that it has, in the state that is, the
 * active ones, changes the state, and stops the thread at a breakpoint. A request fails when an active rule matches it. */
#include "block/filter/blkdebug_int.h"
#include "block/filter/filter.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct stopped {
    const char *tag;
    bool resumed;
    struct stopped *next;
};

struct debug {
    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t change; /* of `stopped` */
    struct debug_rule *rules;
    int64_t state;
    struct stopped *stopped;
    struct debug_limits limits; /* constant */
};

static const struct viv_opt_def opts[] = {
    {"config", VIV_OPT_STR, "file with sections [inject-error] and [set-state]"},
    {"align", VIV_OPT_SIZE, "requests begin and end at multiples of it: a power of two", "0"},
    {"max-transfer", VIV_OPT_SIZE, "most bytes of a read or write, a multiple of align", "0"},
    {"opt-write-zero", VIV_OPT_SIZE, "zeroes come in multiples of it, what is less as data; a multiple of align", "0"},
    {"max-write-zero", VIV_OPT_SIZE, "most bytes of zeroes at once, a multiple of align and opt-write-zero", "0"},
    {"opt-discard", VIV_OPT_SIZE, "discards are parted at multiples of it; a multiple of align", "0"},
    {"max-discard", VIV_OPT_SIZE, "most bytes of a discard, a multiple of align and opt-discard", "0"},
    VIV_OPT_END,
};

/* --- events --- */

static bool applies(const struct debug *d, const struct debug_rule *r, enum viv_event e)
{
    return r->event == e && (!r->state || r->state == d->state);
}

/* Lock held. The state changes after all rules of this event were looked at. */
static void run_rules(struct debug *d, enum viv_event e)
{
    int64_t state = d->state;
    bool any = false;

    for (struct debug_rule *r = d->rules; r; r = r->next) {
        if (!applies(d, r, e))
            continue;
        any |= r->what == DEBUG_INJECT;
        if (r->what == DEBUG_SET_STATE)
            state = r->new_state;
    }
    for (struct debug_rule *r = d->rules; any && r; r = r->next)
        r->active = r->what == DEBUG_INJECT && applies(d, r, e);
    d->state = state;
}

/* Lock held. The breakpoint is used up. */
static struct debug_rule *take_break(struct debug *d, enum viv_event e)
{
    for (struct debug_rule **p = &d->rules; *p; p = &(*p)->next) {
        struct debug_rule *r = *p;

        if (r->what == DEBUG_BREAK && r->event == e) {
            *p = r->next;
            r->next = NULL;
            return r;
        }
    }
    return NULL;
}

static struct timespec end_of(unsigned limit_ms)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += limit_ms / 1000;
    t.tv_nsec += limit_ms % 1000 * 1000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

/* Lock held. False: it was too long. */
static bool wait_until(struct debug *d, const struct timespec *end)
{
    if (end)
        return pthread_cond_timedwait(&d->change, &d->lock, end) != ETIMEDOUT;
    pthread_cond_wait(&d->change, &d->lock);
    return true;
}

static void stop_here(struct debug *d, const char *tag, unsigned limit_ms)
{
    const struct timespec end = end_of(limit_ms);
    struct stopped me = {.tag = tag, .next = d->stopped}, **p;

    d->stopped = &me;
    printf("blkdebug: Suspended request '%s'\n", tag);
    fflush(stdout);
    pthread_cond_broadcast(&d->change);
    while (!me.resumed && wait_until(d, limit_ms ? &end : NULL))
        ;
    printf("blkdebug: Resuming request '%s'\n", tag);
    fflush(stdout);
    for (p = &d->stopped; *p != &me; p = &(*p)->next)
        ;
    *p = me.next;
}

static void on_event(struct viv_node *n, int e)
{
    struct debug *d = n->state;
    struct debug_rule *stop;

    pthread_mutex_lock(&d->lock);
    run_rules(d, e);
    stop = take_break(d, e);
    if (stop)
        stop_here(d, stop->tag, stop->limit_ms);
    viv_debug_rules_free(stop);
    pthread_mutex_unlock(&d->lock);
}

/* --- breakpoints --- */

static struct debug *listener(struct viv_node *n)
{
    while (n && n->drv != &viv_blk_debug)
        n = n->file;
    return n ? n->state : NULL;
}

int viv_node_break(struct viv_node *n, const char *event, const char *tag, unsigned limit_ms)
{
    struct debug *d = listener(n);
    int e = viv_event_find(event);
    struct debug_rule *r;

    if (!d)
        return -ENOTSUP;
    if (e < 0)
        return -ENOENT;
    r = g_new0(struct debug_rule, 1);
    *r = (struct debug_rule){.what = DEBUG_BREAK, .event = e, .tag = g_strdup(tag), .limit_ms = limit_ms};
    pthread_mutex_lock(&d->lock);
    r->next = d->rules;
    d->rules = r;
    pthread_mutex_unlock(&d->lock);
    return 0;
}

/* Lock held. tag NULL: all. */
static bool resume(struct debug *d, const char *tag, bool all)
{
    bool found = false;

    for (struct stopped *s = d->stopped; s && (all || !found); s = s->next) {
        if (s->resumed || (tag && strcmp(s->tag, tag)))
            continue;
        found = s->resumed = true;
    }
    pthread_cond_broadcast(&d->change);
    return found;
}

int viv_node_break_resume(struct viv_node *n, const char *tag)
{
    struct debug *d = listener(n);
    bool found;

    if (!d)
        return -ENOTSUP;
    pthread_mutex_lock(&d->lock);
    found = resume(d, tag, false);
    pthread_mutex_unlock(&d->lock);
    return found ? 0 : -ENOENT;
}

static bool remove_breaks(struct debug *d, const char *tag)
{
    bool found = false;

    for (struct debug_rule **p = &d->rules; *p;) {
        struct debug_rule *r = *p;

        if (r->what != DEBUG_BREAK || (tag && strcmp(r->tag, tag))) {
            p = &r->next;
            continue;
        }
        *p = r->next;
        r->next = NULL;
        viv_debug_rules_free(r);
        found = true;
    }
    return found;
}

int viv_node_break_remove(struct viv_node *n, const char *tag)
{
    struct debug *d = listener(n);
    bool found;

    if (!d)
        return -ENOTSUP;
    pthread_mutex_lock(&d->lock);
    found = remove_breaks(d, tag);
    found |= resume(d, tag, true);
    pthread_mutex_unlock(&d->lock);
    return found ? 0 : -ENOENT;
}

void viv_node_break_clear(struct viv_node *n)
{
    struct debug *d = listener(n);

    if (!d)
        return;
    pthread_mutex_lock(&d->lock);
    remove_breaks(d, NULL);
    resume(d, NULL, true);
    pthread_mutex_unlock(&d->lock);
}

/* Lock held. Is there one, or could there be? */
static int look_for(const struct debug *d, const char *tag)
{
    for (const struct stopped *s = d->stopped; s; s = s->next)
        if (!s->resumed && !strcmp(s->tag, tag))
            return 0;
    for (const struct debug_rule *r = d->rules; r; r = r->next)
        if (r->what == DEBUG_BREAK && !strcmp(r->tag, tag))
            return -EAGAIN;
    return -ENOENT;
}

int viv_node_break_wait(struct viv_node *n, const char *tag, unsigned limit_ms)
{
    const struct timespec end = end_of(limit_ms);
    struct debug *d = listener(n);
    int ret;

    if (!d)
        return -ENOTSUP;
    pthread_mutex_lock(&d->lock);
    while ((ret = look_for(d, tag)) == -EAGAIN && wait_until(d, limit_ms ? &end : NULL))
        ;
    if (ret == -EAGAIN)
        ret = -ETIMEDOUT;
    pthread_mutex_unlock(&d->lock);
    return ret;
}

/* --- requests --- */

static int fault(struct viv_node *n, enum debug_io io, uint64_t offset, uint64_t len)
{
    struct debug *d = n->state;
    int ret = 0;

    pthread_mutex_lock(&d->lock);
    for (struct debug_rule **p = &d->rules; *p && !ret; p = &(*p)->next) {
        struct debug_rule *r = *p;
        uint64_t at = r->sector < 0 ? 0 : (uint64_t)r->sector * 512;

        if (!r->active || (r->io != DEBUG_IO_ALL && r->io != io) ||
            (r->sector >= 0 && (at + 512 <= offset || at >= offset + len)))
            continue;
        ret = -r->error;
        if (r->once) {
            *p = r->next;
            r->next = NULL;
            viv_debug_rules_free(r);
            break;
        }
    }
    pthread_mutex_unlock(&d->lock);
    return ret;
}

static int read_one(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    int ret = fault(n, DEBUG_READ, offset, len);

    return ret ? ret : viv_filter_preadv(n, offset, iov, cnt, len);
}

static int write_one(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    int ret = fault(n, DEBUG_WRITE, offset, len);

    return ret ? ret : viv_filter_pwritev(n, offset, iov, cnt, len);
}

static int zero_one(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    int ret = fault(n, DEBUG_WRITE_ZEROES, offset, len);

    return ret ? ret : viv_filter_write_zeroes(n, offset, len, flags);
}

static int discard_one(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    int ret = fault(n, DEBUG_DISCARD, offset, len);

    return ret ? ret : viv_filter_discard(n, offset, len);
}

static const struct debug_limits *limits(const struct viv_node *n)
{
    return &((const struct debug *)n->state)->limits;
}

static int debug_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    return viv_debug_transfer(n, limits(n), false, read_one, write_one, offset, iov, cnt, len);
}

static int debug_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    return viv_debug_transfer(n, limits(n), true, read_one, write_one, offset, iov, cnt, len);
}

static int debug_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    return viv_debug_write_zeroes(n, limits(n), zero_one, offset, len, flags);
}

static int debug_discard(struct viv_node *n, uint64_t offset, uint64_t len)
{
    return viv_debug_discard(n, limits(n), discard_one, offset, len);
}

static int debug_flush(struct viv_node *n)
{
    int ret = fault(n, DEBUG_FLUSH, 0, 0);

    return ret ? ret : viv_node_flush(n->file);
}

/* --- opening --- */

static int debug_close(struct viv_node *n)
{
    struct debug *d = n->state;

    viv_debug_rules_free(d->rules);
    pthread_cond_destroy(&d->change);
    pthread_mutex_destroy(&d->lock);
    return viv_filter_close(n);
}

static int debug_open(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    const char *config = o->own ? viv_opts_str(o->own, "config") : NULL;
    struct debug_limits l = {.align = 1};
    struct debug_rule *rules = NULL;
    struct debug *d;
    int ret = config && *config ? viv_debug_rules_load(config, &rules, err) : 0;

    if (!ret && o->own)
        ret = viv_debug_limits_read(o->own, &l, err);
    if (!ret && o->own_lists)
        ret = viv_debug_rules_parse(o->own_lists, &rules, err);
    if (ret) {
        viv_debug_rules_free(rules);
        return ret;
    }
    d = g_new0(struct debug, 1);
    d->rules = rules;
    d->limits = l;
    d->state = 1;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->change, NULL);
    viv_filter_init(n, d);
    run_rules(d, VIV_EVENT_NONE);
    return 0;
}

static bool is_name(const char *name)
{
    return g_str_has_prefix(name, "blkdebug:");
}

/* blkdebug:CONFIG:IMAGE; CONFIG may be empty. */
static int parse_name(const char *name, struct viv_raw_opts *out, struct viv_err *err)
{
    const char *config = name + strlen("blkdebug:"), *colon = strchr(config, ':');
    g_autofree char *file = colon ? g_strndup(config, colon - config) : NULL;

    if (!colon || !colon[1])
        return viv_fail(err, EINVAL, "'%s': blkdebug requires both config file and image path (blkdebug:CONFIG:IMAGE)", name);
    viv_raw_set(out, "driver", "blkdebug");
    if (*file)
        viv_raw_set(out, "config", file);
    viv_raw_set(out, "image.filename", colon + 1);
    return 0;
}

const struct viv_blk_driver viv_blk_debug = {
    .name = "blkdebug",
    .protocol = true,
    .filter = true,
    .open_opts = opts,
    .open_lists = (const char *const[]){"inject-error", "set-state", NULL},
    .open_children = (const struct viv_child_def[]){{.name = "image"}, {0}},
    .is_name = is_name,
    .parse_name = parse_name,
    .open = debug_open,
    .close = debug_close,
    .event = on_event,
    .preadv = debug_preadv,
    .pwritev = debug_pwritev,
    .status = viv_filter_status,
    .write_zeroes = debug_write_zeroes,
    .discard = debug_discard,
    .flush = debug_flush,
    .truncate = viv_filter_truncate,
};
