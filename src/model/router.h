// The auxiliary loss of a mixture of experts, which rewards an even choice of experts.
//
//   aux = E * sum over experts e of f_e * P_e
// with f_e the number of token copies for e and P_e the sum of e's probabilities, each divided by the number of
// (token, layer) pairs: one product of means over all sparse layers, not a sum over layers (Fedus et al. 2021,
// arXiv:2101.03961, as transformers pools it). f counts as constant for the gradient, so a token's probability of e
// has the gradient E * f_e / pairs, the same for all tokens.
//
// The means are taken over one packed micro-batch, all its cp ranks together, and the micro-batches' losses are
// averaged with the weights of their trained tokens: so the loss does not depend on the layout.
#ifndef AXL_MODEL_ROUTER_H
#define AXL_MODEL_ROUTER_H

#include "src/model/work.h"

// Forgets what was counted; part of axl_work_set_batch. Local.
axl_status axl_router_begin(axl_work *w);

// After axl_pass_forward, before axl_pass_backward, when w->run.load is not NULL:
//   weight         sum of the weights of this rank's trained tokens of the micro-batch
//   global_weight  of the whole step; 0: nothing is trained
//   loss           gets the micro-batch's part of the step's loss, times the model's coefficient: on the first of
//                  the cp ranks that share it, 0 on the others
// and backward will add the gradient. Without a load *loss is 0. Collective on the cp axis. AXL_E_COMM.
axl_status axl_router_loss(axl_work *w, double weight, double global_weight, double *loss);

#endif
