"""Models of users, given as functions or torch modules, against claims on one layer."""
