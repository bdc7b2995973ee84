"""Properties over whole domains of laws, searched by Hypothesis (the extra `properties`)."""
