//! The contrast of CLA (Li et al. 2024, `L_con`): a prompt lies nearer its own translation than those of other prompts.

use nalgebra::DMatrix;

/// `−log softmax_j(cos(z_i, z'_j)/τ)_i` of every prompt i among those of its batch, z and z' the directions of its first and its
/// second language; and the gradient of the sum at all directions, `[languages, width]` each. Only rows are set against columns,
/// as in the authors' code: a dominant prompt against all translations. Languages beyond the second are left alone.
pub(crate) fn contrast(prompts: &[&DMatrix<f64>], temperature: f64) -> Vec<(f64, DMatrix<f64>)> {
    let Some(width) = prompts.first().map(|of| of.ncols()) else { return vec![] };
    let side = |language: usize| DMatrix::from_fn(prompts.len(), width, |i, j| prompts[i][(language, j)]);
    let (anchors, translations) = (side(0), side(1));
    let mut slopes = &anchors * translations.transpose() / temperature;
    let mut losses = vec![];
    for (i, mut row) in slopes.row_iter_mut().enumerate() {
        let (own, largest) = (row[i], row.max());
        row.apply(|cosine| *cosine = (*cosine - largest).exp());
        let sum = row.sum();
        losses.push(sum.ln() + largest - own);
        row /= sum;
        row[i] -= 1.0;
    }
    slopes /= temperature;
    let (at_anchors, at_translations) = (&slopes * translations, slopes.transpose() * anchors);
    let of = |(i, loss): (usize, f64)| {
        let mut gradient = DMatrix::zeros(prompts[i].nrows(), width);
        gradient.set_row(0, &at_anchors.row(i));
        gradient.set_row(1, &at_translations.row(i));
        (loss, gradient)
    };
    losses.into_iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // The first is its own translation and at a right angle to the other's, which is the other way round.
        let one = DMatrix::from_row_slice(2, 2, &[1.0, 0.0, 1.0, 0.0]);
        let other = DMatrix::from_row_slice(2, 2, &[0.6, 0.8, 0.0, 1.0]);
        let losses = contrast(&[&one, &other], 0.5).into_iter().map(|(loss, _)| loss);
        let want = [(-1.0f64 / 0.5).exp().ln_1p(), (-(0.8 - 0.6f64) / 0.5).exp().ln_1p()];
        for (got, want) in losses.zip(want) {
            assert!((got - want).abs() < 1e-12, "{got}, {want}");
        }
        assert!(contrast(&[], 1.0).is_empty());
    }
}
