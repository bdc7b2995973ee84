"""Claims: statement, prediction, measurements and decision rule, one object each."""
