// The output head: hidden rows -> log-probabilities of their labels, and back, without ever holding the logits of
// more than a chunk of rows.
#ifndef AXL_MODEL_HEAD_H
#define AXL_MODEL_HEAD_H

#include "src/model/work.h"

// Final norm of the last carry into w->out_hidden, then logp and lse of every scored row. The head unit must be
// acquired. grad_logp given (host, [w->n_scored] doubles: d loss / d logp): also the gradients - of the head's
// matrix, and of the hidden rows into w->grad_hidden - in the same pass over the logits, which is how a loss
// whose gradient is known beforehand (supervised) pays for them once.
axl_status axl_head_forward(axl_work *w, const double *grad_logp);

// For losses whose gradient needs logp first: remakes each chunk of logits and fills the gradients.
axl_status axl_head_gradients(axl_work *w, const double *grad_logp);

// After the gradients: the gradient of the last carry into w->grad (through the final norm).
axl_status axl_head_backward(axl_work *w);

// logp of the scored rows to the host, [w->n_scored]. begin starts it, so that the wait is for what was queued before
// and not for what the caller queues next; without it the way begins here.
axl_status axl_head_begin_logp(axl_work *w);
axl_status axl_head_logp(axl_work *w, double *logp);

// Logits of the last token of the batch to host, [V] f32; for generation.
axl_status axl_head_last_logits(axl_work *w, float *logits);

#endif
