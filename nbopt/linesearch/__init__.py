"""Line searches as scalar state machines, and the two-loop recursion of L-BFGS: floor 1."""
