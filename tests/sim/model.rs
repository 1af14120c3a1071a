//! Whether the model of an ensemble is as merciless as a real one.
