"""What has to be confirmed of each claim's derivation, claim by claim, in the engines' words."""
