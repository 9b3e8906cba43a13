"""Measurements. Each is a script of its own: python -m tests.bench.NAME [--quick]"""
