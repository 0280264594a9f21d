//! Targets on the CPU.

use std::borrow::Cow;

use burn_flex::FlexTensor;

use super::IGNORED;
use crate::cpu::{Element, integers};

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
    pub(crate) fn rows_of<'a, E: Element>(&self, matrix: &'a [E], width: usize) -> Cow<'a, [f32]> {
        if self.rows.len() == self.all {
            return E::wide(matrix);
        }
        let mut out = vec![0.0; self.rows.len() * width];
        for (out, &row) in out.chunks_exact_mut(width).zip(&self.rows) {
            E::widen(&matrix[row * width..(row + 1) * width], out);
        }
        out.into()
    }

    /// Rows back in their places; zeros elsewhere.
    pub(crate) fn in_place<E: Element>(&self, rows: &[f32], width: usize) -> Vec<E> {
        let mut out = vec![E::default(); self.all * width];
        for (values, &row) in rows.chunks_exact(width).zip(&self.rows) {
            E::narrow(values, &mut out[row * width..(row + 1) * width]);
        }
        out
    }
}
