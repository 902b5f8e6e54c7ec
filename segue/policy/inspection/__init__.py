"""Contents that are not wanted here, in what is asked and in what is answered."""
