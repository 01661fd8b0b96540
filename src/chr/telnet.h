/* The server's half of telnet (RFC 854), as much as a terminal client needs. */
#ifndef VIV_CHR_TELNET_H
#define VIV_CHR_TELNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct viv_telnet {
    uint8_t state;
    bool breaks; /* an IAC BREAK came in; cleared by the reader */
};

/* WILL ECHO, WILL SUPPRESS-GO-AHEAD, WILL BINARY, DO BINARY: one character at a time, eight bits (RFC 856-858). */
extern const uint8_t viv_telnet_hello[12];

/* Takes commands out of input, in place; returns the length of what is data. */
size_t viv_telnet_filter(struct viv_telnet *t, uint8_t *buf, size_t len);

#endif
