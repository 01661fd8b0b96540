/* Inside the GTK toolkit: gtk.c has the window and its thread, gtk_menu.c menus and tabs, gtk_picture.c what is shown, gtk_input.c keys
 * and pointer. All on one thread, whose main context is GLib's default one; the machine's loop has another. */
#ifndef VIV_UI_WINDOW_GTK_INT_H
#define VIV_UI_WINDOW_GTK_INT_H

#include "ui/window/toolkit.h"

#include <gtk/gtk.h>

struct vgtk {
    struct viv_window *w;
    const struct viv_window_host *host;
    struct viv_window_news news;
    GtkWidget *window, *bar, *tabs, *area;

    /* Menu. */
    GtkWidget *machine, *view, *pause, *full, *zoom, *hover, *grab, *show_tabs;
    GtkWidget *console[VIV_WINDOW_TABS];
    unsigned consoles;
    bool setting; /* we change an item: nobody has chosen it */

    /* Picture. */
    unsigned width, height; /* 0: none */
    double scale;           /* where it does not fill the window */
    GdkCursor *shape, *none;

    /* Pointer and keyboard. */
    bool grabbed, full_screen;
    bool absolute; /* the guest's pointer was, at the last news */
    int last_x, last_y;
    int room_width, room_height; /* that were told */
};

extern struct vgtk vgtk;

/* gtk.c */
void vgtk_send(const struct viv_window_event *e);
void vgtk_title(void);
void vgtk_fit_window(void);
void vgtk_full_screen(bool on);
void vgtk_scale(double factor); /* 0: its own size */

/* gtk_menu.c */
void vgtk_make_menu(void);
void vgtk_make_tabs(void);
void vgtk_update_menu(void); /* from the news */

/* gtk_picture.c */
void vgtk_take_picture(void);
void vgtk_take_cursor(void);
gboolean vgtk_draw(GtkWidget *area, cairo_t *cr, gpointer unused);
/* The picture's place in the area. */
struct vgtk_place {
    double x, y, scale;
};
struct vgtk_place vgtk_place(void);

/* gtk_input.c */
void vgtk_connect_input(void);
void vgtk_grab(bool on);
void vgtk_show_cursor(void);

#endif
