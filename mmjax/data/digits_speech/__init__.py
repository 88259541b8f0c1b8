"""The spoken digits of the embedded data set, and the script that made them."""
