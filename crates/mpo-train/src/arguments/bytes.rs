//! Sizes of memory.

const UNITS: [(&str, f64); 8] = [
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", 1_024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];

/// The value of an argument in bytes, such as `24GB` or `23.5 GiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let parsed = UNITS.iter().find_map(|(unit, bytes)| {
        let number: f64 = text.trim().strip_suffix(unit)?.trim_end().parse().ok()?;
        Some(number * bytes).filter(|bytes| (1.0..9e18).contains(bytes))
    });
    parsed.map(|bytes| bytes as u64).ok_or_else(|| format!("expected a size such as 24GB or 512MiB, got {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(bytes("24GB"), Ok(24_000_000_000));
        assert_eq!(bytes("1.5 GiB"), Ok(3 << 29));
        for wrong in ["24", "GB", "-1GB", "24 G", "0MB", "nanGB", "infGB"] {
            assert!(bytes(wrong).unwrap_err().contains("24GB"), "{wrong}");
        }
    }
}
