//! Records of a file (TFRecord): a length, its checksum, the bytes, their checksum.

/// A record of these bytes.
pub(super) fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), bytes, &masked(bytes)].concat()
}

/// CRC-32C, turned and moved by a constant: a file of checksums that is itself checked would be a weak spot of a plain one.
fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// The bytes of whole records, one after the other; none where a record is cut or its checksums are not those of its bytes.
#[cfg(test)]
pub(super) fn unframed(file: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut rest, mut records) = (file, vec![]);
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<8>()?;
        let (length_sum, after) = after.split_first_chunk::<4>()?;
        let (bytes, after) = after.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let (sum, after) = after.split_first_chunk::<4>()?;
        if *length_sum != masked(length) || *sum != masked(bytes) {
            return None;
        }
        records.push(bytes);
        rest = after;
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_and_a_flipped_bit_or_a_cut_is_found() {
        let file = [record(b"loss"), record(b""), record(b"gap")].concat();
        assert_eq!(unframed(&file).unwrap(), [&b"loss"[..], b"", b"gap"]);
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 1 << (at % 8);
            assert_eq!(unframed(&bad), None, "byte {at}");
        }
        assert_eq!(unframed(&file[..file.len() - 1]), None);
    }
}
