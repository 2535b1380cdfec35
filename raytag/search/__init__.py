"""The search: fold × experiment trials on Ray Tune, and who of them goes on."""
