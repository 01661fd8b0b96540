#include "ui/console.h"

#include "host/lock.h"
#include "host/loop.h"

#include <glib.h>
#include <string.h>

/* An adapter that counts, and draws what it is told to. */
struct adapter {
    struct viv_console *console;
    unsigned refreshes, watched, unwatched, room;
    unsigned draw; /* width of what each refresh changes */
};

static void refresh(void *opaque)
{
    struct adapter *a = opaque;

    a->refreshes++;
    if (a->draw)
        viv_console_changed(a->console, 0, 0, a->draw, 64);
}

static void watched(void *opaque, bool on)
{
    struct adapter *a = opaque;

    *(on ? &a->watched : &a->unwatched) += 1;
}

static void room(void *opaque, unsigned width, unsigned height)
{
    ((struct adapter *)opaque)->room = width * 10000 + height;
}

static const struct viv_console_ops adapter_ops = {.refresh = refresh, .watched = watched, .room = room};

struct viewer {
    struct viv_viewer *viewer;
    unsigned shown, changed, cursor, moved, ticks, gone;
    const struct viv_surface *surface;
    unsigned x, y, width, height;
    void (*act)(struct viewer *v); /* in `changed` and `gone` */
    struct viewer *other;
};

static void on_shown(void *opaque, const struct viv_surface *s)
{
    struct viewer *v = opaque;

    v->shown++;
    v->surface = s;
}

static void on_changed(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height)
{
    struct viewer *v = opaque;

    v->changed++;
    v->x = x, v->y = y, v->width = width, v->height = height;
    if (v->act)
        v->act(v);
}

static void on_cursor(void *opaque, const struct viv_cursor *cursor)
{
    ((struct viewer *)opaque)->cursor++;
}

static void on_moved(void *opaque, int x, int y, bool visible)
{
    ((struct viewer *)opaque)->moved = (unsigned)(x * 100 + y) * visible;
}

static void on_tick(void *opaque)
{
    ((struct viewer *)opaque)->ticks++;
}

static void on_gone(void *opaque)
{
    struct viewer *v = opaque;

    v->gone++;
    if (v->act)
        v->act(v);
}

static const struct viv_viewer_ops viewer_ops = {
    .shown = on_shown, .changed = on_changed, .cursor = on_cursor, .cursor_moved = on_moved, .tick = on_tick, .gone = on_gone,
};
static const struct viv_viewer_ops plain_ops = {.shown = on_shown, .changed = on_changed, .gone = on_gone};

static void begin(struct adapter *a)
{
    *a = (struct adapter){0};
    viv_dev_lock();
    a->console = viv_console_new("card", 0, &adapter_ops, a);
}

static void end(struct adapter *a)
{
    viv_console_free(a->console);
    viv_dev_unlock();
}

static void test_surfaces(void)
{
    uint32_t words[64] = {0};
    struct viv_surface *s = viv_surface_new(3, 2), *more;

    g_assert_cmpuint(s->stride, ==, 12);
    g_assert_true(s->own);
    for (unsigned i = 0; i < 24; i++)
        g_assert_cmpint(s->pixels[i], ==, 0);
    viv_surface_put(&s);
    s = viv_surface_over(words, 8, 8, 32);
    g_assert_true(s->pixels == (uint8_t *)words && !s->own);
    viv_surface_put(&s);
    g_assert_null(viv_surface_over(words, 8, 8, 31));
    g_assert_null(viv_surface_new(0, 5));
    g_assert_null(viv_surface_new(5, 0));
    g_assert_null(viv_surface_new(VIV_SURFACE_MOST + 1, 1));
    g_assert_null(viv_surface_new(1, VIV_SURFACE_MOST + 1));
    s = viv_surface_new(2, 2);
    g_assert_true(viv_surface_get(s) == s && !viv_surface_get(NULL));
    more = s;
    viv_surface_put(&s);
    g_assert_null(s);
    more->pixels[15] = 1; /* still there */
    viv_surface_put(&more);
    viv_surface_put(&more);
}

static void test_numbers(void)
{
    struct adapter a, b = {0};
    struct viv_console *c;

    begin(&a);
    b.console = viv_console_new("card", 1, &adapter_ops, &b);
    g_assert_true(viv_console_at(0) == a.console && viv_console_at(1) == b.console);
    g_assert_null(viv_console_at(2));
    g_assert_true(viv_console_find("card", 1) == b.console);
    g_assert_null(viv_console_find("card", 2));
    g_assert_null(viv_console_find("other", 0));
    g_assert_cmpuint(viv_console_number(b.console), ==, 1);
    g_assert_cmpstr(viv_console_name(b.console), ==, "card");
    viv_console_free(a.console);
    g_assert_null(viv_console_at(0));
    c = viv_console_new("new", 0, &adapter_ops, &a);
    g_assert_true(viv_console_at(0) == c);
    a.console = c;
    viv_console_free(b.console);
    g_assert_true(viv_console_room(c, 640, 480));
    g_assert_cmpuint(a.room, ==, 6400480);
    g_assert_null(viv_console_text(c));
    end(&a);
    g_assert_null(viv_console_at(0));
}

static void test_viewer_is_told(void)
{
    g_autofree struct viv_cursor *cursor = g_malloc0(sizeof(*cursor) + 4);
    struct adapter a;
    struct viewer v = {0}, w = {0};
    struct viv_surface *s = viv_surface_new(20, 10);

    begin(&a);
    viv_console_show(a.console, s);
    v.viewer = viv_viewer_new(a.console, &viewer_ops, &v);
    w.viewer = viv_viewer_new(a.console, &plain_ops, &w);
    g_assert_true(v.surface == s && v.shown == 1 && v.cursor == 1);
    viv_console_changed(a.console, 15, 8, 100, UINT32_MAX); /* cut */
    g_assert_true(v.x == 15 && v.y == 8 && v.width == 5 && v.height == 2);
    viv_console_changed(a.console, 20, 0, 1, 1);
    viv_console_changed(a.console, 0, 10, 1, 1);
    viv_console_changed(a.console, 0, 0, 0, 1);
    g_assert_cmpuint(v.changed, ==, 1);
    *cursor = (struct viv_cursor){.width = 1, .height = 1};
    viv_console_set_cursor(a.console, cursor);
    viv_console_move_cursor(a.console, 3, 4, true);
    g_assert_true(v.cursor == 2 && v.moved == 304 && viv_console_cursor(a.console) != cursor);
    viv_console_set_cursor(a.console, NULL);
    viv_console_refresh(a.console);
    g_assert_cmpuint(v.ticks, ==, 1);
    viv_console_show(a.console, NULL);
    g_assert_true(v.shown == 2 && !v.surface && w.shown == 2);
    viv_console_changed(a.console, 0, 0, 1, 1);
    g_assert_cmpuint(v.changed, ==, 1);
    end(&a);
    g_assert_true(v.gone == 1 && w.gone == 1);
}

/* ---- coming and going in callbacks ---- */

static void leave(struct viewer *v)
{
    viv_viewer_free(v->viewer);
}

static void other_leaves(struct viewer *v)
{
    viv_viewer_free(v->other->viewer);
    v->act = NULL;
}

static void one_comes(struct viewer *v)
{
    v->other->viewer = viv_viewer_new(viv_console_at(0), &viewer_ops, v->other);
    viv_console_refresh(viv_console_at(0)); /* not inside a callback: nothing */
    v->act = NULL;
}

static void test_coming_and_going(void)
{
    struct viewer v[3] = {0}, late = {0};
    struct adapter a;

    begin(&a);
    viv_console_show(a.console, viv_surface_new(8, 8));
    for (int i = 0; i < 3; i++)
        v[i].viewer = viv_viewer_new(a.console, &viewer_ops, &v[i]);
    /* Called in the order 2, 1, 0: 2 removes 1, which must not be called; 0 removes itself. */
    v[2].act = other_leaves;
    v[2].other = &v[1];
    v[0].act = leave;
    viv_console_changed(a.console, 0, 0, 1, 1);
    g_assert_true(v[2].changed == 1 && v[1].changed == 0 && v[0].changed == 1);
    v[2].act = one_comes;
    v[2].other = &late;
    viv_console_changed(a.console, 0, 0, 1, 1);
    g_assert_true(v[2].changed == 2 && v[0].changed == 1 && late.shown == 1 && late.changed == 0);
    g_assert_cmpuint(a.refreshes, ==, 0);
    viv_console_changed(a.console, 0, 0, 1, 1);
    g_assert_true(v[2].changed == 3 && late.changed == 1);
    late.act = leave;
    end(&a);
    g_assert_true(late.gone == 1 && v[2].gone == 1 && v[1].gone == 0);
}

/* ---- the timer ---- */

static bool never(void *unused)
{
    return false;
}

static void run_ms(unsigned ms)
{
    viv_loop_wait_for(never, NULL, (int64_t)ms * 1000000);
}

static void test_idle_costs_nothing(void)
{
    struct viewer v = {0};
    struct adapter a;

    begin(&a);
    viv_console_show(a.console, viv_surface_new(64, 64));
    run_ms(60);
    g_assert_cmpuint(a.refreshes, ==, 0);
    g_assert_cmpuint(viv_console_period(a.console), ==, 0);
    v.viewer = viv_viewer_new(a.console, &viewer_ops, &v);
    run_ms(60); /* it is there, but does not look */
    g_assert_true(a.refreshes == 0 && a.watched == 0);
    a.draw = 64;
    viv_viewer_set_period(v.viewer, 5);
    g_assert_cmpuint(a.watched, ==, 1);
    run_ms(400);
    g_test_message("%u refreshes in 400 ms at 5 ms, %u seen", a.refreshes, v.ticks);
    g_assert_cmpuint(a.refreshes, >=, 20);
    g_assert_cmpuint(v.ticks, ==, a.refreshes);
    g_assert_cmpuint(viv_console_period(a.console), ==, 5);
    viv_viewer_set_period(v.viewer, 0);
    g_assert_cmpuint(a.unwatched, ==, 1);
    a.refreshes = 0;
    run_ms(60);
    g_assert_cmpuint(a.refreshes, ==, 0);
    viv_viewer_set_period(v.viewer, 5);
    viv_viewer_free(v.viewer);
    g_assert_true(a.watched == 2 && a.unwatched == 2);
    run_ms(60);
    g_assert_cmpuint(a.refreshes, ==, 0);
    end(&a);
}

static void test_slows_down(void)
{
    struct viewer v = {0}, w = {0};
    struct adapter a;

    begin(&a);
    viv_console_show(a.console, viv_surface_new(64, 64));
    a.draw = 2; /* a cursor that blinks */
    v.viewer = viv_viewer_new(a.console, &viewer_ops, &v);
    viv_viewer_set_period(v.viewer, 10);
    for (int i = 0; i < 50 && a.refreshes < 10; i++)
        run_ms(20);
    g_assert_cmpuint(viv_console_period(a.console), ==, 200);
    a.refreshes = 0;
    run_ms(500);
    g_assert_cmpuint(a.refreshes, <=, 3);
    viv_console_awake(a.console);
    g_assert_cmpuint(viv_console_period(a.console), ==, 10);
    a.draw = 64;
    run_ms(300);
    g_assert_cmpuint(viv_console_period(a.console), ==, 10);
    g_assert_cmpuint(a.refreshes, >=, 8);
    w.viewer = viv_viewer_new(a.console, &viewer_ops, &w); /* the fastest wish counts */
    viv_viewer_set_period(w.viewer, 4);
    g_assert_cmpuint(viv_console_period(a.console), ==, 4);
    viv_viewer_free(w.viewer);
    g_assert_cmpuint(viv_console_period(a.console), ==, 10);
    end(&a);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/console/surfaces", test_surfaces);
    g_test_add_func("/console/numbers", test_numbers);
    g_test_add_func("/console/told", test_viewer_is_told);
    g_test_add_func("/console/coming-and-going", test_coming_and_going);
    g_test_add_func("/console/idle", test_idle_costs_nothing);
    g_test_add_func("/console/slow", test_slows_down);
    return g_test_run();
}
