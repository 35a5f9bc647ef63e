//! What this machine can do at all, measured before and after each run: a run in between which the
//! machine has changed says nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// How far two looks at an anchor may differ.
pub(crate) const DRIFT_MAX: f64 = 0.10;

/// GB a second that one core seals with AES-128-GCM in records of 16 KB: memory and arithmetic, no
/// system calls. The best of a few short rounds, because whatever disturbs makes it slower.
pub(crate) fn aes_gb_per_s() -> Result<f64> {
    const RECORD: usize = 16 << 10;
    const ROUND: Duration = Duration::from_millis(60);
    let key = UnboundKey::new(&AES_128_GCM, &[7; 16]).ok().context("a key of AES-128")?;
    let key = LessSafeKey::new(key);
    let mut record = vec![0_u8; RECORD];
    let mut best: f64 = 0.0;
    let mut count = 0_u64;
    for _ in 0..5 {
        let (start, first) = (Instant::now(), count);
        while start.elapsed() < ROUND {
            count += 1;
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&count.to_be_bytes());
            let nonce = Nonce::assume_unique_for_key(nonce);
            let sealed = key.seal_in_place_separate_tag(nonce, Aad::from([0; 5]), &mut record);
            let _tag = sealed.ok().context("sealing a record")?;
        }
        let bytes = (count - first) as f64 * RECORD as f64;
        best = best.max(bytes / start.elapsed().as_secs_f64() / 1e9);
    }
    Ok(best)
}

/// Whether the machine was the same before and after.
pub(crate) fn steady(before: f64, after: f64) -> bool {
    (after / before - 1.0).abs() <= DRIFT_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift() {
        assert!(steady(5.0, 5.4) && steady(5.0, 4.6));
        assert!(!steady(5.0, 5.6) && !steady(5.0, 4.4));
        assert!(!steady(0.0, 0.0));
    }
}
