/* Inside ui/vnc/.
 *
 * Two threads: the loop thread, which holds the device lock, and the VNC thread (thread.c), which never takes it. What is the VNC
 * thread's alone is marked so below; what both touch is guarded by the server's lock. The loop thread hands work over by vnc_post();
 * the other way goes viv_loop_call(). */
#ifndef VIV_UI_VNC_VNC_INT_H
#define VIV_UI_VNC_VNC_INT_H

#include "ui/console.h"
#include "ui/vnc/pixel.h"
#include "ui/vnc/rfb.h"
#include "ui/vnc/vnc.h"

#include <glib.h>
#include <pthread.h>

#define VNC_CLIENTS_MAX 64          /* that have not authenticated yet */
#define VNC_HANDSHAKE_NS 10000000000 /* until they have */
#define VNC_EVENT_NS    1000000   /* what an event costs: 1000 a second */
#define VNC_BURST_NS    250000000 /* what may be spent at once */
#define VNC_CLIP_MAX    (1u << 20)  /* bytes of a clipboard */
#define VNC_TILE_W      64
#define VNC_TILE_H      16
#define VNC_LISTEN_MAX  8

/* ---- what a client does, on its way to the guest (input.c) ---- */

struct vnc_event {
    enum { VNC_EV_KEY, VNC_EV_POINTER, VNC_EV_ROOM, VNC_EV_GONE } kind;
    uint64_t client;     /* its number */
    bool down, relative; /* relative: x and y are a distance */
    uint32_t keysym;
    int code;            /* raw key, -1: none */
    int x, y, dx, dy;    /* dx, dy: how far from the last position */
    unsigned width, height, buttons;
};

/* What a client holds down, as far as its events have been served. Loop thread. */
struct vnc_hand {
    uint64_t client;
    unsigned mods, digit; /* switch.c's: VIV_MOD_* that are held; the digit of Ctrl-Alt-1 that is down */
    unsigned buttons;
};

/* ---- a server ---- */

struct vnc_listener {
    int fd;
    bool websocket;
    char *path; /* unix: to remove */
};

enum vnc_share { VNC_SHARE_ALLOW_EXCLUSIVE, VNC_SHARE_FORCE_SHARED, VNC_SHARE_IGNORE };

struct viv_authz;

struct vnc_server {
    struct vnc_server *next; /* VNC thread's list */
    char *id, *name, *said; /* name: of the desktop; said: what followed -vnc */
    /* Constant once made. */
    enum vnc_share share;
    bool lossy, needs_password, unix_only, everybody; /* everybody: listens on all interfaces */
    struct viv_tls_creds *creds; /* NULL: no TLS; else nothing without it */
    struct viv_authz *authz;     /* who may, of those that it lets in; NULL: all */
    bool x509;                   /* the creds' kind: certificates, or else nobody says who he is */
    unsigned connections_max;
    struct vnc_listener listener[VNC_LISTEN_MAX];
    unsigned listeners;

    /* Loop thread. */
    struct viv_console *console; /* NULL: none, or it is gone */
    struct viv_viewer *viewer;
    int console_number;
    struct viv_input_watch *watch;
    struct vnc_typing *typing; /* input.c's */
    bool fixed;                /* its console was named: clients cannot choose another */

    pthread_mutex_t lock;
    struct viv_tls_creds *renewed; /* in the place of creds since display-reload, or NULL */
    char *password; /* NULL: nobody gets in */
    int64_t expires;
    /* The console's news, until the VNC thread takes them. */
    struct {
        struct viv_surface *surface;
        struct viv_cursor *cursor;
        unsigned long rows[VIV_SURFACE_MOST / (8 * sizeof(long))]; /* that have changed */
        unsigned first, last; /* row that may be set; first > last: none is */
        bool new_surface, new_cursor, fresh, posted;
    } mail;
    bool looked;   /* somebody looks: refreshes are wanted */
    unsigned leds; /* the guest's, and its pointer's kind */
    bool absolute;
    GArray *events; /* struct vnc_event, first come first served */
    bool events_called;

    /* VNC thread. `clients` is changed under the lock, which others take to read it. */
    struct vnc_client *clients;
    struct viv_surface *surface;
    struct viv_cursor *cursor;
    unsigned width, height, stride; /* of the picture; stride in pixels */
    uint32_t *pixels;
    unsigned cursor_version, state_version; /* counted up with each new one */
    unsigned seen_leds;
    bool seen_absolute;
    bool fresh; /* the picture has been brought up to date since somebody began to look */
    char *clip; /* UTF-8; NULL: nothing has been copied */
    bool stopped;
};

/* ---- a client (VNC thread) ---- */

enum vnc_state {
    VNC_PEEK,      /* RFB or HTTP: the first bytes tell */
    VNC_HTTP,      /* the head of a WebSocket's request */
    VNC_VERSION,
    VNC_SECURITY,
    VNC_VENCRYPT,  /* its version */
    VNC_SUBTYPE,   /* what of VeNCrypt */
    VNC_TLS,       /* its handshake */
    VNC_RESPONSE,  /* to the challenge */
    VNC_JUDGE,     /* the response waits for its time */
    VNC_INIT,
    VNC_NORMAL,
    VNC_DEAD,      /* what is unsent goes out, then it ends */
};

/* What the client can take: bits by encoding numbers. */
enum {
    VNC_CAN_RESIZE = 1 << 0,
    VNC_CAN_EXT_RESIZE = 1 << 1,
    VNC_CAN_CURSOR = 1 << 2,
    VNC_CAN_ALPHA_CURSOR = 1 << 3,
    VNC_CAN_POINTER_TYPE = 1 << 4,
    VNC_CAN_EXT_KEY = 1 << 5,
    VNC_CAN_LED = 1 << 6,
    VNC_CAN_NAME = 1 << 7,
    VNC_CAN_CLIP = 1 << 8,
    VNC_CAN_LAST_RECT = 1 << 9,
};

struct vnc_client {
    struct vnc_server *server;
    struct vnc_client *next;
    uint64_t number;
    int fd; /* -1: none (tests) */
    enum vnc_state state;
    bool websocket, skip_auth, exclusive, hung_up;
    int minor; /* of the version: 3, 7, 8 */
    uint8_t challenge[16], response[16];
    int64_t deadline;   /* ns; of a handshake, or when to judge */
    char *host, *service, *family; /* facts for people; constant */
    bool told_connected, told_initialized;

    GByteArray *raw;    /* WebSocket: what came, not yet unwrapped */
    GByteArray *in;     /* RFB bytes not yet parsed */
    GByteArray *out;    /* RFB bytes not yet sent, or wrapped */
    GByteArray *wire;   /* WebSocket: wrapped, not yet sent */
    size_t sent;        /* of wire, or of out */
    struct viv_tls *tls;    /* NULL: in the clear */
    bool tls_ready, said_bye, under_http; /* under_http: TLS is WebSocket's, not VeNCrypt's */
    GByteArray *sealed;     /* TLS: what came, not yet opened */
    GByteArray *box;        /* TLS: what the socket gets */
    size_t opened, box_sent;
    char *dname;            /* the name in the client's certificate; NULL: none; server's lock */
    struct vnc_ws_frame {
        uint64_t left;  /* payload bytes of the frame still to come */
        uint8_t mask[4], opcode;
        unsigned at;    /* of the mask */
    } frame;
    uint64_t skip;      /* bytes of a message that is not wanted */
    int64_t paid_ns;    /* events are paid for until then */
    bool throttled, reading, writing;
    uint32_t epoll_events;

    /* Its look at the picture. */
    struct vnc_format format;
    bool map_due;                    /* a colour map is to be sent */
    unsigned width, height, tiles_x, tiles_y;
    unsigned long *dirty;            /* tiles */
    unsigned dirty_words;
    bool asked;                      /* an update, for this region */
    unsigned ask_x0, ask_y0, ask_x1, ask_y1;
    int encoding, quality, level;    /* quality -1: no JPEG */
    unsigned can;
    /* Pseudo rectangles that are due. */
    bool due_size, due_ext_size, due_ext_key, due_name;
    unsigned size_reason, size_status;
    unsigned cursor_version, state_version;
    bool told_state, told_absolute, has_cursor;
    struct vnc_zrle *zrle;
    struct vnc_tight *tight;

    /* Pointer. */
    int last_x, last_y;
    bool placed;
    unsigned in_flight; /* events that the loop thread has not served; server's lock */

    /* Clipboard. */
    uint32_t clip_actions; /* what the peer takes */
    bool clip_caps_sent;
};

/* Bytes to send. */
void vnc_put(struct vnc_client *c, const void *data, size_t len);
void vnc_put_u8(struct vnc_client *c, unsigned v);
void vnc_put_u16(struct vnc_client *c, unsigned v);
void vnc_put_u32(struct vnc_client *c, uint32_t v);

/* vnc.c */
const char *vnc_auth_name(const struct vnc_server *s); /* "vencrypt+x509+vnc" */
struct vnc_server *vnc_server_new(const char *id, const char *name, const char *said);
void vnc_server_free(struct vnc_server *s);

/* thread.c */
int vnc_thread_start(struct viv_err *err);
void vnc_thread_stop(void);
/* Runs fn(opaque) on the VNC thread, soon. Any thread. */
void vnc_post(void (*fn)(void *opaque), void *opaque);
void vnc_serve(struct vnc_server *s);   /* VNC thread: begins to look after it */
void vnc_accept_fd(struct vnc_server *s, int fd, bool websocket, bool skip_auth); /* takes fd */

/* client.c */
struct vnc_client *vnc_client_new(struct vnc_server *s, int fd, bool websocket, bool skip_auth);
void vnc_client_free(struct vnc_client *c);
void vnc_client_read(struct vnc_client *c);
void vnc_client_input(struct vnc_client *c, const uint8_t *data, size_t len); /* as if it had come from the socket */
void vnc_client_flush(struct vnc_client *c);
void vnc_client_plain(struct vnc_client *c, const uint8_t *data, size_t len); /* TLS is off it */
bool vnc_client_parse(struct vnc_client *c); /* what has come so far; true: something was done */
void vnc_client_end(struct vnc_client *c, const char *why);
size_t vnc_client_unsent(const struct vnc_client *c);
void vnc_client_facts(struct vnc_client *c);
/* An event of QMP's about it. */
void vnc_client_tell(const struct vnc_client *c, const char *event);
struct json_t *vnc_client_json(const struct vnc_client *c);
struct json_t *vnc_address_json(int fd, bool peer, bool websocket);

/* handshake.c, message.c: one message at the front of c->in. The bytes used, 0: more must come. */
size_t vnc_handshake(struct vnc_client *c, const uint8_t *p, size_t len);
void vnc_handshake_begin(struct vnc_client *c);
void vnc_judge(struct vnc_client *c);
bool vnc_wants_tls(const struct vnc_client *c);
void vnc_secured(struct vnc_client *c); /* TLS's handshake is done */
size_t vnc_message(struct vnc_client *c, const uint8_t *p, size_t len);
void vnc_charge(struct vnc_client *c, int64_t ns); /* it is not read until that is paid for */

/* vencrypt.c */
void vnc_vencrypt_begin(struct vnc_client *c);
size_t vnc_vencrypt(struct vnc_client *c, const uint8_t *p, size_t len);
const char *vnc_vencrypt_name(const struct vnc_server *s); /* of the subtype: "x509-vnc" */

/* tls.c */
void vnc_tls_start(struct vnc_client *c, const uint8_t *early, size_t len); /* early: what of TLS has come */
void vnc_tls_open(struct vnc_client *c);                                    /* what c->sealed has */
bool vnc_tls_seal(struct vnc_client *c, const GByteArray *b);               /* b from c->sent on, into the box; false: nothing */
bool vnc_tls_owes_bye(const struct vnc_client *c);

/* auth.c */
void vnc_des_response(const char *password, const uint8_t challenge[16], uint8_t out[16]);
/* When a host's next response is judged, and what came of it. */
int64_t vnc_auth_not_before(const char *host);
void vnc_auth_result(const char *host, bool ok);
/* Its response waits for its turn, and is the host's next at c->deadline. false: too many do. */
bool vnc_auth_wait(struct vnc_client *c);
void vnc_auth_leave(struct vnc_client *c); /* judged, or gone; also if it does not wait */

/* websocket.c */
size_t vnc_ws_handshake(struct vnc_client *c, const uint8_t *p, size_t len);
void vnc_ws_unwrap(struct vnc_client *c);
void vnc_ws_wrap(struct vnc_client *c);

/* screen.c. Loop thread: attach, detach, look. */
void vnc_screen_attach(struct vnc_server *s, struct viv_console *console);
void vnc_screen_detach(struct vnc_server *s);
void vnc_screen_look(struct vnc_server *s);
void vnc_screen_switch(struct vnc_server *s, struct viv_console *console);
void vnc_screen_collect(struct vnc_server *s); /* VNC thread */
void vnc_screen_drop(struct vnc_server *s);

/* update.c */
void vnc_view_resize(struct vnc_client *c);
void vnc_view_dirty(struct vnc_client *c, unsigned x, unsigned y, unsigned width, unsigned height);
void vnc_update(struct vnc_client *c);
void vnc_set_encodings(struct vnc_client *c, const uint8_t *list, unsigned count);

/* pseudo.c */
unsigned vnc_pseudo_rects(struct vnc_client *c); /* how many it has put */
bool vnc_pseudo_due(const struct vnc_client *c);
void vnc_rect_head(struct vnc_client *c, unsigned x, unsigned y, unsigned width, unsigned height, int32_t encoding);

/* Encoders: a rectangle's head and pixels. The result is how many rectangles it became. */
struct vnc_rect {
    unsigned x, y, width, height; /* on the screen */
    const uint32_t *pixels;
    size_t stride; /* in pixels */
};
unsigned vnc_encode_raw(struct vnc_client *c, const struct vnc_rect *r);
unsigned vnc_encode_zrle(struct vnc_client *c, const struct vnc_rect *r);
void vnc_zrle_free(struct vnc_zrle *z);
unsigned vnc_encode_tight(struct vnc_client *c, const struct vnc_rect *r);
void vnc_tight_free(struct vnc_tight *t);
/* false: it cannot (no library). Appends the file to out. */
bool vnc_jpeg(const struct vnc_rect *r, int quality, GByteArray *out);
bool vnc_jpeg_works(struct viv_err *err);

/* input.c */
int vnc_input_init(struct vnc_server *s, const char *layout, unsigned key_delay_ms, struct viv_err *err); /* loop thread */
void vnc_input_fini(struct vnc_server *s);
void vnc_input_send(struct vnc_client *c, const struct vnc_event *e);
bool vnc_input_full(struct vnc_client *c);

void vnc_input_switched(struct vnc_server *s); /* another console: what is held is let go */

/* switch.c: true: it was for us, or for the text console that is shown. */
bool vnc_switch_key(struct vnc_server *s, struct vnc_hand *hand, const struct vnc_event *e);
bool vnc_switch_pointer(struct vnc_server *s, const struct vnc_event *e);

/* clipboard.c */
void vnc_clip_hello(struct vnc_client *c);
void vnc_clip_plain(struct vnc_client *c, const uint8_t *text, size_t len);
void vnc_clip_extended(struct vnc_client *c, const uint8_t *p, size_t len);

#endif
