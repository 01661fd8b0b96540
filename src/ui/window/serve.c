/* What people do, from the toolkit's thread to the machine. Keys wait for a guest that has not read those before. */
#include "ui/window/window_int.h"

#include "host/clock.h"
#include "host/loop.h"
#include "ui/input.h"

#define ME      1 /* among those who type */
#define WAIT_NS 5000000

/* ---- the toolkit's thread ---- */

/* Motion in a row is one. */
static bool joins(struct viv_window_event *last, const struct viv_window_event *e)
{
    if (last->kind != e->kind || (e->kind != VIV_WIN_PLACE && e->kind != VIV_WIN_MOVE && e->kind != VIV_WIN_ROOM))
        return false;
    if (e->kind == VIV_WIN_MOVE) {
        last->x += e->x;
        last->y += e->y;
    } else {
        *last = *e;
    }
    return true;
}

void window_send(struct viv_window *w, const struct viv_window_event *e)
{
    pthread_mutex_lock(&w->lock);
    if (w->state.quit) {
        pthread_mutex_unlock(&w->lock);
        return;
    }
    if (!w->events->len || !joins(&g_array_index(w->events, struct viv_window_event, w->events->len - 1), e)) {
        if (w->events->len < WINDOW_EVENTS)
            g_array_append_val(w->events, *e);
        else
            w->lost = true;
    }
    if (!w->called)
        viv_loop_call(window_serve, w); /* with the lock: not after it has been told to quit */
    w->called = true;
    pthread_mutex_unlock(&w->lock);
}

/* ---- loop thread ---- */

static bool take(struct viv_window *w, struct viv_window_event *e)
{
    bool any, lost = false;

    pthread_mutex_lock(&w->lock);
    any = w->events->len;
    w->called = any;
    if (any) {
        *e = g_array_index(w->events, struct viv_window_event, 0);
        g_array_remove_index(w->events, 0);
    } else {
        lost = w->lost;
        w->lost = false;
    }
    pthread_mutex_unlock(&w->lock);
    if (lost) /* a key that came up may be among them */
        window_release(w);
    return any;
}

/* The console that is shown, or NULL. */
static struct viv_console *shown(const struct viv_window *w, bool text)
{
    struct viv_console *c = viv_look_console(w->look);

    return c && viv_console_is_text(c) == text ? c : NULL;
}

static int number(const struct viv_window *w)
{
    struct viv_console *c = shown(w, false);

    return c ? (int)viv_console_number(c) : -1;
}

static void press_button(struct viv_window *w, unsigned button, bool down)
{
    unsigned bit = 1u << button;

    if (button >= VIV_BUTTONS || !(w->buttons & bit) == !down)
        return;
    w->buttons ^= bit;
    viv_input_button(number(w), (enum viv_button)button, down);
}

void window_release(struct viv_window *w)
{
    viv_typist_leave(w->typist, ME);
    for (unsigned b = 0; b < VIV_BUTTONS; b++)
        press_button(w, b, false);
    viv_input_sync(number(w));
}

/* Motion, buttons, wheel: of a head. */
static void point(struct viv_window *w, const struct viv_window_event *e)
{
    int n = number(w);

    if (e->kind == VIV_WIN_PLACE && viv_input_is_absolute(n))
        viv_input_place(n, (unsigned)e->x, (unsigned)e->y, e->width, e->height);
    else if (e->kind == VIV_WIN_MOVE)
        viv_input_move(n, e->x, e->y);
    else if (e->kind == VIV_WIN_BUTTON)
        press_button(w, e->button, e->down);
    else if (e->kind == VIV_WIN_WHEEL)
        viv_input_wheel(n, e->y, e->x);
    viv_input_sync(n);
}

static void control(struct viv_window *w, const struct viv_window_event *e)
{
    switch (e->kind) {
    case VIV_WIN_CLOSE:
        if (!w->opts.window_close)
            break;
        /* fallthrough */
    case VIV_WIN_QUIT:
        w->vm->quit();
        break;
    case VIV_WIN_PAUSE:
        w->vm->pause(e->down);
        break;
    case VIV_WIN_RESET:
        w->vm->reset();
        break;
    case VIV_WIN_POWERDOWN:
        w->vm->powerdown();
        break;
    default:
        break;
    }
}

static void apply(struct viv_window *w, const struct viv_window_event *e)
{
    struct viv_console *text = shown(w, true), *head = shown(w, false);

    switch (e->kind) {
    case VIV_WIN_KEY:
        if (!text)
            viv_typist_key(w->typist, ME, e->code ? (int)e->code : -1, e->keysym, w->opts.layout_named, e->down);
        break;
    case VIV_WIN_TYPE:
        if (text)
            viv_console_type(text, e->keysym, e->mods);
        break;
    case VIV_WIN_SCROLL:
        if (text)
            viv_console_scroll(text, e->y);
        break;
    case VIV_WIN_PLACE:
    case VIV_WIN_MOVE:
    case VIV_WIN_BUTTON:
    case VIV_WIN_WHEEL:
        if (head)
            point(w, e);
        break;
    case VIV_WIN_RELEASE:
        window_release(w);
        break;
    case VIV_WIN_ROOM:
        if (viv_look_console(w->look))
            viv_console_room(viv_look_console(w->look), e->width, e->height);
        break;
    case VIV_WIN_TAB:
        window_show_tab(w, (unsigned)e->x);
        break;
    case VIV_WIN_VISIBLE:
        w->hidden = !e->down;
        window_update_tabs(w);
        break;
    default:
        control(w, e);
    }
}

void window_serve(void *opaque)
{
    struct viv_window *w = opaque;
    struct viv_window_event e;

    for (;;) {
        if (viv_typist_waits(w->typist)) {
            viv_timer_set(w->timer, viv_clock_ns(VIV_CLOCK_HOST) + WAIT_NS);
            return;
        }
        if (!take(w, &e))
            return;
        apply(w, &e);
    }
}
