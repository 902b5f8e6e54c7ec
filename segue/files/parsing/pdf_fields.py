"""What has been filled into a PDF: the values of form fields, which are no part of a page's own text."""

from __future__ import annotations

import ctypes

import pypdfium2  # type: ignore[import-untyped]
import pypdfium2.raw as pdfium  # type: ignore[import-untyped]

_FIELDS_MAX = 10_000  # of one page
_VALUE_BYTES_MAX = 1 << 20
# Buttons have values too, which nobody sees.
_TYPES = frozenset({pdfium.FPDF_FORMFIELD_TEXTFIELD, pdfium.FPDF_FORMFIELD_COMBOBOX, pdfium.FPDF_FORMFIELD_LISTBOX})


def filled_in(document: pypdfium2.PdfDocument, page: pypdfium2.PdfPage) -> str:
    """A line for each field of the page that says something."""
    if document.formenv is None:
        return ""
    lines = []
    for number in range(min(pdfium.FPDFPage_GetAnnotCount(page), _FIELDS_MAX)):
        annotation = pdfium.FPDFPage_GetAnnot(page, number)
        if not annotation:
            continue
        try:
            if pdfium.FPDFAnnot_GetFormFieldType(document.formenv, annotation) in _TYPES:
                lines.append(_value(document.formenv, annotation))
        finally:
            pdfium.FPDFPage_CloseAnnot(annotation)
    return "".join(f"{line}\n" for line in lines if line.strip())


def _value(forms: pypdfium2.PdfFormEnv, annotation: object) -> str:
    size = pdfium.FPDFAnnot_GetFormFieldValue(forms, annotation, None, 0)
    if not 2 < size <= _VALUE_BYTES_MAX:
        return ""
    buffer = ctypes.create_string_buffer(size)
    pointer = ctypes.cast(buffer, ctypes.POINTER(pdfium.FPDF_WCHAR))
    pdfium.FPDFAnnot_GetFormFieldValue(forms, annotation, pointer, size)
    return buffer.raw[:size].decode("utf-16-le", "replace").rstrip("\0")
