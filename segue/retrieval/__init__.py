"""Where in long documents an answer is: an index built once beside each text, and questions asked of several."""
