"""Tests of the two protocols."""
