"""The papers' tables: protocols, runs, recorded rows, printing."""
