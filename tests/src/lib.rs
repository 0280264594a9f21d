//! Tests of the whole: parity with Transformers, the command line, a run from end to end.
