/* Numbers of the RFB protocol (RFC 6143 and "The RFB Protocol", community version). */
#ifndef VIV_UI_VNC_RFB_H
#define VIV_UI_VNC_RFB_H

enum { RFB_SECURITY_INVALID = 0, RFB_SECURITY_NONE = 1, RFB_SECURITY_VNC = 2, RFB_SECURITY_VENCRYPT = 19 };

enum { /* subtypes of VeNCrypt */
    RFB_VENCRYPT_TLS_NONE = 257,
    RFB_VENCRYPT_TLS_VNC = 258,
    RFB_VENCRYPT_X509_NONE = 260,
    RFB_VENCRYPT_X509_VNC = 261,
};

enum { /* client to server */
    RFB_SET_PIXEL_FORMAT = 0,
    RFB_SET_ENCODINGS = 2,
    RFB_UPDATE_REQUEST = 3,
    RFB_KEY_EVENT = 4,
    RFB_POINTER_EVENT = 5,
    RFB_CLIENT_CUT_TEXT = 6,
    RFB_SET_DESKTOP_SIZE = 251,
    RFB_QEMU = 255,
    RFB_QEMU_EXT_KEY = 0, /* of RFB_QEMU */
    RFB_QEMU_AUDIO = 1,
};

enum { /* server to client */
    RFB_UPDATE = 0,
    RFB_SET_COLOUR_MAP = 1,
    RFB_BELL = 2,
    RFB_SERVER_CUT_TEXT = 3,
};

enum {
    RFB_ENC_RAW = 0,
    RFB_ENC_TIGHT = 7,
    RFB_ENC_ZRLE = 16,
    RFB_ENC_QUALITY_0 = -32, /* to -23 */
    RFB_ENC_DESKTOP_SIZE = -223,
    RFB_ENC_LAST_RECT = -224,
    RFB_ENC_CURSOR = -239,
    RFB_ENC_LEVEL_0 = -256, /* to -247 */
    RFB_ENC_POINTER_TYPE = -257,
    RFB_ENC_EXT_KEY = -258,
    RFB_ENC_LED_STATE = -261,
    RFB_ENC_DESKTOP_NAME = -307,
    RFB_ENC_EXT_DESKTOP_SIZE = -308,
    RFB_ENC_ALPHA_CURSOR = -314,
    RFB_ENC_EXT_CLIPBOARD = (int)0xc0a1e5ce,
};

#endif
