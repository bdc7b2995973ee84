"""One layer of linear attention as a user would write it: prompts, forward pass, gradients, observables."""
