/* Keys and pointer of a GTK window. Hardware key codes are Linux's plus 8, on X11 and on Wayland. */
#include "ui/window/gtk_int.h"

#include <gdk/gdkx.h>
#include <linux/input-event-codes.h>

#define WHEEL_LINES 3
#define X11_OFFSET  8
#define X11_LEVEL3  84 /* a key that keyboards do not have: X's own for AltGr, which programs press */

static unsigned mods_of(unsigned state)
{
    return (state & GDK_SHIFT_MASK ? VIV_MOD_SHIFT : 0) | (state & GDK_CONTROL_MASK ? VIV_MOD_CTRL : 0) | (state & GDK_MOD1_MASK ? VIV_MOD_ALT : 0);
}

/* ---- grab ---- */

void vgtk_show_cursor(void)
{
    GdkWindow *w = gtk_widget_get_window(vgtk.area);
    GdkCursor *c = NULL; /* the host's */

    if (!vgtk.news.text && vgtk.grabbed && !vgtk.news.absolute)
        c = vgtk.none;
    else if (!vgtk.news.text && vgtk.news.absolute && !vgtk.host->opts->show_cursor)
        c = vgtk.shape && vgtk.news.look.cursor_visible ? vgtk.shape : vgtk.none;
    if (w)
        gdk_window_set_cursor(w, c);
}

static GdkSeat *seat(void)
{
    return gdk_display_get_default_seat(gtk_widget_get_display(vgtk.area));
}

static void tell_grab(bool was)
{
    if (was && !vgtk.grabbed) /* a button that is held comes up unheard */
        vgtk_send(&(struct viv_window_event){.kind = VIV_WIN_RELEASE});
    vgtk_show_cursor();
    vgtk_title();
    vgtk_update_menu();
}

void vgtk_grab(bool on)
{
    GdkWindow *w = gtk_widget_get_window(vgtk.area);
    bool was = vgtk.grabbed;

    on = on && !vgtk.news.text && w;
    if (on != vgtk.grabbed && on) {
        GdkSeatCapabilities what = vgtk.news.absolute ? GDK_SEAT_CAPABILITY_KEYBOARD : GDK_SEAT_CAPABILITY_ALL;

        on = gdk_seat_grab(seat(), w, what, FALSE, vgtk.none, NULL, NULL, NULL) == GDK_GRAB_SUCCESS;
        vgtk.last_x = vgtk.last_y = -1;
    } else if (on != vgtk.grabbed) {
        gdk_seat_ungrab(seat());
    }
    vgtk.grabbed = on;
    tell_grab(was);
}

/* ---- keys ---- */

static void act(enum viv_window_action a)
{
    switch (a) {
    case VIV_WIN_ACT_GRAB:
        vgtk_grab(!vgtk.grabbed);
        break;
    case VIV_WIN_ACT_FULL_SCREEN:
        vgtk_full_screen(!vgtk.full_screen);
        break;
    case VIV_WIN_ACT_NATURAL_SIZE:
        vgtk_scale(0);
        break;
    case VIV_WIN_ACT_LARGER:
        vgtk_scale(1.25);
        break;
    case VIV_WIN_ACT_SMALLER:
        vgtk_scale(0.8);
        break;
    default:
        break;
    }
}

/* TRUE: GTK's own keys (menus by F10, Alt and a letter) are the guest's. */
static gboolean on_key(GtkWidget *widget, GdkEventKey *e, gpointer unused)
{
    bool down = e->type == GDK_KEY_PRESS;
    unsigned code = e->hardware_keycode > X11_OFFSET ? e->hardware_keycode - X11_OFFSET : 0u;
    enum viv_window_action a;

    code = code == X11_LEVEL3 ? KEY_RIGHTALT : code;
    a = vgtk.host->key(vgtk.w, code, down);
    if (a != VIV_WIN_ACT_PASS)
        act(a);
    else if (!vgtk.news.text)
        vgtk_send(&(struct viv_window_event){.kind = VIV_WIN_KEY, .code = code, .keysym = e->keyval, .down = down});
    else if (down)
        vgtk_send(&(struct viv_window_event){.kind = VIV_WIN_TYPE, .keysym = e->keyval, .mods = mods_of(e->state)});
    return TRUE;
}

static gboolean on_focus_out(GtkWidget *widget, GdkEventFocus *e, gpointer unused)
{
    vgtk.host->keys_up(vgtk.w);
    vgtk_send(&(struct viv_window_event){.kind = VIV_WIN_RELEASE});
    return FALSE;
}

/* ---- pointer ---- */

static bool send_place(double x, double y)
{
    struct vgtk_place p = vgtk_place();
    struct viv_window_event e = {.kind = VIV_WIN_PLACE, .width = vgtk.width, .height = vgtk.height};

    if (!vgtk.width || x < p.x || y < p.y)
        return false;
    e.x = (int)((x - p.x) / p.scale);
    e.y = (int)((y - p.y) / p.scale);
    if (e.x >= (int)vgtk.width || e.y >= (int)vgtk.height)
        return false;
    vgtk_send(&e);
    return true;
}

/* Back to the middle before it meets an edge. Wayland moves nobody's pointer: there it ends at the edge. */
static void keep_inside(GdkEventMotion *m)
{
    GdkWindow *w = gtk_widget_get_window(vgtk.area);
    int width = gdk_window_get_width(w), height = gdk_window_get_height(w), x, y;

    if (!GDK_IS_X11_DISPLAY(gdk_window_get_display(w)))
        return;
    if (m->x > width / 4.0 && m->x < width * 0.75 && m->y > height / 4.0 && m->y < height * 0.75)
        return;
    gdk_window_get_root_coords(w, width / 2, height / 2, &x, &y);
    gdk_device_warp(gdk_event_get_device((GdkEvent *)m), gdk_window_get_screen(w), x, y);
    vgtk.last_x = vgtk.last_y = -1; /* the next motion is the jump */
}

static gboolean on_motion(GtkWidget *widget, GdkEventMotion *m, gpointer unused)
{
    if (vgtk.news.text)
        return TRUE;
    if (vgtk.news.absolute) {
        send_place(m->x, m->y);
        return TRUE;
    }
    if (!vgtk.grabbed)
        return TRUE;
    if (vgtk.last_x >= 0)
        vgtk_send(&(struct viv_window_event){.kind = VIV_WIN_MOVE, .x = (int)m->x - vgtk.last_x, .y = (int)m->y - vgtk.last_y});
    vgtk.last_x = (int)m->x;
    vgtk.last_y = (int)m->y;
    keep_inside(m);
    return TRUE;
}

static gboolean on_button(GtkWidget *widget, GdkEventButton *b, gpointer unused)
{
    static const int buttons[] = {-1, VIV_BUTTON_LEFT, VIV_BUTTON_MIDDLE, VIV_BUTTON_RIGHT, -1, -1, -1, -1, VIV_BUTTON_SIDE, VIV_BUTTON_EXTRA};
    bool down = b->type == GDK_BUTTON_PRESS;

    if (vgtk.news.text || (!down && b->type != GDK_BUTTON_RELEASE) || b->button >= G_N_ELEMENTS(buttons) || buttons[b->button] < 0)
        return TRUE;
    if (!vgtk.news.absolute && !vgtk.grabbed) { /* the first click takes the pointer, and is not the guest's */
        if (down && b->button == 1)
            vgtk_grab(true);
        return TRUE;
    }
    if (vgtk.news.absolute && !send_place(b->x, b->y) && down)
        return TRUE;
    vgtk_send(&(struct viv_window_event){.kind = VIV_WIN_BUTTON, .button = (unsigned)buttons[b->button], .down = down});
    return TRUE;
}

static gboolean on_scroll(GtkWidget *widget, GdkEventScroll *s, gpointer unused)
{
    int up = s->direction == GDK_SCROLL_UP ? 1 : s->direction == GDK_SCROLL_DOWN ? -1 : 0;
    int right = s->direction == GDK_SCROLL_RIGHT ? 1 : s->direction == GDK_SCROLL_LEFT ? -1 : 0;

    if (vgtk.news.text)
        vgtk_send(&(struct viv_window_event){.kind = VIV_WIN_SCROLL, .y = up * WHEEL_LINES});
    else if (vgtk.news.absolute || vgtk.grabbed)
        vgtk_send(&(struct viv_window_event){.kind = VIV_WIN_WHEEL, .x = right, .y = up});
    return TRUE;
}

/* X takes a grab back when its window is not to be seen any more (minimized, say); a menu of ours takes it over. */
static gboolean on_grab_broken(GtkWidget *widget, GdkEventGrabBroken *e, gpointer unused)
{
    if (vgtk.grabbed && !e->implicit) {
        vgtk.grabbed = false;
        tell_grab(true);
    }
    return FALSE;
}

/* grab-on-hover: the keyboard is the guest's while the pointer is over the picture. */
static gboolean on_crossing(GtkWidget *widget, GdkEventCrossing *e, gpointer unused)
{
    if (vgtk.news.absolute && e->mode == GDK_CROSSING_NORMAL && gtk_check_menu_item_get_active(GTK_CHECK_MENU_ITEM(vgtk.hover)))
        vgtk_grab(e->type == GDK_ENTER_NOTIFY);
    return FALSE;
}

void vgtk_connect_input(void)
{
    gtk_widget_add_events(vgtk.area, GDK_POINTER_MOTION_MASK | GDK_BUTTON_PRESS_MASK | GDK_BUTTON_RELEASE_MASK | GDK_SCROLL_MASK |
                                         GDK_ENTER_NOTIFY_MASK | GDK_LEAVE_NOTIFY_MASK | GDK_KEY_PRESS_MASK | GDK_KEY_RELEASE_MASK);
    g_signal_connect(vgtk.window, "key-press-event", G_CALLBACK(on_key), NULL);
    g_signal_connect(vgtk.window, "key-release-event", G_CALLBACK(on_key), NULL);
    g_signal_connect(vgtk.window, "focus-out-event", G_CALLBACK(on_focus_out), NULL);
    g_signal_connect(vgtk.area, "grab-broken-event", G_CALLBACK(on_grab_broken), NULL);
    g_signal_connect(vgtk.area, "motion-notify-event", G_CALLBACK(on_motion), NULL);
    g_signal_connect(vgtk.area, "button-press-event", G_CALLBACK(on_button), NULL);
    g_signal_connect(vgtk.area, "button-release-event", G_CALLBACK(on_button), NULL);
    g_signal_connect(vgtk.area, "scroll-event", G_CALLBACK(on_scroll), NULL);
    g_signal_connect(vgtk.area, "enter-notify-event", G_CALLBACK(on_crossing), NULL);
    g_signal_connect(vgtk.area, "leave-notify-event", G_CALLBACK(on_crossing), NULL);
}
