"""Training scan and snap on finite sequences: what a length T adds to the limit of long ones."""
