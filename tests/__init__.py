"""Tests of raytag; helpers that several of them use are imported from here."""
