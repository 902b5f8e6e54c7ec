"""The commands of `segue`: each parses its words, calls what does the work, and shows the outcome."""
