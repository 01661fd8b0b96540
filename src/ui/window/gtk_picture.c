/* cairo reads the surface itself; rows that have changed are drawn anew. */
#include "ui/window/gtk_int.h"

#include <math.h>

struct vgtk_place vgtk_place(void)
{
    double w = gtk_widget_get_allocated_width(vgtk.area), h = gtk_widget_get_allocated_height(vgtk.area);
    bool fill = vgtk.full_screen || gtk_check_menu_item_get_active(GTK_CHECK_MENU_ITEM(vgtk.zoom));
    struct vgtk_place p = {0, 0, vgtk.scale};

    if (!vgtk.width)
        return p;
    if (fill)
        p.scale = MIN(w / vgtk.width, h / vgtk.height);
    p.x = floor((w - vgtk.width * p.scale) / 2);
    p.y = floor((h - vgtk.height * p.scale) / 2);
    p.x = MAX(p.x, 0);
    p.y = MAX(p.y, 0);
    return p;
}

static void redraw_rows(unsigned from, unsigned to)
{
    struct vgtk_place p = vgtk_place();
    int top = (int)floor(p.y + from * p.scale) - 1, bottom = (int)ceil(p.y + to * p.scale) + 1;

    gtk_widget_queue_draw_area(vgtk.area, 0, top, gtk_widget_get_allocated_width(vgtk.area), bottom - top);
}

void vgtk_take_picture(void)
{
    const struct viv_look_news *n = &vgtk.news.look;
    const struct viv_surface *s = n->surface;
    unsigned width = s ? s->width : 0, height = s ? s->height : 0;

    if (n->new_surface && (width != vgtk.width || height != vgtk.height)) {
        vgtk.width = width;
        vgtk.height = height;
        vgtk_fit_window();
    }
    if (n->new_surface)
        gtk_widget_queue_draw(vgtk.area);
    else if (s && n->first <= n->last)
        redraw_rows(n->first, MIN(n->last + 1, s->height));
}

static cairo_surface_t *cursor_surface(const struct viv_cursor *c)
{
    /* a8r8g8b8, premultiplied, as it is. */
    return cairo_image_surface_create_for_data((unsigned char *)c->pixels, CAIRO_FORMAT_ARGB32, (int)c->width, (int)c->height, (int)c->width * 4);
}

void vgtk_take_cursor(void)
{
    const struct viv_cursor *c = vgtk.news.look.cursor;

    g_clear_object(&vgtk.shape);
    if (c && c->width && c->height) {
        cairo_surface_t *s = cursor_surface(c);

        vgtk.shape = gdk_cursor_new_from_surface(gtk_widget_get_display(vgtk.area), s, MIN(c->hot_x, c->width - 1), MIN(c->hot_y, c->height - 1));
        cairo_surface_destroy(s);
    }
    vgtk_show_cursor();
}

/* A grabbed pointer has no shape on the host's screen. */
static void draw_pointer(cairo_t *cr)
{
    const struct viv_look_news *n = &vgtk.news.look;
    cairo_surface_t *s;

    if (!n->cursor || !n->cursor_visible || vgtk.news.absolute || !n->cursor->width)
        return;
    s = cursor_surface(n->cursor);
    cairo_set_source_surface(cr, s, n->cursor_x, n->cursor_y);
    cairo_paint(cr);
    cairo_surface_destroy(s);
}

gboolean vgtk_draw(GtkWidget *area, cairo_t *cr, gpointer unused)
{
    const struct viv_surface *v = vgtk.news.look.surface;
    struct vgtk_place p = vgtk_place();
    cairo_surface_t *s;

    cairo_set_source_rgb(cr, 0, 0, 0);
    cairo_paint(cr);
    if (!v)
        return TRUE;
    s = cairo_image_surface_create_for_data(v->pixels, CAIRO_FORMAT_RGB24, (int)v->width, (int)v->height, (int)v->stride);
    cairo_translate(cr, p.x, p.y);
    cairo_scale(cr, p.scale, p.scale);
    cairo_set_source_surface(cr, s, 0, 0);
    if (p.scale == 1)
        cairo_pattern_set_filter(cairo_get_source(cr), CAIRO_FILTER_NEAREST);
    cairo_rectangle(cr, 0, 0, v->width, v->height);
    cairo_fill(cr);
    cairo_surface_destroy(s);
    draw_pointer(cr);
    return TRUE;
}
