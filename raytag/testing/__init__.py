"""Contracts that every implementation of a family keeps, built in or plugged in: call them from your own tests.

Imports whatever it tests; nothing of raytag imports it.
"""
