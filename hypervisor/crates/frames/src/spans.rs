//! What is left of a span of memory when others are taken out of it.
//!
//! Owns [`Span`] and [`remainders`]. A firmware's memory map may be unsorted and may
//! overlap itself; whatever is claimed by anybody but "usable" is taken out of it here.
//! Does not own the lists: the boot path brings them.

use skerry_words::{Hpa, PAGE_BYTES};

/// A span of host-physical memory: `start` included, `end` not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The first byte.
    pub start: Hpa,
    /// One past the last byte.
    pub end: Hpa,
}

impl Span {
    /// The `bytes` from `start` on, cut off at 2^64.
    #[must_use]
    pub const fn new(start: Hpa, bytes: u64) -> Self {
        Self {
            start,
            end: Hpa(start.0.saturating_add(bytes)),
        }
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }

    /// The whole pages inside it.
    #[must_use]
    pub const fn shrunk_to_pages(self) -> Self {
        Self {
            start: Hpa(self.start.0.saturating_add(PAGE_BYTES - 1)).page_start(),
            end: self.end.page_start(),
        }
    }

    /// The pages that hold any byte of it.
    #[must_use]
    pub const fn grown_to_pages(self) -> Self {
        Self {
            start: self.start.page_start(),
            end: Hpa(self.end.0.saturating_add(PAGE_BYTES - 1)).page_start(),
        }
    }

    const fn overlaps(self, other: Self) -> bool {
        self.bytes() > 0
            && other.bytes() > 0
            && self.start.0 < other.end.0
            && other.start.0 < self.end.0
    }
}

/// The whole pages of `span` that no span of `taken` touches, in ascending order.
pub fn remainders<'a, T>(span: Span, taken: T) -> impl Iterator<Item = Span> + 'a
where
    T: Iterator<Item = Span> + Clone + 'a,
{
    let mut rest = span.shrunk_to_pages();
    core::iter::from_fn(move || {
        while rest.bytes() > 0 {
            let first = taken
                .clone()
                .map(Span::grown_to_pages)
                .filter(|other| other.overlaps(rest))
                .min_by_key(|other| other.start);
            let piece_end = first.map_or(rest.end, |other| other.start);
            let piece = Span {
                start: rest.start,
                end: piece_end,
            };
            rest.start = first.map_or(rest.end, |other| other.end);
            if piece.bytes() > 0 {
                return Some(piece);
            }
        }
        None
    })
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn span(start: u64, end: u64) -> Span {
        Span {
            start: Hpa(start),
            end: Hpa(end),
        }
    }

    fn left(of: Span, taken: &[Span]) -> Vec<Span> {
        remainders(of, taken.iter().copied()).collect()
    }

    #[test]
    fn an_untouched_span_keeps_its_whole_pages_only() {
        assert_eq!(left(span(0x1001, 0x5fff), &[]), [span(0x2000, 0x5000)]);
        assert_eq!(left(span(0x1001, 0x1fff), &[]), []);
    }

    #[test]
    fn one_byte_taken_takes_its_page() {
        let taken = [span(0x2fff, 0x3000)];
        assert_eq!(
            left(span(0x1000, 0x4000), &taken),
            [span(0x1000, 0x2000), span(0x3000, 0x4000)]
        );
    }

    #[test]
    fn an_empty_taken_span_takes_nothing() {
        let taken = [span(0x2000, 0x2000)];
        assert_eq!(left(span(0x1000, 0x4000), &taken), [span(0x1000, 0x4000)]);
    }

    #[test]
    fn a_span_up_to_the_end_of_the_address_space_is_cut_off_not_wrapped() {
        let all = Span::new(Hpa(0xffff_ffff_ffff_0000), u64::MAX);
        assert!(left(all, &[all]).is_empty());
        assert_eq!(left(all, &[]).len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_page_is_left_exactly_when_nobody_took_a_byte_of_it(
            start in 0u64..0x8000, bytes in 0u64..0x1_0000,
            taken in proptest::collection::vec((0u64..0x1_8000, 0u64..0x3000), 0..8),
        ) {
            let of = Span::new(Hpa(start), bytes);
            let taken: Vec<Span> =
                taken.iter().map(|&(at, n)| Span::new(Hpa(at), n)).collect();
            let pieces = left(of, &taken);
            let mut taken_bytes = std::vec![false; 0x2_0000];
            for t in &taken {
                taken_bytes[t.start.0 as usize..t.end.0 as usize].fill(true);
            }
            for (page, bytes) in taken_bytes.chunks(4096).enumerate() {
                let (a, b) = (page as u64 * 4096, (page as u64 + 1) * 4096);
                let inside = of.start.0 <= a && b <= of.end.0;
                let left = inside && !bytes.contains(&true);
                let found = pieces.iter().filter(|p| p.start.0 <= a && b <= p.end.0).count();
                prop_assert_eq!(found, usize::from(left));
            }
            prop_assert!(pieces.windows(2).all(|w| w[0].end <= w[1].start));
        }
    }
}
