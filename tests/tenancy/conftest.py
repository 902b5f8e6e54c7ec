"""The office must work in every database."""

from tests.store.conftest import database as database
