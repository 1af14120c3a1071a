//! What the fuzz targets check, one module for each kind of input. The targets
//! themselves, in `fuzz_targets`, only hand their input on to here.
//!
//! Nothing here needs a particular fuzzer: every check is a function that takes
//! bytes and panics if an invariant does not hold. `scripts/fuzz` runs them.

mod allocation;
pub mod frame;
pub mod queue;
pub mod records;
pub mod session;
pub mod text;
