//! Throughput and memory of kernels and of the training step: see `benches/*.rs`.
