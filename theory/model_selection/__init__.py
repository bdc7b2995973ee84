"""What the Bayes predictor of a mixture of classes pays for not knowing the class, and how it selects one."""
