/* Inside mon/gdb. */
#ifndef VIV_MON_GDB_INT_H
#define VIV_MON_GDB_INT_H

#include "mon/mon_int.h"

#include <stdbool.h>
#include <stdint.h>

struct viv_vcpu;

#define GDB_PACKET 0x4000 /* bytes of payload, both ways */

struct gdb {
    struct viv_chr *chr;
    bool ours; /* the back end was made for this server */
    struct viv_mon_out out;
    bool no_ack, connected;
    bool busy, ending; /* a command runs; it has ended the server */
    bool running;      /* gdb waits for a stop reply */
    bool physical;     /* m and M take physical addresses */
    unsigned sstep;    /* bits of Qqemu.sstep: 1 enable, 2 no interrupts, 4 no timers */
    struct viv_vcpu *g, *c; /* threads of Hg, Hc; c NULL: all */
    /* gdb.c: the packet that comes in. */
    enum { GDB_IDLE, GDB_BODY, GDB_ESCAPE, GDB_SUM1, GDB_SUM2 } state;
    GString *in;
    uint8_t sum, told;
    GString *last; /* sent and not acknowledged */
};

/* packet.c: one packet out; `len` bytes as they are. */
void gdb_send(struct gdb *s, const char *data, size_t len);
void gdb_say(struct gdb *s, const char *text);
/* commands.c: one whole packet, its bytes unescaped; NUL behind them. */
void gdb_command(struct gdb *s, const char *p, size_t len);
/* Tells gdb why the VM stands, if it waits for that. */
void gdb_stopped(struct gdb *s);

/* regs.c: in the order of the target description. */
bool gdb_wide(void); /* 64-bit registers: the CPU has long mode */
char *gdb_target_xml(void);
/* types.c: the definition of a type of named bits; nothing if `type` is none. */
void gdb_put_flags(GString *xml, const char *type, unsigned bytes);
void gdb_read_all(const struct viv_vcpu *v, GString *hex);
bool gdb_write_all(struct viv_vcpu *v, const char *hex);
/* A register that is a number, by name; "pc" (linear, with the base of CS) and "sp" too. False: there is none. */
bool gdb_value_of(const struct viv_vcpu *v, const char *name, uint64_t *value);
bool gdb_read_one(const struct viv_vcpu *v, unsigned n, GString *hex);
bool gdb_write_one(struct viv_vcpu *v, unsigned n, const char *hex);

/* hex.c, in regs.c */
void gdb_put_hex(GString *out, const void *bytes, size_t len);
bool gdb_take_hex(const char *hex, void *bytes, size_t len); /* false: not so many digits */

#endif
