"""What `predict` gives for the claims of scan and snap, one description for each number.

K, M, Q and D stand for the classes, the tokens, the queries in use and the distinct tokens of a class.
"""

from __future__ import annotations

from ..claims.claim import Quantity

# One decoder law


DECODER = (
    Quantity("h", "h of the decoder's logits w_n = h (M e_n - 1) at the time, a number"),
    Quantity("error", "1 - alpha_nn = (M - 1)/(e^u + M - 1), the chance of a wrong next token, a number"),
    Quantity("lead", "u = M h, how far the next token's logit lies above the others, a number"),
    Quantity("gamma", "(M - 1)^2 h/(e^u + M - 1), the size of the force on the class vector, a number"),
    Quantity("gamma_integral", "the integral of gamma from 0 to t, K (M - 1)^2 h^2/(2 eta_Y), a number"),
    Quantity("largest_gamma", "the largest gamma of all times, a number"),
    Quantity("time_of_largest_gamma", "the t at which gamma is largest, where e^u (u - 1) = M - 1, a number"),
    Quantity("transition_time", "K ln M/eta_Y, a number"),
)

OWN_LEAD = Quantity("own_lead", "A, what the logit of the class's own next token has over the rest, a number")
CLASS_LEAD = Quantity(
    "class_lead",
    "B, what the logit of another class's next token has over the rest, the M - K tokens that no class predicts; "
    "a number",
)
EQUAL_OVERLAPS = (
    OWN_LEAD,
    CLASS_LEAD,
    Quantity("error", "1 - alpha_nn, the chance of a wrong next token in the flow of the loss, a number"),
    Quantity("force", "xi of z_l' = eta_Z P(n) f_nl^2 xi for a distinct token, in the flow of the loss, a number"),
    Quantity("reparametrised_force", "the same xi in the reparametrised flow at the same time, a number"),
    Quantity("class_limit", "s/(1 - rho) with s = 1 + rho (M - 1), the limit of e^B as t -> infinity, a number"),
    Quantity(
        "early_ratio",
        "the limit of force over reparametrised_force as t -> 0, (1 - rho)(1 + (K - 1) rho)/s, a number",
    ),
    Quantity(
        "late_ratio",
        "the limit of force over reparametrised_force as t -> infinity, 1/(1 - rho) + (M - K) rho/(s (1 + (K - 1) rho)"
        "), a number",
    ),
)
REMARK = (
    Quantity("printed_own_lead", "A as printed, (1 - rho) times the lead of scan-decoder, a number"),
    Quantity("printed_class_lead", "B as printed, 0"),
    OWN_LEAD,
    CLASS_LEAD,
)

# The start of training


QUERIES = Quantity("queries", "the query tokens in use in rising order, a list (Q); the rows of the tables")
JOINT_FLOW = (
    Quantity("acceleration", "z'' of the attention logits at t = 0 in the flow of the loss, a table (Q x M)"),
    QUERIES,
    Quantity("overlaps", "f_n.f_j at the start, a table (K x K)"),
    Quantity(
        "pull",
        "xi_n/(eta_Y t) as t -> 0, a list (K): a distinct token has z_l' = eta_Z P_n f_nl^2 xi_n, in the flow of the "
        "loss",
    ),
    Quantity(
        "reparametrised_pull",
        "the same in the reparametrised flow, a list (K); null where the class vectors are linearly dependent, so that "
        "there is no such flow",
    ),
)
TRAINED = (
    Quantity("class_vectors", "E f_n at length T and z = 0, a table (K x M)"),
    Quantity("class_vector_coefficients", "c_n, the coefficient of 1/(T - 1) in E f_n, a table (K x M)"),
    Quantity(
        "force", "z'' of the mean attention logits at the start at length T, in units of eta_Y eta_Z; a table (Q x M)"
    ),
    Quantity("limit_force", "the same at T = infinity, grad Phi_inf, a table (Q x M)"),
    Quantity("force_coefficients", "a, the coefficient of 1/(T - 1) in the force, a table (Q x M)"),
    QUERIES,
    Quantity("time", "steps/(1 - momentum), which a rate multiplies to the time of the flow; a number"),
    Quantity(
        "early_attention",
        "the mean attention logits z after the steps, to first order in the pull, a table (Q x M)",
    ),
)
TEXT = (
    Quantity(
        "attention_logits",
        "t^2 eta_Y eta_Z kappa, the leading part of z, a table (M x M): a row for the query, a column for the word",
    ),
    Quantity(
        "logits_within",
        "a bound on the length of z_m(t) less that row of attention_logits, a list (M), one number for each query",
    ),
    Quantity("start_entropy", "the entropy of attention at t = 0, ln(T - 1) in nats, a number"),
    Quantity(
        "entropy_drop",
        "how far the mean entropy of attention over the windows has fallen, to leading order: half the variance of "
        "attention_logits over the keys; in nats, a number",
    ),
)

# Signs and order


DISCRIMINATIVE = (
    QUERIES,
    Quantity("forces", "z_ml', the velocities of the attention logits, a table (Q x M)"),
    Quantity("signs", "the signs of the forces, -1, 0 or 1, a table (Q x M); 0 where rounding hides the sign"),
    Quantity("xi", "xi_n of z_l' = eta_Z P(n) f_nl^2 xi_n for the tokens distinct to class n, a list (K)"),
    Quantity(
        "sufficient",
        "whether the overlaps of each other class with the others but n sum to at most 1, so that xi_n >= 0: a list of "
        "truth values (K)",
    ),
)
FREQUENCY = (
    Quantity("clock", "sigma, with 1/u_l = 1/u_l(0) - sigma, a number"),
    Quantity("largest_clock", "1/max u_l(0), which sigma stays below, a number"),
    Quantity("logits", "z_l at the clock, a list (D) in the order of probabilities"),
    Quantity("gains", "chi_l = e^(2 (z_l - z_l(0))), a list (D)"),
    Quantity("shares", "of the attention that the distinct tokens have together, a list (D) with sum 1"),
    Quantity("relative_gains", "f_l^2/f_l'^2 - 1, a table (D x D): a row for l, a column for l'"),
)

# Snap


DRIVE = Quantity("drive", "s = (eta_Z/eta_Y) u^2, on which alone rates and time act; a number")
STRENGTH = Quantity("strength", "B = (eta_Z/K) times the integral of xi from 0 to t, a number")
GAIN = Quantity("gain", "chi = e^(2 z) of the likeliest distinct token of a class, whose z starts at 0; a number")
ENTROPY = Quantity("entropy", "of attention over the common token and the distinct ones, in nats, a number")
ENTROPY_OF_DISTINCT = Quantity(
    "entropy_of_distinct", "of attention within the distinct tokens, their shares made to sum to 1; in nats, a number"
)
SLOWING_TIME = Quantity(
    "slowing_time", "t*, where e^u (u - 1) = M - 1: afterwards the growth of B slows down for good; a number"
)
SNAP = (
    Quantity("common_attention", "attention on the common token in a class at the time, a number"),
    Quantity("distinct_attention", "attention on the distinct tokens of a class, a list (D)"),
    Quantity("common_logit", "z_C of the common token, a number; 0 at t = 0, then below"),
    Quantity("distinct_logits", "z_l of the distinct tokens, a list (D); 0 at t = 0, then above"),
    Quantity("decoder_logit", "u, how far the next token's logit lies above the others, a number"),
    DRIVE,
    STRENGTH,
    Quantity(
        "strength_at_small_overlap",
        "B by the law for rho << 1 << M rho, ln(1 + 2 K (K - 1) rho_0^2 s)/(4 K), a number",
    ),
    GAIN,
    Quantity("overlap", "rho = f_n.f_n' of two classes at the time, a number"),
    ENTROPY,
    ENTROPY_OF_DISTINCT,
    SLOWING_TIME,
    Quantity(
        "late_exponent",
        "2/(k K + 1) with k the number of distinct tokens that share the largest probability: e^(-2 z) of theirs goes "
        "to 0 as (ln t)^-(late_exponent); a number",
    ),
)
SNAP_BOUND = (
    Quantity("printed_strength", "B as printed, (1/4) ln(C0 + 4 eta_Z int gamma), eta_Z as in the paper; a number"),
    STRENGTH,
    Quantity(
        "printed_bound_on_gain",
        "the printed lower bound on chi early, [K^-1 (rho0^4 + 2 eta_Y eta_Z t^2)]^(f^2/2), rho0^4 = K C0 and eta_Z as "
        "in the paper; a number",
    ),
    GAIN,
    Quantity("C0", "gamma/xi at the start, a number"),
)
COMMON_TOKEN = (
    Quantity("printed", "z_C'/(eta_Z xi_n) as printed, -1"),
    Quantity("ratio", "z_C'/(eta_Z xi_n) of the layer at the start, -K (1 - rho), a number; eta_Z as in the paper"),
)
LEARNING_RATES = (
    DRIVE,
    Quantity(
        "elasticity_eta_Y", "d ln s/d ln eta_Y at the time, a number; above 0 before crossing_time, below 0 after"
    ),
    Quantity("elasticity_eta_Z", "d ln s/d ln eta_Z, 1"),
    Quantity("elasticity_both", "d ln s by the logarithm of both rates together, the sum of the two, a number"),
    Quantity("crossing_time", "the t at which elasticity_eta_Y is 0, where (u - 2) e^u = (M - 1) u - 2; a number"),
    SLOWING_TIME,
    ENTROPY,
    ENTROPY_OF_DISTINCT,
)
