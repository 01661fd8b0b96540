/* Jobs under a guest that writes: random writes go on while its disk is copied, committed, streamed; a model holds what must be there. */
#include "block/job.h"

#include "block/bitmap.h"
#include "block/graph.h"
#include "block/guest_test.h"
#include "block/job_int.h"
#include "host/lock.h"
#include "host/loop.h"

/* --- the job's side --- */

static char job_error[300];

/* Whoever hears that a job has ended may use or remove its nodes at once. */
static void expect_let_go(void)
{
    for (const char *const *name = (const char *const[]){"base", "mid", "top", "t", "copy", NULL}; *name; name++) {
        const struct viv_node *n = viv_node_find(*name);

        for (const struct viv_node_user *u = n ? n->users : NULL; u; u = u->next)
            g_assert_false(g_str_has_prefix(u->name, "block job"));
    }
}

static void on_event(enum viv_job_event event, const struct viv_job_info *i)
{
    if (event == VIV_JOB_EVENT_COMPLETED || event == VIV_JOB_EVENT_CANCELLED)
        expect_let_go();
    if (event == VIV_JOB_EVENT_COMPLETED && i->error)
        g_strlcpy(job_error, i->error, sizeof(job_error));
}

static bool is_ready(void *opaque)
{
    struct viv_job *j = viv_job_find("j");
    struct viv_job_info i;

    if (!j)
        return true;
    viv_job_info(j, &i);
    return i.status == VIV_JOB_READY;
}

static bool is_gone(void *opaque)
{
    return !viv_job_find("j");
}

static void steer(enum viv_job_verb verb, bool force)
{
    struct viv_err err = VIV_ERR_INIT;

    must(viv_job_do(viv_job_find("j"), verb, force, 0, &err), &err);
}

/* Pauses it and lets it go on, some times. */
static void play(void)
{
    for (int i = 0; i < 3 && viv_job_find("j"); i++) {
        struct viv_err err = VIV_ERR_INIT;

        viv_loop_wait_for(is_gone, NULL, 5000000);
        if (viv_job_find("j") && viv_job_do(viv_job_find("j"), VIV_JOB_PAUSE, false, 0, &err) == 0) {
            viv_loop_wait_for(is_gone, NULL, 2000000);
            if (viv_job_find("j"))
                viv_job_do(viv_job_find("j"), VIV_JOB_RESUME, false, 0, &err);
        }
    }
}

static void wait_gone(void)
{
    g_assert_true(viv_loop_wait_for(is_gone, NULL, 60000000000));
    g_assert_cmpstr(job_error, ==, "");
}

static struct viv_block_job_opts job_opts(void)
{
    return (struct viv_block_job_opts){.job.id = "j", .node = viv_node_find("top"), .job.speed = g_rand_boolean(rnd) ? 0 : 32 << 20};
}

static void test_backup(void)
{
    for (int i = 0; i < 6; i++) {
        struct guest *g = begin();
        struct viv_block_job_opts o = job_opts();
        g_autofree uint8_t *then = g_memdup2(g->model, SIZE);
        struct viv_err err = VIV_ERR_INIT;

        o.target = viv_node_find("t");
        o.compress = i % 3 == 2;
        must(viv_job_backup(&o, &err), &err);
        run_guest(g);
        play();
        wait_gone();
        stop_guest(g);
        end(g);
        expect_image("t", then);
        expect_image("top", g->model);
        guest_free(g);
    }
}

/* Reads, and asks what is zero, for a while: nothing of what the guest does may show. */
static void read_moment(struct viv_blk *b, const uint8_t *then)
{
    g_autofree uint8_t *buf = g_malloc(300000);
    static const uint8_t zeroes[300000];

    for (int i = 0; i < 600; i++) {
        uint32_t len = g_rand_int_range(rnd, 1, 300000), at = g_rand_int_range(rnd, 0, SIZE - len);
        struct viv_extent e;

        g_assert_cmpint(viv_blk_pread(b, at, buf, len), ==, 0);
        g_assert_true(memcmp(buf, then + at, len) == 0);
        g_assert_cmpint(viv_node_status(viv_blk_node(b), at, len, &e), ==, 0);
        g_assert_true(e.kind != VIV_MAP_ZERO || memcmp(then + at, zeroes, e.len) == 0);
    }
}

/* An overlay of the disk that shows one moment of it, and is read meanwhile ("fleecing"): sync=none keeps it until the job is cancelled. Only for
 * as long as that is so can it be used. */
static void test_fleece(void)
{
    for (int i = 0; i < 4; i++) {
        struct guest *g = begin();
        struct viv_block_job_opts o = job_opts();
        g_autofree uint8_t *then = g_memdup2(g->model, SIZE);
        struct viv_err err = VIV_ERR_INIT;
        struct viv_blk *b = NULL;
        uint8_t byte;

        make("copy", "top");
        add_node("copy", "top", false);
        o.target = viv_node_find("copy");
        o.sync = i % 2 ? VIV_SYNC_FULL : VIV_SYNC_NONE;
        o.job.speed = i % 2 ? 1 << 20 : 0;
        g_assert_cmpint(viv_blockdev_attach("copy", VIV_PERM_READ, ALL, "reader", &b, &err), ==, -EBUSY);
        g_assert_nonnull(strstr(err.text, "guest writes 'top' below it"));
        viv_err_clear(&err);
        must(viv_job_backup(&o, &err), &err);
        must(viv_blockdev_attach("copy", VIV_PERM_READ, ALL, "reader", &b, &err), &err);
        run_guest(g);
        read_moment(b, then);
        if (i < 2)
            must(viv_blk_close(b, &err), &err);
        steer(VIV_JOB_CANCEL, true);
        wait_gone();
        stop_guest(g);
        if (i < 2) {
            g_assert_cmpint(viv_blockdev_attach("copy", VIV_PERM_READ, ALL, "reader", &b, &err), ==, -EBUSY);
            viv_err_clear(&err);
        } else { /* rather nothing than bytes of another time */
            int ret = 0;

            for (uint32_t at = 0; at < SIZE && !ret; at += 65536) {
                ret = viv_blk_pread(b, at, &byte, 1);
                g_assert_true(ret || byte == then[at]);
            }
            g_assert_cmpint(ret, ==, -EIO);
            must(viv_blk_close(b, &err), &err);
        }
        must(viv_blockdev_del("copy", &err), &err);
        end(g);
        expect_image("top", g->model);
        guest_free(g);
    }
}

/* What the target does not keep: a part of the disk, or another disk's overlay. */
static void test_no_fleece(void)
{
    struct guest *g = begin();
    struct viv_block_job_opts o = job_opts();
    struct viv_err err = VIV_ERR_INIT;

    make("copy", "top");
    add_node("copy", "top", false);
    o.target = viv_node_find("copy");
    o.sync = VIV_SYNC_TOP;
    g_assert_cmpint(viv_job_backup(&o, &err), ==, -EINVAL);
    g_assert_nonnull(strstr(err.text, "guest writes 'top' below it"));
    viv_err_clear(&err);
    o.sync = VIV_SYNC_NONE;
    o.node = viv_node_find("t");
    g_assert_cmpint(viv_job_backup(&o, &err), ==, -EINVAL);
    viv_err_clear(&err);
    must(viv_blockdev_del("copy", &err), &err);
    end(g);
    guest_free(g);
}

/* A bitmap's worth, twice: the second one copies what the guest did meanwhile. */
static void test_incremental(void)
{
    struct guest *g = begin();
    struct viv_block_job_opts o = job_opts();
    struct viv_err err = VIV_ERR_INIT;
    struct viv_bitmap *b;

    o.target = viv_node_find("t");
    must(viv_bitmap_new(o.node, "b", 65536, &b, &err), &err);
    must(viv_job_backup(&o, &err), &err);
    run_guest(g);
    wait_gone();
    for (int i = 0; i < 3; i++) {
        if (i == 2)
            stop_guest(g);
        o.sync = VIV_SYNC_INCREMENTAL;
        o.bitmap = "b";
        must(viv_job_backup(&o, &err), &err);
        wait_gone();
    }
    g_assert_cmpuint(viv_bitmap_count(b), ==, 0);
    g_assert_cmpuint(b->users, ==, 0);
    end(g);
    expect_image("t", g->model);
    guest_free(g);
}

static void mirror(bool blocking, bool pivot)
{
    struct guest *g = begin();
    struct viv_block_job_opts o = job_opts();
    struct viv_err err = VIV_ERR_INIT;
    g_autofree uint8_t *then = NULL;

    o.target = viv_node_find("t");
    o.job.speed = 0; /* a slow job has no end while the guest writes */
    o.write_blocking = blocking;
    o.granularity = g_rand_boolean(rnd) ? 4096 : 0;
    run_guest(g);
    must(viv_job_mirror(&o, &err), &err);
    play();
    g_assert_true(viv_loop_wait_for(is_ready, NULL, 60000000000));
    g_assert_nonnull(viv_job_find("j"));
    viv_loop_wait_for(is_gone, NULL, 30000000);
    if (pivot) {
        steer(VIV_JOB_COMPLETE, false);
        wait_gone();
        viv_loop_wait_for(is_ready, NULL, 30000000);
        g_usleep(20000);
        stop_guest(g);
        g_assert_cmpstr(viv_blk_node(g->blk)->name, ==, "t");
        must(viv_blockdev_del("top", &err), &err);
    } else { /* a copy of that moment: here of one without a guest */
        stop_guest(g);
        steer(VIV_JOB_CANCEL, false);
        wait_gone();
        g_assert_cmpstr(viv_blk_node(g->blk)->name, ==, "top");
    }
    end(g);
    expect_image("t", g->model);
    guest_free(g);
}

static void test_mirror(void)
{
    for (int i = 0; i < 8; i++)
        mirror(i & 1, i & 2);
}

static void test_stream(void)
{
    for (int i = 0; i < 6; i++) {
        struct guest *g = begin();
        struct viv_block_job_opts o = job_opts();
        struct viv_err err = VIV_ERR_INIT;

        o.base = i % 2 ? viv_node_find("base") : NULL;
        run_guest(g);
        must(viv_job_stream(&o, &err), &err);
        play();
        wait_gone();
        g_usleep(10000);
        stop_guest(g);
        g_assert_true(viv_node_find("top")->backing == o.base);
        must(viv_blockdev_del("mid", &err), &err);
        end(g);
        expect_image("top", g->model);
        guest_free(g);
    }
}

static void test_commit(void)
{
    for (int i = 0; i < 6; i++) {
        struct guest *g = begin();
        struct viv_block_job_opts o = job_opts();
        struct viv_err err = VIV_ERR_INIT;

        o.base = viv_node_find("base");
        o.top = i % 2 ? viv_node_find("mid") : NULL;
        o.job.speed = o.top ? o.job.speed : 0;
        run_guest(g);
        must(viv_job_commit(&o, &err), &err);
        play();
        if (!o.top) {
            g_assert_true(viv_loop_wait_for(is_ready, NULL, 60000000000));
            steer(VIV_JOB_COMPLETE, false);
        }
        wait_gone();
        g_usleep(10000);
        stop_guest(g);
        g_assert_true(viv_node_find("base")->read_only == (o.top != NULL));
        must(viv_blockdev_del(o.top ? "mid" : "top", &err), &err);
        end(g);
        expect_image(o.top ? "top" : "base", g->model);
        guest_free(g);
    }
}

/* The disk stays what it is, whichever job is cancelled when. */
static void test_cancel(void)
{
    for (int i = 0; i < 12; i++) {
        struct guest *g = begin();
        struct viv_block_job_opts o = job_opts();
        struct viv_err err = VIV_ERR_INIT;

        o.job.speed = 16 << 20;
        o.target = viv_node_find("t");
        o.base = viv_node_find("base");
        o.top = viv_node_find("mid");
        run_guest(g);
        must(i % 4 == 0   ? viv_job_backup(&o, &err)
             : i % 4 == 1 ? (o.base = NULL, viv_job_mirror(&o, &err))
             : i % 4 == 2 ? viv_job_stream(&o, &err)
                          : viv_job_commit(&o, &err), &err);
        viv_loop_wait_for(is_gone, NULL, g_rand_int_range(rnd, 0, 200) * 1000000ll);
        if (viv_job_find("j") && viv_job_do(viv_job_find("j"), VIV_JOB_CANCEL, true, 0, &err))
            viv_err_clear(&err); /* it was ending */
        wait_gone();
        stop_guest(g);
        end(g);
        expect_image("top", g->model);
        guest_free(g);
    }
}

static void test_refused(void)
{
    struct guest *g = begin();
    struct viv_block_job_opts o = job_opts(), again;
    struct viv_err err = VIV_ERR_INIT;

    o.job.speed = 1 << 20;
    o.target = o.node;
    g_assert_cmpint(viv_job_mirror(&o, &err), <, 0);
    o.target = viv_node_find("t");
    o.node = viv_node_find("mid");
    viv_err_clear(&err);
    g_assert_cmpint(viv_job_mirror(&o, &err), <, 0);
    g_assert_cmpstr(err.text, ==, "Need a root block node");
    o.node = viv_node_find("top");
    viv_err_clear(&err);
    must(viv_job_mirror(&o, &err), &err);
    again = (struct viv_block_job_opts){.job.id = "k", .node = o.node};
    g_assert_cmpint(viv_job_stream(&again, &err), <, 0);
    g_assert_nonnull(strstr(err.text, "block device is in use by block job: mirror"));
    viv_err_clear(&err);
    g_assert_cmpint(viv_job_do(viv_job_find("j"), VIV_JOB_COMPLETE, false, 0, &err), <, 0);
    g_assert_cmpstr(err.text, ==, "Job 'j' in state 'running' cannot accept command verb 'complete'");
    viv_err_clear(&err);
    g_assert_cmpint(viv_blockdev_del("t", &err), <, 0);
    viv_jobs_finish();
    end(g);
    guest_free(g);
}

/* The base is below another chain too, which is in use: what it shows must not change. */
static void test_shown(void)
{
    struct guest *g = begin();
    struct viv_block_job_opts o = job_opts();
    struct viv_err err = VIV_ERR_INIT;
    struct viv_blk *other = NULL;

    make("copy", "base");
    add_node("copy", "base", false);
    must(viv_blockdev_attach("copy", VIV_PERM_READ, ALL, "reader", &other, &err), &err);
    o.base = viv_node_find("base");
    for (int i = 0; i < 2; i++) {
        o.top = i ? viv_node_find("mid") : NULL;
        g_assert_cmpint(viv_job_commit(&o, &err), ==, -EBUSY);
        g_assert_nonnull(strstr(err.text, "backing image of 'copy'"));
        viv_err_clear(&err);
    }
    must(viv_blk_close(other, &err), &err);
    must(viv_blockdev_del("copy", &err), &err);
    end(g);
    guest_free(g);
}

/* Nor may a chain that shows it come into use while it is written. What stands above the layers that go is the same all the time. */
static void test_shown_later(void)
{
    struct viv_err err = VIV_ERR_INIT;

    make("copy", "base");
    for (int i = 0; i < 2; i++) {
        struct guest *g = begin();
        struct viv_block_job_opts o = job_opts();
        struct viv_blk *other = NULL;

        add_node("copy", "base", true);
        o.base = viv_node_find("base");
        o.top = i ? viv_node_find("mid") : NULL;
        o.job.speed = 1 << 20;
        must(viv_job_commit(&o, &err), &err);
        g_assert_cmpint(viv_blockdev_attach("copy", VIV_PERM_READ, ALL, "reader", &other, &err), ==, -EBUSY);
        g_assert_nonnull(strstr(err.text, "block job 'j' (commit) writes 'base' below it"));
        viv_err_clear(&err);
        must(viv_blockdev_attach("top", VIV_PERM_READ, ALL, "reader", &other, &err), &err);
        must(viv_blk_close(other, &err), &err);
        other = NULL;
        g_assert_cmpint(viv_blockdev_attach("mid", VIV_PERM_READ, ALL, "reader", &other, &err), ==, i ? 0 : -EBUSY);
        viv_err_clear(&err);
        must(viv_blk_close(other, &err), &err);
        steer(VIV_JOB_CANCEL, true);
        wait_gone();
        must(viv_blockdev_attach("copy", VIV_PERM_READ, ALL, "reader", &other, &err), &err);
        must(viv_blk_close(other, &err), &err);
        must(viv_blockdev_del("copy", &err), &err);
        end(g);
        guest_free(g);
    }
}

/* One that was paused before it began, as an action of a transaction, holds nobody up: the graph stands still until it has begun. */
static void test_paused(void)
{
    struct guest *g = begin();
    struct viv_block_job_opts o = job_opts();
    struct viv_err err = VIV_ERR_INIT;
    struct viv_job *j;

    o.sync = VIV_SYNC_TOP;
    o.target = viv_node_find("t");
    j = viv_job_backup_new(&o, NULL, &err);
    g_assert_nonnull(j);
    must(viv_job_do(j, VIV_JOB_PAUSE, false, 0, &err), &err);
    viv_dev_unlock();
    viv_graph_begin();
    must(viv_job_prepare(j, &err), &err);
    viv_job_unprepare(j);
    viv_graph_end();
    viv_dev_lock();
    viv_job_drop(j);
    end(g);
    guest_free(g);
}

/* --- copies of what another copy is about to overwrite, beside somebody who waits to change the graph --- */

static unsigned stage; /* 1: the first copy is in the graph; 2: it has done what it came for */

static void copy_piece(struct viv_job *j)
{
    bool read;

    g_assert_cmpint(viv_job_copy_range(&j->copy, 0, 1 << 20, &read), ==, 0);
}

/* A backup that writes its target, where a second backup's hook saves first what is there. */
static void *first_copy(void *second)
{
    viv_graph_enter();
    __atomic_store_n(&stage, 1, __ATOMIC_RELEASE);
    g_usleep(400000); /* now there is one who waits to change the graph, and the second one's own thread is at the same place */
    copy_piece(second);
    viv_graph_leave();
    __atomic_store_n(&stage, 2, __ATOMIC_RELEASE);
    return NULL;
}

static void *second_copy(void *second)
{
    copy_piece(second);
    return NULL;
}

static void test_chained(void)
{
    struct guest *g = begin();
    struct viv_job second = {0};
    struct viv_err err = VIV_ERR_INIT;
    pthread_t thread[3];

    must(viv_job_copy_init(&second, viv_node_find("top"), viv_node_find("t"), 65536, false, &err), &err);
    viv_bitmap_mark(second.copy.todo, 0, SIZE);
    __atomic_store_n(&stage, 0, __ATOMIC_RELEASE);
    viv_dev_unlock();
    g_assert_cmpint(pthread_create(&thread[0], NULL, first_copy, &second), ==, 0);
    while (!__atomic_load_n(&stage, __ATOMIC_ACQUIRE))
        g_usleep(1000);
    g_assert_cmpint(pthread_create(&thread[1], NULL, change_once, NULL), ==, 0);
    g_usleep(100000);
    g_assert_cmpint(pthread_create(&thread[2], NULL, second_copy, &second), ==, 0);
    for (int i = 0; i < 1000 && __atomic_load_n(&stage, __ATOMIC_ACQUIRE) != 2; i++)
        g_usleep(10000);
    g_assert_cmpuint(__atomic_load_n(&stage, __ATOMIC_ACQUIRE), ==, 2);
    for (unsigned i = 0; i < G_N_ELEMENTS(thread); i++)
        pthread_join(thread[i], NULL);
    viv_dev_lock();
    viv_job_copy_fini(&second.copy);
    end(g);
    guest_free(g);
}

static void run(gconstpointer test)
{
    job_error[0] = 0;
    viv_dev_lock();
    ((void (*)(void))test)();
    viv_jobs_finish();
    viv_dev_unlock();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(void);
    } tests[] = {{"backup", test_backup}, {"fleece", test_fleece}, {"no-fleece", test_no_fleece}, {"incremental", test_incremental}, {"mirror", test_mirror}, {"stream", test_stream},
                 {"commit", test_commit}, {"cancel", test_cancel}, {"refused", test_refused},
                 {"shown", test_shown}, {"shown-later", test_shown_later}, {"paused", test_paused}, {"chained", test_chained}};
    const char *seed = g_getenv("SEED");
    int ret;

    g_test_init(&argc, &argv, NULL);
    rnd = g_rand_new_with_seed(seed ? strtoul(seed, NULL, 0) : 1);
    dir = g_dir_make_tmp("viv-job-XXXXXX", NULL);
    viv_jobs_on_event(on_event);
    for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strdup_printf("/block/job/%s", tests[i].name);

        g_test_add_data_func(path, (gconstpointer)tests[i].fn, run);
    }
    ret = g_test_run();
    for (unsigned i = 0; i < 5; i++) {
        g_autofree char *path = path_of((const char *[]){"base", "mid", "top", "t", "copy"}[i]);

        unlink(path);
    }
    rmdir(dir);
    g_free(dir);
    g_rand_free(rnd);
    return ret;
}
