#include "chr/telnet.h"

enum { DATA, COMMAND, OPTION, SUB, SUB_IAC };

enum { SE = 240, BREAK = 243, SB = 250, WILL = 251, DONT = 254, IAC = 255 };

const uint8_t viv_telnet_hello[12] = {IAC, WILL, 1, IAC, WILL, 3, IAC, WILL, 0, IAC, 253, 0};

size_t viv_telnet_filter(struct viv_telnet *t, uint8_t *buf, size_t len)
{
    size_t out = 0;

    for (size_t i = 0; i < len; i++) {
        uint8_t c = buf[i];

        switch (t->state) {
        case DATA:
            if (c == IAC)
                t->state = COMMAND;
            else
                buf[out++] = c;
            break;
        case COMMAND:
            t->state = c >= WILL && c <= DONT ? OPTION : c == SB ? SUB : DATA;
            if (c == IAC)
                buf[out++] = c;
            if (c == BREAK)
                t->breaks = true;
            break;
        case OPTION:
            t->state = DATA;
            break;
        case SUB:
            if (c == IAC)
                t->state = SUB_IAC;
            break;
        case SUB_IAC:
            t->state = c == SE ? DATA : SUB;
            break;
        }
    }
    return out;
}
