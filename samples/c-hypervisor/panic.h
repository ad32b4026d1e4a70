#ifndef PANIC_H
#define PANIC_H

#define EXIT_SUCCESS 0
#define EXIT_PANIC 2

/* Says why, and ends the run. */
__attribute__((noreturn)) void panic(const char *why);

/* Ends the run with an exit code. */
__attribute__((noreturn)) void end_run(unsigned char code);

#endif
