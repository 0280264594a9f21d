use burn::tensor::{DType, Device, IndexingUpdateOp, Int, Tensor, TensorData};

use super::{add_rows, take_rows, write_rows};
use crate::testing::{Case, Input, check_gradients, check_kernel, everywhere, random};

fn ids(count: usize, vocabulary: usize) -> Vec<u32> {
    // The first token stands everywhere, as a full stop does.
    (0..count).map(|i| if i % 3 == 0 { 0 } else { ((i * i * 7) % vocabulary) as u32 }).collect()
}

fn floats(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// Sums are made in the order of tokens everywhere, so they are the same to the bit.
#[test]
fn as_burn_adds_them_on_the_cpu() {
    for case in everywhere().iter().filter(|case| case.dtype == DType::F32) {
        for (tokens, vocabulary, width) in [(1, 1, 1), (7, 5, 3), (300, 40, 24), (1_000, 3_000, 1_100)] {
            let on = |device: &Device| {
                let tensor = |rows, seed| random(&[rows, width], seed).on(device).d2();
                (tensor(vocabulary, 1), tensor(tokens, 2))
            };
            let ids = ids(tokens, vocabulary);
            let want = {
                let (sum, rows) = on(&Device::flex());
                let at = TensorData::new(ids.iter().map(|&id| id as i32).collect::<Vec<_>>(), [tokens]);
                let at = Tensor::<1, Int>::from_data(at, &Device::flex());
                floats(sum.select_assign(0, at, rows, IndexingUpdateOp::Add))
            };
            let (sum, rows) = on(&case.device);
            // Once beside the sum, once over it.
            let kept = sum.clone();
            assert_eq!(floats(add_rows(sum, &ids, rows.clone())), want, "{case:?}");
            assert_eq!(floats(add_rows(kept, &ids, rows)), want, "{case:?}");
        }
    }
}

#[test]
fn taken_rows_and_their_gradient() {
    let ids = [2, 0, 2, 4];
    let taken = |t: &[Input]| {
        let at = Tensor::<1, Int>::from_data(TensorData::new(ids.map(|id| id as i32).to_vec(), [4]), &t[0].device());
        t[0].d2().select(0, at)
    };
    let f32_only: Vec<Case> = everywhere().into_iter().filter(|case| case.dtype == DType::F32).collect();
    check_kernel(&f32_only, &[random(&[5, 7], 1)], |t| take_rows(t[0].d2(), &ids), taken);
    check_gradients(&[random(&[5, 3], 1)], taken);
}

#[test]
fn no_tokens_add_nothing() {
    for case in everywhere().iter().filter(|case| case.dtype == DType::F32) {
        let sum = random(&[4, 3], 1).on(&case.device).d2();
        let same = add_rows(sum.clone(), &[], Tensor::zeros([0, 3], &case.device));
        assert_eq!(floats(same), floats(sum));
    }
}

#[test]
fn written_rows_replace_what_was_there_and_leave_the_rest() {
    for case in everywhere() {
        for (places, width, ids) in [
            (1, 1, vec![0]),
            (9, 3, vec![4, 5, 6, 0, 8]),
            (9, 16, vec![]),
            (700, 130, (0..600).rev().collect::<Vec<u32>>()),
        ] {
            let stored = |rows, seed| random(&[rows, width], seed).stored(&case.device, case.dtype).d2();
            let (matrix, rows) = (stored(places, 1), stored(ids.len(), 2));
            let floats = |tensor: &Tensor<2>| floats(tensor.clone().cast(DType::F32));
            let (before, new) = (floats(&matrix), floats(&rows));
            let mut want = before.clone();
            for (row, &id) in new.chunks(width).zip(&ids) {
                want[id as usize * width..][..width].copy_from_slice(row);
            }
            // Once beside the matrix, once over it.
            let kept = matrix.clone();
            assert_eq!(floats(&write_rows(matrix, &ids, rows.clone())), want, "{case:?}");
            assert_eq!(floats(&kept), before, "{case:?}");
            assert_eq!(floats(&write_rows(kept, &ids, rows)), want, "{case:?}");
        }
    }
}

#[test]
#[should_panic(expected = "rows below 4, got 4")]
fn a_token_outside_the_vocabulary_is_refused() {
    let device = Device::flex();
    add_rows(Tensor::zeros([4, 3], &device), &[1, 4], Tensor::zeros([2, 3], &device));
}
