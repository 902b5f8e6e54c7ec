"""The vocabulary every other folder speaks: frozen values, standard library only, no input or output."""
