"""What is made of a scanner's raw low and high counts, real or simulated: its profile, effective Z, pseudo-colour."""
