//! Chance that can be repeated: a seed that is printed, and may be given.

/// Numbers that look random.
pub struct Random {
    pub seed: u64,
    state: u64,
}

impl Random {
    /// Seeded by `DWARFNOVA_SEED`, else by the time. Says so on the real stderr.
    pub fn new(what: &str) -> Self {
        let given = std::env::var("DWARFNOVA_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            since.as_secs() % 1_000_000
        });
        eprintln!("{what}: DWARFNOVA_SEED={seed}");
        Self { seed, state: seed }
    }

    /// The next of the SplitMix64 sequence.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    pub fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// `count` of them, in their order.
    pub fn some<T>(&mut self, mut from: Vec<T>, count: usize) -> Vec<T> {
        while from.len() > count {
            from.remove(self.below(from.len()));
        }
        from
    }
}
