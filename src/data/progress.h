// How far long work on files has come: on a terminal a line that renews itself, in a log a line now and then.
#ifndef AXL_DATA_PROGRESS_H
#define AXL_DATA_PROGRESS_H

#include <stdint.h>

typedef struct axl_progress {
    const char *what; // "prepare"; borrowed
    int64_t n_bytes;  // of the whole work
    double begin;     // axl_now()
    double next_pass, next_line;
} axl_progress;

void axl_progress_begin(axl_progress *p, const char *what, int64_t n_bytes);

// Says where the work stands, if it is time. n_rows -1: it has no rows. Cheap enough to be called each millisecond.
void axl_progress_show(axl_progress *p, int64_t n_rows, int64_t bytes);

// A last line, if there were others.
void axl_progress_end(const axl_progress *p, int64_t n_rows, int64_t bytes);

#endif
