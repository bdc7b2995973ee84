"""Claims on scan and snap: statement, prediction, measurements and decision rule, one object each."""
