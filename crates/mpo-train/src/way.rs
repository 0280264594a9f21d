//! How far a stage of the work is, and how long it will still take, as its bar says.

use std::time::{Duration, Instant};

use crate::duration::short;

/// The way that a stage has to go.
#[derive(Debug)]
pub(crate) struct Way {
    began: Instant,
    length: usize,
    done: usize,
    /// Pieces done of the part under way, and how many it has.
    within: Option<(usize, usize)>,
    /// When the first part was done, and how many were then: it may take long, and is no measure.
    first: Option<(Instant, usize)>,
    latest: Instant,
    /// How long the rest takes, as whoever works says.
    told: Option<(Option<Duration>, Instant)>,
}

impl Way {
    /// Of so many parts, none of which is done.
    pub(crate) fn new(length: usize, now: Instant) -> Self {
        Self { began: now, length, done: 0, within: None, first: None, latest: now, told: None }
    }

    /// So many more parts are done.
    pub(crate) fn advance(&mut self, parts: usize, now: Instant) {
        self.done += parts;
        self.within = None;
        self.latest = now;
        self.first.get_or_insert((now, self.done));
    }

    /// So many were done by an earlier process.
    pub(crate) fn skip(&mut self, parts: usize) {
        self.done += parts;
    }

    /// There are so many more parts.
    pub(crate) fn expect(&mut self, more: usize) {
        self.length += more;
    }

    /// So many pieces of the part under way are done.
    pub(crate) fn within(&mut self, done: usize, of: usize) {
        self.within = Some((done, of)).filter(|_| of > 1);
    }

    /// How long the rest takes; none if that cannot be said yet.
    pub(crate) fn tell(&mut self, left: Option<Duration>, now: Instant) {
        self.told = Some((left, now));
    }

    /// How much of `whole` is done.
    pub(crate) fn share_of(&self, whole: u64) -> u64 {
        let within = self.within.map_or(0.0, |(done, of)| done as f64 / of as f64);
        let share = (self.done as f64 + within) / self.length.max(1) as f64;
        (share * whole as f64) as u64
    }

    /// Such as `3/40`, and within a part `3/40 and 5/12`.
    pub(crate) fn at(&self) -> String {
        let within = self.within.map_or(String::new(), |(done, of)| format!(" and {done}/{of}"));
        format!("{}/{}{within}", self.done, self.length)
    }

    /// Such as `2m 10s, 5m 03s left`.
    pub(crate) fn time(&self, now: Instant) -> String {
        let elapsed = short(now.duration_since(self.began));
        self.left(now).map_or(elapsed.clone(), |left| format!("{elapsed}, {} left", short(left)))
    }

    /// Each second that passes is one less, until something says otherwise.
    fn left(&self, now: Instant) -> Option<Duration> {
        let (left, at) = match self.told {
            Some((left, at)) => (left?, at),
            None => {
                let (first, done) = self.first?;
                let (parts, rest) = (self.done - done, self.length.saturating_sub(self.done));
                // No part after the first makes no number.
                let pace = (self.latest - first).as_secs_f64() / parts as f64;
                (Duration::try_from_secs_f64(pace * rest as f64).ok()?, self.latest)
            }
        };
        Some(left.saturating_sub(now.duration_since(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_part_is_no_measure_of_the_others() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut way = Way::new(10, began);
        assert_eq!((way.at(), way.time(at(5))), ("0/10".to_owned(), "5s".to_owned()));
        way.advance(1, at(60));
        assert_eq!(way.time(at(60)), "1m 00s");
        // Two at once count as two.
        way.advance(2, at(70));
        assert_eq!(way.time(at(70)), "1m 10s, 35s left");
        assert_eq!(way.time(at(80)), "1m 20s, 25s left");
        way.expect(2);
        assert_eq!((way.at(), way.time(at(70))), ("3/12".to_owned(), "1m 10s, 45s left".to_owned()));
        // What takes longer than it should is not less than no time.
        assert_eq!(way.time(at(200)), "3m 20s, 0s left");
    }

    #[test]
    fn what_whoever_works_says_counts() {
        let began = Instant::now();
        let mut way = Way::new(10, began);
        way.skip(4);
        way.tell(None, began);
        for _ in 0..3 {
            way.advance(1, began + Duration::from_secs(1));
        }
        assert_eq!(way.time(began), "0s");
        way.tell(Some(Duration::from_secs(90)), began);
        assert_eq!(way.time(began + Duration::from_secs(30)), "30s, 1m 00s left");
    }

    #[test]
    fn a_part_has_pieces() {
        let mut way = Way::new(4, Instant::now());
        way.advance(1, Instant::now());
        way.within(1, 2);
        assert_eq!((way.at(), way.share_of(1000)), ("1/4 and 1/2".to_owned(), 375));
        way.within(0, 1);
        assert_eq!((way.at(), way.share_of(1000)), ("1/4".to_owned(), 250));
        way.within(2, 3);
        way.advance(3, Instant::now());
        assert_eq!((way.at(), way.share_of(1000)), ("4/4".to_owned(), 1000));
    }
}
