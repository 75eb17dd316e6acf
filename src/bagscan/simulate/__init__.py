"""The open dual-energy scanner: scenes of solids in, raw low and high images, masks and truth out."""
