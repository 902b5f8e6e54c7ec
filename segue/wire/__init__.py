"""Bytes <-> vocabulary: the only place that knows a JSON field name, a status or a sentence."""
