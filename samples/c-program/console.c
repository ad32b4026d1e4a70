#include "console.h"

#define CONSOLE_PORT 0xE9

static void print_char(char c)
{
    __asm__ volatile("outb %0, %1" : : "a"(c), "Nd"((unsigned short)CONSOLE_PORT));
}

void print(const char *text)
{
    while (*text)
        print_char(*text++);
}

void print_unsigned(unsigned long value)
{
    char digits[20]; /* 2^64 has twenty */
    unsigned n = 0;

    do {
        digits[n++] = '0' + value % 10;
        value /= 10;
    } while (value);
    while (n)
        print_char(digits[--n]);
}

void print_padded(const char *text, unsigned width)
{
    unsigned length = 0;

    for (; text[length]; length++)
        print_char(text[length]);
    for (; length < width; length++)
        print_char(' ');
}
