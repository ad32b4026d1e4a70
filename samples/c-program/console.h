/* The debug console: every byte written to I/O port E9h appears on the console. */

#ifndef CONSOLE_H
#define CONSOLE_H

void print(const char *text);
void print_unsigned(unsigned long value);

/* Prints a text of its own width, filled up with blanks to `width`. */
void print_padded(const char *text, unsigned width);

#endif
