//! The simulation as a test.
