/* SDL 2: one window that shows one console at a time.
 *
 * The thread sleeps on our descriptor and on the display's connection; where SDL does not tell the latter (Wayland) it looks a hundred
 * times a second. When the X server goes, the thread stops and the machine runs on: Xlib would end the process. */
#include "ui/window/sdl_int.h"

#include <SDL_syswm.h>
#include <X11/Xlib.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define SMALLEST 64

static struct sdl sdl;

/* ---- the window ---- */

void sdl_title(struct sdl *s)
{
    char title[256];

    s->host->title(&s->news, s->grabbed, title, sizeof(title));
    SDL_SetWindowTitle(s->window, title);
}

static void set_size(struct sdl *s, int width, int height)
{
    s->asked_width = SDL_max(width, SMALLEST);
    s->asked_height = SDL_max(height, SMALLEST);
    SDL_SetWindowSize(s->window, s->asked_width, s->asked_height);
    s->draw = true;
}

/* A new picture: the window takes its size, unless people gave it one. */
void sdl_fit_window(struct sdl *s)
{
    if (s->width && !s->scaled && !s->full_screen && !(SDL_GetWindowFlags(s->window) & SDL_WINDOW_MAXIMIZED))
        set_size(s, (int)s->width, (int)s->height);
}

void sdl_natural_size(struct sdl *s)
{
    s->scaled = false;
    sdl_fit_window(s);
}

void sdl_scale(struct sdl *s, int percent)
{
    int w, h;

    SDL_GetWindowSize(s->window, &w, &h);
    if (s->full_screen || w * percent / 100 > VIV_SURFACE_MOST || h * percent / 100 > VIV_SURFACE_MOST)
        return;
    s->scaled = true;
    set_size(s, w * percent / 100, h * percent / 100);
}

static void tell_room(struct sdl *s)
{
    int w, h;

    SDL_GetRendererOutputSize(s->renderer, &w, &h);
    if (w > 0 && h > 0)
        sdl_send(s, &(struct viv_window_event){.kind = VIV_WIN_ROOM, .width = (unsigned)w, .height = (unsigned)h});
}

void sdl_full_screen(struct sdl *s, bool on)
{
    s->full_screen = on;
    SDL_SetWindowFullscreen(s->window, on ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0);
    if (on)
        sdl_grab(s, true);
    else
        sdl_fit_window(s);
    s->draw = true;
}

/* People have given it another size. */
static void on_resized(struct sdl *s)
{
    int w, h;

    SDL_GetWindowSize(s->window, &w, &h);
    s->draw = true;
    if (w == s->asked_width && h == s->asked_height)
        return;
    s->asked_width = w;
    s->asked_height = h;
    s->scaled |= !s->full_screen;
    tell_room(s);
}

static void on_window(struct sdl *s, const SDL_WindowEvent *e)
{
    switch (e->event) {
    case SDL_WINDOWEVENT_SIZE_CHANGED:
        on_resized(s);
        break;
    case SDL_WINDOWEVENT_EXPOSED:
        s->draw = true;
        break;
    case SDL_WINDOWEVENT_SHOWN:
    case SDL_WINDOWEVENT_RESTORED:
    case SDL_WINDOWEVENT_HIDDEN:
    case SDL_WINDOWEVENT_MINIMIZED:
        sdl_send(s, &(struct viv_window_event){
                        .kind = VIV_WIN_VISIBLE, .down = e->event == SDL_WINDOWEVENT_SHOWN || e->event == SDL_WINDOWEVENT_RESTORED});
        break;
    case SDL_WINDOWEVENT_FOCUS_LOST:
        s->host->keys_up(s->w);
        sdl_send(s, &(struct viv_window_event){.kind = VIV_WIN_RELEASE});
        if (!s->full_screen)
            sdl_grab(s, false);
        break;
    case SDL_WINDOWEVENT_CLOSE:
        sdl_send(s, &(struct viv_window_event){.kind = VIV_WIN_CLOSE});
        break;
    }
}

/* Nobody looks, and what is held comes up unheard. May be called from inside SDL. */
static void display_gone(struct sdl *s, const char *what)
{
    s->host->warn("-display sdl: the %s has gone; the machine runs on without its window", what);
    sdl_send(s, &(struct viv_window_event){.kind = VIV_WIN_RELEASE});
    sdl_send(s, &(struct viv_window_event){.kind = VIV_WIN_VISIBLE, .down = false});
}

static void on_event(struct sdl *s, const SDL_Event *e)
{
    switch (e->type) {
    case SDL_QUIT:
        display_gone(s, "Wayland compositor");
        break;
    case SDL_WINDOWEVENT:
        on_window(s, &e->window);
        break;
    case SDL_KEYDOWN:
    case SDL_KEYUP:
        sdl_key(s, &e->key);
        break;
    case SDL_TEXTINPUT:
        sdl_text(s, e->text.text);
        break;
    case SDL_MOUSEMOTION:
        sdl_motion(s, &e->motion);
        break;
    case SDL_MOUSEBUTTONDOWN:
    case SDL_MOUSEBUTTONUP:
        sdl_button(s, &e->button);
        break;
    case SDL_MOUSEWHEEL:
        sdl_wheel(s, &e->wheel);
        break;
    case SDL_RENDER_TARGETS_RESET:
    case SDL_RENDER_DEVICE_RESET:
        sdl_lose_textures(s);
        break;
    }
}

/* ---- news ---- */

/* What was taken for one kind of pointer is given back when the guest's is of another kind: an absolute one can leave the window. */
static void on_news(struct sdl *s)
{
    unsigned width = s->width, height = s->height;

    sdl_take_picture(s);
    if (s->width != width || s->height != height)
        sdl_fit_window(s);
    if (s->news.look.new_cursor)
        sdl_take_cursor(s);
    if (s->news.look.cursor && !s->news.absolute)
        s->draw = true; /* it may have moved */
    if (s->news.new_state) /* text console or head, absolute or not, paused */
        sdl_grab(s, s->grabbed && (s->news.absolute == s->absolute || s->full_screen));
    else if (s->news.look.cursor)
        sdl_show_cursor(s);
    s->absolute = s->news.absolute;
}

static void sleep_for_news(struct sdl *s)
{
    struct pollfd p[2] = {{.fd = s->host->wake_fd, .events = POLLIN}, {.fd = s->display_fd, .events = POLLIN}};

    if (s->display_fd >= 0)
        poll(p, 2, 1000);
    else
        SDL_WaitEventTimeout(NULL, 10);
}

static void close_window(struct sdl *s)
{
    SDL_FreeCursor(s->arrow);
    SDL_FreeCursor(s->none);
    if (s->shape)
        SDL_FreeCursor(s->shape);
    SDL_DestroyRenderer(s->renderer);
    SDL_DestroyWindow(s->window);
    SDL_Quit();
}

static void sdl_run(void)
{
    struct sdl *s = &sdl;
    SDL_Event e;

    while (!s->news.quit) {
        bool busy = false;

        while (SDL_PollEvent(&e)) {
            on_event(s, &e);
            busy = true;
        }
        if (s->host->take(s->w, &s->news)) {
            on_news(s);
            busy = true;
        }
        if (s->draw)
            sdl_draw(s); /* may have read events: they are looked for before it sleeps */
        else if (!busy)
            sleep_for_news(s);
    }
    close_window(s);
}

/* ---- opening it ---- */

/* Xlib's rule: it must not return, else the process ends. */
static int on_server_gone(Display *d)
{
    display_gone(&sdl, "X server");
    for (;;)
        pause();
    return 0;
}

static void find_display(struct sdl *s)
{
    SDL_SysWMinfo info;

    SDL_VERSION(&info.version);
    s->display_fd = -1;
    if (!SDL_GetWindowWMInfo(s->window, &info) || info.subsystem != SDL_SYSWM_X11)
        return;
    s->display_fd = ConnectionNumber(info.info.x11.display);
    XSetIOErrorHandler(on_server_gone);
}

static SDL_Cursor *no_cursor(void)
{
    static const uint8_t nothing[8];

    return SDL_CreateCursor(nothing, nothing, 8, 8, 0, 0);
}

/* SDL's last resort is a window that nobody sees. Who asks for it by SDL_VIDEODRIVER gets it. */
static bool is_offscreen(void)
{
    return !SDL_getenv("SDL_VIDEODRIVER") && !SDL_strcmp(SDL_GetCurrentVideoDriver(), "offscreen");
}

static bool sdl_open(struct viv_window *w, const struct viv_window_host *host, char *why, size_t size)
{
    struct sdl *s = &sdl;

    *s = (struct sdl){.w = w, .host = host};
    SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
    SDL_SetHint(SDL_HINT_QUIT_ON_LAST_WINDOW_CLOSE, "0"); /* SDL_QUIT is the compositor's end, then */
    SDL_SetHint(SDL_HINT_APP_NAME, "Vivarium");
    SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
    SDL_SetHint(SDL_HINT_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR, "0");
    SDL_SetHint(SDL_HINT_GRAB_KEYBOARD, "1");
    SDL_SetHint(SDL_HINT_RENDER_SCALE_QUALITY, "linear");
    if (SDL_Init(SDL_INIT_VIDEO) < 0) {
        snprintf(why, size, "%s; is there a desktop (DISPLAY, WAYLAND_DISPLAY)?", SDL_GetError());
        return false;
    }
    if (is_offscreen()) {
        snprintf(why, size, "SDL finds no display; is there a desktop (DISPLAY, WAYLAND_DISPLAY)?");
        SDL_Quit();
        return false;
    }
    s->asked_width = 640;
    s->asked_height = 480;
    s->window = SDL_CreateWindow("Vivarium", SDL_WINDOWPOS_UNDEFINED, SDL_WINDOWPOS_UNDEFINED, 640, 480, SDL_WINDOW_RESIZABLE);
    s->renderer = s->window ? SDL_CreateRenderer(s->window, -1, 0) : NULL;
    if (!s->renderer) {
        snprintf(why, size, "%s", SDL_GetError());
        SDL_Quit();
        return false;
    }
    find_display(s);
    s->arrow = SDL_CreateSystemCursor(SDL_SYSTEM_CURSOR_ARROW);
    s->none = no_cursor();
    s->host->take(s->w, &s->news);
    on_news(s);
    sdl_title(s);
    if (s->host->opts->full_screen)
        sdl_full_screen(s, true);
    return true;
}

extern const struct viv_toolkit viv_toolkit;
const struct viv_toolkit viv_toolkit = {.version = VIV_TOOLKIT_VERSION, .open = sdl_open, .run = sdl_run};
