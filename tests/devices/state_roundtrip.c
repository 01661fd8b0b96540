/* Saved state of every device class after random activity: save, load into a fresh instance, save again gives the
 * same bytes; and damaged state is refused or lived with, never a crash. VIV_SEED repeats a run, VIV_ROUNDS sets
 * its length. */
#include "harness.h"

#include "dev/devices.h"
#include "host/clock.h"

#include <glib.h>
#include <string.h>

static unsigned rounds = 30;
static guint32 seed;

static void fill(GRand *rnd, uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)g_rand_int(rnd);
}

static void play_random(GRand *rnd, size_t len)
{
    g_autofree uint8_t *data = g_malloc(len);

    fill(rnd, data, len);
    harness_play(data, len);
}

struct saved {
    char *path;
    uint8_t *data;
    size_t len;
};

static void saved_free(void *p)
{
    struct saved *s = p;

    g_free(s->path);
    g_free(s->data);
    g_free(s);
}

static GPtrArray *save_all(void)
{
    GPtrArray *all = g_ptr_array_new_with_free_func(saved_free);

    for (struct viv_dev *d = viv_dev_first(); d; d = d->next) {
        struct saved *s;

        if (d->life == VIV_DEV_LEAVING)
            continue;
        s = g_new0(struct saved, 1);

        s->path = g_strdup(d->path);
        s->data = harness_save(d, &s->len);
        g_ptr_array_add(all, s);
    }
    return all;
}

/* NULL: the guest has let go of it. */
static struct saved *saved_of(GPtrArray *all, const struct viv_dev *d)
{
    for (unsigned i = 0; i < all->len; i++) {
        struct saved *s = all->pdata[i];

        if (!strcmp(s->path, d->path))
            return s;
    }
    return NULL;
}

static void test_all_known(void)
{
    for (const struct viv_dev_class *const *c = viv_devices; *c; c++) {
        if (!harness_knows((*c)->name))
            g_error("class '%s' is in devices.def but not in tests/devices/harness.c", (*c)->name);
    }
}

static void compare(unsigned round, const struct saved *s, struct viv_dev *d)
{
    size_t len, i;
    g_autofree uint8_t *again = harness_save(d, &len);

    for (i = 0; i < len && i < s->len && again[i] == s->data[i]; i++)
        ;
    if (i < s->len || len != s->len)
        g_error("round %u: %s differs at byte %zu of %zu (%zu before)", round, d->path, i, len,
                s->len);
}

/* What the guest has let go of is not in the machine that goes on either. */
static void let_go(GPtrArray *all)
{
    for (struct viv_dev *d = viv_dev_first(); d; d = d->next) {
        if (d->cls->hotplug && !saved_of(all, d))
            viv_dev_unplug(d);
    }
    viv_dev_reap();
}

static void one_round(enum harness_kind kind, GRand *rnd, unsigned round)
{
    g_autoptr(GPtrArray) saved = NULL;
    struct viv_err err = VIV_ERR_INIT;
    int64_t now;

    harness_init(kind, 1000000);
    play_random(rnd, 20000);
    harness_quiesce();
    now = viv_clock_ns(VIV_CLOCK_GUEST);
    saved = save_all();
    harness_fini();

    harness_init(kind, now);
    let_go(saved);
    harness_quiesce();
    viv_dev_reset_all();
    for (struct viv_dev *d = viv_dev_first(); d; d = d->next) {
        struct saved *s = saved_of(saved, d);

        if (s && harness_load(d, s->data, s->len, &err) < 0)
            g_error("round %u: %s", round, err.text);
    }
    for (struct viv_dev *d = viv_dev_first(); d; d = d->next) {
        if (saved_of(saved, d))
            compare(round, saved_of(saved, d), d);
    }
    viv_dev_set_running_all(true);
    play_random(rnd, 5000); /* and it lives */
    harness_fini();
}

static void test_roundtrip(gconstpointer kind)
{
    g_autoptr(GRand) rnd = g_rand_new_with_seed(seed);

    for (unsigned r = 0; r < rounds; r++)
        one_round(GPOINTER_TO_INT(kind), rnd, r);
}

static void damage(GRand *rnd, struct saved *s)
{
    unsigned n = 1 + g_rand_int(rnd) % 4;

    while (n--)
        s->data[g_rand_int_range(rnd, 0, (gint32)s->len)] = (uint8_t)g_rand_int(rnd);
    if (g_rand_int(rnd) % 8 == 0)
        s->len = (size_t)g_rand_int_range(rnd, 0, (gint32)s->len);
}

static void test_damaged(gconstpointer kind)
{
    g_autoptr(GRand) rnd = g_rand_new_with_seed(seed);
    unsigned loaded = 0, refused = 0;

    for (unsigned r = 0; r < rounds; r++) {
        g_autoptr(GPtrArray) saved = NULL;

        harness_init(GPOINTER_TO_INT(kind), 1000000);
        play_random(rnd, 5000);
        harness_quiesce();
        saved = save_all();
        harness_fini();
        harness_init(GPOINTER_TO_INT(kind), 1000000);
        for (struct viv_dev *d = viv_dev_first(); d; d = d->next) {
            struct viv_err err = VIV_ERR_INIT;
            struct saved *s = saved_of(saved, d), own = {.path = d->path};
            g_autofree uint8_t *before = NULL;

            if (!s)
                continue;
            before = own.data = harness_save(d, &own.len);
            damage(rnd, s);
            if (harness_load(d, s->data, s->len, &err) == 0) {
                loaded++;
            } else {
                refused++;
                g_assert_cmpstr(err.text, !=, "");
                viv_err_clear(&err);
                if (harness_load(d, own.data, own.len, &err) < 0) /* over what is loaded by half, as a machine is put back (vm_save.c) */
                    g_error("round %u: %s", r, err.text);
                compare(r, &own, d);
            }
        }
        play_random(rnd, 5000);
        harness_fini();
    }
    g_test_message("%u loaded, %u refused", loaded, refused);
    g_assert_cmpuint(refused, >, 0);
    g_assert_cmpuint(loaded, >, 0);
}

int main(int argc, char **argv)
{
    const char *s = g_getenv("VIV_SEED"), *n = g_getenv("VIV_ROUNDS");

    g_test_init(&argc, &argv, NULL);
    seed = s ? (guint32)g_ascii_strtoull(s, NULL, 0) : g_random_int();
    if (n)
        rounds = (unsigned)g_ascii_strtoull(n, NULL, 0);
    g_test_message("VIV_SEED=%u VIV_ROUNDS=%u", seed, rounds);
    g_test_add_func("/state/all-classes", test_all_known);
    g_test_add_data_func("/state/roundtrip/pc", GINT_TO_POINTER(HARNESS_PC), test_roundtrip);
    g_test_add_data_func("/state/roundtrip/microvm", GINT_TO_POINTER(HARNESS_MICROVM),
                         test_roundtrip);
    g_test_add_data_func("/state/roundtrip/q35", GINT_TO_POINTER(HARNESS_Q35), test_roundtrip);
    g_test_add_data_func("/state/damaged/pc", GINT_TO_POINTER(HARNESS_PC), test_damaged);
    g_test_add_data_func("/state/damaged/microvm", GINT_TO_POINTER(HARNESS_MICROVM), test_damaged);
    g_test_add_data_func("/state/damaged/q35", GINT_TO_POINTER(HARNESS_Q35), test_damaged);
    return g_test_run();
}
