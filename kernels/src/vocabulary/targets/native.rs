//! Targets on the CPU.

use std::borrow::Cow;

use burn::tensor::DType;
use burn_flex::FlexTensor;

use super::IGNORED;
use crate::cpu::{Stored, integers};

/// Targets as indices; none for those ignored.
pub(crate) fn checked(targets: &FlexTensor, vocabulary: usize) -> Vec<Option<usize>> {
    let index = |target: i64| {
        assert!(
            target == i64::from(IGNORED) || (0..vocabulary as i64).contains(&target),
            "expected targets in the vocabulary 0..{vocabulary} or {IGNORED}, got {target}"
        );
        usize::try_from(target).ok()
    };
    integers(targets).into_iter().map(index).collect()
}

/// The rows whose targets count.
pub(crate) struct Counted {
    /// Their places among all rows.
    pub(crate) rows: Vec<usize>,
    /// Their targets.
    pub(crate) targets: Vec<usize>,
    all: usize,
}

impl Counted {
    pub(crate) fn new(targets: &[Option<usize>]) -> Self {
        let counted = targets.iter().enumerate();
        let (rows, counted) = counted.filter_map(|(row, target)| Some((row, (*target)?))).unzip();
        Self { rows, targets: counted, all: targets.len() }
    }

    /// These rows of a matrix `width` wide, one after the other.
    pub(crate) fn rows_of<'a>(&self, matrix: Stored<'a>, width: usize) -> Cow<'a, [f32]> {
        if self.rows.len() == self.all {
            return matrix.wide(DType::F32);
        }
        let mut out = vec![0.0; self.rows.len() * width];
        for (out, &row) in out.chunks_exact_mut(width).zip(&self.rows) {
            matrix.slice(row * width..(row + 1) * width).read(DType::F32, out);
        }
        out.into()
    }

    /// Rows back in their places; zeros elsewhere.
    pub(crate) fn in_place(&self, rows: Vec<f32>, width: usize) -> Vec<f32> {
        if self.rows.len() == self.all {
            return rows;
        }
        let mut out = vec![0.0; self.all * width];
        for (values, &row) in rows.chunks_exact(width).zip(&self.rows) {
            out[row * width..(row + 1) * width].copy_from_slice(values);
        }
        out
    }
}
