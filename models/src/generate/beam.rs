//! Beam search of one text, by log-probabilities that it is given: which tokens are tried, when a beam ends, and when all are done.
//!
//! It goes as that of Transformers does. Of twice as many continuations as there are beams, those that end and are among the first
//! are ends, ranked by their score over a power of their length; the best of the others go on. It is done when there are as many
//! ends as beams and the best beam, divided by its present length, is no better than the worst of them. A single beam is greedy: it
//! is done at its first end.

use super::Answer;

/// A continuation of one of the beams.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    /// Which beam it continues.
    pub(super) beam: usize,
    /// The token.
    pub(super) id: u32,
    /// Log-probability of the whole.
    pub(super) score: f32,
}

/// A text as far as it has come.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Beam {
    /// What was chosen.
    pub(super) ids: Vec<u32>,
    /// Its log-probability.
    pub(super) score: f32,
}

/// How to search.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rules {
    /// Beams at once.
    pub(super) width: usize,
    /// The power of its length that an end's score is divided by.
    pub(super) length_penalty: f64,
    /// Tokens that end a text.
    pub(super) ends: Vec<u32>,
    /// Tokens that stand there before the first that is chosen, and count.
    pub(super) given: usize,
    /// Tokens at most, with those that are given.
    pub(super) longest: usize,
}

/// A search under way.
#[derive(Debug)]
pub(super) struct Search {
    rules: Rules,
    running: Vec<Beam>,
    /// Texts that ended, the best first.
    ended: Vec<Ended>,
}

#[derive(Debug)]
struct Ended {
    ids: Vec<u32>,
    /// Over a power of its length.
    score: f32,
}

impl Search {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, running: vec![Beam { ids: vec![], score: 0.0 }], ended: vec![] }
    }

    /// The beams that go on.
    pub(super) fn running(&self) -> &[Beam] {
        &self.running
    }

    /// How many of the best continuations are asked for: enough that as many go on as there are beams, whichever end.
    pub(super) fn wanted(&self) -> usize {
        self.rules.width * (1 + self.rules.ends.len()).max(2)
    }

    /// Takes the best continuations of all beams, the best first. Returns which beam each of those that now run continues; none if
    /// the search is done.
    pub(super) fn advance(&mut self, candidates: &[Candidate]) -> Option<Vec<usize>> {
        let Rules { width, length_penalty, ends, given, longest } = &self.rules;
        let length = given + self.running.first().map_or(0, |beam| beam.ids.len()) + 1;
        let is_last = length >= *longest;
        let divisor = (length as f64).powf(*length_penalty) as f32;
        let ids = |of: &Candidate| -> Vec<u32> {
            let before = self.running[of.beam].ids.iter().copied();
            before.chain([of.id]).collect()
        };
        let stops = |of: &Candidate| is_last || ends.contains(&of.id);
        let of_first = candidates.iter().take(*width).filter(|of| stops(of));
        let fresh: Vec<Ended> = of_first.map(|of| Ended { ids: ids(of), score: of.score / divisor }).collect();
        let go_on: Vec<&Candidate> = candidates.iter().filter(|of| !stops(of)).take(*width).collect();
        let running = go_on.iter().map(|of| Beam { ids: ids(of), score: of.score }).collect();
        let parents = go_on.iter().map(|of| of.beam).collect();
        self.running = running;
        self.ended.extend(fresh);
        // Those that ended before stand before equal ones.
        self.ended.sort_by(|one, other| other.score.total_cmp(&one.score));
        self.ended.truncate(*width);
        let is_full = self.ended.len() == *width;
        let worst = self.ended.last().map_or(f32::NEG_INFINITY, |ended| ended.score);
        let best = self.running.first().map_or(f32::NEG_INFINITY, |beam| beam.score / divisor);
        let is_done = is_last || self.running.is_empty() || is_full && (*width == 1 || best <= worst);
        (!is_done).then_some(parents)
    }

    /// The best text that ended, or was cut.
    pub(super) fn answer(mut self) -> Answer {
        if self.ended.is_empty() {
            return Answer::default();
        }
        let mut ids = self.ended.remove(0).ids;
        let complete = ids.last().is_some_and(|id| self.rules.ends.contains(id));
        if complete {
            ids.pop();
        }
        Answer { ids, complete }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u32 = 0;

    /// Searches where a token's log-probability follows from the token before it: `table[before][token]`, and from row 0 at first.
    fn search(table: &[[f32; 3]; 3], width: usize, length_penalty: f64, longest: usize) -> (Answer, usize) {
        let rules = Rules { width, length_penalty, ends: vec![END], given: 0, longest };
        let mut search = Search::new(rules);
        for step in 1.. {
            let mut candidates = vec![];
            for (beam, Beam { ids, score }) in search.running().iter().enumerate() {
                let row = table[ids.last().map_or(0, |&id| id as usize)];
                candidates.extend((0..3).map(|id| Candidate { beam, id, score: score + row[id as usize] }));
            }
            candidates.sort_by(|one, other| other.score.total_cmp(&one.score));
            candidates.truncate(search.wanted());
            if search.advance(&candidates).is_none() {
                return (search.answer(), step);
            }
        }
        unreachable!("a search ends")
    }

    /// At first 1 is likelier than 2. After 1 an end is unlikely, after 2 it is nearly certain.
    const TABLE: [[f32; 3]; 3] = [[-5.0, -0.5, -1.0], [-2.0, -1.5, -1.8], [-0.1, -3.0, -3.0]];

    #[test]
    fn by_hand() {
        // Greedy takes 1, and then 1 again, the likeliest each time, until it is cut.
        assert_eq!(search(&TABLE, 1, 1.0, 3), (Answer { ids: vec![1, 1, 1], complete: false }, 3));
        // Two beams are 1 (−0.5) and 2 (−1). Of their continuations the best are 2 END (−1.1) and 1 1 (−2), then 1 2 (−2.3) and
        // 1 END (−2.5). 2 END is an end, of −1.1 / 2 = −0.55. 1 1 and 1 2 run on: 1 2 END has −2.4 and is the second end, of −0.8;
        // 1 1 1 has −3.5 and runs on, but −3.5 / 3 is worse, so all is done.
        assert_eq!(search(&TABLE, 2, 1.0, 9), (Answer { ids: vec![2], complete: true }, 3));
        // Over the square of the length, −2.4 / 9 is better than −1.1 / 4, and what is longer is better still: 1 1 1 runs on at
        // −3.5 / 9 against the worst of −1.1 / 4, and is no better.
        assert_eq!(search(&TABLE, 2, 2.0, 9), (Answer { ids: vec![1, 2], complete: true }, 3));
    }

    #[test]
    fn an_end_that_is_not_among_the_first_is_none() {
        // END is third of three, behind both beams.
        let mut search = Search::new(Rules { width: 2, length_penalty: 1.0, ends: vec![END], given: 0, longest: 9 });
        let first = [(1, -1.0), (2, -2.0), (0, -3.0)].map(|(id, score)| Candidate { beam: 0, id, score });
        assert_eq!(search.advance(&first), Some(vec![0, 0]));
        assert!(search.ended.is_empty());
        assert_eq!(search.running()[1], Beam { ids: vec![2], score: -2.0 });
    }

    #[test]
    fn what_is_given_counts_and_what_is_cut_is_an_end() {
        let mut search = Search::new(Rules { width: 2, length_penalty: 1.0, ends: vec![END], given: 1, longest: 2 });
        let first = [(1, -1.0), (END, -1.0)].map(|(id, score)| Candidate { beam: 0, id, score });
        assert_eq!(search.advance(&first), None);
        // Both have two tokens with the one that is given. Of equal ones the first stays first.
        assert_eq!(search.ended.iter().map(|ended| ended.score).collect::<Vec<_>>(), [-0.5, -0.5]);
        assert_eq!(search.answer(), Answer { ids: vec![1], complete: false });
    }
}
