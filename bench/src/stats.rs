//! Medians, percentiles and how far to trust them.

/// What was measured several times.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    /// Values in any order; what is not a number is left out.
    pub(crate) fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value that `share` of all values do not exceed (nearest rank); NaN of nothing.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        let at = rank.clamp(1, self.0.len().max(1)) - 1;
        self.0.get(at).copied().unwrap_or(f64::NAN)
    }

    /// The middle; of an even number, between the two middle ones.
    pub(crate) fn median(&self) -> f64 {
        let n = self.0.len();
        match (self.0.get(n / 2), n % 2) {
            (None, _) => f64::NAN,
            (Some(upper), 1) => *upper,
            (Some(upper), _) => f64::midpoint(self.0[n / 2 - 1], *upper),
        }
    }

    /// The smallest.
    pub(crate) fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    /// The largest.
    pub(crate) fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    /// The interval that holds nine of ten medians of samples drawn from this one: the bootstrap, with
    /// a fixed seed, so that the same figures always give the same interval.
    pub(crate) fn interval(&self) -> (f64, f64) {
        const ROUNDS: usize = 2_000;
        if self.0.is_empty() {
            return (f64::NAN, f64::NAN);
        }
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = || {
            // xorshift64*
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % self.0.len()
        };
        let medians = Self::new(
            (0..ROUNDS).map(|_| Self::new((0..self.0.len()).map(|_| self.0[draw()])).median()),
        );
        (medians.percentile(0.05), medians.percentile(0.95))
    }
}

/// Ratios of pairs: ours by the peer's, in the order of the runs.
pub(crate) fn ratios(ours: &[f64], peers: &[f64]) -> Sample {
    Sample::new(ours.iter().zip(peers).map(|(our, peer)| our / peer))
}

/// How far one arm differs from itself: the ratio of each run to the one before. What a comparison
/// can't tell from nothing.
pub(crate) fn noise(runs: &[f64]) -> f64 {
    let steps = Sample::new(runs.windows(2).map(|w| (w[1] / w[0] - 1.0).abs()));
    steps.median()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles() {
        for (values, median, p99, p50) in [
            (vec![3.0, 1.0, 2.0], 2.0, 3.0, 2.0),
            (vec![4.0, 1.0, 2.0, 3.0], 2.5, 4.0, 2.0),
            (vec![7.0, f64::NAN], 7.0, 7.0, 7.0),
            ((1..=100).map(f64::from).collect(), 50.5, 99.0, 50.0),
        ] {
            let sample = Sample::new(values.clone());
            assert_eq!(sample.median(), median, "{values:?}");
            assert_eq!(sample.percentile(0.99), p99, "{values:?}");
            assert_eq!(sample.percentile(0.5), p50, "{values:?}");
        }
        assert!(Sample::default().median().is_nan());
        assert!(Sample::default().percentile(0.5).is_nan());
    }

    #[test]
    fn the_interval_holds_the_median_and_is_narrow_for_equal_values() {
        let same = Sample::new([2.0; 5]);
        assert_eq!(same.interval(), (2.0, 2.0));
        let spread = Sample::new([1.0, 1.1, 1.2, 1.3, 5.0]);
        let (low, high) = spread.interval();
        assert!(low <= 1.2 && 1.2 <= high && low >= 1.0 && high <= 5.0, "{low} {high}");
        assert!(low < high);
    }

    #[test]
    fn pairs_are_compared_run_by_run() {
        let sample = ratios(&[1.0, 4.0, 9.0], &[2.0, 4.0, 6.0]);
        assert_eq!((sample.min(), sample.median(), sample.max(), sample.len()), (0.5, 1.0, 1.5, 3));
        assert!((noise(&[1.0, 1.1, 1.1]) - 0.05).abs() < 1e-9);
    }
}
