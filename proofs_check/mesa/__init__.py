"""Claims on mesa-optimization: statement, prediction, measurements and decision rule, one object each."""
