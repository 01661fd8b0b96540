/* Between us and the toolkits (SDL, GTK, curses). Each is a module that is loaded when it is asked for, so that viv-vm starts without
 * their libraries; it exports a struct viv_toolkit named viv_toolkit and knows of us what is in struct viv_window_host.
 *
 * A toolkit has a thread of its own, in which all of its functions and the host's are called. It holds nobody up when its screen is
 * slow or stands still. */
#ifndef VIV_UI_WINDOW_TOOLKIT_H
#define VIV_UI_WINDOW_TOOLKIT_H

#include "ui/input.h"
#include "ui/look.h"

#define VIV_TOOLKIT_VERSION 1
#define VIV_WINDOW_TABS     16

struct viv_window;

enum viv_grab_mod { VIV_GRAB_LCTRL_LALT, VIV_GRAB_LSHIFT_LCTRL_LALT, VIV_GRAB_RCTRL };

struct viv_window_opts {
    bool full_screen, window_close, show_cursor;
    bool zoom_to_fit, grab_on_hover, show_tabs, show_menubar; /* GTK's */
    enum viv_grab_mod grab_mod;
    bool layout_named; /* -k: what a key means counts, not which key it is */
};

/* What people do. */
struct viv_window_event {
    enum {
        VIV_WIN_KEY,     /* code, keysym (0: not known), down: to the machine's keyboard */
        VIV_WIN_TYPE,    /* keysym, mods: to a text console */
        VIV_WIN_SCROLL,  /* y lines back: a text console */
        VIV_WIN_PLACE,   /* x, y of a picture of width, height */
        VIV_WIN_MOVE,    /* x, y: how far */
        VIV_WIN_BUTTON,  /* button, down */
        VIV_WIN_WHEEL,   /* y up, x right */
        VIV_WIN_RELEASE, /* keys and buttons: another window has the keyboard */
        VIV_WIN_ROOM,    /* width, height: there is so much room for the picture */
        VIV_WIN_TAB,     /* x: show this console */
        VIV_WIN_VISIBLE, /* down: somebody can see it */
        VIV_WIN_CLOSE,   /* the window's close button */
        VIV_WIN_QUIT,    /* a menu's */
        VIV_WIN_PAUSE,   /* down: pause, else go on */
        VIV_WIN_RESET,
        VIV_WIN_POWERDOWN,
    } kind;
    bool down;
    unsigned code, button, mods;
    uint32_t keysym;
    int x, y;
    unsigned width, height;
};

/* Of a key, whether it belongs to us. */
enum viv_window_action {
    VIV_WIN_ACT_PASS,    /* no: it goes to the guest */
    VIV_WIN_ACT_NOTHING, /* yes, and there is nothing to be done (it comes up) */
    VIV_WIN_ACT_GRAB,
    VIV_WIN_ACT_FULL_SCREEN,
    VIV_WIN_ACT_TAB, /* the host has switched */
    VIV_WIN_ACT_NATURAL_SIZE,
    VIV_WIN_ACT_LARGER,
    VIV_WIN_ACT_SMALLER,
};

struct viv_window_news {
    struct viv_look_news look;
    bool new_state; /* of what follows */
    bool quit, paused, absolute, text; /* text: the tab shown is a text console */
    unsigned leds;
    unsigned tab, tabs; /* the one that is shown; how many there are */
    char tab_name[VIV_WINDOW_TABS][32];
    char title[128]; /* the guest's name, as windows have it in front */
};

struct viv_window_host {
    const struct viv_window_opts *opts;
    int wake_fd; /* readable when there is news */
    /* False: none; `n` keeps what it had. */
    bool (*take)(struct viv_window *w, struct viv_window_news *n);
    void (*send)(struct viv_window *w, const struct viv_window_event *e);
    /* Each key first. */
    enum viv_window_action (*key)(struct viv_window *w, unsigned code, bool down);
    /* All keys are up. */
    void (*keys_up)(struct viv_window *w);
    void (*title)(const struct viv_window_news *n, bool grabbed, char *out, size_t size);
    int (*code_of_usb)(unsigned usage); /* KEY_* of a HID usage, -1 */
    void (*warn)(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
};

struct viv_toolkit {
    unsigned version;
    bool wants_text; /* not pixels */
    /* Opens the window. False: cannot, and `why` says so. */
    bool (*open)(struct viv_window *w, const struct viv_window_host *host, char *why, size_t size);
    /* Until the news say quit; closes it. */
    void (*run)(void);
};

#endif
