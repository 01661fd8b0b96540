/* GTK 3: one window with a menu, tabs, and an area that shows one console at a time. */
#include "ui/window/gtk_int.h"

#include <X11/Xlib.h>
#include <gdk/gdkx.h>
#include <glib-unix.h>
#include <unistd.h>

struct vgtk vgtk;

void vgtk_send(const struct viv_window_event *e)
{
    vgtk.host->send(vgtk.w, e);
}

void vgtk_title(void)
{
    char title[256];

    vgtk.host->title(&vgtk.news, vgtk.grabbed, title, sizeof(title));
    gtk_window_set_title(GTK_WINDOW(vgtk.window), title);
}

/* ---- sizes ---- */

static bool fills(void)
{
    return vgtk.full_screen || gtk_check_menu_item_get_active(GTK_CHECK_MENU_ITEM(vgtk.zoom));
}

/* The window takes the picture's size; where the picture fills the window, people choose it. */
void vgtk_fit_window(void)
{
    if (fills() || !vgtk.width) {
        gtk_widget_set_size_request(vgtk.area, 64, 48);
        return;
    }
    gtk_widget_set_size_request(vgtk.area, (int)(vgtk.width * vgtk.scale), (int)(vgtk.height * vgtk.scale));
    if (!gtk_window_is_maximized(GTK_WINDOW(vgtk.window)))
        gtk_window_resize(GTK_WINDOW(vgtk.window), 1, 1); /* as small as it can be */
}

void vgtk_scale(double factor)
{
    vgtk.scale = factor == 0 ? 1 : CLAMP(vgtk.scale * factor, 0.25, 8);
    if (vgtk.scale > 0.99 && vgtk.scale < 1.01)
        vgtk.scale = 1; /* of 0.8 and 1.25 */
    gtk_check_menu_item_set_active(GTK_CHECK_MENU_ITEM(vgtk.zoom), FALSE);
    vgtk_fit_window();
    gtk_widget_queue_draw(vgtk.area);
}

void vgtk_full_screen(bool on)
{
    if (on == vgtk.full_screen)
        return;
    vgtk.full_screen = on;
    gtk_widget_set_visible(vgtk.bar, !on && vgtk.host->opts->show_menubar);
    gtk_widget_set_visible(vgtk.tabs, !on && gtk_check_menu_item_get_active(GTK_CHECK_MENU_ITEM(vgtk.show_tabs)));
    vgtk_fit_window();
    if (on)
        gtk_window_fullscreen(GTK_WINDOW(vgtk.window));
    else
        gtk_window_unfullscreen(GTK_WINDOW(vgtk.window));
    vgtk_grab(on);
}

/* More room than the picture needs: the guest is told. */
static void on_allocated(GtkWidget *area, GdkRectangle *r, gpointer unused)
{
    int width = (int)(vgtk.width * vgtk.scale), height = (int)(vgtk.height * vgtk.scale);

    if (!vgtk.width || (r->width == vgtk.room_width && r->height == vgtk.room_height))
        return;
    vgtk.room_width = r->width;
    vgtk.room_height = r->height;
    if ((r->width != width || r->height != height) && r->width > 0 && r->height > 0)
        vgtk_send(&(struct viv_window_event){.kind = VIV_WIN_ROOM, .width = (unsigned)r->width, .height = (unsigned)r->height});
}

/* ---- the window ---- */

static gboolean on_close(GtkWidget *widget, GdkEvent *e, gpointer unused)
{
    vgtk_send(&(struct viv_window_event){.kind = VIV_WIN_CLOSE});
    return TRUE; /* it goes when the machine does */
}

static gboolean on_state(GtkWidget *widget, GdkEventWindowState *e, gpointer unused)
{
    if (e->changed_mask & GDK_WINDOW_STATE_ICONIFIED)
        vgtk_send(&(struct viv_window_event){.kind = VIV_WIN_VISIBLE, .down = !(e->new_window_state & GDK_WINDOW_STATE_ICONIFIED)});
    return FALSE;
}

/* A text console needs no grab. What was taken for one kind of pointer is given back when the guest's is of another kind, since an absolute
 * one can leave the window; a full screen takes it anew. */
static void take_state(void)
{
    bool other = vgtk.news.absolute != vgtk.absolute;

    vgtk.absolute = vgtk.news.absolute;
    if (!vgtk.grabbed || (!vgtk.news.text && !other))
        return;
    vgtk_grab(false);
    if (vgtk.full_screen)
        vgtk_grab(true);
}

static gboolean on_wake(gint fd, GIOCondition condition, gpointer unused)
{
    if (!vgtk.host->take(vgtk.w, &vgtk.news))
        return G_SOURCE_CONTINUE;
    if (vgtk.news.quit) {
        gtk_main_quit();
        return G_SOURCE_REMOVE;
    }
    vgtk_take_picture();
    if (vgtk.news.look.new_cursor)
        vgtk_take_cursor();
    if (vgtk.news.look.cursor && !vgtk.news.absolute)
        gtk_widget_queue_draw(vgtk.area); /* it may have moved */
    if (vgtk.news.new_state) {
        take_state();
        vgtk_show_cursor();
        vgtk_update_menu();
        vgtk_title();
    }
    return G_SOURCE_CONTINUE;
}

static void make_window(void)
{
    const struct viv_window_opts *o = vgtk.host->opts;
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 0);

    vgtk.window = gtk_window_new(GTK_WINDOW_TOPLEVEL);
    vgtk.area = gtk_drawing_area_new();
    vgtk_make_menu();
    vgtk_make_tabs();
    gtk_box_pack_start(GTK_BOX(box), vgtk.bar, FALSE, FALSE, 0);
    gtk_box_pack_start(GTK_BOX(box), vgtk.tabs, FALSE, FALSE, 0);
    gtk_box_pack_start(GTK_BOX(box), vgtk.area, TRUE, TRUE, 0);
    gtk_container_add(GTK_CONTAINER(vgtk.window), box);
    gtk_widget_set_size_request(vgtk.area, 640, 480);
    g_signal_connect(vgtk.area, "draw", G_CALLBACK(vgtk_draw), NULL);
    g_signal_connect(vgtk.area, "size-allocate", G_CALLBACK(on_allocated), NULL);
    g_signal_connect(vgtk.window, "delete-event", G_CALLBACK(on_close), NULL);
    g_signal_connect(vgtk.window, "window-state-event", G_CALLBACK(on_state), NULL);
    vgtk_connect_input();
    vgtk.none = gdk_cursor_new_for_display(gtk_widget_get_display(vgtk.window), GDK_BLANK_CURSOR);
    gtk_widget_show_all(vgtk.window);
    gtk_widget_set_visible(vgtk.bar, o->show_menubar);
    gtk_widget_set_visible(vgtk.tabs, o->show_tabs);
    if (o->full_screen)
        vgtk_full_screen(true);
}

/* Xlib's rule: it must not return, else the process ends. */
static int on_server_gone(Display *d)
{
    vgtk.host->warn("-display gtk: the X server has gone; the machine runs on without its window");
    vgtk_send(&(struct viv_window_event){.kind = VIV_WIN_RELEASE}); /* what is held comes up unheard */
    vgtk_send(&(struct viv_window_event){.kind = VIV_WIN_VISIBLE, .down = false});
    for (;;)
        pause();
    return 0;
}

static bool vgtk_open(struct viv_window *w, const struct viv_window_host *host, char *why, size_t size)
{
    vgtk = (struct vgtk){.w = w, .host = host, .scale = 1};
    gtk_disable_setlocale(); /* numbers are written as ever */
    gdk_set_program_class("Vivarium");
    gdk_set_allowed_backends("x11,*"); /* Wayland's ends the process when the compositor goes */
    if (!gtk_init_check(NULL, NULL)) {
        g_snprintf(why, size, "GTK finds no display; is there a desktop (DISPLAY, WAYLAND_DISPLAY)?");
        return false;
    }
    if (GDK_IS_X11_DISPLAY(gdk_display_get_default()))
        XSetIOErrorHandler(on_server_gone);
    else
        host->warn("-display gtk: without an X server (DISPLAY) GTK ends the machine when the Wayland compositor goes; -display sdl runs on");
    make_window();
    g_unix_fd_add(host->wake_fd, G_IO_IN, on_wake, NULL);
    on_wake(host->wake_fd, G_IO_IN, NULL);
    return true;
}

static void vgtk_run(void)
{
    if (!vgtk.news.quit)
        gtk_main();
    gtk_widget_destroy(vgtk.window);
    while (gtk_events_pending())
        gtk_main_iteration();
}

extern const struct viv_toolkit viv_toolkit;
const struct viv_toolkit viv_toolkit = {.version = VIV_TOOLKIT_VERSION, .open = vgtk_open, .run = vgtk_run};
