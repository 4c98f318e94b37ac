// What cmocka lacks: closeness that prints index and both values, and status checks that print the
// message.
#ifndef AXL_TESTS_CHECK_H
#define AXL_TESTS_CHECK_H

#include "src/base/status.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

// The call must succeed.
#define CHECK_OK(call)                                                                             \
    do {                                                                                           \
        axl_status check_status_ = (call);                                                         \
        if (check_status_ != AXL_OK)                                                               \
            fail_msg("%s: %s: %s", #call, axl_status_name(check_status_), axl_error_message());    \
    } while (0)

// The call must fail with this code and a message that holds text.
#define CHECK_FAILS(call, code, text)                                                              \
    do {                                                                                           \
        axl_status check_status_ = (call);                                                         \
        if (check_status_ != (code))                                                               \
            fail_msg("%s: %s instead of %s: %s", #call, axl_status_name(check_status_),            \
                     axl_status_name(code), axl_error_message());                                  \
        if (strstr(axl_error_message(), (text)) == NULL)                                           \
            fail_msg("%s: the message \"%s\" lacks \"%s\"", #call, axl_error_message(), (text));   \
    } while (0)

// Every |a[i] - b[i]| <= abs_tol + rel_tol * |b[i]|; NaN never passes.
#define CHECK_CLOSE(a, b, n, abs_tol, rel_tol)                                                     \
    do {                                                                                           \
        for (size_t check_i_ = 0; check_i_ < (size_t)(n); check_i_++) {                            \
            double check_a_ = (double)(a)[check_i_], check_b_ = (double)(b)[check_i_];             \
            if (!(fabs(check_a_ - check_b_) <= (abs_tol) + (rel_tol)*fabs(check_b_)))              \
                fail_msg("%s[%zu] is %.9g, expected %.9g (off by %.3g)", #a, check_i_, check_a_,   \
                         check_b_, fabs(check_a_ - check_b_));                                     \
        }                                                                                          \
    } while (0)

// The L2 norm of a - b is at most tol times that of b (plus tiny).
#define CHECK_CLOSE_NORM(a, b, n, tol)                                                             \
    do {                                                                                           \
        double check_d_ = 0.0, check_n_ = 0.0;                                                     \
        for (size_t check_i_ = 0; check_i_ < (size_t)(n); check_i_++) {                            \
            double check_x_ = (double)(a)[check_i_] - (double)(b)[check_i_];                       \
            check_d_ += check_x_ * check_x_;                                                       \
            check_n_ += (double)(b)[check_i_] * (double)(b)[check_i_];                             \
        }                                                                                          \
        if (!(sqrt(check_d_) <= (tol)*sqrt(check_n_) + 1e-30))                                     \
            fail_msg("%s differs from %s by %.3g of its norm (allowed %.3g)", #a, #b,              \
                     sqrt(check_d_ / (check_n_ + 1e-300)), (double)(tol));                         \
    } while (0)

#endif
