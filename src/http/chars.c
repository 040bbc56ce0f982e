/* SPDX-License-Identifier: MIT */
/* Classes of bytes, one table for all of the parsers. */
#include "chars.h"

#define ALNUM (CHAR_NAME | CHAR_TOKEN | CHAR_VALUE | CHAR_TARGET | CHAR_HOST)
#define TOKEN (CHAR_TOKEN | CHAR_VALUE | CHAR_TARGET)
#define TOKEN_HOST (TOKEN | CHAR_HOST)
#define VISIBLE (CHAR_VALUE | CHAR_TARGET)
#define VISIBLE_HOST (VISIBLE | CHAR_HOST)

const uint8_t char_classes[256] = {
    ['\t'] = CHAR_VALUE,
    [' '] = CHAR_VALUE,
    ['!'] = TOKEN_HOST,
    ['"'] = VISIBLE,
    ['#'] = CHAR_TOKEN | CHAR_VALUE,
    ['$'] = TOKEN_HOST,
    ['%'] = TOKEN,
    ['&'] = TOKEN_HOST,
    ['\''] = TOKEN_HOST,
    ['('] = VISIBLE_HOST,
    [')'] = VISIBLE_HOST,
    ['*'] = TOKEN_HOST,
    ['+'] = TOKEN_HOST,
    [','] = VISIBLE,
    ['-'] = ALNUM,
    ['.'] = TOKEN_HOST,
    ['/'] = VISIBLE,
    ['0' ... '9'] = ALNUM,
    [':'] = VISIBLE,
    [';'] = VISIBLE_HOST,
    ['<'] = VISIBLE,
    ['='] = VISIBLE_HOST,
    ['>' ... '@'] = VISIBLE,
    ['A' ... 'F'] = ALNUM,
    ['G' ... 'Z'] = ALNUM,
    ['[' ... ']'] = VISIBLE,
    ['^'] = TOKEN,
    ['_'] = TOKEN_HOST,
    ['`'] = TOKEN,
    ['a' ... 'f'] = ALNUM,
    ['g' ... 'z'] = ALNUM,
    ['{'] = VISIBLE,
    ['|'] = TOKEN,
    ['}'] = VISIBLE,
    ['~'] = TOKEN_HOST,
    [0x80 ... 0xff] = CHAR_VALUE,
};
